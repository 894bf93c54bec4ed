//! What clients that do not retry see of rolling updates: `make rolling`, or with `ROLLS=5`.
//!
//! Each client has one channel and makes steady unary calls through a forwarder, which, like a Service, gives a new
//! connection to the server of the moment and leaves open ones alone. In each roll a successor starts, new connections
//! go to it, and its predecessor gets SIGTERM. The clients are those of tonic, grpc-go and grpcio; none retries, apart
//! from what its library does by itself.

mod clients;
mod forwarder;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::BTreeMap, env, process::ExitCode, time::Duration};

use clients::{Client, NEVER_PROCESSED};
use forwarder::Forwarder;
use kelvin_testing::not_run;
use server::Server;
use support::Files;

/// Calls between two rolls, so that each roll meets a channel in its steady state.
const BETWEEN_ROLLS: Duration = Duration::from_millis(500);

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    /// By status and message.
    pub(crate) failures: BTreeMap<String, u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Ok(rolls) = env::var("ROLLS") else {
        println!("`make rolling` runs this");
        return ExitCode::SUCCESS;
    };
    let rolls: u32 = rolls.parse().expect("ROLLS is a number");
    let mut failed = 0;
    println!("{:<10} {:>6} {:>8} {:>8}", "client", "rolls", "calls", "failed");
    for client in Client::ALL {
        let Some(tally) = roll(client, rolls).await else {
            not_run(client.needs(), &format!("{} is not installed", client.needs()));
            continue;
        };
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
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// None where the client cannot be built.
async fn roll(client: Client, rolls: u32) -> Option<Tally> {
    let files = Files::new();
    let mut server = Server::start(&files).await;
    let forwarder = Forwarder::start(server.address).await;
    let calls = client.start(forwarder.address, &files).await?;
    for _ in 0..rolls {
        tokio::time::sleep(BETWEEN_ROLLS).await;
        let successor = Server::start(&files).await;
        forwarder.lead_to(successor.address);
        let predecessor = std::mem::replace(&mut server, successor);
        predecessor.terminate().await;
    }
    tokio::time::sleep(BETWEEN_ROLLS).await;
    Some(calls.end().await)
}
