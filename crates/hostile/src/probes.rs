//! Well-behaved callers that run before and during an attack, and measure latency, failures and the server's memory.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use kelvin_app::health;
use tokio::time::{sleep, timeout};

use crate::{
    client::Client,
    test_server::{Failure, TestServer},
};

/// Number of callers on connections that are open before the attack.
const CALLERS: usize = 4;
/// Pause between two calls of one caller.
const CALL_PAUSE: Duration = Duration::from_millis(8);
/// Pause between two new connections, and between two health checks.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between two samples of the server's memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// Measurements of one phase.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Durations of the successful calls on open connections.
    latencies: Vec<Duration>,
    /// Longest time that a new connection and its first call took.
    pub(crate) new_connection: Duration,
    pub(crate) failures: Vec<Failure>,
    /// Peak of the server's resident memory in bytes.
    pub(crate) memory: usize,
}

impl Observed {
    /// Returns the 99th percentile of the latencies, or zero if no call succeeded.
    pub(crate) fn p99(&self) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 99 / 100).or(sorted.last()).copied().unwrap_or_default()
    }
}

/// Authenticated connections of the callers.
pub(crate) struct Probes(Vec<Client>);

impl Probes {
    /// Opens the connections and makes one call on each.
    pub(crate) async fn connect(server: &TestServer) -> Result<Self, Failure> {
        let mut clients = Vec::new();
        for _ in 0..CALLERS {
            let client = Client::connect(server).await?;
            client.store("probe").await?;
            clients.push(client);
        }
        Ok(Self(clients))
    }

    /// Calls the server and samples its memory until `until`.
    pub(crate) async fn measure(&self, server: &TestServer, until: Instant) -> Observed {
        let observed = RefCell::new(Observed::default());
        {
            let callers = self.0.iter().map(|client| call(client, until, &observed));
            tokio::join!(
                join_all(callers),
                open_connections(server, until, &observed),
                check_health(server, until, &observed),
                sample_memory(server, until, &observed)
            );
        }
        observed.into_inner()
    }
}

/// Makes calls on an open connection; stops at the first failure.
async fn call(client: &Client, until: Instant, observed: &RefCell<Observed>) {
    while Instant::now() < until {
        let begin = Instant::now();
        match client.store("probe").await {
            Ok(()) => observed.borrow_mut().latencies.push(begin.elapsed()),
            Err(failure) => return record_failure(observed, "an open connection", &failure),
        }
        sleep(CALL_PAUSE).await;
    }
}

/// Opens new connections, each for one call.
async fn open_connections(server: &TestServer, until: Instant, observed: &RefCell<Observed>) {
    while Instant::now() < until {
        let begin = Instant::now();
        let connecting = async { Client::connect(server).await?.store("new-connection").await };
        if let Err(failure) = connecting.await {
            record_failure(observed, "a new connection", &failure);
        }
        let longest = observed.borrow().new_connection.max(begin.elapsed());
        observed.borrow_mut().new_connection = longest;
        sleep(PROBE_INTERVAL).await;
    }
}

/// Probes the health port, as the kubelet does.
async fn check_health(server: &TestServer, until: Instant, observed: &RefCell<Observed>) {
    while Instant::now() < until {
        let probe = timeout(Duration::from_secs(1), health::check(server.health)).await;
        if !matches!(probe, Ok(Ok(()))) {
            record_failure(observed, "the health port", "no healthy response within 1 s");
        }
        sleep(PROBE_INTERVAL).await;
    }
}

async fn sample_memory(server: &TestServer, until: Instant, observed: &RefCell<Observed>) {
    while Instant::now() < until {
        let peak = observed.borrow().memory.max(server.resident_memory());
        observed.borrow_mut().memory = peak;
        sleep(SAMPLE_INTERVAL).await;
    }
}

fn record_failure(observed: &RefCell<Observed>, what: &str, failure: &str) {
    observed.borrow_mut().failures.push(format!("{what}: {failure}"));
}
