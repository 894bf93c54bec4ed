//! Exporters that print telemetry, for people without a collector: a line for each span, data point and log record. Those
//! of the `opentelemetry-stdout` crate panic when nobody reads.

use std::{
    fmt::{Display, Write as _},
    time::{Duration, SystemTime},
};

use humantime::format_rfc3339_micros;
use opentelemetry::{KeyValue, logs::AnyValue, trace::SpanId};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter, SdkLogRecord},
    metrics::{
        Temporality,
        data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics},
        exporter::PushMetricExporter,
    },
    trace::{SpanData, SpanExporter},
};

/// Prints any signal on stdout.
#[derive(Debug)]
pub(crate) struct Console;

impl SpanExporter for Console {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        print(batch.iter().map(span))
    }
}

impl LogExporter for Console {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        print(batch.iter().map(|(record, _)| log_record(record)))
    }
}

impl PushMetricExporter for Console {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        print(data_points(metrics))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Prints the resource that all further lines belong to.
pub(crate) fn print_resource(resource: &Resource) -> OTelSdkResult {
    let mut attributes: Vec<_> = resource.iter().collect();
    attributes.sort_unstable_by_key(|(key, _)| *key);
    print([format!("resource{}", pairs(attributes))].into_iter())
}

fn print(lines: impl Iterator<Item = String>) -> OTelSdkResult {
    let text: String = lines.map(|line| line + "\n").collect();
    kelvin_app::print(&text).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
}

fn span(span: &SpanData) -> String {
    let SpanData { span_context, parent_span_id, span_kind, status, start_time, end_time, .. } = span;
    let duration = end_time.duration_since(*start_time).unwrap_or_default();
    let mut text = format!(
        "span {} {} {duration:?} kind={span_kind:?} status={status:?} trace_id={} span_id={}",
        format_rfc3339_micros(*start_time),
        quoted(&span.name),
        span_context.trace_id(),
        span_context.span_id(),
    );
    if *parent_span_id != SpanId::INVALID {
        let _ = write!(text, " parent_span_id={parent_span_id}");
    }
    text += &attributes(&span.attributes);
    for event in span.events.iter() {
        let time = format_rfc3339_micros(event.timestamp);
        let _ = write!(text, "\n  event {time} {}{}", quoted(&event.name), attributes(&event.attributes));
    }
    for link in span.links.iter() {
        let context = &link.span_context;
        let (trace, span) = (context.trace_id(), context.span_id());
        let _ = write!(text, "\n  link trace_id={trace} span_id={span}{}", attributes(&link.attributes));
    }
    text
}

fn log_record(record: &SdkLogRecord) -> String {
    let time = record.timestamp().or(record.observed_timestamp()).unwrap_or(SystemTime::UNIX_EPOCH);
    let severity = record.severity_text().unwrap_or_default();
    let body = record.body().map(any).unwrap_or_default();
    let attributes = pairs(record.attributes_iter().map(|(key, value)| (key, any(value))));
    let mut text = format!("log {} {severity} {}{attributes}", format_rfc3339_micros(time), quoted(&body));
    if let Some(context) = record.trace_context() {
        let _ = write!(text, " trace_id={} span_id={}", context.trace_id, context.span_id);
    }
    text
}

fn data_points(metrics: &ResourceMetrics) -> impl Iterator<Item = String> {
    let metrics = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
    metrics.flat_map(|metric| match metric.data() {
        AggregatedMetrics::F64(data) => numbers(metric, data),
        AggregatedMetrics::U64(data) => numbers(metric, data),
        AggregatedMetrics::I64(data) => numbers(metric, data),
    })
}

fn numbers<T: Copy + Display>(metric: &Metric, data: &MetricData<T>) -> Vec<String> {
    let unit = if metric.unit().is_empty() { String::new() } else { format!(" {}", metric.unit()) };
    let line =
        |value: String, attributes: String| format!("metric {} {value}{unit}{attributes}", metric.name());
    let distribution = |count: u64, sum: T| format!("count={count} sum={sum}");
    match data {
        MetricData::Gauge(gauge) => {
            let points = gauge.data_points();
            points.map(|point| line(point.value().to_string(), attributes(point.attributes()))).collect()
        }
        MetricData::Sum(sum) => {
            let points = sum.data_points();
            points.map(|point| line(point.value().to_string(), attributes(point.attributes()))).collect()
        }
        MetricData::Histogram(histogram) => {
            let points = histogram.data_points();
            points.map(|p| line(distribution(p.count(), p.sum()), attributes(p.attributes()))).collect()
        }
        MetricData::ExponentialHistogram(histogram) => {
            let points = histogram.data_points();
            let value = |count: usize, sum| distribution(count as u64, sum);
            points.map(|p| line(value(p.count(), p.sum()), attributes(p.attributes()))).collect()
        }
    }
}

fn attributes<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> String {
    pairs(attributes.into_iter().map(|attribute| (&attribute.key, &attribute.value)))
}

fn pairs<K: Display, V: Display>(pairs: impl IntoIterator<Item = (K, V)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        let _ = write!(text, " {key}={}", quoted(&value.to_string()));
    }
    text
}

