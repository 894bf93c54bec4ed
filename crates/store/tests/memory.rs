//! What is true of the memory store alone: its limits are exact although its shards share them.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use futures_util::FutureExt as _;
use kelvin_store::{
    AggregateQuery, AlertSettings, Batch, Limits, Query, Reading, RejectReason, Report, Store, StoreConfig,
    StoreFactory,
};
use opentelemetry::metrics::{MeterProvider as _, noop::NoopMeterProvider};
use proptest::{collection::vec, prelude::*};

fn limits() -> Limits {
    Limits {
        readings_per_sensor: 100_000,
        sensors: 10_000,
        readings: 10_000_000,
        memory: usize::MAX,
        idle: Duration::from_hours(1),
        recent_window: 10,
    }
}

fn open(limits: Limits, alerts: AlertSettings) -> Store {
    let meter = NoopMeterProvider::new().meter("test");
    let factory =
        StoreFactory::new(StoreConfig::Memory, limits, alerts, &meter).expect("the settings are valid");
    factory.open().now_or_never().expect("memory does not wait").expect("the store opens")
}

fn quiet() -> AlertSettings {
    AlertSettings { low: None, high: None, z_score: None }
}

fn append(store: &Store, readings: impl IntoIterator<Item = (String, f64, i64)>) -> Report {
    let (mut batch, mut report) = (Batch::default(), Report::default());
    for (sensor, temperature, timestamp) in readings {
        batch.push(&sensor, Reading { temperature, timestamp });
    }
    store.append(&batch, &mut report).now_or_never().expect("memory does not wait").expect("memory takes it");
    report
}

fn held(store: &Store, sensor: &str) -> u64 {
    let stats = store.stats(sensor).now_or_never().expect("memory does not wait").expect("memory answers");
    stats.map_or(0, |stats| stats.held)
}

#[test]
fn batches_of_full_sensors_leave_room_to_others() {
    const FULL: usize = 1000;
    let store = open(Limits { readings_per_sensor: FULL, readings: 4 * FULL + 1500, ..limits() }, quiet());
    let batch = |sensor: usize| (0..500).map(move |at| (format!("full-{sensor}"), 20.0, at));
    for sensor in [0, 0, 1, 1, 2, 2, 3, 3] {
        append(&store, batch(sensor));
    }
    let stop = AtomicBool::new(false);
    let refused = thread::scope(|scope| {
        for sensor in 0..4 {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    assert_eq!(append(store, batch(sensor)).rejected, []);
                }
            });
        }
        let new = (0..1500).map(|at| append(&store, [(format!("new-{at}"), 20.0, 0)]).rejected.len());
        let refused: usize = new.sum();
        stop.store(true, Relaxed);
        refused
    });
    assert_eq!(refused, 0, "there is room for exactly as many");
    assert_eq!(append(&store, [("one too many".to_owned(), 20.0, 0)]).rejected, [(0, RejectReason::Full)]);
}

#[test]
fn memory_limit_evicts_the_oldest_of_the_sensor_that_writes() {
    let store = open(Limits { memory: 64 * 1024, ..limits() }, quiet());
    append(&store, (0..2000).map(|at| ("still".to_owned(), 20.0, at)));
    let mut evicted = 0;
    for part in 0..100 {
        // Full-mantissa noise: seven bytes a reading.
        let report = append(&store, (0..500).map(|at| ("busy".to_owned(), fastrand::f64(), part * 500 + at)));
        assert_eq!(report.stored, 500);
        evicted += report.evicted;
    }
    assert_eq!(held(&store, "still"), 2000, "nobody pushes out what others stored");
    let kept = held(&store, "busy");
    assert_eq!(kept, 50_000 - evicted as u64);
    assert!((4000..9000).contains(&kept), "{kept} readings in 64 KiB");
    // Whoever holds something is still stored; new sensors are refused before the limit is passed by much.
    let refused: Vec<_> =
        (0..100).flat_map(|at| append(&store, [(format!("new-{at}"), 1.0, 0)]).rejected).collect();
    assert!(refused.len() > 90 && refused.iter().all(|(_, reason)| *reason == RejectReason::Full));
    assert_eq!(append(&store, [("still".to_owned(), 21.0, 2000)]).stored, 1);
}

