use proptest::prelude::*;

use super::{Detector, HISTORY, MAD_PER_SIGMA, MIN_MAD, Rules};
use crate::{Alert, AlertKind, AlertSettings};

/// Judges and remembers one after the other, as a store does.
fn run(settings: &AlertSettings, temperatures: &[f64]) -> Vec<(usize, Alert)> {
    let rules = Rules::from(settings);
    let mut detector = Detector::default();
    let mut alerts = Vec::new();
    for (at, &temperature) in temperatures.iter().enumerate() {
        let before = temperatures[..at].iter().rev().copied();
        let quiet = detector.all_within(&rules, temperature, temperature);
        let alert = detector.evaluate(&rules, temperature, before);
        assert!(!quiet || alert.is_none(), "a quiet reading changed something");
        alerts.extend(alert.map(|alert| (at, alert)));
        detector.observe(&rules, 1, temperatures[..=at].iter().rev().copied());
    }
    alerts
}

fn limits() -> AlertSettings {
    AlertSettings { low: Some(0.0), high: Some(40.0), z_score: None }
}

fn outliers() -> AlertSettings {
    AlertSettings { low: None, high: None, z_score: Some(3.5) }
}

/// 20 °C give or take a steady 0.2 °C.
fn usual(count: usize) -> Vec<f64> {
    (0..count).map(|at| 20.0 + 0.1 * (at % 5) as f64 - 0.2).collect()
}

proptest! {
    #[test]
    fn refresh_finds_median_and_its_median_distance(
        values in prop::collection::vec(prop_oneof![-80.0..80.0_f64, (-9..9_i8).prop_map(f64::from)], 16..HISTORY + 1),
    ) {
        let middle = |values: &[f64]| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            let half = sorted.len() / 2;
            if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
        };
        let median = middle(&values);
        let distances: Vec<_> = values.iter().map(|value| (value - median).abs()).collect();
        let mut detector = Detector::default();
        detector.refresh_from(&Rules::from(&outliers()), values.iter().copied());
        prop_assert_eq!(detector.median.to_bits(), median.to_bits());
        let threshold = 3.5 * middle(&distances).max(MIN_MAD) / MAD_PER_SIGMA;
        prop_assert_eq!(detector.threshold.to_bits(), threshold.to_bits());
    }
}

#[test]
fn limit_alert_begins_when_crossed_and_ends_inside() {
    let alerts = run(&limits(), &[39.0, 40.0, 45.0, 39.8, 40.1, 39.4, 20.0, -1.0, -2.0, 0.6]);
    let changes: Vec<_> = alerts.iter().map(|(at, alert)| (*at, alert.kind.as_str(), alert.began)).collect();
    assert_eq!(changes, [(1, "high", true), (5, "high", false), (7, "low", true), (9, "low", false)]);
}

#[test]
fn from_one_limit_to_the_other_the_second_begins() {
    let alerts = run(&limits(), &[41.0, -1.0, 20.0]);
    let changes: Vec<_> = alerts.iter().map(|(at, alert)| (*at, alert.kind.as_str(), alert.began)).collect();
    assert_eq!(changes, [(0, "high", true), (1, "low", true), (2, "low", false)]);
}

#[test]
fn outlier_alert_has_its_numbers() {
    let mut temperatures = usual(40);
    temperatures.extend([25.0, 25.1, 20.0]);
    let alerts = run(&outliers(), &temperatures);
    let changes: Vec<_> = alerts.iter().map(|(at, alert)| (*at, alert.began)).collect();
    assert_eq!(changes, [(40, true), (42, false)]);
    let AlertKind::Outlier { z_score, median, mad } = alerts[0].1.kind else { panic!("{alerts:?}") };
    assert!((median - 20.0).abs() < 1e-9 && (mad - 0.1).abs() < 1e-9);
    assert!((z_score - 0.6745 * 5.0 / 0.1).abs() < 1e-6, "{z_score}");
}

#[test]
fn too_little_history_calls_nothing_out() {
    let mut temperatures = usual(15);
    temperatures.push(90.0);
    assert_eq!(run(&outliers(), &temperatures), []);
}

#[test]
fn constant_history_tolerates_small_steps() {
    let mut temperatures = vec![20.0; HISTORY];
    temperatures.extend([20.2, 20.0, 20.5]);
    let changes: Vec<_> = run(&outliers(), &temperatures).iter().map(|(at, _)| *at).collect();
    assert_eq!(changes, [HISTORY + 2]);
}

#[test]
fn lasting_step_alerts_once_and_becomes_normal() {
    let mut temperatures = usual(64);
    temperatures.extend(usual(200).iter().map(|value| value + 10.0));
    let changes: Vec<_> =
        run(&outliers(), &temperatures).iter().map(|(at, alert)| (*at >= 64, alert.began)).collect();
    assert_eq!(changes, [(true, true), (true, false)]);
}

#[test]
fn slow_drift_is_usual() {
    let temperatures: Vec<f64> =
        usual(2000).iter().enumerate().map(|(at, value)| value + at as f64 * 0.004).collect();
    assert_eq!(run(&outliers(), &temperatures), []);
}

#[test]
fn without_rules_no_reading_raises_an_alert() {
    let none = AlertSettings { low: None, high: None, z_score: None };
    assert_eq!(run(&none, &[-200.0, 1e300, 0.0]), []);
}

#[test]
fn history_is_not_read_without_the_outlier_detector() {
    let rules = Rules::from(&limits());
    let mut detector = Detector::default();
    for _ in 0..10 {
        let count = detector.until_refresh();
        let history = std::iter::from_fn(|| panic!("nothing is compared with it"));
        assert!(detector.observe(&rules, count, history));
    }
}
