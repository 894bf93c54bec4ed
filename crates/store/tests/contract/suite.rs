//! The contract, one point a function.

use std::{collections::HashMap, time::Duration};

use kelvin_store::{AlertSettings, Limits, Outcome, Query, Reading, RejectReason, Store, StoreError};
use kelvin_testing::{eventually, eventually_some};

pub(crate) use crate::{
    aggregate::{aggregates_are_by_window, aggregates_cover_long_histories, too_many_windows_are_an_error},
    extremes::{readers_among_writes_lose_nothing_unnoticed, statistics_of_accepted_readings_are_finite},
    model::random_traffic_agrees_with_the_model,
    sequence_numbers::{followers_see_every_sequence_number_once, sequence_numbers_include_evicted_readings},
};
use crate::{
    maker::Maker,
    support::{append, append_all, batch, drain, no_alerts, read, read_until, reading, rising, roomy},
};

async fn open(maker: &impl Maker, limits: Limits) -> Store {
    maker.make(limits, no_alerts()).await.open().await.expect("the store opens")
}

pub(crate) async fn readings_come_back_in_order_of_arrival(maker: &impl Maker) {
    let store = open(maker, roomy()).await;
    // Out of order and twice: both are kept as they come.
    let times = [5, 3, 9, 3, 3, 1, 7];
    for part in times.chunks(3) {
        let readings: Vec<_> =
            part.iter().flat_map(|&at| [("a", reading(1.0, at)), ("{b}", reading(2.0, -at))]).collect();
        let report = append(&store, &readings).await;
        assert_eq!((report.stored, report.evicted), (readings.len(), 0));
        assert!((0..readings.len()).all(|at| report.outcome(at) == Outcome::Stored(None)));
    }
    let expected = |temperature, sign| times.map(|at| reading(temperature, sign * at)).to_vec();
    assert_eq!(read(&store, "a", Query::default()).await, expected(1.0, 1));
    assert_eq!(read(&store, "{b}", Query::default()).await, expected(2.0, -1));
    let stats = store.stats("a").await.unwrap().unwrap();
    assert_eq!(stats.last, reading(1.0, 7));
    assert!(stats.idle < Duration::from_secs(5), "{:?}", stats.idle);
    assert_eq!(append(&store, &[]).await.stored, 0);
}

pub(crate) async fn sensor_keeps_its_newest_readings(maker: &impl Maker) {
    let store = open(maker, Limits { readings_per_sensor: 10, ..roomy() }).await;
    let all = rising(0, 64);
    let mut sent = 0;
    // The last batch alone is more than the bound.
    for size in [4, 5, 6, 1, 13, 35] {
        let held_before = sent.min(10);
        let report = append_all(&store, "a", &all[sent..sent + size]).await;
        sent += size;
        assert_eq!((report.stored, report.evicted), (size, held_before + size - sent.min(10)));
        assert_eq!(read(&store, "a", Query::default()).await, all[sent.saturating_sub(10)..sent]);
        let stats = store.stats("a").await.unwrap().unwrap();
        assert_eq!((stats.count, stats.held), (sent as u64, sent.min(10) as u64));
    }
}

pub(crate) async fn total_reading_limit_is_kept(maker: &impl Maker) {
    let store = open(maker, Limits { readings: 8, sensors: 1, ..roomy() }).await;
    let all = rising(0, 30);
    assert_eq!(append_all(&store, "a", &all[..5]).await.evicted, 0);
    assert_eq!(append_all(&store, "a", &all[5..10]).await.evicted, 2);
    assert_eq!(append_all(&store, "a", &all[10..]).await.evicted, 20);
    assert_eq!(read(&store, "a", Query::default()).await, all[22..]);

    let store = open(maker, Limits { readings: 8, sensors: 2, ..roomy() }).await;
    append_all(&store, "a", &all).await;
    let report = append_all(&store, "b", &all[..2]).await;
    assert_eq!(report.rejected, [(0, RejectReason::Full), (1, RejectReason::Full)]);
    assert_eq!((report.stored, report.evicted), (0, 0));
    assert_eq!(store.stats("a").await.unwrap().unwrap().held, 8);
    assert_eq!(store.stats("b").await.unwrap(), None);
}

