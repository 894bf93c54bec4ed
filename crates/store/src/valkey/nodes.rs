use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, metrics::Histogram};
use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::{sync::Mutex as AsyncMutex, time::sleep};

use super::{
    ValkeySettings,
    connect::{Lane, connect},
    failure::Failure,
    keys::SLOTS,
    scripts, topology,
};

/// A node that could not be reached is left alone for so long.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The cluster is asked for its layout at most this often.
const REFRESH_AFTER: Duration = Duration::from_millis(100);

/// Connections of one runtime to the nodes, made when needed, and who is in charge of which slots.
///
/// A connection that broke, timed out or met a node that is no primary is dropped, and the next one looks the address
/// up afresh. Nothing is sent twice here unless the server refused it or it is said to be harmless.
#[derive(Debug)]
pub(super) struct Nodes {
    settings: ValkeySettings,
    links: Mutex<HashMap<(String, Lane), Arc<Link>>>,
    routes: Mutex<Routes>,
    refreshing: AsyncMutex<()>,
    numbers: AtomicU64,
    /// The layout of what is there has been found right.
    pub(super) fits: AtomicBool,
    duration: Histogram<f64>,
}

#[derive(Debug, Default)]
struct Routes {
    /// Last slot of each range and the node in charge of it, ascending. Empty if it must be asked for.
    ranges: Vec<(u16, String)>,
    /// Whom to ask for the layout: where to start from, and who was in charge when it was last known.
    known: Vec<String>,
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Link(AsyncMutex<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    connection: Option<Connection>,
    failed: Option<(Instant, Failure)>,
}

/// A connection to a node.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    pub(super) address: String,
    lane: Lane,
    number: u64,
}

impl Nodes {
    pub(super) fn new(settings: ValkeySettings, duration: Histogram<f64>) -> Self {
        let ranges =
            if settings.cluster { Vec::new() } else { vec![(SLOTS - 1, settings.addresses[0].clone())] };
        let routes = Routes { ranges, known: settings.addresses.clone(), asked: None };
        Self {
            settings,
            links: Mutex::default(),
            routes: Mutex::new(routes),
            refreshing: AsyncMutex::default(),
            numbers: AtomicU64::new(0),
            fits: AtomicBool::new(false),
            duration,
        }
    }

    pub(super) fn settings(&self) -> &ValkeySettings {
        &self.settings
    }

    /// The address of the node in charge of a slot.
    pub(super) async fn route(&self, slot: u16) -> Result<String, Failure> {
        if let Some(address) = self.known_route(slot) {
            return Ok(address);
        }
        let _one_at_a_time = self.refreshing.lock().await;
        if let Some(address) = self.known_route(slot) {
            return Ok(address);
        }
        self.refresh().await?;
        self.known_route(slot).ok_or_else(|| Failure::NotSent(format!("no node is in charge of slot {slot}")))
    }

    /// The layout may have changed.
    pub(super) fn moved(&self) {
        if self.settings.cluster {
            lock(&self.routes).ranges.clear();
        }
    }

    pub(super) async fn connection(&self, address: &str, lane: Lane) -> Result<Connection, Failure> {
        let link = Arc::clone(lock(&self.links).entry((address.to_owned(), lane)).or_default());
        let mut state = link.0.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        if let Some((when, failure)) = &state.failed
            && when.elapsed() < RETRY_AFTER
        {
            return Err(failure.clone());
        }
        match connect(&self.settings, address, lane).await {
            Ok(inner) => {
                let number = self.numbers.fetch_add(1, Relaxed);
                let connection = Connection { inner, address: address.to_owned(), lane, number };
                state.connection = Some(connection.clone());
                state.failed = None;
                Ok(connection)
            }
            Err(failure) => {
                state.failed = Some((Instant::now(), failure.clone()));
                drop(state);
                self.moved();
                Err(failure)
            }
        }
    }

