//! What clients that do not retry see of rolling updates: `make rolling`, or with `ROLLS=5`. It takes minutes, so plain
//! `cargo test` lists it as ignored.
//!
//! Each client has one channel and makes steady unary calls through a forwarder, which, like a Service, gives a new
//! connection to the server of the moment and leaves open ones alone. In each roll a successor starts, new connections
//! go to it, and its predecessor gets SIGTERM. The clients are those of tonic, grpc-go and grpcio; none retries, apart
//! from what its library does by itself.

mod support;

mod rolling {
    pub(crate) mod clients;
    pub(crate) mod forwarder;
}

use std::{collections::BTreeMap, env, time::Duration};

use rolling::{
    clients::{Client, NEVER_PROCESSED},
    forwarder::Forwarder,
};
use support::{Files, program::Program};

/// Calls between two rolls, so that each roll meets a channel in its steady state.
const BETWEEN_ROLLS: Duration = Duration::from_millis(500);

/// As long as an endpoint needs to leave a Service, shortened.
const SETTINGS: [(&str, &str); 1] = [("KELVIN_DRAIN_DELAY", "200ms")];

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    /// By status and message.
    pub(crate) failures: BTreeMap<String, u64>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make rolling` runs it"]
async fn rolling_updates_abort_no_processed_call() {
    let rolls: u32 = env::var("ROLLS").map_or(20, |rolls| rolls.parse().expect("ROLLS is a number"));
    let mut failed = 0;
    println!("{:<10} {:>6} {:>8} {:>8}", "client", "rolls", "calls", "failed");
    for client in Client::ALL {
        let Some(tally) = roll(client, rolls).await else { continue };
        let failures: u64 = tally.failures.values().sum();
        println!("{:<10} {rolls:>6} {:>8} {failures:>8}", client.as_str(), tally.calls);
        for (failure, count) in &tally.failures {
            println!("    {count} × {failure}");
        }
        failed += tally
            .failures
            .iter()
            .filter(|(failure, _)| !failure.starts_with(NEVER_PROCESSED))
            .map(|(_, count)| count)
            .sum::<u64>();
    }
    assert_eq!(failed, 0, "calls failed that a server may have processed");
}

/// None where the client cannot be built.
async fn roll(client: Client, rolls: u32) -> Option<Tally> {
    let files = Files::new();
    let mut server = Program::start(&files, &SETTINGS).await;
    let forwarder = Forwarder::start(server.address).await;
    let calls = client.start(forwarder.address, &files).await?;
    for _ in 0..rolls {
        tokio::time::sleep(BETWEEN_ROLLS).await;
        let successor = Program::start(&files, &SETTINGS).await;
        forwarder.lead_to(successor.address);
        let mut predecessor = std::mem::replace(&mut server, successor).process;
        predecessor.signal("TERM");
        let status = predecessor.exit_status().await;
        assert!(status.success(), "the server ended with {status}");
    }
    tokio::time::sleep(BETWEEN_ROLLS).await;
    Some(calls.end().await)
}
