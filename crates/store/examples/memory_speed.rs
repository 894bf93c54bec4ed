//! How fast the memory store takes readings in and gives them back, on one core:
//! `cargo run --release -p kelvin-store --example memory_speed`.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use kelvin_store::{
    AggregateQuery, AlertSettings, Batch, Limits, Query, Reading, Report, Store, StoreConfig, StoreFactory,
};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};

const READINGS: usize = 8_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!(
        "{:>9} {:>7} {:>8} {:>14} {:>12}",
        "sensors", "batch", "z-score", "M readings/s", "ns a reading"
    );
    for (sensors, size) in [(1, 500), (10, 500), (1000, 500), (100_000, 500), (1000, 1)] {
        for z_score in [None, Some(3.5)] {
            let store = open(z_score).await;
            let batches = batches(sensors, size);
            append(&store, &batches, READINGS / 4).await;
            let took = append(&store, &batches, READINGS).await;
            print(&format!("{sensors:>9} {size:>7} {:>8}", z_score.is_some()), READINGS, took);
        }
    }
    let store = open(None).await;
    append(&store, &batches(1, 500), 10_000).await;
    let (mut out, mut count) = (Vec::new(), 0);
    let start = Instant::now();
    while count < READINGS {
        let mut reader = store.read("sensor-0", Query::default()).await.expect("memory is there");
        while reader.next(&mut out).await.expect("memory is there") {
            count += out.len();
            out.clear();
        }
    }
    print("read back, 10,000 of a sensor", count, start.elapsed());
    let query = AggregateQuery { since: None, until: None, step: NonZeroU64::new(4000).expect("not zero") };
    let (mut count, start) = (0, Instant::now());
    while count < 8 * READINGS {
        let windows = store.aggregate("sensor-0", &query).await.expect("memory is there").windows;
        count += windows.iter().map(|window| usize::try_from(window.count).expect("few")).sum::<usize>();
    }
    print("summed up in windows of 4,000", count, start.elapsed());
}

async fn open(z_score: Option<f64>) -> Store {
    let limits = Limits {
        readings_per_sensor: 10_000,
        sensors: 1_000_000,
        readings: 100_000_000,
        memory: usize::MAX,
        idle: Duration::from_hours(1),
        recent_window: 10,
    };
    let alerts = AlertSettings { low: Some(-40.0), high: Some(85.0), z_score };
    let meter = NoopMeterProvider::new().meter("speed");
    let factory =
        StoreFactory::new(StoreConfig::Memory, limits, alerts, &meter).expect("the settings are valid");
    factory.open().await.expect("memory opens")
}

/// Each sensor in turn, with a little noise in tenths of a degree.
fn batches(sensors: usize, size: usize) -> Vec<Batch> {
    let count = (4 * sensors).div_ceil(size).clamp(8, 4000);
    let mut readings =
        (0_i64..).map(|at| Reading { temperature: f64::from(fastrand::u8(200..207)) / 10.0, timestamp: at });
    let mut sensor = (0..sensors).cycle();
    let mut batch = || {
        let mut batch = Batch::default();
        for (sensor, reading) in sensor.by_ref().zip(readings.by_ref()).take(size) {
            batch.push(&format!("sensor-{sensor}"), reading);
        }
        batch
    };
    (0..count).map(|_| batch()).collect()
}

async fn append(store: &Store, batches: &[Batch], readings: usize) -> Duration {
    let mut report = Report::default();
    let (mut stored, start) = (0, Instant::now());
    for batch in batches.iter().cycle() {
        store.append(batch, &mut report).await.expect("memory takes it");
        stored += report.stored;
        if stored >= readings {
            break;
        }
    }
    start.elapsed()
}

fn print(what: &str, readings: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    println!("{what} {:>14.1} {:>12.1}", readings as f64 / seconds / 1e6, seconds * 1e9 / readings as f64);
}
