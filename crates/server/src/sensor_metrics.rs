//! Gauges per sensor, for a bounded number of sensors (`KELVIN_SENSOR_METRICS`).
//!
//! A task reads the statistics of the reported sensors from the store, and pages through the store's list of sensors only
//! while fewer than the limit are reported or one of them is idle. So receiving a reading costs nothing more, and a
//! collection of metrics reads the result of the task's last round. A sensor is reported while the store has it, unless it
//! is idle for [`IDLE_LIMIT`] and an active sensor takes its place. On a shared store, the process that holds the store's
//! reporting lease reports all sensors, so that none is reported twice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use kelvin_store::{Stats, Store, StoreError, StoreFactory};
use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, sleep};

const INTERVAL: Duration = Duration::from_secs(5);
/// A sensor that is idle for this long may be replaced by an active one.
const IDLE_LIMIT: Duration = Duration::from_mins(10);
/// Sensors per page of the search, and pages per round: bounds the work if most sensors are idle.
const PAGE_SIZE: usize = 256;
const MAX_PAGES: usize = 8;
/// Concurrent store queries.
const CONCURRENCY: usize = 32;

/// The statistics of the reported sensors after the last round.
type Snapshot = Arc<Mutex<BTreeMap<String, Stats>>>;

/// Keeps the gauges of at most `limit` sensors up to date until it is dropped.
pub(crate) async fn report(factory: StoreFactory, limit: usize, meter: Meter) {
    let store = loop {
        match factory.open().await {
            Ok(store) => break store,
            Err(error) => tracing::warn!(%error, "cannot open the store for sensor metrics; trying again"),
        }
        sleep(INTERVAL).await;
    };
    let snapshot = Snapshot::default();
    observe(&snapshot, &meter);
    let mut sensors =
        ReportedSensors { limit, idle_limit: IDLE_LIMIT, stats: BTreeMap::new(), page_token: String::new() };
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // If the store is unavailable, no values are reported, because old ones would look current.
        let stats = match sensors.refresh(&store).await {
            Ok(true) => sensors.stats.clone(),
            Ok(false) => BTreeMap::new(),
            Err(error) => {
                tracing::debug!(%error, "cannot read sensors for their metrics");
                BTreeMap::new()
            }
        };
        *snapshot.lock() = stats;
    }
}

/// The sensors that are reported, with their statistics.
struct ReportedSensors {
    limit: usize,
    idle_limit: Duration,
    stats: BTreeMap<String, Stats>,
    /// The position in the store's list at which the search for other sensors continues.
    page_token: String,
}

impl ReportedSensors {
    /// Updates the statistics and the set of sensors. Returns whether this process reports them.
    async fn refresh(&mut self, store: &Store) -> Result<bool, StoreError> {
        // The set is kept: after one failed count this process is no reporter, and after the next one it may be again.
        if !store.is_reporter() {
            return Ok(false);
        }
        let mut answers = stream::iter(self.stats.keys().cloned())
            .map(async |id| (store.stats(&id).await, id))
            .buffer_unordered(CONCURRENCY);
        let mut kept = BTreeMap::new();
        while let Some((stats, id)) = answers.next().await {
            if let Some(stats) = stats? {
                kept.insert(id, stats);
            }
        }
        drop(answers);
        self.stats = kept;
        self.fill(store).await?;
        Ok(true)
    }

