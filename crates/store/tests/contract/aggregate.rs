//! Readings summed up in windows of time.

use std::{collections::BTreeMap, num::NonZeroU64};

use kelvin_store::{Aggregate, AggregateQuery, Limits, MAX_WINDOWS, Reading, Store, StoreError, Window};

use crate::{
    maker::Maker,
    support::{append_all, no_alerts, reading, rising, roomy},
};

async fn open(maker: &impl Maker, limits: Limits) -> Store {
    maker.make(limits, no_alerts()).await.open().await.expect("the store opens")
}

async fn aggregate(
    store: &Store,
    range: (Option<i64>, Option<i64>),
    step: u64,
) -> Result<Aggregate, StoreError> {
    let (since, until) = range;
    let step = NonZeroU64::new(step).expect("a step is at least a second");
    store.aggregate("a", &AggregateQuery { since, until, step }).await
}

/// The plain way.
fn expected(readings: &[Reading], range: (Option<i64>, Option<i64>), step: i64) -> Vec<Window> {
    let mut windows: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for Reading { temperature, timestamp } in readings {
        if range.0.is_none_or(|since| *timestamp >= since) && range.1.is_none_or(|until| *timestamp < until) {
            windows.entry(timestamp.div_euclid(step) * step).or_default().push(*temperature);
        }
    }
    let window = |(start, values): (i64, Vec<f64>)| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Window {
            start,
            count: values.len() as u64,
            mean,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            standard_deviation: variance.sqrt(),
        }
    };
    windows.into_iter().map(window).collect()
}

fn assert_equal(got: &[Window], expected: &[Window]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(
            (got.start, got.count, got.min.to_bits(), got.max.to_bits()),
            (expected.start, expected.count, expected.min.to_bits(), expected.max.to_bits())
        );
        assert!((got.mean - expected.mean).abs() < 1e-9, "{got:?} {expected:?}");
        assert!((got.standard_deviation - expected.standard_deviation).abs() < 1e-9, "{got:?} {expected:?}");
    }
}

pub(crate) async fn aggregates_are_by_window(maker: &impl Maker) {
    let store = open(maker, Limits { readings_per_sensor: 4, ..roomy() }).await;
    assert_eq!(
        aggregate(&store, (None, None), 10).await.unwrap(),
        Aggregate { windows: vec![], evicted: 0 },
        "an unknown sensor"
    );
    let mut all = vec![reading(10.0, 5), reading(30.0, 25), reading(20.0, 15)];
    append_all(&store, "a", &all).await;
    let got = aggregate(&store, (None, None), 10).await.unwrap();
    let one = |start, mean| Window { start, count: 1, mean, min: mean, max: mean, standard_deviation: 0.0 };
    assert_eq!(
        got,
        Aggregate { windows: vec![one(0, 10.0), one(10, 20.0), one(20, 30.0)], evicted: 0 },
        "late ones are in their place"
    );
    let more = [reading(11.0, 9), reading(-3.5, -1), reading(7.0, i64::MAX)];
    append_all(&store, "a", &more).await;
    all.extend(more);
    for range in
        [(None, None), (Some(9), Some(15)), (Some(15), Some(16)), (Some(16), Some(15)), (None, Some(9))]
    {
        let got = aggregate(&store, range, 10).await.unwrap();
        assert_equal(&got.windows, &expected(&all[2..], range, 10));
        assert_eq!(got.evicted, 2, "older readings are missing");
    }
}

pub(crate) async fn aggregates_cover_long_histories(maker: &impl Maker) {
    let store = open(maker, Limits { readings_per_sensor: 9000, ..roomy() }).await;
    // Each tenth comes a minute late.
    let all: Vec<Reading> = (0..10_000_i64)
        .map(|at| reading((at * 37 % 601) as f64 / 10.0 - 20.0, if at % 10 == 0 { at - 60 } else { at }))
        .collect();
    for part in all.chunks(499) {
        append_all(&store, "a", part).await;
    }
    for (since, until, step) in [
        (None, None, 1),
        (None, None, 60),
        (None, None, 5000),
        (Some(2500), Some(9001), 3600),
        (Some(1500), None, 100_000),
        (None, Some(9999), 7),
    ] {
        let got = aggregate(&store, (since, until), step).await.unwrap();
        assert_equal(&got.windows, &expected(&all[1000..], (since, until), i64::try_from(step).unwrap()));
        assert_eq!(got.evicted, 1000);
    }
}

pub(crate) async fn too_many_windows_are_an_error(maker: &impl Maker) {
    let limits = Limits { readings_per_sensor: 20_000, ..roomy() };
    let store = open(maker, limits).await;
    append_all(&store, "a", &rising(0, MAX_WINDOWS + 1)).await;
    let end = i64::try_from(MAX_WINDOWS).unwrap();
    assert!(matches!(aggregate(&store, (None, None), 1).await, Err(StoreError::TooManyWindows)));
    let most = aggregate(&store, (None, Some(end)), 1).await.unwrap();
    assert_eq!(most.windows.len(), MAX_WINDOWS);
    assert_eq!(aggregate(&store, (None, None), 2).await.unwrap().windows.len(), MAX_WINDOWS / 2 + 1);
}
