//! Readings as they arrive, with their sequence numbers.

use std::time::Duration;

use kelvin_store::{Limits, Reading, Watch};
use tokio::time::timeout;

use crate::{
    Maker, no_alerts, roomy,
    support::{append_all, rising},
};

/// Watches until there are `count` readings.
async fn watch_until(watch: &mut Watch, count: usize) -> Vec<(u64, Reading)> {
    let mut seen = Vec::new();
    let all = async {
        while seen.len() < count {
            watch.next(&mut seen).await.expect("the store is read");
        }
    };
    timeout(Duration::from_secs(20), all).await.expect("the watch gets its readings");
    seen
}

fn numbers(seen: &[(u64, Reading)]) -> Vec<u64> {
    seen.iter().map(|(number, _)| *number).collect()
}

/// Two runtimes' stores write the same sensor at the same time; each keeps its own order, and no number is missing.
pub(crate) async fn watchers_see_every_number_once(maker: &impl Maker) {
    let factory = maker.make(roomy(), no_alerts()).await;
    let (one, two) = (factory.open().await.unwrap(), factory.open().await.unwrap());
    let all = rising(0, 2000);
    append_all(&one, "a", &all[..100]).await;
    let mut watches = [one.watch("a", 0).await.unwrap(), two.watch("a", 51).await.unwrap()];
    let write = async |store, readings: &[Reading]| {
        for part in readings.chunks(29) {
            append_all(store, "a", part).await;
        }
    };
    let [first, second] = &mut watches;
    let (from_first, from_51, (), ()) = tokio::join!(
        watch_until(first, 2000),
        watch_until(second, 1950),
        write(&one, &all[100..1000]),
        write(&two, &all[1000..])
    );
    assert_eq!(numbers(&from_first), (1..=2000).collect::<Vec<_>>());
    assert_eq!(from_51, from_first[50..], "both see the same readings under the same numbers");
    for (low, high) in [(0, 1000), (1000, 2000)] {
        let its = from_first.iter().map(|(_, reading)| *reading);
        let its: Vec<_> = its.filter(|reading| (low..high).contains(&reading.timestamp)).collect();
        assert_eq!(its, rising(low, 1000));
    }
}

pub(crate) async fn watch_begins_at_the_given_number(maker: &impl Maker) {
    let limits = Limits { readings_per_sensor: 20, ..roomy() };
    let store = maker.make(limits, no_alerts()).await.open().await.expect("the store opens");
    let mut early = store.watch("a", 7).await.unwrap();
    let all = rising(0, 61);
    append_all(&store, "a", &all[..60]).await;
    let held: Vec<u64> = (41..=60).collect();
    assert_eq!(numbers(&watch_until(&mut early, 20).await), held, "of a new sensor all that is held");
    let mut late = store.watch("a", 1).await.unwrap();
    assert_eq!(numbers(&watch_until(&mut late, 20).await), held, "the others have gone");
    let mut middle = store.watch("a", 55).await.unwrap();
    let expected: Vec<_> = (55..=60).zip(all[54..].iter().copied()).collect();
    assert_eq!(watch_until(&mut middle, 6).await, expected);
    let mut ahead = store.watch("a", 1000).await.unwrap();
    let (seen, _) = tokio::join!(watch_until(&mut ahead, 1), append_all(&store, "a", &all[60..]));
    assert_eq!(seen, [(61, all[60])], "what comes next");
}
