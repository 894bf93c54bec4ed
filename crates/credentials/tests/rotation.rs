//! Files that change under running servers and clients.

mod common;

use common::{Metrics, POLL, Secret, anonymous, call, client_pair, der, serve, server_pair};
use kelvin_credentials::{
    ClientAuth, Tokens,
    ca::{LocalCa, Pair, Usage},
};
use kelvin_testing::eventually;

#[tokio::test]
async fn certificate_rotates_without_failed_call() {
    let ca = LocalCa::generate().unwrap();
    let mut secret = Secret::pair(&server_pair(&ca), &ca.pem());
    let tls = secret.server(ClientAuth::None).unwrap();
    let metrics = Metrics::new();
    let _watch = tokio::spawn(tls.watch(POLL, &metrics.meter()));
    let address = serve(tls).await;
    let client = anonymous(&secret.path("ca.crt"));

    for _ in 0..5 {
        let next = server_pair(&ca);
        secret.write_pair(&next, &ca.pem());
        eventually("the new certificate is shown", async || {
            call(address, client.config()).await.unwrap().1 == der(&next)
        })
        .await;
    }
    assert!(
        metrics.has("kelvin.reloads[{reload}]{file=server_certificate,result=ok} 5"),
        "{:?}",
        metrics.lines()
    );
}

#[tokio::test]
async fn bad_pair_is_rejected_and_previous_kept() {
    let ca = LocalCa::generate().unwrap();
    let good = server_pair(&ca);
    let mut secret = Secret::pair(&good, &ca.pem());
    let tls = secret.server(ClientAuth::None).unwrap();
    let metrics = Metrics::new();
    let _watch = tokio::spawn(tls.watch(POLL, &metrics.meter()));
    let address = serve(tls).await;
    let client = anonymous(&secret.path("ca.crt")).config();

    let now = std::time::SystemTime::now();
    let hour = std::time::Duration::from_hours(1);
    let bad = [
        Pair { cert: server_pair(&ca).cert, key: server_pair(&ca).key },
        ca.issue_valid(Usage::Server, &["localhost"], &(now - 2 * hour..now - hour)).unwrap(),
        Pair { cert: "junk".into(), key: good.key.clone() },
    ];
    for (count, pair) in (1..).zip(&bad) {
        secret.write_pair(pair, &ca.pem());
        let line = format!("kelvin.reloads[{{reload}}]{{file=server_certificate,result=rejected}} {count}");
        metrics.until_has(&line).await;
        assert_eq!(call(address, client.clone()).await.unwrap().1, der(&good));
    }

    let next = server_pair(&ca);
    secret.write_pair(&next, &ca.pem());
    eventually("the next good one is shown", async || {
        call(address, client.clone()).await.unwrap().1 == der(&next)
    })
    .await;
}

#[tokio::test]
async fn ca_rotation_keeps_trust_while_bundle_has_both() {
    let old = LocalCa::generate().unwrap();
    let new = LocalCa::generate().unwrap();
    let both = old.pem() + &new.pem();
    let mut server = Secret::pair(&server_pair(&old), &old.pem());
    let mut client = Secret::pair(&client_pair(&old), &old.pem());
    let server_tls = server.server(ClientAuth::Required).unwrap();
    let client_tls = client.client().unwrap();
    let metrics = Metrics::new();
    let _server_watch = tokio::spawn(server_tls.watch(POLL, &metrics.meter()));
    let _client_watch = tokio::spawn(client_tls.watch(POLL, &metrics.meter()));
    let address = serve(server_tls).await;

    let reloaded = |file: &str, count: u32| {
        let line = format!("kelvin.reloads[{{reload}}]{{file={file},result=ok}} {count}");
        let (metrics, client_tls) = (&metrics, &client_tls);
        async move {
            eventually(&format!("there is {line}"), async || {
                call(address, client_tls.config()).await.unwrap();
                metrics.has(&line)
            })
            .await;
        }
    };

    // First everybody trusts both, then the certificates change, then the old CA goes.
    let (server_old, client_old) = (server_pair(&old), client_pair(&old));
    server.write_pair(&server_old, &both);
    client.write_pair(&client_old, &both);
    reloaded("client_ca", 1).await;
    reloaded("server_ca", 1).await;

    let (server_new, client_new) = (server_pair(&new), client_pair(&new));
    server.write_pair(&server_new, &both);
    reloaded("server_certificate", 2).await;
    client.write_pair(&client_new, &both);
    reloaded("client_certificate", 2).await;

    server.write_pair(&server_new, &new.pem());
    client.write_pair(&client_new, &new.pem());
    reloaded("client_ca", 2).await;
    reloaded("server_ca", 2).await;
    let (_, shown) = call(address, client_tls.config()).await.unwrap();
    assert_eq!(shown, der(&server_new));
}