fn any(value: &AnyValue) -> String {
    match value {
        AnyValue::String(text) => text.to_string(),
        AnyValue::Int(number) => number.to_string(),
        AnyValue::Double(number) => number.to_string(),
        AnyValue::Boolean(value) => value.to_string(),
        other => format!("{other:?}"),
    }
}

/// In quotes if it would not be read as one word. Values of callers may hold anything, line breaks too.
fn quoted(text: &str) -> String {
    let plain = |char: char| !char.is_whitespace() && !char.is_control() && char != '"';
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::{
        metrics::MeterProvider as _,
        trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _},
    };
    use opentelemetry_sdk::{
        metrics::{PeriodicReader, SdkMeterProvider},
        trace::{SdkTracerProvider, SimpleSpanProcessor},
    };

    use super::*;

    /// Keeps lines in place of printing them.
    #[derive(Debug, Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl SpanExporter for Lines {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch.iter().map(span));
            Ok(())
        }
    }

    impl PushMetricExporter for Lines {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            self.0.lock().unwrap().extend(data_points(metrics));
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    #[test]
    fn span_is_a_line_and_each_event_and_link_another() {
        let lines = Lines::default();
        let provider =
            SdkTracerProvider::builder().with_span_processor(SimpleSpanProcessor::new(lines.clone())).build();
        let tracer = provider.tracer("test");
        let parent = opentelemetry::Context::current_with_span(tracer.start("parent"));
        let linked = parent.span().span_context().clone();
        let mut child = tracer.start_with_context("child one", &parent);
        child.set_attribute(KeyValue::new("text", "two\nlines"));
        child.add_event("seen", vec![KeyValue::new("size", 3)]);
        child.add_link(linked.clone(), vec![]);
        child.end();
        let text = lines.0.lock().unwrap()[0].clone();
        let [first, event, link] = text.lines().collect::<Vec<_>>().try_into().unwrap();
        let ids = format!("trace_id={} span_id=", linked.trace_id());
        let parts = ["span ", r#" "child one" "#, &ids];
        assert!(parts.iter().all(|part| first.contains(part)), "{first}");
        let end = format!(r#" parent_span_id={} text="two\nlines""#, linked.span_id());
        assert!(first.ends_with(&end), "{first}");
        assert!(event.starts_with("  event ") && event.ends_with(" seen size=3"), "{event}");
        assert_eq!(link, format!("  link {ids}{}", linked.span_id()));
    }

    #[test]
    fn data_point_is_a_line() {
        let lines = Lines::default();
        let reader = PeriodicReader::builder(lines.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let meter = provider.meter("test");
        meter.u64_counter("loops").with_unit("{loop}").build().add(2, &[KeyValue::new("kind", "a")]);
        meter.f64_histogram("size").with_unit("By").build().record(1.5, &[]);
        meter.i64_gauge("level").build().record(-7, &[]);
        provider.force_flush().unwrap();
        let mut lines = lines.0.lock().unwrap().clone();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["metric level -7", "metric loops 2 {loop} kind=a", "metric size count=1 sum=1.5 By"]
        );
    }
}
