//! Wakes followers when their sensor has new readings: sharded publish/subscribe, one connection per node that serves
//! followed sensors.
//!
//! A notification is a hint. It is lost while a subscription is being moved or its connection is replaced, so followers
//! also poll, and the readings themselves are found by sequence number.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};

use super::{
    cluster::{ConnectionRole, Nodes, client, limits},
    shared::Shared,
};

/// Subscriptions are compared with the followers this often, and when a follower comes or a connection breaks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The notifications of one runtime.
#[derive(Debug, Default, Clone)]
pub(super) struct Notifications(Arc<Subscriptions>);

#[derive(Debug, Default)]
struct Subscriptions {
    /// By sensor; all of its followers share one.
    followed: Mutex<HashMap<String, Arc<Notify>>>,
    changed: Notify,
}

/// One that follows a sensor.
#[derive(Debug)]
pub(super) struct Subscriber {
    subscriptions: Arc<Subscriptions>,
    id: String,
    notify: Arc<Notify>,
}

struct Connection {
    inner: MultiplexedConnection,
    channels: BTreeSet<String>,
}

impl Notifications {
    pub(super) fn subscribe(&self, sensor_id: &str) -> Subscriber {
        let notify = Arc::clone(self.0.followed.lock().entry(sensor_id.to_owned()).or_default());
        self.0.changed.notify_one();
        Subscriber { subscriptions: Arc::clone(&self.0), id: sensor_id.to_owned(), notify }
    }

    /// Keeps the subscriptions in line with the followers until the task is aborted.
    pub(super) async fn run(self, shared: Arc<Shared>, nodes: Arc<Nodes>) {
        let mut connections = BTreeMap::<String, Connection>::new();
        loop {
            let wanted = self.wanted(&shared, &nodes).await;
            connections.retain(|address, _| wanted.contains_key(address));
            for (address, channels) in wanted {
                if let Err(error) = self.update(&nodes, &mut connections, &address, channels).await {
                    tracing::debug!(%address, %error, "subscription failed; falling back to polling every second");
                    connections.remove(&address);
                }
            }
            // After the interval too: the `PING` of each update finds broken connections.
            let _ = timeout(INTERVAL, self.0.changed.notified()).await;
        }
    }

    /// The channels of all followed sensors, by node.
    async fn wanted(&self, shared: &Shared, nodes: &Nodes) -> BTreeMap<String, BTreeSet<String>> {
        let partitions: BTreeSet<usize> =
            self.0.followed.lock().keys().map(|id| shared.keys.number_of(id)).collect();
        let mut wanted = BTreeMap::<String, BTreeSet<String>>::new();
        for partition in partitions.into_iter().map(|number| &shared.keys.all()[number]) {
            if let Ok(address) = nodes.route(partition.slot).await {
                wanted.entry(address).or_default().insert(partition.statistics());
            }
        }
        wanted
    }

    async fn update(
        &self,
        nodes: &Nodes,
        connections: &mut BTreeMap<String, Connection>,
        address: &str,
        channels: BTreeSet<String>,
    ) -> redis::RedisResult<()> {
        if !connections.contains_key(address) {
            let subscriptions = Arc::clone(&self.0);
            let config =
                limits(nodes.settings(), ConnectionRole::Read).set_push_sender(move |push: PushInfo| {
                    subscriptions.on_push(&push);
                    Ok::<_, redis::aio::SendError>(())
                });
            let client = client(nodes.settings(), address)?;
            let inner = client.get_multiplexed_async_connection_with_config(&config).await?;
            connections.insert(address.to_owned(), Connection { inner, channels: BTreeSet::new() });
        }
        let Some(connection) = connections.get_mut(address) else { return Ok(()) };
        for channel in channels.difference(&connection.channels.clone()) {
            redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut connection.inner).await?;
        }
        for channel in connection.channels.difference(&channels) {
            redis::cmd("SUNSUBSCRIBE").arg(channel).exec_async(&mut connection.inner).await?;
        }
        connection.channels = channels;
        redis::cmd("PING").exec_async(&mut connection.inner).await
    }
}

impl Subscriptions {
    /// The payload names the sensors that have new readings, separated by zero bytes.
    fn on_push(&self, push: &PushInfo) {
        match (&push.kind, push.data.get(1)) {
            (PushKind::SMessage, Some(Value::BulkString(names))) => {
                let followed = self.followed.lock();
                for name in names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
                    if let Some(notify) = followed.get(name) {
                        notify.notify_waiters();
                    }
                }
            }
            (PushKind::Disconnection | PushKind::SUnsubscribe, _) => self.changed.notify_one(),
            _ => {}
        }
    }
}

impl Subscriber {
    pub(super) fn notified(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut followed = self.subscriptions.followed.lock();
        // One belongs to the map and one to this subscriber, so this is the last follower. Others subscribe under the lock.
        if Arc::strong_count(&self.notify) == 2 {
            followed.remove(&self.id);
        }
    }
}