pub(crate) async fn sensors_beyond_the_bound_are_refused(maker: &impl Maker) {
    let store = open(maker, Limits { sensors: 2, ..roomy() }).await;
    let names = ["a", "b", "c", "d", "a", "b", "c", "d"];
    let readings: Vec<_> = names.iter().zip(rising(0, 8)).map(|(name, reading)| (*name, reading)).collect();
    for round in 1..=2 {
        let report = append(&store, &readings).await;
        assert_eq!((report.stored, report.rejected.len()), (4, 4));
        let page = store.list("", 10).await.unwrap();
        assert_eq!(page.sensors.len(), 2);
        for (at, (name, _)) in readings.iter().enumerate() {
            let stats = page.sensors.iter().find(|(id, _)| id == name);
            match report.outcome(at) {
                Outcome::Stored(_) => assert_eq!(stats.expect("it is held").1.count, 2 * round),
                Outcome::Rejected(why) => {
                    assert_eq!(why, RejectReason::TooManySensors);
                    assert!(stats.is_none());
                }
            }
        }
    }
}

pub(crate) async fn idle_sensor_expires(maker: &impl Maker) {
    let store = open(maker, Limits { sensors: 1, idle: Duration::from_millis(300), ..roomy() }).await;
    append_all(&store, "a", &rising(0, 3)).await;
    eventually("the sensor expires", async || store.stats("a").await.unwrap().is_none()).await;
    assert_eq!(read(&store, "a", Query::default()).await, []);
    assert_eq!(store.list("", 10).await.unwrap().sensors, []);
    // Its place is free, perhaps not at once.
    eventually("the place of the expired sensor is free", async || {
        append_all(&store, "b", &rising(0, 1)).await.stored == 1
    })
    .await;
    // On a slow machine it may expire again before its statistics are read.
    let again = eventually_some("the sensor comes back", async || {
        append_all(&store, "a", &rising(9, 1)).await;
        store.stats("a").await.unwrap()
    })
    .await;
    assert_eq!(again.count, 1, "it starts again");
}

pub(crate) async fn statistics_are_since_first_seen(maker: &impl Maker) {
    let store = open(maker, Limits { readings_per_sensor: 5, recent_window: 3, ..roomy() }).await;
    let temperatures = [10.0, -5.5, 30.25, 20.0, 20.0, 0.0, 7.5, 8.0];
    for (at, part) in (0..).zip(temperatures.chunks(3)) {
        let readings: Vec<_> = part.iter().map(|value| reading(*value, at)).collect();
        append_all(&store, "a", &readings).await;
    }
    let stats = store.stats("a").await.unwrap().unwrap();
    let count = temperatures.len() as f64;
    let mean = temperatures.iter().sum::<f64>() / count;
    let variance = temperatures.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    assert_eq!(stats.count, 8);
    assert!((stats.mean - mean).abs() < 1e-9, "{stats:?}");
    assert!((stats.standard_deviation - variance.sqrt()).abs() < 1e-9, "{stats:?}");
    assert_eq!((stats.min, stats.max, stats.last), (-5.5, 30.25, reading(8.0, 2)));
    assert!((stats.recent_mean - (0.0 + 7.5 + 8.0) / 3.0).abs() < 1e-9, "{stats:?}");
    assert_eq!((stats.recent_count, stats.held), (3, 5));
    assert_eq!((stats.alerts, stats.alerting), (0, false));

    append_all(&store, "b", &[reading(4.0, 0), reading(5.0, 1)]).await;
    let stats = store.stats("b").await.unwrap().unwrap();
    assert_eq!((stats.recent_mean, stats.recent_count), (4.5, 2));
}

pub(crate) async fn unknown_sensors_are_empty(maker: &impl Maker) {
    let store = open(maker, roomy()).await;
    assert_eq!(store.stats("nobody").await.unwrap(), None);
    assert_eq!(read(&store, "nobody", Query::default()).await, []);
    assert_eq!(store.list("", 10).await.unwrap().sensors, []);
}

pub(crate) async fn queries_choose_by_time_and_number(maker: &impl Maker) {
    let store = open(maker, roomy()).await;
    // Old ones arrive late.
    let all: Vec<Reading> = (0..500).map(|at| reading(at as f64, (at * 37) % 100)).collect();
    for part in all.chunks(60) {
        append_all(&store, "a", part).await;
    }
    for (since, until, limit) in [
        (None, None, Some(7)),
        (None, None, Some(0)),
        (None, None, Some(10_000)),
        (Some(50), None, None),
        (None, Some(50), None),
        (Some(20), Some(30), None),
        (Some(20), Some(30), Some(13)),
        (Some(30), Some(20), None),
        (Some(1000), None, Some(5)),
        (Some(99), None, Some(1)),
    ] {
        let expected: Vec<_> = all
            .iter()
            .copied()
            .filter(|reading| since.is_none_or(|since| reading.timestamp >= since))
            .filter(|reading| until.is_none_or(|until| reading.timestamp < until))
            .collect();
        let surplus = limit.map_or(0, |limit: u64| (expected.len() as u64).saturating_sub(limit));
        let expected: Vec<_> = expected.into_iter().skip(usize::try_from(surplus).unwrap()).collect();
        let query = Query { since, until, limit, follow: false };
        assert_eq!(read(&store, "a", query.clone()).await, expected, "{query:?}");
    }
}