    /// Sends commands in one go and gives an answer to each. After an error all are of unknown outcome.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let start = Instant::now();
        let result = connection.inner.clone().send_packed_commands(pipeline, 0, pipeline.len()).await;
        self.record(
            connection,
            operation,
            start,
            result.as_ref().err().map(|error| error.category().to_owned()),
        );
        match result {
            Ok(values) => Ok(values),
            Err(error) => {
                self.drop_connection(connection).await;
                Err(Failure::unknown(&error))
            }
        }
    }

    /// Does what a refusal asks for, so that another try may fare better.
    pub(super) async fn heed(&self, connection: &Connection, failure: &Failure) {
        if let Failure::Refused { load, moved, .. } = failure {
            if *load {
                // If that fails, the next try says so.
                let _ = self.run(connection, "SCRIPT LOAD", &scripts::load()).await;
            }
            if *moved {
                self.moved();
                if !self.settings.cluster {
                    // Others go to the same node, also those that read.
                    self.reset();
                }
            }
        }
    }

    /// Runs commands that may be repeated without harm, until they succeed or time is up.
    pub(super) async fn query(
        &self,
        slot: u16,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let deadline = Instant::now() + self.settings.timeout;
        loop {
            let failure = match self.once(slot, operation, pipeline).await {
                Err(failure) if !matches!(failure, Failure::Denied(_) | Failure::Unfit(_)) => failure,
                done => return done,
            };
            if Instant::now() >= deadline {
                return Err(failure);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes all connections anew when they are next needed.
    pub(super) fn reset(&self) {
        lock(&self.links).clear();
    }

    /// Runs commands without repeating them.
    pub(super) async fn once(
        &self,
        slot: u16,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let address = self.route(slot).await?;
        match self.send(&address, operation, pipeline).await {
            // The slot is being moved, and its keys are there already.
            Err(Failure::Refused { ask: Some(address), .. }) => {
                let answers = self.send(&address, operation, &asking(pipeline)).await?;
                Ok(answers.into_iter().skip(1).step_by(2).collect())
            }
            done => done,
        }
    }

    async fn send(
        &self,
        address: &str,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let connection = self.connection(address, Lane::Read).await?;
        let values = self.run(&connection, operation, pipeline).await?;
        let checked: Result<Vec<_>, _> = values.into_iter().map(Failure::check).collect();
        if let Err(failure) = &checked {
            self.heed(&connection, failure).await;
        }
        checked
    }

    fn known_route(&self, slot: u16) -> Option<String> {
        let routes = lock(&self.routes);
        let at = routes.ranges.partition_point(|(last, _)| *last < slot);
        routes.ranges.get(at).map(|(_, address)| address.clone())
    }

    async fn refresh(&self) -> Result<(), Failure> {
        let known = {
            let mut routes = lock(&self.routes);
            if routes.asked.is_some_and(|asked| asked.elapsed() < REFRESH_AFTER) {
                return Err(Failure::NotSent("the layout of the cluster is not known".to_owned()));
            }
            routes.asked = Some(Instant::now());
            routes.known.clone()
        };
        let mut last = Failure::NotSent("no node of the cluster answers".to_owned());
        for address in known {
            let asked = async {
                let connection = self.connection(&address, Lane::Read).await?;
                let answer = self.run(&connection, "CLUSTER SLOTS", &topology::question()).await?;
                topology::read(answer, &address)
            };
            match asked.await {
                Ok(ranges) => {
                    let mut routes = lock(&self.routes);
                    // Who has answered is asked first the next time: one before it may not.
                    routes.known = vec![address];
                    for address in self.settings.addresses.iter().chain(ranges.iter().map(|(_, node)| node)) {
                        if !routes.known.contains(address) {
                            routes.known.push(address.clone());
                        }
                    }
                    routes.ranges = ranges;
                    // Nodes come and go; what is kept of those that went would only grow.
                    lock(&self.links).retain(|(address, _), _| routes.known.contains(address));
                    return Ok(());
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn drop_connection(&self, connection: &Connection) {
        let link = lock(&self.links).get(&(connection.address.clone(), connection.lane)).map(Arc::clone);
        if let Some(link) = link {
            let mut state = link.0.lock().await;
            if state.connection.as_ref().is_some_and(|current| current.number == connection.number) {
                state.connection = None;
            }
        }
        self.moved();
    }

    fn record(
        &self,
        connection: &Connection,
        operation: &'static str,
        start: Instant,
        error: Option<String>,
    ) {
        let (host, port) = super::connect::split(&connection.address).unwrap_or_default();
        let mut attributes = vec![
            KeyValue::new("db.system.name", "valkey"),
            KeyValue::new("db.operation.name", operation),
            KeyValue::new("server.address", host),
            KeyValue::new("server.port", i64::from(port)),
        ];
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        self.duration.record(start.elapsed().as_secs_f64(), &attributes);
    }
}

/// The same commands for a node that is to take them although it is not in charge yet.
fn asking(pipeline: &Pipeline) -> Pipeline {
    let mut asking = redis::pipe();
    for command in pipeline.cmd_iter() {
        asking.cmd("ASKING").add_command(command.clone());
    }
    asking
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