#[test]
fn sensors_without_a_block_stay_within_the_memory_limit() {
    let store = open(Limits { memory: 32 * 1024, ..limits() }, quiet());
    for at in 0..200 {
        let report = append(&store, (0..200).map(|sensor| (format!("sensor-{sensor}"), fastrand::f64(), at)));
        assert_eq!(report.stored + report.rejected.len(), 200);
    }
    let sensors = (0..200).filter(|sensor| held(&store, &format!("sensor-{sensor}")) > 0).count();
    assert!((20..100).contains(&sensors), "{sensors} sensors in 32 KiB");
}

fn temperature() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1e6..1e6_f64,
        -100.0..100.0_f64,
        prop::num::f64::SUBNORMAL,
        prop::sample::select(vec![1e6, -1e6, 0.0, -0.0, 20.0]),
    ]
}

proptest! {
    #[test]
    fn statistics_are_finite(temperatures in vec(temperature(), 1..300), size in 1..90_usize) {
        let alerts = AlertSettings { low: Some(-40.0), high: Some(85.0), z_score: Some(3.5) };
        let store = open(Limits { readings_per_sensor: 150, ..limits() }, alerts);
        for part in temperatures.chunks(size) {
            let report = append(&store, (0..).zip(part).map(|(at, temperature)| ("a".to_owned(), *temperature, at)));
            for (_, alert) in report.alerts {
                let text = format!("{alert} {alert:?}");
                prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
            }
        }
        let stats = store.stats("a").now_or_never().unwrap().unwrap().unwrap();
        let numbers = [stats.mean, stats.min, stats.max, stats.standard_deviation, stats.recent_mean];
        prop_assert!(numbers.iter().all(|number| number.is_finite()), "{:?}", stats);
        let query = AggregateQuery { since: None, until: None, step: NonZeroU64::new(7).unwrap() };
        let windows = store.aggregate("a", &query).now_or_never().unwrap().unwrap().windows;
        prop_assert!(windows.iter().all(|window| [window.mean, window.min, window.max, window.standard_deviation].iter().all(|number| number.is_finite())));
    }
}

#[tokio::test]
async fn long_searches_let_others_run() {
    let store = open(Limits { readings_per_sensor: 1_000_000, ..limits() }, quiet());
    append(&store, (0..1_000_000).map(|at| ("a".to_owned(), 20.0, at % 7)));
    let query = Query { since: Some(10), limit: Some(5), ..Query::default() };
    let mut search = std::pin::pin!(async {
        let mut reader = store.read("a", query).await.expect("memory is there");
        reader.next(&mut Vec::new()).await
    });
    let mut polls = 0;
    let found = std::future::poll_fn(|context| {
        polls += 1;
        search.as_mut().poll(context)
    });
    assert!(!found.await.expect("memory is there"), "no reading is so late");
    assert!(polls > 10, "searched in {polls} polls");
}

/// Each reading lies in another window than the one before it, which costs more than decompressing it.
#[tokio::test]
async fn aggregates_of_alternating_windows_let_others_run() {
    const COUNT: i64 = 40_000;
    let store = open(limits(), quiet());
    append(&store, (0..COUNT).map(|at| ("a".to_owned(), 20.0, at % 2 * 100)));
    let query = AggregateQuery { since: None, until: None, step: NonZeroU64::new(100).unwrap() };
    let mut aggregate = std::pin::pin!(store.aggregate("a", &query));
    let mut polls = 0;
    let found = std::future::poll_fn(|context| {
        polls += 1;
        aggregate.as_mut().poll(context)
    });
    assert_eq!(found.await.expect("memory is there").windows.len(), 2);
    assert!(polls > COUNT / 1000, "aggregated in {polls} polls");
}

/// The new sensors are in other shards than the idle one, all but perhaps one of them.
#[test]
fn idle_sensor_makes_room_at_each_limit() {
    let idle = Duration::from_millis(200);
    for limits in [
        Limits { sensors: 1, idle, ..limits() },
        Limits { readings: 10, idle, ..limits() },
        Limits { memory: 900, idle, ..limits() },
    ] {
        let store = open(limits, quiet());
        assert_eq!(append(&store, (0..10).map(|at| ("idle".to_owned(), 20.0, at))).stored, 10);
        assert_eq!(append(&store, [("too early".to_owned(), 20.0, 0)]).stored, 0);
        thread::sleep(idle);
        assert_eq!(append(&store, [("new".to_owned(), 20.0, 0)]).stored, 1);
    }
}