    /// Adds sensors in the order of the store's list up to the limit, then replaces idle sensors by active ones.
    async fn fill(&mut self, store: &Store) -> Result<(), StoreError> {
        let idle = self.stats.iter().filter(|(_, stats)| !self.is_active(stats));
        let mut idle: Vec<_> = idle.map(|(id, stats)| (stats.idle, id.clone())).collect();
        idle.sort_unstable();
        for _ in 0..MAX_PAGES {
            if self.stats.len() >= self.limit && idle.is_empty() {
                break;
            }
            // After an error, and after the last page, the next round begins at the first page.
            let page = store.list(&std::mem::take(&mut self.page_token), PAGE_SIZE).await?;
            for (id, stats) in page.sensors {
                if self.stats.contains_key(&id) {
                    continue;
                }
                if self.stats.len() >= self.limit {
                    let Some((_, longest_idle)) = idle.pop_if(|_| self.is_active(&stats)) else { continue };
                    self.stats.remove(&longest_idle);
                }
                self.stats.insert(id, stats);
            }
            match page.next {
                Some(next) => self.page_token = next,
                None => break,
            }
        }
        Ok(())
    }

    fn is_active(&self, stats: &Stats) -> bool {
        stats.idle < self.idle_limit
    }
}

fn observe(snapshot: &Snapshot, meter: &Meter) {
    fn each<T>(
        snapshot: &Snapshot,
        value: fn(&Stats) -> T,
    ) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + use<T> {
        let snapshot = Arc::clone(snapshot);
        move |instrument| {
            for (id, stats) in &*snapshot.lock() {
                instrument.observe(value(stats), &[KeyValue::new("kelvin.sensor.id", id.clone())]);
            }
        }
    }
    meter
        .f64_observable_gauge("kelvin.sensor.temperature")
        .with_unit("Cel")
        .with_description("The sensor's last reading.")
        .with_callback(each(snapshot, |stats| stats.last.temperature))
        .build();
    meter
        .f64_observable_gauge("kelvin.sensor.temperature.mean")
        .with_unit("Cel")
        .with_description("Mean of the sensor's newest readings (KELVIN_RECENT_WINDOW).")
        .with_callback(each(snapshot, |stats| stats.recent_mean))
        .build();
    meter
        .f64_observable_gauge("kelvin.sensor.idle")
        .with_unit("s")
        .with_description("Time since the sensor's last reading arrived.")
        .with_callback(each(snapshot, |stats| stats.idle.as_secs_f64()))
        .build();
    meter
        .u64_observable_counter("kelvin.sensor.alerts")
        .with_unit("{alert}")
        .with_description("Alerts of the sensor.")
        .with_callback(each(snapshot, |stats| stats.alerts))
        .build();
    meter
        .u64_observable_gauge("kelvin.sensor.alerting") // no unit: Prometheus would add _ratio for "1"
        .with_description("1 while an alert of the sensor is active, 0 otherwise.")
        .with_callback(each(snapshot, |stats| stats.alerting.into()))
        .build();
}

#[cfg(test)]
mod tests {
    use kelvin_store::{
        Acknowledge, AlertSettings, Batch, Credentials, Limits, Reading, Report, StoreConfig, ValkeySettings,
    };
    use kelvin_testing::{ValkeyServer, eventually};
    use opentelemetry::metrics::MeterProvider as _;
    use tokio::{sync::watch, time::timeout};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    async fn store(config: StoreConfig, idle: Duration) -> Store {
        let limits = Limits {
            readings_per_sensor: 10,
            sensors: 10_000,
            readings: 100_000,
            memory: usize::MAX,
            idle,
            recent_window: 2,
        };
        let alerts = AlertSettings { low: None, high: None, z_score: None };
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new().meter("test");
        StoreFactory::new(config, limits, alerts, &meter).unwrap().open().await.unwrap()
    }

    async fn send(store: &Store, ids: impl Iterator<Item = usize>) {
        let mut batch = Batch::default();
        for id in ids {
            batch.push(&format!("sensor-{id}"), Reading { temperature: 20.0, timestamp: 1 });
        }
        store.append(&batch, &mut Report::default()).await.unwrap();
    }

    fn reported_sensors(limit: usize, idle_limit: Duration) -> ReportedSensors {
        ReportedSensors { limit, idle_limit, stats: BTreeMap::new(), page_token: String::new() }
    }

