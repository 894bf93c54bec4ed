//! Random traffic against the simplest thing that could be right.

use std::collections::BTreeMap;

use kelvin_store::{Limits, Query, Reading};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use crate::{
    maker::Maker,
    support::{append, no_alerts, read, reading, roomy},
};

const NAMES: [&str; 5] = ["a", "b", "sensor-with-a-name-longer-than-fits-inline", "{d}", "ö"];
const ROUNDS: usize = 24;

type Traffic = Vec<Vec<(usize, f64, i64)>>;

pub(crate) async fn random_traffic_agrees_with_the_model(maker: &impl Maker) {
    let mut runner = TestRunner::new(Config::default());
    let batches = prop::collection::vec((0..NAMES.len(), -80.0..80.0_f64, 0..100_i64), 0..80);
    let strategy = (1..60_usize, 1..20_usize, prop::collection::vec(batches, 1..12));
    for _ in 0..ROUNDS {
        let (bound, window, traffic) = strategy.new_tree(&mut runner).expect("traffic").current();
        check(maker, bound, window, &traffic).await;
    }
}

async fn check(maker: &impl Maker, bound: usize, window: usize, traffic: &Traffic) {
    let limits = Limits { readings_per_sensor: bound, recent_window: window, ..roomy() };
    let store = maker.make(limits, no_alerts()).await.open().await.expect("the store opens");
    let mut model: BTreeMap<&str, Vec<Reading>> = BTreeMap::new();
    for part in traffic {
        let readings: Vec<_> =
            part.iter().map(|&(name, value, at)| (NAMES[name], reading(value, at))).collect();
        let held = |model: &BTreeMap<&str, Vec<Reading>>| -> usize {
            model.values().map(|all| all.len().min(bound)).sum()
        };
        let before = held(&model);
        for (name, reading) in &readings {
            model.entry(name).or_default().push(*reading);
        }
        let report = append(&store, &readings).await;
        assert_eq!(report.stored, readings.len());
        assert_eq!(report.evicted, before + readings.len() - held(&model));
    }
    for (name, all) in &model {
        let kept = &all[all.len().saturating_sub(bound)..];
        assert_eq!(read(&store, name, Query::default()).await, kept, "{name}");
        let stats = store.stats(name).await.unwrap().unwrap();
        let mean = all.iter().map(|reading| reading.temperature).sum::<f64>() / all.len() as f64;
        assert!((stats.mean - mean).abs() < 1e-9, "{stats:?} {mean}");
        let recent = &kept[kept.len().saturating_sub(window)..];
        let recent_mean = recent.iter().map(|reading| reading.temperature).sum::<f64>() / recent.len() as f64;
        assert!((stats.recent_mean - recent_mean).abs() < 1e-9, "{stats:?} {recent_mean}");
        assert_eq!((stats.count, stats.held), (all.len() as u64, kept.len() as u64));
        assert_eq!(stats.last, all[all.len() - 1]);
    }
    assert_eq!(store.list("", 100).await.unwrap().sensors.len(), model.len());
}
