//! What only the shared store does: its settings, its secrets, its layout, and being away.

mod away;
mod gauges;
mod moves;
mod names;
mod neighbours;
mod secrets;

use kelvin_testing::{ValkeyServer, eventually};
use std::time::Duration;

use kelvin_store::{
    Acknowledge, AlertSettings, Batch, Credentials, Limits, Query, Reading, Report, Store, StoreConfig,
    StoreError, StoreFactory, TlsPem, ValkeySettings,
};
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt,
    metrics::{Meter, MeterProvider, noop::NoopMeterProvider},
    trace::{SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::sync::watch;

fn settings(address: String, credentials: watch::Receiver<Credentials>) -> ValkeySettings {
    ValkeySettings {
        addresses: vec![address],
        cluster: false,
        username: None,
        acknowledge: Acknowledge::Primary,
        prefix: ValkeySettings::PREFIX.to_owned(),
        partitions: 4,
        timeout: Duration::from_secs(1),
        credentials,
    }
}

fn plain(address: String) -> ValkeySettings {
    settings(address, watch::channel(Credentials::default()).1)
}

fn factory(settings: ValkeySettings) -> Result<StoreFactory, StoreError> {
    metered(settings, &NoopMeterProvider::new().meter("test"))
}

fn metered(settings: ValkeySettings, meter: &Meter) -> Result<StoreFactory, StoreError> {
    let limits = Limits {
        readings_per_sensor: 10_000,
        sensors: 1000,
        readings: 100_000,
        memory: usize::MAX,
        idle: Duration::from_hours(1),
        recent_window: 10,
    };
    let alerts = AlertSettings { low: None, high: Some(60.0), z_score: None };
    StoreFactory::new(StoreConfig::Valkey(settings), limits, alerts, meter)
}

async fn open(settings: ValkeySettings) -> Result<Store, StoreError> {
    factory(settings)?.open().await
}

async fn append(store: &Store, temperatures: &[f64]) -> Result<Report, StoreError> {
    let (mut batch, mut report) = (Batch::default(), Report::default());
    for (timestamp, &temperature) in (0..).zip(temperatures) {
        batch.push("a", Reading { temperature, timestamp });
    }
    store.append(&batch, &mut report).await.map(|()| report)
}

async fn count(store: &Store) -> u64 {
    store.stats("a").await.expect("the store is there").map_or(0, |stats| stats.count)
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_in_plain_words() {
    let refused = |settings| match factory(settings) {
        Err(StoreError::Settings(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(refused(plain("valkey".to_owned())).contains("expected host:port"));
    assert!(
        refused(ValkeySettings { addresses: Vec::new(), ..plain(String::new()) })
            .contains("needs an address")
    );
    assert!(
        refused(ValkeySettings { prefix: "{a}".to_owned(), ..plain("a:1".to_owned()) }).contains("braces")
    );
    let tls = Credentials { password: None, tls: Some(TlsPem { ca: b"no PEM".to_vec(), client: None }) };
    assert!(refused(settings("a:1".to_owned(), watch::channel(tls).1)).contains("TLS"));
}

#[tokio::test]
async fn unreplicated_write_is_not_acknowledged_nor_retried() {
    let server = ValkeyServer::start(&[]).await;
    let store =
        open(ValkeySettings { acknowledge: Acknowledge::Replica, ..plain(server.address()) }).await.unwrap();
    let failed = append(&store, &[1.0]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    assert_eq!(count(&store).await, 1, "it was written once");
    let port = server.port.to_string();
    let replica = ValkeyServer::start(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica follows", async || server.info("slave0").await.contains("state=online")).await;
    eventually("a replica has it", async || append(&store, &[2.0]).await.is_ok()).await;
    assert_eq!(
        replica.query::<usize>(&["DBSIZE"]).await.unwrap(),
        server.query::<usize>(&["DBSIZE"]).await.unwrap()
    );
}

/// Of two servers that see the same change one announces it.
#[tokio::test]
async fn one_server_announces_a_change() {
    let server = ValkeyServer::start(&[]).await;
    let factory = factory(plain(server.address())).unwrap();
    let (one, two) = (factory.open().await.unwrap(), factory.open().await.unwrap());
    for _ in 0..20 {
        let (begun, also) = tokio::join!(append(&one, &[70.0]), append(&two, &[71.0]));
        assert_eq!(begun.unwrap().alerts.len() + also.unwrap().alerts.len(), 1, "it begins once");
        let (ended, also) = tokio::join!(append(&one, &[20.0]), append(&two, &[21.0]));
        assert_eq!(ended.unwrap().alerts.len() + also.unwrap().alerts.len(), 1, "it ends once");
    }
    let stats = one.stats("a").await.unwrap().unwrap();
    assert_eq!((stats.alerts, stats.alerting), (20, false));
}

/// Sensors that lost their stream to an eviction policy, or got one from nowhere, do no harm.
#[tokio::test]
async fn lost_stream_is_counted_as_missed() {
    let server = ValkeyServer::start(&[]).await;
    let store = open(ValkeySettings { partitions: 1, ..plain(server.address()) }).await.unwrap();
    append(&store, &[1.0, 2.0]).await.unwrap();
    let keys: Vec<String> = server.query(&["KEYS", "*"]).await.unwrap();
    let stream = keys.iter().find(|key| key.ends_with(":d:a")).expect("a stream");
    server.exec(&["DEL", stream]).await;
    append(&store, &[3.0]).await.unwrap();
    let mut reader = store.read("a", Query::default()).await.unwrap();
    let mut out = Vec::new();
    while reader.next(&mut out).await.unwrap() {}
    assert_eq!((out.len(), reader.missed()), (1, 2));
}

#[tokio::test]
async fn sampled_call_span_is_linked_to_flush() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let tracer = provider.tracer("test");
    let server = ValkeyServer::start(&[]).await;
    let factory = factory(plain(server.address())).unwrap().traced(tracer.clone());
    let store = factory.open().await.unwrap();
    append(&store, &[1.0]).await.unwrap();
    assert_eq!(exporter.get_finished_spans().unwrap().len(), 0, "nobody asked for a span");
    let call = Context::new().with_span(tracer.start("call"));
    append(&store, &[1.0, 2.0]).with_context(call.clone()).await.unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    let named = |name| spans.iter().find(|span| span.name == name).expect(name);
    let (append, flush) = (named("append"), named("EVALSHA"));
    assert_eq!(append.parent_span_id, call.span().span_context().span_id());
    assert_eq!(append.links.iter().next().unwrap().span_context, flush.span_context);
    for span in [append, flush] {
        assert_eq!(span.span_kind, SpanKind::Client);
        assert!(span.attributes.contains(&KeyValue::new("db.system.name", "valkey")));
        assert!(span.attributes.contains(&KeyValue::new("db.operation.batch.size", 2)));
    }
}
