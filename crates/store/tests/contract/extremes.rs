//! Readings at the ends of the accepted range, and readers among writes of every size.

use kelvin_store::{AggregateQuery, AlertSettings, Limits, Query, Reading, Store};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use crate::{
    maker::Maker,
    support::{append_all, no_alerts, reading, rising, roomy},
};

/// The range that the server accepts, degrees Celsius.
const LOWEST: f64 = -273.15;
const HIGHEST: f64 = 1e6;

fn temperatures() -> impl Strategy<Value = f64> {
    let ends = [LOWEST, HIGHEST, LOWEST.next_up(), HIGHEST.next_down(), 0.0, -0.0, f64::MIN_POSITIVE, 5e-324];
    prop_oneof![prop::sample::select(ends.to_vec()), LOWEST..=HIGHEST, -40.0..60.0_f64]
}

fn timestamps() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MIN + 1), any::<i64>(), -1000..1000_i64]
}

pub(crate) async fn statistics_of_accepted_readings_are_finite(maker: &impl Maker) {
    let alerts = AlertSettings { low: None, high: None, z_score: Some(6.0) };
    let store = maker.make(roomy(), alerts).await.open().await.expect("the store opens");
    let mut runner = TestRunner::new(Config::default());
    let strategy = prop::collection::vec((temperatures(), timestamps()), 1..60);
    for round in 0..64 {
        let readings: Vec<Reading> = strategy
            .new_tree(&mut runner)
            .expect("readings")
            .current()
            .into_iter()
            .map(|(temperature, timestamp)| reading(temperature, timestamp))
            .collect();
        // Every fourth round begins with a new sensor.
        let sensor = format!("sensor-{}", round / 4);
        append_all(&store, &sensor, &readings).await;
        let stats = store.stats(&sensor).await.unwrap().unwrap();
        assert!(
            (LOWEST..=HIGHEST).contains(&stats.min) && (stats.min..=HIGHEST).contains(&stats.max),
            "{stats:?}"
        );
        let bounds = stats.min..=stats.max;
        assert!(bounds.contains(&stats.mean) && bounds.contains(&stats.recent_mean), "{stats:?}");
        assert!((0.0..=HIGHEST - LOWEST).contains(&stats.standard_deviation), "{stats:?}");
        for step in [1, 3600, u64::MAX] {
            let query = AggregateQuery { since: None, until: None, step: step.try_into().unwrap() };
            for window in store.aggregate(&sensor, &query).await.unwrap().windows {
                let values = [window.mean, window.min, window.max, window.standard_deviation];
                assert!(values.iter().all(|value| value.is_finite()), "{window:?}");
                assert!((window.min..=window.max).contains(&window.mean), "{window:?}");
            }
        }
    }
}

/// One step of a writer and its readers.
#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Begin { follow: bool },
    Next(usize),
}

struct Progress {
    reader: kelvin_store::Reader,
    follow: bool,
    /// The index of the next reading, if none is evicted.
    next: usize,
    begin: usize,
    end: usize,
    got: usize,
}

pub(crate) async fn readers_among_writes_lose_nothing_unnoticed(maker: &impl Maker) {
    let mut runner = TestRunner::new(Config::default());
    let step = prop_oneof![
        (0..1500_usize).prop_map(Step::Write),
        (0..30_usize).prop_map(Step::Write),
        any::<bool>().prop_map(|follow| Step::Begin { follow }),
        (0..4_usize).prop_map(Step::Next),
        (0..4_usize).prop_map(Step::Next),
    ];
    let strategy = (1..2000_usize, prop::collection::vec(step, 1..40));
    for _ in 0..16 {
        let (bound, steps) = strategy.new_tree(&mut runner).expect("steps").current();
        let limits = Limits { readings_per_sensor: bound, ..roomy() };
        let store = maker.make(limits, no_alerts()).await.open().await.expect("the store opens");
        run(&store, bound, &steps).await;
    }
}

async fn run(store: &Store, bound: usize, steps: &[Step]) {
    let mut readers: Vec<Progress> = Vec::new();
    let mut written = 0;
    for step in steps {
        match step {
            Step::Write(count) => {
                append_all(store, "a", &rising(i64::try_from(written).unwrap(), *count)).await;
                written += count;
            }
            Step::Begin { follow } => {
                let reader = store.read("a", Query { follow: *follow, ..Query::default() }).await.unwrap();
                let begin = written.saturating_sub(bound);
                readers.push(Progress { reader, follow: *follow, next: begin, begin, end: written, got: 0 });
            }
            Step::Next(index) => {
                if let Some(progress) = readers.get_mut(*index) {
                    // A follower that has all would wait.
                    if !progress.follow || progress.next < written {
                        advance(progress, bound, written).await;
                    }
                }
            }
        }
    }
    for progress in &mut readers {
        let end = if progress.follow { written } else { progress.end };
        while progress.next < end && advance(progress, bound, written).await {}
        let missed = usize::try_from(progress.reader.missed()).unwrap();
        assert_eq!(progress.got + missed, end - progress.begin, "{steps:?}");
    }
}

/// Takes what comes next: in order, without a gap but that of evicted readings.
async fn advance(progress: &mut Progress, bound: usize, written: usize) -> bool {
    let mut chunk = Vec::new();
    let more = progress.reader.next(&mut chunk).await.unwrap();
    for Reading { timestamp, .. } in &chunk {
        let index = usize::try_from(*timestamp).unwrap();
        assert!(index >= progress.next, "no reading comes twice");
        assert!(
            index == progress.next || progress.next < written.saturating_sub(bound),
            "a held reading is left out"
        );
        progress.next = index + 1;
    }
    progress.got += chunk.len();
    more
}