pub(crate) async fn alerts_have_their_index(maker: &impl Maker) {
    let alerts = AlertSettings { low: Some(-10.0), high: Some(60.0), z_score: Some(3.5) };
    let store = maker.make(roomy(), alerts).await.open().await.expect("the store opens");
    let alerts = async |readings: &[(&str, Reading)]| -> Vec<(usize, &str, bool)> {
        let report = append(&store, readings).await;
        report.alerts.iter().map(|(at, alert)| (*at, alert.kind.as_str(), alert.began)).collect()
    };
    let quiet: Vec<_> = (0..40).map(|at| ("a", reading(20.0 + 0.1 * (at % 5) as f64, at))).collect();
    assert_eq!(alerts(&quiet).await, []);
    let both = [
        ("a", reading(20.2, 41)),
        ("b", reading(61.0, 0)),
        ("a", reading(33.0, 42)),
        ("b", reading(62.0, 1)),
    ];
    assert_eq!(alerts(&both).await, [(1, "high", true), (2, "outlier", true)]);
    let alerting = store.stats("b").await.unwrap().unwrap();
    assert_eq!((alerting.alerts, alerting.alerting), (1, true));
    assert_eq!(
        alerts(&[("b", reading(61.0, 2))]).await,
        [],
        "one bad sensor does not shout at every reading"
    );
    let back = [("b", reading(20.0, 3)), ("a", reading(20.2, 43)), ("b", reading(-10.0, 4))];
    assert_eq!(alerts(&back).await, [(0, "high", false), (1, "outlier", false), (2, "low", true)]);
    let a = store.stats("a").await.unwrap().unwrap();
    assert_eq!((a.alerts, a.alerting), (1, false));
    let b = store.stats("b").await.unwrap().unwrap();
    assert_eq!((b.alerts, b.alerting), (2, true));
}

