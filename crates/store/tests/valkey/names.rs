//! A name that stands for another address after a move.

use kelvin_testing::{ValkeyServer, eventually, not_run};
use std::{env, fs, process::Command};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{append, count, open, plain};

const HOSTS: &str = "HOSTS_OF_THIS_TEST";

/// The test below, where it may have `/etc/hosts` to itself.
#[test]
fn name_is_resolved_again_for_each_connection() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "").unwrap();
    let alone = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-rm", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
        unshare.arg(&hosts).args(command).env(HOSTS, &hosts);
        unshare
    };
    if !alone(&["true"]).output().is_ok_and(|output| output.status.success()) {
        return not_run("mount-namespace", "no mount namespace can be had for an /etc/hosts of our own");
    }
    let program = env::current_exe().unwrap();
    let test = ["--exact", "names::follow_the_name", "--ignored"];
    let output = alone(&[&[program.to_str().unwrap()], &test[..]].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "writes to /etc/hosts: the test above runs it where that is its own"]
async fn follow_the_name() {
    let hosts = env::var_os(HOSTS).expect("the test above says where");
    let name = |address: &str| fs::write(&hosts, format!("{address} valkey.test\n")).unwrap();
    let (mut old, new) = (ValkeyServer::start(&[]).await, ValkeyServer::start(&[]).await);
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let old_proxy = carry(listener, old.port);
    carry(TcpListener::bind(("127.0.0.3", port)).await.unwrap(), new.port);

    name("127.0.0.2");
    let store = open(plain(format!("valkey.test:{port}"))).await.unwrap();
    append(&store, &[1.0]).await.expect("it is stored at the old address");
    name("127.0.0.3");
    append(&store, &[2.0]).await.expect("what is connected stays");
    old_proxy.abort();
    old.kill();
    eventually("it is stored at the new address", async || append(&store, &[3.0]).await.is_ok()).await;
    assert_eq!(count(&store).await, 1);
    assert_eq!(new.query::<Vec<String>>(&["KEYS", "*:d:a"]).await.unwrap().len(), 1);
}

/// Carries connections to a port until it is aborted.
fn carry(listener: TcpListener, port: u16) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut carried = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("it is there");
            carried.spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    })
}
