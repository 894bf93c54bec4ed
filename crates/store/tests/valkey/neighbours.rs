//! Neighbouring releases on the same data: each reads what the other wrote and keeps what it does not know.

use kelvin_store::{Query, Reading, ValkeySettings};
use kelvin_testing::ValkeyServer;
use redis::Value;

use crate::{append, count, open, plain};

const APPEND: &str = include_str!("../../src/valkey/scripts/append.lua");

/// The append script of a release to come. Behind a record it counts its own calls, and behind the totals too; a
/// record of this release has no such count yet.
fn later_script() -> String {
    let counted = |script: String, from: &str, to: &str| {
        assert_eq!(script.matches(from).count(), 1, "{from}");
        script.replace(from, to)
    };
    let script = counted(
        APPEND.to_owned(),
        "if raw and #raw > rest + 15 then last = last .. sub(raw, rest + 16) end",
        "local calls = raw and #raw >= rest + 23 and read('<d', raw, rest + 16) or 0
         last = last .. pack('<d', calls + 1)",
    );
    counted(
        script,
        "pack(TOTALS, 1, held, prune_at) .. totals_rest",
        "pack(TOTALS, 1, held, prune_at) .. (totals_rest == '' and 'later' or totals_rest)",
    )
}

/// Stores one reading as the release to come does.
async fn append_later(server: &ValkeyServer, temperature: f64) {
    let statistics = server.query::<Vec<String>>(&["KEYS", "*:s"]).await.unwrap().remove(0);
    let base = statistics.strip_suffix('s').unwrap();
    let numbers =
        |numbers: &[f64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let mut reading = numbers(&[temperature]);
    reading.extend(0_i64.to_le_bytes());
    let mut packed = numbers(&[1e4, 1e3, 1e5, 3.6e6]);
    packed.push(1);
    packed.extend(numbers(&[temperature, 0.0, temperature, temperature]));
    let mut call = redis::cmd("EVAL");
    call.arg(later_script()).arg(4);
    call.arg(&["s", "i", "n", "d:a"].map(|name| format!("{base}{name}"))[..]).arg(reading).arg(packed);
    let client = redis::Client::open(("127.0.0.1", server.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    call.query_async::<Value>(&mut connection).await.expect("the later script runs");
}

async fn field(server: &ValkeyServer, name: &[u8]) -> Vec<u8> {
    let statistics = server.query::<Vec<String>>(&["KEYS", "*:s"]).await.unwrap().remove(0);
    let client = redis::Client::open(("127.0.0.1", server.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("HGET").arg(statistics).arg(name).query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn two_releases_take_turns_on_the_same_data() {
    let server = ValkeyServer::start(&[]).await;
    let store = open(ValkeySettings { partitions: 1, ..plain(server.address()) }).await.unwrap();
    let mut expected = Vec::new();
    for turn in 0..5_u8 {
        // Two readings of this release, the first of them beyond the limit for alerts, one of the later release.
        let ours = [61.0 + f64::from(turn), 20.0];
        let report = append(&store, &ours).await.unwrap();
        let changes: Vec<_> = report.alerts.iter().map(|(at, alert)| (*at, alert.began)).collect();
        assert_eq!(changes, [(0, true), (1, false)], "alerts are set in what the later release wrote");
        append_later(&server, 30.0 + f64::from(turn)).await;
        expected.extend([ours[0], ours[1], 30.0 + f64::from(turn)]);

        let record = field(&server, b"a").await;
        let calls = f64::from(turn) + 1.0;
        assert!(record.ends_with(&calls.to_le_bytes()), "the later release finds its own count");
        assert!(field(&server, &[255]).await.ends_with(b"later"));
        let stats = store.stats("a").await.unwrap().unwrap();
        let mean = expected.iter().sum::<f64>() / expected.len() as f64;
        assert_eq!((stats.count, stats.held), (expected.len() as u64, expected.len() as u64));
        assert!((stats.mean - mean).abs() < 1e-9, "{stats:?} {mean}");
        assert_eq!((stats.min, stats.max), (20.0, 61.0 + f64::from(turn)));
        assert_eq!((stats.last.temperature, stats.alerts), (30.0 + f64::from(turn), u64::from(turn) + 1));
    }
    let mut reader = store.read("a", Query::default()).await.unwrap();
    let mut readings = Vec::new();
    while reader.next(&mut readings).await.unwrap() {}
    assert_eq!(readings.iter().map(|reading| reading.temperature).collect::<Vec<_>>(), expected);
}

/// Bytes as the first release wrote them: a change of the layout must not go unnoticed.
#[tokio::test]
async fn layout_of_first_release_is_readable() {
    let server = ValkeyServer::start(&[]).await;
    let store = open(ValkeySettings { partitions: 1, ..plain(server.address()) }).await.unwrap();
    let write = r"
        local now = redis.call('TIME')
        now = now[1] * 1000
        local base = 'kelvin:{0.0}:'
        redis.call('HSET', base .. 's', 'a', struct.pack('<BBI4dddddddddc0', 1, 0, 3, now, 12, 2, 5.5, 8, 1, 9, now, now,
            struct.pack('<di8', 7.25, 1700000001)), '\255', struct.pack('<Bdd', 1, 2, now))
        redis.call('ZADD', base .. 'i', now, 'a')
        redis.call('ZADD', base .. 'n', 0, 'a')
        return redis.call('XADD', base .. 'd:a', '12', 'r',
            struct.pack('<di8di8', -3.5, 1700000000, 7.25, 1700000001))";
    server.exec(&["EVAL", write, "0"]).await;
    let stats = store.stats("a").await.unwrap().expect("it is known");
    let newest = Reading { temperature: 7.25, timestamp: 1_700_000_001 };
    assert_eq!((stats.count, stats.held, stats.alerts, stats.alerting), (12, 2, 3, false));
    assert_eq!((stats.mean, stats.min, stats.max, stats.last), (5.5, 1.0, 9.0, newest));
    assert!((stats.standard_deviation - (8.0_f64 / 12.0).sqrt()).abs() < 1e-9);
    let mut reader = store.read("a", Query::default()).await.unwrap();
    let mut seen = Vec::new();
    reader.next(&mut seen).await.unwrap();
    assert_eq!(seen, [Reading { temperature: -3.5, timestamp: 1_700_000_000 }, newest]);
    assert_eq!(reader.position(), 12);
    append(&store, &[2.0]).await.unwrap();
    assert_eq!(count(&store).await, 13, "and goes on");
    assert_eq!(store.list("", 10).await.unwrap().sensors.len(), 1);
}
