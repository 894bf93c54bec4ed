//! Gauges per sensor, for a bounded number of sensors (`KELVIN_SENSOR_METRICS`).
//!
//! A task asks the store for the statistics of the sensors that have a place, and pages through the store's list only
//! while a place is free or its sensor silent: receiving readings costs nothing more, and a collection reads what the
//! task found. A sensor keeps its place while the store knows it, unless it is silent for [`SILENT`] and a sensor
//! without a place is heard. On a shared store the process that holds the store's reporting lease reports all places,
//! so that no sensor is reported twice.

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
/// A sensor without a reading for this long loses its place to one that is heard.
const SILENT: Duration = Duration::from_mins(10);
/// Sensors on a page of the search, and pages per interval: bounds the work where most sensors are silent.
const PAGE: usize = 256;
const PAGES: usize = 8;
/// Questions to the store at a time.
const CONCURRENCY: usize = 32;

/// The result of the last round, by sensor.
type Found = Arc<Mutex<BTreeMap<String, Stats>>>;

/// Keeps the gauges of at most `limit` sensors up to date until it is dropped.
pub(crate) async fn report(factory: StoreFactory, limit: usize, meter: Meter) {
    let store = loop {
        match factory.open().await {
            Ok(store) => break store,
            Err(error) => tracing::warn!(%error, "cannot open the store for sensor metrics; trying again"),
        }
        sleep(INTERVAL).await;
    };
    let found = Found::default();
    observe(&found, &meter);
    let mut places = Places { limit, silent: SILENT, taken: BTreeMap::new(), page_token: String::new() };
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Values of a store that does not answer would look current: better none.
        let stats = match places.refresh(&store).await {
            Ok(true) => places.taken.clone(),
            Ok(false) => BTreeMap::new(),
            Err(error) => {
                tracing::debug!(%error, "cannot read sensors for their metrics");
                BTreeMap::new()
            }
        };
        *found.lock() = stats;
    }
}

/// The sensors that are reported, and where the search for the next one continues.
struct Places {
    limit: usize,
    silent: Duration,
    taken: BTreeMap<String, Stats>,
    page_token: String,
}

impl Places {
    /// Returns whether this process reports the sensors.
    async fn refresh(&mut self, store: &Store) -> Result<bool, StoreError> {
        // The places stay: one failed count ends the role of reporter, and the next one may bring it back.
        if !store.is_reporter() {
            return Ok(false);
        }
        let mut answers = stream::iter(self.taken.keys().cloned())
            .map(async |id| (store.stats(&id).await, id))
            .buffer_unordered(CONCURRENCY);
        let mut kept = BTreeMap::new();
        while let Some((stats, id)) = answers.next().await {
            if let Some(stats) = stats? {
                kept.insert(id, stats);
            }
        }
        drop(answers);
        self.taken = kept;
        self.fill(store).await?;
        Ok(true)
    }

    /// Gives free places to sensors in the order of the store's list, then those of silent sensors to sensors that are
    /// heard.
    async fn fill(&mut self, store: &Store) -> Result<(), StoreError> {
        let silent = self.taken.iter().filter(|(_, stats)| !self.is_heard(stats));
        let mut silent: Vec<_> = silent.map(|(id, stats)| (stats.idle, id.clone())).collect();
        silent.sort_unstable();
        for _ in 0..PAGES {
            if self.taken.len() >= self.limit && silent.is_empty() {
                break;
            }
            // After an error, and after the last page, the next round begins at the first page.
            let page = store.list(&std::mem::take(&mut self.page_token), PAGE).await?;
            for (id, stats) in page.sensors {
                if self.taken.contains_key(&id) {
                    continue;
                }
                if self.taken.len() >= self.limit {
                    let Some((_, longest)) = silent.pop_if(|_| self.is_heard(&stats)) else { continue };
                    self.taken.remove(&longest);
                }
                self.taken.insert(id, stats);
            }
            match page.next {
                Some(next) => self.page_token = next,
                None => break,
            }
        }
        Ok(())
    }

    fn is_heard(&self, stats: &Stats) -> bool {
        stats.idle < self.silent
    }
}

