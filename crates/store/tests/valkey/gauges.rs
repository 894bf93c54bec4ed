//! What the shared store holds is counted once, however many servers there are.

use kelvin_testing::{ValkeyServer, eventually};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, GaugeDataPoint, MetricData, ResourceMetrics, ScopeMetrics},
};

use crate::{append, metered, plain};

/// What one server reports.
struct Reported {
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
}

impl Reported {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        Self { exporter, provider: SdkMeterProvider::builder().with_reader(reader).build() }
    }

    fn gauge(&self, name: &str) -> Option<u64> {
        self.exporter.reset();
        self.provider.force_flush().expect("it exports");
        let exported = self.exporter.get_finished_metrics().expect("it has exported");
        let metrics =
            exported.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        let metric = metrics.into_iter().find(|metric| metric.name() == name)?;
        let AggregatedMetrics::U64(MetricData::Gauge(gauge)) = metric.data() else { panic!("{metric:?}") };
        gauge.data_points().next().map(GaugeDataPoint::value)
    }

    fn held(&self) -> Option<u64> {
        self.gauge("kelvin.readings.stored")
    }
}

#[tokio::test]
async fn single_server_reports_store_gauges_until_its_lease_ends() {
    let server = ValkeyServer::start(&[]).await;
    let reported = [(); 2].map(|()| Reported::new());
    let mut stores = Vec::new();
    for reported in &reported {
        let factory = metered(plain(server.address()), &reported.provider.meter("test")).unwrap();
        stores.push(factory.open().await.unwrap());
    }
    append(&stores[0], &[1.0, 2.0, 3.0]).await.unwrap();
    eventually("the readings are reported", async || {
        let held = reported.each_ref().map(Reported::held);
        assert!(held.contains(&None), "by one server: {held:?}");
        held.iter().flatten().sum::<u64>() == 3
    })
    .await;

    let first = reported.iter().position(|reported| reported.held().is_some()).expect("one of them");
    stores.remove(first);
    // Its lease would run out by itself, a while later.
    let keys: Vec<String> = server.query(&["KEYS", "*counts"]).await.unwrap();
    assert_eq!(server.query::<u64>(&["DEL", &keys[0]]).await.unwrap(), 1);
    eventually("the other server reports them", async || reported[1 - first].held() == Some(3)).await;
}

#[tokio::test]
async fn limits_and_the_memory_of_the_server_are_reported() {
    let server = ValkeyServer::start(&["--maxmemory", "64mb"]).await;
    let reported = Reported::new();
    let factory = metered(plain(server.address()), &reported.provider.meter("test")).unwrap();
    let _store = factory.open().await.unwrap();
    eventually("its memory is reported", async || reported.gauge("kelvin.store.memory.usage").is_some())
        .await;
    assert_eq!(reported.gauge("kelvin.store.memory.limit"), Some(64 << 20));
    let used: u64 = server.info("used_memory").await.parse().unwrap();
    let usage = reported.gauge("kelvin.store.memory.usage").unwrap();
    assert!(usage.abs_diff(used) < 1 << 20, "{usage} of {used}");
    assert!(reported.gauge("kelvin.sensors.limit").is_some());
    assert!(reported.gauge("kelvin.readings.limit").is_some());
}

/// Also when nobody asks for anything.
#[tokio::test]
async fn outage_is_reported() {
    let mut server = ValkeyServer::start(&[]).await;
    let reported = Reported::new();
    let factory = metered(plain(server.address()), &reported.provider.meter("test")).unwrap();
    let _store = factory.open().await.unwrap();
    assert_eq!(reported.gauge("kelvin.store.up"), Some(1));
    server.kill();
    eventually("it is down", async || reported.gauge("kelvin.store.up") == Some(0)).await;
    server.run().await;
    eventually("it is up again", async || reported.gauge("kelvin.store.up") == Some(1)).await;
}
