//! The exported telemetry by service.

use std::collections::{BTreeMap, BTreeSet};

use kelvin_telemetry::receiver::{
    Received, Receiver,
    proto::{
        common::v1::{KeyValue, any_value::Value},
        logs::v1::LogRecord,
        metrics::v1::{Metric, metric::Data, number_data_point},
        resource::v1::Resource,
        trace::v1::Span,
    },
    text,
};

pub(crate) struct Exported(Received);

impl Exported {
    pub(crate) fn new(receiver: &Receiver) -> Self {
        Self(receiver.look(|received| Received {
            traces: received.traces.clone(),
            metrics: received.metrics.clone(),
            logs: received.logs.clone(),
            headers: received.headers.clone(),
        }))
    }

    pub(crate) fn services_of_spans(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        by_service(self.0.spans().map(|(resource, _)| resource))
    }

    pub(crate) fn services_of_metrics(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        by_service(self.0.metrics().map(|(resource, _)| resource))
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = (&str, &Span)> {
        self.0.spans().map(|(resource, span)| (service(resource), span))
    }

    pub(crate) fn spans_of(&self, of: &str, name: &str) -> Vec<&Span> {
        let spans = self.spans().filter(|(service, span)| *service == of && span.name == name);
        spans.map(|(_, span)| span).collect()
    }

    /// As last exported.
    pub(crate) fn metric(&self, of: &str, name: &str) -> Option<&Metric> {
        let metrics =
            self.0.metrics().filter(|(resource, metric)| service(resource) == of && metric.name == name);
        metrics.last().map(|(_, metric)| metric)
    }

    /// The sum of a counter or a gauge over all attributes; 0 where there is none.
    pub(crate) fn sum(&self, of: &str, name: &str) -> u64 {
        self.metric(of, name).map_or(0, |metric| total(metric, |_| true))
    }

    /// What a counter or a histogram counted of a gRPC method.
    pub(crate) fn count(&self, of: &str, name: &str, method: &str) -> u64 {
        let metric = self.metric(of, name).unwrap_or_else(|| panic!("{of} has no {name}"));
        total(metric, |attributes| text(attributes, "grpc.method") == Some(method))
    }

    pub(crate) fn log(&self, of: &str, message: &str) -> Option<&LogRecord> {
        let says = |record: &LogRecord| {
            let body = record.body.as_ref().and_then(|body| body.value.as_ref());
            matches!(body, Some(Value::StringValue(text)) if text == message)
        };
        let mut records = self.0.log_records();
        records.find(|(resource, record)| service(resource) == of && says(record)).map(|(_, record)| record)
    }
}

fn total(metric: &Metric, counts: impl Fn(&[KeyValue]) -> bool) -> u64 {
    let numbers = match &metric.data {
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        Some(Data::Histogram(histogram)) => {
            let points = histogram.data_points.iter().filter(|point| counts(&point.attributes));
            return points.map(|point| point.count).sum();
        }
        _ => panic!("{metric:?} counts nothing"),
    };
    let points = numbers.iter().filter(|point| counts(&point.attributes));
    points
        .map(|point| match point.value {
            Some(number_data_point::Value::AsInt(count)) => u64::try_from(count).unwrap(),
            _ => panic!("{metric:?} counts no whole numbers"),
        })
        .sum()
}

fn by_service<'a>(resources: impl Iterator<Item = &'a Resource>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut services = BTreeMap::<_, BTreeSet<_>>::new();
    for resource in resources {
        assert!(text(&resource.attributes, "service.version").is_some(), "{resource:?}");
        let instance = text(&resource.attributes, "service.instance.id").unwrap();
        services.entry(service(resource)).or_default().insert(instance);
    }
    services
}

pub(crate) fn service(resource: &Resource) -> &str {
    text(&resource.attributes, "service.name").expect("every resource has a name")
}
