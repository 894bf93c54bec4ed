//! Connections of one runtime, made when they are first needed.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, metrics::Histogram};
use parking_lot::Mutex;
use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    super::settings::ValkeySettings,
    connect::{ConnectionRole, connect, split},
    failure::Failure,
};

/// A node that could not be reached is not tried again for so long; calls get the failure of the last attempt.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// One connection per node and role.
///
/// A connection that broke or timed out is dropped, and the next one resolves the node's name again. So is one that the
/// server closed while nobody used it: the outcome of a command that is sent on it would be unknown. The lock of a link
/// is held while connecting, so that of many calls one connects and the others wait for the result.
#[derive(Debug)]
pub(super) struct Pool {
    links: Mutex<HashMap<(String, ConnectionRole), Arc<Link>>>,
    ids: AtomicU64,
    duration: Histogram<f64>,
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
pub(in crate::valkey) struct Connection {
    inner: MultiplexedConnection,
    address: String,
    role: ConnectionRole,
    closed: Arc<AtomicBool>,
    /// Tells it from its successor, so that the failure of an old one does not drop the new one.
    id: u64,
}

impl Pool {
    pub(super) fn new(duration: Histogram<f64>) -> Self {
        Self { links: Mutex::default(), ids: AtomicU64::new(0), duration }
    }

    pub(super) async fn connection(
        &self,
        settings: &ValkeySettings,
        address: &str,
        role: ConnectionRole,
    ) -> Result<Connection, Failure> {
        let link = Arc::clone(self.links.lock().entry((address.to_owned(), role)).or_default());
        let mut state = link.0.lock().await;
        if let Some(connection) = &state.connection
            && !connection.closed.load(Relaxed)
        {
            return Ok(connection.clone());
        }
        if let Some((when, failure)) = &state.failed
            && when.elapsed() < RETRY_AFTER
        {
            return Err(failure.clone());
        }
        // Boxed: it is rare, and every future that executes a command would be as large as its handshake.
        let closed = Arc::new(AtomicBool::new(false));
        match Box::pin(connect(settings, address, role, Arc::clone(&closed))).await {
            Ok(inner) => {
                let id = self.ids.fetch_add(1, Relaxed);
                let connection = Connection { inner, address: address.to_owned(), role, closed, id };
                *state = LinkState { connection: Some(connection.clone()), failed: None };
                Ok(connection)
            }
            Err(failure) => {
                *state = LinkState { connection: None, failed: Some((Instant::now(), failure.clone())) };
                Err(failure)
            }
        }
    }

    /// Sends commands in one pipeline and returns a reply to each. After an error the outcome of all is unknown.
    pub(super) async fn execute(
        &self,
        connection: &Connection,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let start = Instant::now();
        let result = connection.inner.clone().send_packed_commands(pipeline, 0, pipeline.len()).await;
        let error = result.as_ref().err().map(|error| error.category().to_owned());
        self.record(&connection.address, operation, start, error);
        match result {
            Ok(values) => Ok(values),
            Err(error) => {
                self.remove(connection).await;
                Err(Failure::unknown(&error))
            }
        }
    }

    /// Drops all connections; commands in flight end on theirs.
    pub(super) fn clear(&self) {
        self.links.lock().clear();
    }

    /// Drops connections to other nodes, which would only accumulate as nodes come and go.
    pub(super) fn retain(&self, nodes: &[String]) {
        self.links.lock().retain(|(address, _), _| nodes.contains(address));
    }

    async fn remove(&self, connection: &Connection) {
        let link = self.links.lock().get(&(connection.address.clone(), connection.role)).map(Arc::clone);
        if let Some(link) = link {
            let mut state = link.0.lock().await;
            if state.connection.as_ref().is_some_and(|current| current.id == connection.id) {
                state.connection = None;
            }
        }
    }

    fn record(&self, address: &str, operation: &'static str, start: Instant, error: Option<String>) {
        let (host, port) = split(address).unwrap_or_default();
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