pub(crate) async fn pages_list_each_sensor_once(maker: &impl Maker) {
    let store = open(maker, roomy()).await;
    let names: Vec<String> = (0..137).map(|at| format!("sensor-{at}")).collect();
    let readings: Vec<_> = names
        .iter()
        .enumerate()
        .flat_map(|(at, name)| vec![(name.as_str(), reading(1.0, 0)); at % 3 + 1])
        .collect();
    append(&store, &readings).await;
    let mut orders = Vec::new();
    for page_size in [1, 10, 137, 1000] {
        let (mut listed, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = store.list(&token, page_size).await.unwrap();
            assert!(page.sensors.len() <= page_size);
            pages += 1;
            listed.extend(page.sensors);
            match page.next {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(pages, names.len().div_ceil(page_size));
        let counts: HashMap<_, _> = listed.iter().map(|(id, stats)| (id.as_str(), stats.count)).collect();
        assert_eq!(counts.len(), listed.len(), "no sensor twice");
        assert!(names.iter().enumerate().all(|(at, name)| counts[name.as_str()] == (at % 3 + 1) as u64));
        orders.push(listed.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "the order stays");
    for token in ["nonsense", "00", "0123456789abcdefsensor-1", "é"] {
        assert!(matches!(store.list(token, 10).await, Err(StoreError::PageToken)), "{token}");
    }
}

pub(crate) async fn followers_get_everything_once(maker: &impl Maker) {
    let store = open(maker, roomy()).await;
    let all = rising(0, 3000);
    append_all(&store, "a", &all[..100]).await;
    let mut follower = store.read("a", Query { follow: true, ..Query::default() }).await.unwrap();
    let query = Query { since: Some(95), limit: Some(3), follow: true, ..Query::default() };
    let mut chooser = store.read("a", query).await.unwrap();
    let writer = tokio::spawn({
        let (store, all) = (store.clone(), all.clone());
        async move {
            for part in all[100..].chunks(29) {
                append_all(&store, "a", part).await;
                append_all(&store, "b", part).await;
                tokio::task::yield_now().await;
            }
        }
    });
    assert_eq!(read_until(&mut follower, all.len()).await, all);
    assert_eq!(read_until(&mut chooser, all.len() - 97).await, all[97..]);
    writer.await.unwrap();
    // Both wait now and are woken by one more.
    let one = rising(5000, 1);
    let (first, second, _) = tokio::join!(
        read_until(&mut follower, 1),
        read_until(&mut chooser, 1),
        append_all(&store, "a", &one)
    );
    assert_eq!((first, second), (one.clone(), one));
    assert_eq!((follower.missed(), chooser.missed()), (0, 0));
}

pub(crate) async fn follower_may_precede_its_sensor(maker: &impl Maker) {
    let store = open(maker, roomy()).await;
    let mut follower = store.read("a", Query { follow: true, ..Query::default() }).await.unwrap();
    let readings = rising(0, 2);
    let (got, _) = tokio::join!(read_until(&mut follower, 2), append_all(&store, "a", &readings));
    assert_eq!(got, readings);
}

pub(crate) async fn handles_share_what_is_stored(maker: &impl Maker) {
    let factory = maker.make(roomy(), no_alerts()).await;
    let (one, two) = (factory.open().await.unwrap(), factory.open().await.unwrap());
    let mut follower = two.read("a", Query { follow: true, ..Query::default() }).await.unwrap();
    let readings = rising(0, 100);
    append_all(&one, "a", &readings[..50]).await;
    append_all(&two, "a", &readings[50..]).await;
    assert_eq!(read_until(&mut follower, 100).await, readings);
    for store in [one, two] {
        assert_eq!(read(&store, "a", Query::default()).await, readings);
        assert_eq!(store.stats("a").await.unwrap().unwrap().count, 100);
    }
}

pub(crate) async fn late_readers_learn_what_they_missed(maker: &impl Maker) {
    let store = open(maker, Limits { readings_per_sensor: 20, ..roomy() }).await;
    let all = rising(0, 60);
    append_all(&store, "a", &all[..20]).await;
    let mut late = store.read("a", Query::default()).await.unwrap();
    let mut follower = store.read("a", Query { follow: true, ..Query::default() }).await.unwrap();
    append_all(&store, "a", &all[20..35]).await;
    assert_eq!(drain(&mut late).await, all[15..20], "what was there when it came, and still is");
    assert_eq!(late.missed(), 15);
    append_all(&store, "a", &all[35..]).await;
    assert_eq!(read_until(&mut follower, 20).await, all[40..]);
    assert_eq!(follower.missed(), 40);
    let mut report = kelvin_store::Report { stored: 9, ..Default::default() };
    store.append(&batch([("a", all[0])]), &mut report).await.unwrap();
    assert_eq!((report.stored, report.evicted), (1, 1), "a report is of one batch");
}

/// At every distance from the eviction boundary: readers that are overtaken before they begin, at their end, and by far.
pub(crate) async fn overtaken_readers_go_on_with_what_is_held(maker: &impl Maker) {
    const LIMIT: usize = 10;
    let store = open(maker, Limits { readings_per_sensor: LIMIT, ..roomy() }).await;
    for (held, newer) in [1, 9, 10, 13].into_iter().flat_map(|held| (0..=23).map(move |newer| (held, newer)))
    {
        let (sensor, all) = (format!("{held}-{newer}"), rising(0, held + newer));
        append_all(&store, &sensor, &all[..held]).await;
        let begin = held.saturating_sub(LIMIT);
        let queries =
            [(None, false, begin), (Some(3), false, begin.max(held.saturating_sub(3))), (None, true, begin)];
        let mut readers = Vec::new();
        for (limit, follow, begin) in queries {
            let query = Query { limit, follow, ..Query::default() };
            readers.push((store.read(&sensor, query).await.unwrap(), follow, begin));
        }
        append_all(&store, &sensor, &all[held..]).await;
        for (mut reader, follow, begin) in readers {
            let end = if follow { all.len() } else { held };
            let first = all.len().saturating_sub(LIMIT).clamp(begin, end);
            let got =
                if follow { read_until(&mut reader, end - first).await } else { drain(&mut reader).await };
            assert_eq!(got, all[first..end], "{sensor} {follow}");
            assert_eq!(reader.missed(), (first - begin) as u64, "{sensor} {follow}");
        }
    }
}

/// More readings than a store looks through at once, in batches that fit into no answer evenly.
pub(crate) async fn newest_of_few_are_found_far_back(maker: &impl Maker) {
    let store = open(maker, Limits { readings_per_sensor: 40_000, ..roomy() }).await;
    let all: Vec<Reading> = (0..30_000).map(|at| reading(at as f64, at % 10_000)).collect();
    for part in all.chunks(701) {
        append_all(&store, "a", part).await;
    }
    for (since, until, limit) in
        [(0, 3, 2), (0, 3, 4), (5000, 5001, 2), (0, 10_000, 29_999), (20_000, 30_000, 1)]
    {
        let wanted: Vec<_> =
            all.iter().copied().filter(|reading| (since..until).contains(&reading.timestamp)).collect();
        let query = Query { since: Some(since), until: Some(until), limit: Some(limit), follow: false };
        let newest = &wanted[wanted.len().saturating_sub(usize::try_from(limit).unwrap())..];
        assert_eq!(read(&store, "a", query).await, newest, "{since} {until} {limit}");
    }
}
