//! Telemetry that stays in memory, and what it says.

use std::{collections::BTreeMap, time::Duration};

use grpc_otel::{Builder, GrpcOtel};
use opentelemetry_sdk::{
    metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics},
    },
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData},
};

/// Telemetry that stays in memory.
pub(crate) struct Observed {
    pub(crate) meters: SdkMeterProvider,
    pub(crate) tracers: SdkTracerProvider,
    metrics: InMemoryMetricExporter,
    spans: InMemorySpanExporter,
}

impl Observed {
    pub(crate) fn new() -> Self {
        Self::sampled(Sampler::AlwaysOn)
    }

    pub(crate) fn sampled(sampler: Sampler) -> Self {
        let metrics = InMemoryMetricExporter::default();
        let reader =
            PeriodicReader::builder(metrics.clone()).with_interval(Duration::from_secs(3600)).build();
        let spans = InMemorySpanExporter::default();
        let tracers =
            SdkTracerProvider::builder().with_simple_exporter(spans.clone()).with_sampler(sampler).build();
        Self { meters: SdkMeterProvider::builder().with_reader(reader).build(), tracers, metrics, spans }
    }

    pub(crate) fn builder(&self) -> Builder {
        GrpcOtel::builder()
            .meter_provider(&self.meters)
            .tracer_provider(&self.tracers)
            .propagator(TraceContextPropagator::new())
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// Every series as it stands.
    pub(crate) fn series(&self) -> Vec<Series> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let mut series = Vec::new();
        for metric in exported.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics)
        {
            let describe = |kind: &'static str| Series {
                name: metric.name().to_owned(),
                unit: metric.unit().to_owned(),
                description: metric.description().to_owned(),
                kind,
                ..Series::default()
            };
            macro_rules! histogram {
                ($histogram:expr, $kind:literal) => {
                    for point in $histogram.data_points() {
                        series.push(Series {
                            attributes: attributes(point.attributes()),
                            count: point.count(),
                            #[allow(clippy::cast_lossless, reason = "of two types")]
                            sum: point.sum() as f64,
                            bounds: point.bounds().collect(),
                            ..describe($kind)
                        });
                    }
                };
            }
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    for point in sum.data_points() {
                        series.push(Series {
                            attributes: attributes(point.attributes()),
                            count: point.value(),
                            ..describe("counter")
                        });
                    }
                }
                AggregatedMetrics::U64(MetricData::Histogram(histogram)) => {
                    histogram!(histogram, "histogram of integers");
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    histogram!(histogram, "histogram");
                }
                other => panic!("{} is of a kind nobody asked for: {other:?}", metric.name()),
            }
        }
        series
    }

    /// How many measurements the series of a metric have whose attributes include these.
    pub(crate) fn count(&self, metric: &str, attributes: &[(&str, &str)]) -> u64 {
        self.matching(metric, attributes).map(|series| series.count).sum()
    }

    /// The sum of measurements of the same.
    pub(crate) fn sum(&self, metric: &str, attributes: &[(&str, &str)]) -> f64 {
        self.matching(metric, attributes).map(|series| series.sum).sum()
    }

    fn matching(&self, metric: &str, wanted: &[(&str, &str)]) -> impl Iterator<Item = Series> {
        self.series().into_iter().filter(move |series| {
            series.name == metric
                && wanted.iter().all(|(key, value)| series.attributes.get(*key).is_some_and(|v| v == value))
        })
    }

    /// Waits for something the other side does in its own time.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(10);
        while !done(self) {
            assert!(tokio::time::Instant::now() < patience, "{what}: {:#?}", self.series());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn attributes<'a>(pairs: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> BTreeMap<String, String> {
    pairs.map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
}

/// One series of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) description: String,
    pub(crate) kind: &'static str,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) bounds: Vec<f64>,
}
