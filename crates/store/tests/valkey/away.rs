//! A store that is away, and one that cannot be used: seen when the store is opened, or when it comes.

use kelvin_store::{Acknowledge, StoreError, ValkeySettings};
use kelvin_testing::{ValkeyServer, eventually};

use crate::{append, count, open, plain};

fn fsync(server: &ValkeyServer) -> ValkeySettings {
    ValkeySettings { acknowledge: Acknowledge::Fsync, ..plain(server.address()) }
}

#[tokio::test]
async fn unreachable_store_opens_and_recovers() {
    let mut server = ValkeyServer::start(&[]).await;
    server.kill();
    let store = open(plain(server.address())).await.expect("it opens all the same");
    let failed = append(&store, &[1.0]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    assert!(matches!(store.stats("a").await, Err(StoreError::Unavailable(_))));
    server.run().await;
    eventually("the store takes readings", async || append(&store, &[1.0]).await.is_ok()).await;
    assert_eq!(count(&store).await, 1, "what was refused is not stored");
}

#[tokio::test]
async fn fsync_needs_an_append_only_file() {
    let fsync =
        |server: &ValkeyServer| ValkeySettings { acknowledge: Acknowledge::Fsync, ..plain(server.address()) };
    let server = ValkeyServer::start(&[]).await;
    let refused = open(fsync(&server)).await;
    assert!(
        matches!(&refused, Err(StoreError::Settings(text)) if text.contains("appendonly")),
        "{refused:?}"
    );
    let server = ValkeyServer::start(&["--appendonly", "yes"]).await;
    let store = open(fsync(&server)).await.expect("it opens");
    assert_eq!(append(&store, &[1.0, 2.0]).await.expect("it reaches the disk").stored, 2);
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let server = ValkeyServer::start(&[]).await;
    open(plain(server.address())).await.expect("it opens");
    let refused = open(ValkeySettings { partitions: 8, ..plain(server.address()) }).await;
    assert!(
        matches!(&refused, Err(StoreError::Settings(text)) if text.contains("4 partitions")),
        "{refused:?}"
    );
}

/// What it writes must stay when it is killed.
const ON_DISK: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test]
async fn store_without_append_only_file_is_not_written() {
    let mut server = ValkeyServer::start(&[]).await;
    server.kill();
    let store = open(fsync(&server)).await.expect("it opens all the same");
    server.run().await;
    eventually("it returns why", async || match append(&store, &[1.0]).await {
        Err(StoreError::Unavailable(text)) => text.contains("appendonly"),
        other => panic!("{other:?}"),
    })
    .await;
    assert!(matches!(store.stats("a").await, Err(StoreError::Unavailable(_))));
    assert_eq!(server.query::<Vec<String>>(&["KEYS", "*:s"]).await.unwrap(), [""; 0]);

    server.exec(&["CONFIG", "SET", "appendonly", "yes"]).await;
    eventually("it is used when it can be", async || append(&store, &[1.0]).await.is_ok()).await;
    assert_eq!(count(&store).await, 1);

    server.exec(&["CONFIG", "SET", "appendonly", "no"]).await;
    let failed = append(&store, &[2.0]).await;
    assert!(
        matches!(failed, Err(StoreError::Unavailable(_))),
        "not by an open connection either: {failed:?}"
    );
}

#[tokio::test]
async fn store_with_other_partitions_is_not_written() {
    let mut other = ValkeyServer::start(&ON_DISK).await;
    let elsewhere = open(ValkeySettings { partitions: 8, ..plain(other.address()) }).await.unwrap();
    append(&elsewhere, &[1.0]).await.unwrap();
    // So that nobody else writes.
    drop(elsewhere);
    let keys = other.query::<Vec<String>>(&["KEYS", "*"]).await.unwrap().len();
    other.kill();
    let early = open(plain(other.address())).await.expect("it opens all the same");

    // Another store meets it in place of one that was right.
    let mut server = ValkeyServer::start(&[]).await;
    let late = open(plain(server.address())).await.unwrap();
    append(&late, &[1.0]).await.unwrap();
    for (store, port) in [(early, other.port), (late, server.port)] {
        server.kill();
        other.port = port;
        other.run().await;
        eventually("it returns why", async || match append(&store, &[1.0]).await {
            Err(StoreError::Unavailable(text)) => text.contains("8 partitions, not 4"),
            other => panic!("{other:?}"),
        })
        .await;
        assert!(matches!(store.stats("a").await, Err(StoreError::Unavailable(_))), "nor is it read");
        assert_eq!(other.query::<Vec<String>>(&["KEYS", "*"]).await.unwrap().len(), keys);
        other.kill();
    }
}

/// A Valkey that is replaced closes all connections, some of which are next used much later.
#[tokio::test]
async fn connection_that_was_closed_while_idle_costs_no_call() {
    let server = ValkeyServer::start(&[]).await;
    let store = open(plain(server.address())).await.unwrap();
    append(&store, &[1.0]).await.unwrap();
    for round in 2..5 {
        let closed: u32 = server.query(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
        assert!(closed > 0);
        // Meanwhile this runtime reads the ends of its connections.
        let _: String = server.query(&["PING"]).await.unwrap();
        append(&store, &[1.0]).await.unwrap();
        assert_eq!(count(&store).await, round);
    }
}