fn observe(found: &Found, meter: &Meter) {
    fn each<T>(
        found: &Found,
        value: fn(&Stats) -> T,
    ) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + use<T> {
        let found = Arc::clone(found);
        move |instrument| {
            for (id, stats) in &*found.lock() {
                instrument.observe(value(stats), &[KeyValue::new("kelvin.sensor.id", id.clone())]);
            }
        }
    }
    meter
        .f64_observable_gauge("kelvin.sensor.temperature")
        .with_unit("Cel")
        .with_description("The sensor's last reading.")
        .with_callback(each(found, |stats| stats.last.temperature))
        .build();
    meter
        .f64_observable_gauge("kelvin.sensor.temperature.mean")
        .with_unit("Cel")
        .with_description("Mean of the sensor's newest readings (KELVIN_RECENT_WINDOW).")
        .with_callback(each(found, |stats| stats.recent_mean))
        .build();
    meter
        .f64_observable_gauge("kelvin.sensor.idle")
        .with_unit("s")
        .with_description("Time since the sensor's last reading arrived.")
        .with_callback(each(found, |stats| stats.idle.as_secs_f64()))
        .build();
    meter
        .u64_observable_counter("kelvin.sensor.alerts")
        .with_unit("{alert}")
        .with_description("Alerts of the sensor.")
        .with_callback(each(found, |stats| stats.alerts))
        .build();
    meter
        .u64_observable_gauge("kelvin.sensor.alerting") // no unit: Prometheus would add _ratio for "1"
        .with_description("1 while an alert of the sensor is active, 0 otherwise.")
        .with_callback(each(found, |stats| stats.alerting.into()))
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

    fn places(limit: usize, silent: Duration) -> Places {
        Places { limit, silent, taken: BTreeMap::new(), page_token: String::new() }
    }

    /// Returns the sensors that are reported after the next round.
    async fn taken(places: &mut Places, store: &Store) -> Vec<String> {
        assert!(places.refresh(store).await.unwrap());
        places.taken.keys().cloned().collect()
    }

    #[tokio::test]
    async fn taken_places_are_kept_while_their_sensors_are_heard() {
        let (store, mut places) = (store(StoreConfig::Memory, HOUR).await, places(5, HOUR));
        send(&store, 0..3).await;
        assert_eq!(taken(&mut places, &store).await.len(), 3);
        send(&store, 0..5000).await;
        let first = taken(&mut places, &store).await;
        assert_eq!(first.len(), 5);
        assert!((0..3).all(|id| first.contains(&format!("sensor-{id}"))), "{first:?}");
        send(&store, 5000..9000).await;
        assert_eq!(taken(&mut places, &store).await, first);
    }

    #[tokio::test]
    async fn longest_idle_sensor_gives_its_place_to_an_active_one() {
        let (store, mut places) = (store(StoreConfig::Memory, HOUR).await, places(2, Duration::ZERO));
        send(&store, 0..1).await;
        sleep(Duration::from_millis(10)).await;
        send(&store, 1..2).await;
        for _ in 0..2 {
            assert_eq!(taken(&mut places, &store).await, ["sensor-0", "sensor-1"], "nobody else is heard");
        }
        places.silent = Duration::from_millis(200);
        sleep(places.silent).await;
        let passed_on = async {
            loop {
                send(&store, 2..3).await;
                let taken = taken(&mut places, &store).await;
                if taken.contains(&"sensor-2".to_owned()) {
                    break taken;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let taken = timeout(Duration::from_secs(20), passed_on).await.unwrap();
        assert_eq!(taken, ["sensor-1", "sensor-2"]);
    }

    #[tokio::test]
    async fn expired_sensor_gives_its_place_up() {
        let idle = Duration::from_millis(200);
        let (store, mut places) = (store(StoreConfig::Memory, idle).await, places(1, HOUR));
        let had = async {
            while taken(&mut places, &store).await.is_empty() {
                sleep(Duration::from_millis(10)).await;
                send(&store, 0..1).await;
            }
        };
        timeout(Duration::from_secs(20), had).await.unwrap();
        let given_up = async {
            while !taken(&mut places, &store).await.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), given_up).await.unwrap();
    }

    #[tokio::test]
    async fn places_outlast_a_lost_lease() {
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
        let (store, mut places) = (store(config, HOUR).await, places(5, HOUR));
        let reports = async |wanted| {
            eventually("the lease changes hands", async || store.is_reporter() == wanted).await;
        };
        send(&store, 50..55).await;
        reports(true).await;
        let first = taken(&mut places, &store).await;
        assert_eq!(first.len(), 5);
        // Any of these could have had a place.
        send(&store, 0..50).await;

        let keys: Vec<String> = valkey.query(&["KEYS", "*counts"]).await.unwrap();
        valkey.exec(&["SET", &keys[0], "another server"]).await;
        reports(false).await;
        assert!(!places.refresh(&store).await.unwrap());
        valkey.exec(&["DEL", &keys[0]]).await;
        reports(true).await;
        assert_eq!(taken(&mut places, &store).await, first);
    }
}
