//! Gauges per sensor, for a bounded number of sensors (`KELVIN_SENSOR_METRICS`).
//!
//! A task asks the store for the statistics of the sensors that have a place, and pages through the store's list only
//! while a place is free: receiving readings costs nothing more, and a collection reads what the task found. A sensor
//! keeps its place until it is silent for [`SILENT`]. On a shared store the process that holds the store's reporting
//! lease reports all places, so that no sensor is reported twice.

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
/// A sensor without a reading for this long loses its place.
const SILENT: Duration = Duration::from_mins(10);
/// Sensors on a page while a place is free, and pages per interval: bounds the work where most sensors are silent.
const PAGE: usize = 256;
const PAGES: usize = 8;
/// Questions to the store at a time.
const CONCURRENCY: usize = 32;

/// What the last round found, by sensor.
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
    let mut places = Places { limit, taken: BTreeMap::new(), page_token: String::new() };
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Values of a store that does not answer would look current: better none.
        let stats = match places.refresh(&store).await {
            Ok(()) => places.taken.clone(),
            Err(error) => {
                tracing::debug!(%error, "cannot read sensors for their metrics");
                BTreeMap::new()
            }
        };
        *found.lock() = stats;
    }
}

/// Who has a place, and where the search for the next one goes on.
struct Places {
    limit: usize,
    taken: BTreeMap<String, Stats>,
    page_token: String,
}

impl Places {
    async fn refresh(&mut self, store: &Store) -> Result<(), StoreError> {
        if !store.is_reporter() {
            self.taken.clear();
            return Ok(());
        }
        let mut answers = stream::iter(self.taken.keys().cloned())
            .map(async |id| (store.stats(&id).await, id))
            .buffer_unordered(CONCURRENCY);
        let mut kept = BTreeMap::new();
        while let Some((stats, id)) = answers.next().await {
            if let Some(stats) = stats?.filter(is_heard) {
                kept.insert(id, stats);
            }
        }
        drop(answers);
        self.taken = kept;
        self.fill(store).await
    }

    /// Gives free places to sensors that are heard.
    async fn fill(&mut self, store: &Store) -> Result<(), StoreError> {
        for _ in 0..PAGES {
            if self.taken.len() >= self.limit {
                break;
            }
            // After an error, and after the last page, the next round begins at the first page.
            let page = store.list(&std::mem::take(&mut self.page_token), PAGE).await?;
            let free = self.limit - self.taken.len();
            let heard = page
                .sensors
                .into_iter()
                .filter(|(id, stats)| is_heard(stats) && !self.taken.contains_key(id));
            let new: Vec<_> = heard.take(free).collect();
            self.taken.extend(new);
            match page.next {
                Some(next) => self.page_token = next,
                None => break,
            }
        }
        Ok(())
    }
}

fn is_heard(stats: &Stats) -> bool {
    stats.idle < SILENT
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
}

#[cfg(test)]
mod tests {
    use kelvin_store::{AlertSettings, Batch, Limits, Reading, Report, StoreConfig};
    use opentelemetry::metrics::MeterProvider as _;

    use super::*;

    async fn store(idle: Duration) -> Store {
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
        StoreFactory::new(StoreConfig::Memory, limits, alerts, &meter).unwrap().open().await.unwrap()
    }

    async fn send(store: &Store, ids: impl Iterator<Item = usize>) {
        let mut batch = Batch::default();
        for id in ids {
            batch.push(&format!("sensor-{id}"), Reading { temperature: 20.0, timestamp: 1 });
        }
        store.append(&batch, &mut Report::default()).await.unwrap();
    }

    fn places(limit: usize) -> Places {
        Places { limit, taken: BTreeMap::new(), page_token: String::new() }
    }

    #[tokio::test]
    async fn taken_places_are_kept_while_their_sensors_are_heard() {
        let (store, mut places) = (store(Duration::from_hours(1)).await, places(5));
        send(&store, 0..3).await;
        places.refresh(&store).await.unwrap();
        assert_eq!(places.taken.len(), 3);
        send(&store, 0..5000).await;
        places.refresh(&store).await.unwrap();
        let first: Vec<_> = places.taken.keys().cloned().collect();
        assert_eq!(first.len(), 5);
        assert!((0..3).all(|id| first.contains(&format!("sensor-{id}"))), "{first:?}");
        send(&store, 5000..9000).await;
        places.refresh(&store).await.unwrap();
        assert_eq!(places.taken.keys().cloned().collect::<Vec<_>>(), first);
    }

    #[tokio::test]
    async fn silent_sensor_passes_its_place_on() {
        let (store, mut places) = (store(Duration::from_millis(200)).await, places(1));
        send(&store, 0..1).await;
        places.refresh(&store).await.unwrap();
        assert!(places.taken.contains_key("sensor-0"));
        // The store expires it after 200 ms, which is sooner than it counts as silent.
        let passed_on = async {
            while !places.taken.contains_key("sensor-1") {
                sleep(Duration::from_millis(10)).await;
                send(&store, 1..2).await;
                places.refresh(&store).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), passed_on).await.unwrap();
        assert_eq!(places.taken.len(), 1);
    }
}
