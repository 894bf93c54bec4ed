use std::time::Duration;

use kelvin_store::{AlertSettings, Batch, Limits, Query, Reader, Reading, Report, Store};

/// Bounds out of reach.
pub(crate) fn roomy() -> Limits {
    Limits {
        readings_per_sensor: 10_000,
        sensors: 10_000,
        readings: 1_000_000,
        memory: usize::MAX,
        idle: Duration::from_hours(1),
        recent_window: 10,
    }
}

pub(crate) fn no_alerts() -> AlertSettings {
    AlertSettings { low: None, high: None, z_score: None }
}

pub(crate) fn reading(temperature: f64, timestamp: i64) -> Reading {
    Reading { temperature, timestamp }
}

pub(crate) fn batch<'a>(readings: impl IntoIterator<Item = (&'a str, Reading)>) -> Batch {
    let mut batch = Batch::default();
    for (sensor, reading) in readings {
        batch.push(sensor, reading);
    }
    batch
}

pub(crate) async fn append(store: &Store, readings: &[(&str, Reading)]) -> Report {
    let mut report = Report::default();
    store.append(&batch(readings.iter().copied()), &mut report).await.expect("the store takes the batch");
    report
}

/// `count` readings with rising timestamps from `first` on.
pub(crate) fn rising(first: i64, count: usize) -> Vec<Reading> {
    (first..).take(count).map(|at| reading(20.0 + (at % 7) as f64, at)).collect()
}

pub(crate) async fn append_all(store: &Store, sensor: &str, readings: &[Reading]) -> Report {
    let readings: Vec<_> = readings.iter().map(|reading| (sensor, *reading)).collect();
    append(store, &readings).await
}

pub(crate) async fn read(store: &Store, sensor: &str, query: Query) -> Vec<Reading> {
    let mut reader = store.read(sensor, query).await.expect("the store is read");
    drain(&mut reader).await
}

pub(crate) async fn drain(reader: &mut Reader) -> Vec<Reading> {
    let mut readings = Vec::new();
    while reader.next(&mut readings).await.expect("the store is read") {}
    readings
}

/// Reads on until there are `count` readings.
pub(crate) async fn read_until(reader: &mut Reader, count: usize) -> Vec<Reading> {
    let mut readings = Vec::new();
    let all = async {
        while readings.len() < count {
            assert!(
                reader.next(&mut readings).await.expect("the store is read"),
                "the follower came to an end"
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("the follower gets its readings");
    readings
}