    /// Returns the sensors that are reported after the next round.
    async fn refreshed(sensors: &mut ReportedSensors, store: &Store) -> Vec<String> {
        assert!(sensors.refresh(store).await.unwrap());
        sensors.stats.keys().cloned().collect()
    }

    #[tokio::test]
    async fn active_sensors_stay_reported() {
        let (store, mut sensors) = (store(StoreConfig::Memory, HOUR).await, reported_sensors(5, HOUR));
        send(&store, 0..3).await;
        assert_eq!(refreshed(&mut sensors, &store).await.len(), 3);
        send(&store, 0..5000).await;
        let first = refreshed(&mut sensors, &store).await;
        assert_eq!(first.len(), 5);
        assert!((0..3).all(|id| first.contains(&format!("sensor-{id}"))), "{first:?}");
        send(&store, 5000..9000).await;
        assert_eq!(refreshed(&mut sensors, &store).await, first);
    }

    #[tokio::test]
    async fn longest_idle_sensor_is_replaced_by_an_active_one() {
        let (store, mut sensors) =
            (store(StoreConfig::Memory, HOUR).await, reported_sensors(2, Duration::ZERO));
        send(&store, 0..1).await;
        sleep(Duration::from_millis(10)).await;
        send(&store, 1..2).await;
        for _ in 0..2 {
            assert_eq!(
                refreshed(&mut sensors, &store).await,
                ["sensor-0", "sensor-1"],
                "no other sensor is active"
            );
        }
        sensors.idle_limit = Duration::from_millis(200);
        sleep(sensors.idle_limit).await;
        let replaced = async {
            loop {
                send(&store, 2..3).await;
                let reported = refreshed(&mut sensors, &store).await;
                if reported.contains(&"sensor-2".to_owned()) {
                    break reported;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let reported = timeout(Duration::from_secs(20), replaced).await.unwrap();
        assert_eq!(reported, ["sensor-1", "sensor-2"]);
    }

    #[tokio::test]
    async fn expired_sensor_is_no_longer_reported() {
        let idle = Duration::from_millis(200);
        let (store, mut sensors) = (store(StoreConfig::Memory, idle).await, reported_sensors(1, HOUR));
        let reported = async {
            while refreshed(&mut sensors, &store).await.is_empty() {
                sleep(Duration::from_millis(10)).await;
                send(&store, 0..1).await;
            }
        };
        timeout(Duration::from_secs(20), reported).await.unwrap();
        let removed = async {
            while !refreshed(&mut sensors, &store).await.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), removed).await.unwrap();
    }

    #[tokio::test]
    async fn reported_sensors_outlast_a_lost_lease() {
        let valkey = ValkeyServer::start(&[]).await;
        let config = StoreConfig::Valkey(ValkeySettings {
            addresses: vec![valkey.address()],
            cluster: false,
            username: None,
            acknowledge: Acknowledge::Primary,
            prefix: ValkeySettings::PREFIX.to_owned(),
            partitions: 4,
            timeout: Duration::from_secs(1),
            credentials: watch::channel(Credentials::default()).1,
        });
        let (store, mut sensors) = (store(config, HOUR).await, reported_sensors(5, HOUR));
        let reports = async |wanted| {
            eventually("the lease changes hands", async || store.is_reporter() == wanted).await;
        };
        send(&store, 50..55).await;
        reports(true).await;
        let first = refreshed(&mut sensors, &store).await;
        assert_eq!(first.len(), 5);
        // Any of these would be reported if the set were built again.
        send(&store, 0..50).await;

        let keys: Vec<String> = valkey.query(&["KEYS", "*counts"]).await.unwrap();
        valkey.exec(&["SET", &keys[0], "another server"]).await;
        reports(false).await;
        assert!(!sensors.refresh(&store).await.unwrap());
        valkey.exec(&["DEL", &keys[0]]).await;
        reports(true).await;
        assert_eq!(refreshed(&mut sensors, &store).await, first);
    }
}
