//! Well-behaved callers beside an attack, and what the server looks like to them.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use kelvin_app::health;
use tokio::time::{sleep, timeout};

use crate::{
    client::Client,
    world::{Failure, World},
};

/// Callers on connections that were open before the attack, and the pause between the calls of each.
const CALLERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(8);

const NEWCOMER_PAUSE: Duration = Duration::from_millis(200);
const SAMPLE_PAUSE: Duration = Duration::from_millis(20);

/// What was seen in one phase.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    latencies: Vec<Duration>,
    /// The longest that a new connection and its first call took.
    pub(crate) newcomer: Duration,
    pub(crate) failures: Vec<Failure>,
    /// Peak of the server's resident memory, in bytes.
    pub(crate) memory: usize,
}

impl Seen {
    pub(crate) fn p99(&self) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 99 / 100).or(sorted.last()).copied().unwrap_or_default()
    }
}

/// Connections that are open and authenticated.
pub(crate) struct Witness(Vec<Client>);

impl Witness {
    pub(crate) async fn connect(world: &World) -> Result<Self, Failure> {
        let mut clients = Vec::new();
        for _ in 0..CALLERS {
            let client = Client::connect(world).await?;
            client.store("witness").await?;
            clients.push(client);
        }
        Ok(Self(clients))
    }

    /// Calls for a while.
    pub(crate) async fn watch(&self, world: &World, until: Instant) -> Seen {
        let seen = RefCell::new(Seen::default());
        {
            let callers = self.0.iter().map(|client| call(client, until, &seen));
            tokio::join!(
                join_all(callers),
                newcomers(world, until, &seen),
                kubelet(world, until, &seen),
                memory(world, until, &seen)
            );
        }
        seen.into_inner()
    }
}

/// On a connection that was open before.
async fn call(client: &Client, until: Instant, seen: &RefCell<Seen>) {
    while Instant::now() < until {
        let begin = Instant::now();
        match client.store("witness").await {
            Ok(()) => seen.borrow_mut().latencies.push(begin.elapsed()),
            Err(failure) => return fail(seen, "an open connection", &failure),
        }
        sleep(PAUSE).await;
    }
}

async fn newcomers(world: &World, until: Instant, seen: &RefCell<Seen>) {
    while Instant::now() < until {
        let begin = Instant::now();
        let come = async { Client::connect(world).await?.store("newcomer").await };
        if let Err(failure) = come.await {
            fail(seen, "a new connection", &failure);
        }
        let longest = seen.borrow().newcomer.max(begin.elapsed());
        seen.borrow_mut().newcomer = longest;
        sleep(NEWCOMER_PAUSE).await;
    }
}

async fn kubelet(world: &World, until: Instant, seen: &RefCell<Seen>) {
    while Instant::now() < until {
        let probe = timeout(Duration::from_secs(1), health::check(world.health)).await;
        if !matches!(probe, Ok(Ok(()))) {
            fail(seen, "the health port", "no healthy answer within 1 s");
        }
        sleep(NEWCOMER_PAUSE).await;
    }
}

async fn memory(world: &World, until: Instant, seen: &RefCell<Seen>) {
    while Instant::now() < until {
        let peak = seen.borrow().memory.max(world.resident());
        seen.borrow_mut().memory = peak;
        sleep(SAMPLE_PAUSE).await;
    }
}

fn fail(seen: &RefCell<Seen>, what: &str, failure: &str) {
    seen.borrow_mut().failures.push(format!("{what}: {failure}"));
}
