//! Sequence numbers of readings, as a reader's position gives them.

use std::time::Duration;

use kelvin_store::{Limits, Query, Reader, Reading};
use tokio::time::timeout;

use crate::{
    maker::Maker,
    support::{append_all, no_alerts, rising, roomy},
};

fn follow() -> Query {
    Query { follow: true, ..Query::default() }
}

/// Reads on until there are `count` readings, each with its sequence number.
async fn numbered_until(reader: &mut Reader, count: usize) -> Vec<(u64, Reading)> {
    let mut seen = Vec::new();
    let all = async {
        while seen.len() < count {
            let mut readings = Vec::new();
            assert!(reader.next(&mut readings).await.expect("the store is read"), "followers do not end");
            let first = reader.position() + 1 - readings.len() as u64;
            seen.extend((first..).zip(readings));
        }
    };
    timeout(Duration::from_secs(20), all).await.expect("the follower gets its readings");
    seen
}

/// Two runtimes' stores write the same sensor at the same time; each keeps its own order, and no number is missing.
pub(crate) async fn followers_see_every_sequence_number_once(maker: &impl Maker) {
    let factory = maker.make(roomy(), no_alerts()).await;
    let (one, two) = (factory.open().await.unwrap(), factory.open().await.unwrap());
    let all = rising(0, 2000);
    append_all(&one, "a", &all[..100]).await;
    let mut from_first = one.read("a", follow()).await.unwrap();
    let mut from_51 = two.read("a", Query { limit: Some(50), ..follow() }).await.unwrap();
    let write = async |store, readings: &[Reading]| {
        for part in readings.chunks(29) {
            append_all(store, "a", part).await;
        }
    };
    let (from_first, from_51, (), ()) = tokio::join!(
        numbered_until(&mut from_first, 2000),
        numbered_until(&mut from_51, 1950),
        write(&one, &all[100..1000]),
        write(&two, &all[1000..])
    );
    let numbers: Vec<_> = from_first.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=2000).collect::<Vec<_>>());
    assert_eq!(from_51, from_first[50..], "both see the same readings under the same numbers");
    for (low, high) in [(0, 1000), (1000, 2000)] {
        let its = from_first.iter().map(|(_, reading)| *reading);
        let its: Vec<_> = its.filter(|reading| (low..high).contains(&reading.timestamp)).collect();
        assert_eq!(its, rising(low, 1000));
    }
}

pub(crate) async fn sequence_numbers_include_evicted_readings(maker: &impl Maker) {
    let limits = Limits { readings_per_sensor: 20, ..roomy() };
    let store = maker.make(limits, no_alerts()).await.open().await.expect("the store opens");
    let mut early = store.read("a", follow()).await.unwrap();
    let all = rising(0, 61);
    append_all(&store, "a", &all[..60]).await;
    let held: Vec<_> = (41..=60).zip(all[40..60].iter().copied()).collect();
    assert_eq!(numbered_until(&mut early, 20).await, held, "of a new sensor all that is held");
    let mut late = store.read("a", follow()).await.unwrap();
    assert_eq!(late.position(), 40);
    assert_eq!(numbered_until(&mut late, 20).await, held);
    let (seen, _) = tokio::join!(numbered_until(&mut late, 1), append_all(&store, "a", &all[60..]));
    assert_eq!(seen, [(61, all[60])], "what comes next");
}
