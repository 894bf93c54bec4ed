//! Readings and primaries that go elsewhere while the store is open.

use kelvin_testing::{ValkeyServer, eventually, valkey::cluster};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, Ordering::Relaxed},
};

use kelvin_store::{Query, Store, ValkeySettings};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{append, count, open, plain};

async fn read(store: &Store) -> usize {
    let mut reader = store.read("a", Query::default()).await.expect("it can be read");
    let mut out = Vec::new();
    while reader.next(&mut out).await.expect("it can be read") {}
    out.len()
}

/// A slot moves as an operator moves it, key by key, under writes: each is acknowledged, and there once.
#[tokio::test]
async fn moved_slot_keeps_its_readings() {
    let nodes = cluster(2, 0, &[]).await;
    let addresses = nodes.iter().map(ValkeyServer::address).collect();
    let settings = ValkeySettings { addresses, cluster: true, partitions: 1, ..plain(nodes[0].address()) };
    let store = open(settings).await.unwrap();
    append(&store, &[1.0]).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let (writer, stopped) = (store.clone(), Arc::clone(&stop));
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while !stopped.load(Relaxed) {
            append(&writer, &[2.0]).await.expect("it is stored wherever it goes");
            written += 1;
        }
        written
    });

    let mut statistics = Vec::<String>::new();
    let mut from = 0;
    for (at, node) in nodes.iter().enumerate() {
        let keys: Vec<String> = node.query(&["KEYS", "*:s"]).await.unwrap();
        if !keys.is_empty() {
            (statistics, from) = (keys, at);
        }
    }
    let (from, to) = (&nodes[from], &nodes[1 - from]);
    let slot: u16 = from.query(&["CLUSTER", "KEYSLOT", &statistics[0]]).await.unwrap();
    let (slot, port) = (&slot.to_string(), &to.port.to_string());
    let [source, target]: [String; 2] =
        [from.query(&["CLUSTER", "MYID"]).await.unwrap(), to.query(&["CLUSTER", "MYID"]).await.unwrap()];
    to.exec(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &source]).await;
    from.exec(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &target]).await;
    loop {
        let keys: Vec<String> = from.query(&["CLUSTER", "GETKEYSINSLOT", slot, "1"]).await.unwrap();
        let Some(key) = keys.first() else { break };
        from.exec(&["MIGRATE", "127.0.0.1", port, key, "0", "5000"]).await;
    }
    // All of it is at the new node while the old one is still in charge: both are asked now.
    append(&store, &[3.0]).await.expect("it is stored at the new node");
    assert!(read(&store).await >= 2, "it is read from there");
    let asked: String = to.query(&["INFO", "commandstats"]).await.unwrap();
    assert!(asked.contains("cmdstat_asking"), "{asked}");
    for node in [to, from] {
        node.exec(&["CLUSTER", "SETSLOT", slot, "NODE", &target]).await;
    }
    append(&store, &[4.0]).await.expect("it is stored at the node in charge");
    stop.store(true, Relaxed);
    let written = 3 + writing.await.unwrap();
    assert_eq!((read(&store).await, count(&store).await), (written, written as u64));
    assert!(from.query::<Vec<String>>(&["KEYS", "*:s"]).await.unwrap().is_empty(), "nothing is left behind");
}

/// Behind an address there is another server now, as after a failover, while the connections to the old one are still
/// open: its READONLY leads to a new look at the address.
#[tokio::test]
async fn demoted_primary_is_abandoned() {
    let old = ValkeyServer::start(&[]).await;
    let new = ValkeyServer::start(&["--replicaof", "127.0.0.1", &old.port.to_string()]).await;
    eventually("the replica follows", async || old.info("slave0").await.contains("state=online")).await;
    let (target, listener) =
        (Arc::new(AtomicU16::new(old.port)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap().to_string();
    let to = Arc::clone(&target);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", to.load(Relaxed))).await.expect("it is there");
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let (store, reader) = (open(plain(address.clone())).await.unwrap(), open(plain(address)).await.unwrap());
    append(&store, &[1.0]).await.unwrap();
    assert_eq!((count(&store).await, count(&reader).await), (1, 1));
    eventually("the replica has it", async || old.info("slave0").await.contains("lag=0")).await;
    eventually("the replica has it", async || {
        new.query::<u64>(&["DBSIZE"]).await.unwrap() == old.query::<u64>(&["DBSIZE"]).await.unwrap()
    })
    .await;

    new.exec(&["REPLICAOF", "NO", "ONE"]).await;
    target.store(new.port, Relaxed);
    old.exec(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    append(&store, &[2.0]).await.expect("it is stored at the new primary");
    eventually("nobody is left at the old one, also who only reads", async || {
        let clients: String = old.query(&["CLIENT", "LIST", "TYPE", "normal"]).await.unwrap();
        clients.lines().count() == 1
    })
    .await;
    assert_eq!((count(&reader).await, read(&store).await), (2, 2));
}
