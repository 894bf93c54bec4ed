use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{sync::Notify, time::timeout};

use super::{
    Shared,
    connect::{Lane, client, limits},
    nodes::Nodes,
};

/// Subscriptions are looked over this often, and when a follower comes or a connection goes.
const EVERY: Duration = Duration::from_secs(1);

/// Tells followers that their sensor has new readings, by one connection to each node that has followed sensors.
#[derive(Debug, Default, Clone)]
pub(super) struct News(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    followers: Mutex<HashMap<String, Arc<Notify>>>,
    changed: Notify,
}

/// Someone who waits for news of a sensor.
#[derive(Debug)]
pub(super) struct Follower {
    board: Arc<Board>,
    id: String,
    news: Arc<Notify>,
}

struct Subscription {
    connection: MultiplexedConnection,
    channels: BTreeSet<String>,
}

impl News {
    pub(super) fn follow(&self, sensor_id: &str) -> Follower {
        let news = Arc::clone(self.0.lock().entry(sensor_id.to_owned()).or_default());
        self.0.changed.notify_one();
        Follower { board: Arc::clone(&self.0), id: sensor_id.to_owned(), news }
    }

    /// Keeps the subscriptions for ever.
    pub(super) async fn keep(self, shared: Arc<Shared>, nodes: Arc<Nodes>) {
        let mut subscriptions = BTreeMap::<String, Subscription>::new();
        loop {
            let wanted = self.wanted(&shared, &nodes).await;
            subscriptions.retain(|address, _| wanted.contains_key(address));
            for (address, channels) in wanted {
                if let Err(error) = self.subscribe(&nodes, &mut subscriptions, &address, channels).await {
                    tracing::debug!(%address, %error, "no news of new readings; followers look once a second");
                    subscriptions.remove(&address);
                }
            }
            // Whether it changed or not: the connections are looked over.
            let _ = timeout(EVERY, self.0.changed.notified()).await;
        }
    }

    /// The channels of all followed sensors, by node.
    async fn wanted(&self, shared: &Shared, nodes: &Nodes) -> BTreeMap<String, BTreeSet<String>> {
        let partitions: BTreeSet<usize> = self.0.lock().keys().map(|id| shared.keys.number_of(id)).collect();
        let mut wanted = BTreeMap::<String, BTreeSet<String>>::new();
        for partition in partitions.into_iter().map(|number| &shared.keys.all()[number]) {
            if let Ok(address) = nodes.route(partition.slot).await {
                wanted.entry(address).or_default().insert(partition.statistics());
            }
        }
        wanted
    }

    async fn subscribe(
        &self,
        nodes: &Nodes,
        subscriptions: &mut BTreeMap<String, Subscription>,
        address: &str,
        channels: BTreeSet<String>,
    ) -> redis::RedisResult<()> {
        if !subscriptions.contains_key(address) {
            let board = Arc::clone(&self.0);
            let config = limits(nodes.settings(), Lane::Read).set_push_sender(move |push: PushInfo| {
                board.hear(&push);
                Ok::<_, redis::aio::SendError>(())
            });
            let client = client(nodes.settings(), address)?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            subscriptions.insert(address.to_owned(), Subscription { connection, channels: BTreeSet::new() });
        }
        let Some(subscription) = subscriptions.get_mut(address) else { return Ok(()) };
        for channel in channels.difference(&subscription.channels.clone()) {
            redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut subscription.connection).await?;
        }
        for channel in subscription.channels.difference(&channels) {
            redis::cmd("SUNSUBSCRIBE").arg(channel).exec_async(&mut subscription.connection).await?;
        }
        subscription.channels = channels;
        redis::cmd("PING").exec_async(&mut subscription.connection).await
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload names the sensors that have new readings, with zero bytes between them.
    fn hear(&self, push: &PushInfo) {
        match (&push.kind, push.data.get(1)) {
            (PushKind::SMessage, Some(Value::BulkString(names))) => {
                let followers = self.lock();
                for name in names.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
                    if let Some(news) = followers.get(name) {
                        news.notify_waiters();
                    }
                }
            }
            (PushKind::Disconnection | PushKind::SUnsubscribe, _) => self.changed.notify_one(),
            _ => {}
        }
    }
}

impl Follower {
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.board.lock();
        // The map's own and this one: nobody else follows.
        if Arc::strong_count(&self.news) == 2 {
            followers.remove(&self.id);
        }
    }
}