#[tokio::test]
async fn certificate_expiry_is_recorded() {
    let ca = LocalCa::generate().unwrap();
    let now = std::time::SystemTime::now();
    let end = now + std::time::Duration::from_hours(5);
    let pair = ca.issue_valid(Usage::Server, &["localhost"], &(now..end)).unwrap();
    let tls = Secret::pair(&pair, &ca.pem());
    let tls = tls.server(ClientAuth::None).unwrap();
    let metrics = Metrics::new();
    let _watch = tokio::spawn(tls.watch(POLL, &metrics.meter()));

    let end = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let line = format!("kelvin.certificate.expiry[s]{{file=server_certificate}} {end}");
    metrics.until_has(&line).await;
}

#[tokio::test]
async fn tokens_change_and_an_empty_file_is_refused() {
    let mut secret = Secret::new(&[("tokens", "first")]);
    let tokens = Tokens::load(secret.path("tokens")).unwrap();
    let metrics = Metrics::new();
    let _watch = tokio::spawn(tokens.watch(POLL, &metrics.meter()));

    secret.write(&[("tokens", "# both for a while\nsecond\nfirst\n")]);
    eventually("the second token is accepted", async || tokens.authenticate(b"second").is_ok()).await;
    assert!(tokens.authenticate(b"first").is_ok());

    secret.write(&[("tokens", "# none\n")]);
    let rejected = "kelvin.reloads[{reload}]{file=tokens,result=rejected} 1";
    metrics.until_has(rejected).await;
    assert!(tokens.authenticate(b"second").is_ok());
    assert_eq!(tokens.first(), "second");
}

#[tokio::test]
async fn removed_token_is_no_longer_accepted() {
    let mut secret = Secret::new(&[("tokens", "alpha one\nbeta two\n")]);
    let tokens = Tokens::load(secret.path("tokens")).unwrap();
    let [alpha, beta] = ["alpha", "beta"].map(|token| tokens.authenticate(token.as_bytes()).unwrap());
    let mut changes = tokens.changes();
    let _watch = tokio::spawn(tokens.watch(POLL, &Metrics::new().meter()));
    assert!(tokens.accepts(&alpha) && tokens.accepts(&beta));
    secret.write(&[("tokens", "gamma\nbeta renamed\n")]);
    let removed = async {
        while tokens.accepts(&alpha) {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), removed).await.expect("alpha is removed");
    assert!(tokens.accepts(&beta), "another name is still the same caller");
}

#[tokio::test]
async fn removed_ca_and_expiry_reject_a_client() {
    let (old, new) = (LocalCa::generate().unwrap(), LocalCa::generate().unwrap());
    let server = server_pair(&old);
    let mut secret = Secret::pair(&server, &(old.pem() + &new.pem()));
    let tls = secret.server(ClientAuth::Required).unwrap();
    let _watch = tokio::spawn(tls.watch(POLL, &Metrics::new().meter()));
    let limit = std::time::Duration::from_secs(20);

    let now = std::time::SystemTime::now();
    let short = now..now + std::time::Duration::from_secs(2);
    let expiring = [der(&new.issue_valid(Usage::Client, &["sensor"], &short).unwrap())];
    let error = tokio::time::timeout(limit, tls.client_rejected(&expiring)).await.expect("it expires");
    assert!(format!("{error:?}").contains("Expired"), "{error:?}");

    let chain = [der(&client_pair(&old))];
    let mut rejected = std::pin::pin!(tls.client_rejected(&chain));
    assert!(is_pending(rejected.as_mut()).await, "its CA is still there");
    secret.write_pair(&server, &new.pem());
    tokio::time::timeout(limit, rejected).await.expect("its CA has been removed");
}

/// Whether the future is pending.
async fn is_pending<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
