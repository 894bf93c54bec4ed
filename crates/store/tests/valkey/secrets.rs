//! Secrets that change while the store is open.

use kelvin_testing::{ValkeyServer, eventually, free_port, not_run, valkey::PROGRAM};
use std::fs;

use kelvin_credentials::ca::{LocalCa, Usage};
use kelvin_store::{Credentials, StoreError, TlsPem, ValkeySettings};
use tokio::sync::watch;

use crate::{append, open, settings};

const USER: &str = "kelvin";

#[tokio::test]
async fn changed_password_is_used() {
    let server = ValkeyServer::start(&[]).await;
    let set = async |password: &str| {
        let password = format!(">{password}");
        server.exec(&["ACL", "SETUSER", USER, "on", "resetpass", &password, "~*", "&*", "+@all"]).await;
    };
    let password = |password: &str| Credentials { password: Some(password.to_owned()), tls: None };
    set("old").await;
    let (change, credentials) = watch::channel(password("wrong"));
    let settings =
        ValkeySettings { username: Some(USER.to_owned()), ..settings(server.address(), credentials) };
    let store = open(settings).await.expect("it opens");
    let Err(StoreError::Unavailable(text)) = append(&store, &[1.0]).await else {
        panic!("it must not get in")
    };
    assert!(!text.contains("wrong"), "no secret in an error: {text}");
    change.send_replace(password("old"));
    eventually("the password is taken", async || append(&store, &[1.0]).await.is_ok()).await;

    let before = connections(&server).await;
    set("new").await;
    change.send_replace(password("new"));
    eventually("other connections have taken over", async || {
        append(&store, &[1.0]).await.expect("no call fails for it");
        let now = connections(&server).await;
        !now.is_empty() && now.iter().all(|id| !before.contains(id))
    })
    .await;
}

/// The ids of the user's connections.
async fn connections(server: &ValkeyServer) -> Vec<String> {
    let clients: String = server.query(&["CLIENT", "LIST"]).await.expect("it lists them");
    let ours = clients.lines().filter(|line| line.contains(&format!("user={USER} ")));
    ours.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn tls_with_a_changed_authority_takes_over() {
    if !speaks_tls() {
        return not_run("valkey-tls", "this valkey-server was built without TLS; put another one on PATH");
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let [old, new] = [(); 2].map(|()| LocalCa::generate().unwrap());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ca"), old.pem()).unwrap();
    old.issue(Usage::Server, &["localhost"]).unwrap().write(&path("cert"), &path("key")).unwrap();
    let text = |name: &str| path(name).to_string_lossy().into_owned();
    let port_text = port.to_string();
    let arguments = [
        "--tls-port",
        &port_text,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &text("cert"),
        "--tls-key-file",
        &text("key"),
        "--tls-ca-cert-file",
        &text("ca"),
    ];
    let server = ValkeyServer::start(&arguments).await;
    let trust = |ca: &LocalCa| Credentials {
        password: None,
        tls: Some(TlsPem { ca: ca.pem().into_bytes(), client: None }),
    };
    let (change, credentials) = watch::channel(trust(&new));
    let store = open(settings(format!("localhost:{port}"), credentials)).await.expect("it opens");
    let failed = append(&store, &[1.0]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "another authority signed it: {failed:?}");
    change.send_replace(trust(&old));
    eventually("the authority is taken", async || append(&store, &[1.0]).await.is_ok()).await;
    drop(server);
}

/// Whether the server was built with TLS; without certificates it ends at once in either case.
fn speaks_tls() -> bool {
    let mut command = std::process::Command::new(&*PROGRAM);
    let output = command.args(["--port", "0", "--tls-port", &free_port().to_string()]).output();
    !String::from_utf8_lossy(&output.expect("valkey-server starts").stdout)
        .contains("Failed finding TLS support")
}
