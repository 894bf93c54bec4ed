//! Metrics of the readings of clients.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter},
};

use kelvin_proto::CallType;

/// `kelvin.client.readings.*`, with the kind of call as `kelvin.rpc`.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    measured: Counter<u64>,
    sent: Counter<u64>,
    resent: Counter<u64>,
    acknowledged: Counter<u64>,
    rejected: Counter<u64>,
    dropped: Counter<u64>,
    received: Counter<u64>,
    alerts: Counter<u64>,
    attributes: [KeyValue; 1],
}

impl Metrics {
    pub(crate) fn new(meter: &Meter, rpc: CallType) -> Self {
        let counter = |name: &'static str, unit: &'static str, description: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        let readings = |name, description| counter(name, "{reading}", description);
        let metrics = Self {
            measured: readings("kelvin.client.readings.measured", "Readings taken by the simulated sensors."),
            sent: readings("kelvin.client.readings.sent", "Readings sent, including resent ones."),
            resent: readings(
                "kelvin.client.readings.resent",
                "Readings sent again because no acknowledgement came.",
            ),
            acknowledged: readings("kelvin.client.readings.acknowledged", "Readings the server has stored."),
            rejected: readings("kelvin.client.readings.rejected", "Readings the server has rejected."),
            dropped: readings(
                "kelvin.client.readings.dropped",
                "Readings lost because the backlog was full.",
            ),
            received: readings("kelvin.client.readings.received", "Readings received from the server."),
            alerts: counter("kelvin.client.alerts", "{alert}", "Alerts the server announced to this client."),
            attributes: [KeyValue::new("kelvin.rpc", rpc.to_string())],
        };
        // Prometheus sees no increase in a series that begins with its first event: what is rare, or compared with
        // other counters, begins at 0.
        for counter in [
            &metrics.measured,
            &metrics.resent,
            &metrics.acknowledged,
            &metrics.rejected,
            &metrics.dropped,
            &metrics.alerts,
        ] {
            counter.add(0, &metrics.attributes);
        }
        metrics
    }

    pub(crate) fn measured(&self) {
        self.measured.add(1, &self.attributes);
    }

    pub(crate) fn sent(&self, resent: bool) {
        self.sent.add(1, &self.attributes);
        if resent {
            self.resent.add(1, &self.attributes);
        }
    }

    pub(crate) fn acknowledged(&self, readings: u64) {
        self.acknowledged.add(readings, &self.attributes);
    }

    pub(crate) fn rejected(&self, readings: u64) {
        self.rejected.add(readings, &self.attributes);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.add(1, &self.attributes);
    }

    pub(crate) fn received(&self) {
        self.received.add(1, &self.attributes);
    }

    pub(crate) fn alert(&self) {
        self.alerts.add(1, &self.attributes);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::{
        InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
        data::{Metric, ResourceMetrics, ScopeMetrics},
    };

    use super::*;

    #[test]
    fn counters_are_there_before_their_first_event() {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let _metrics = Metrics::new(&provider.meter("test"), CallType::Unary);
        provider.force_flush().unwrap();
        let finished = exporter.get_finished_metrics().unwrap();
        let all = finished.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(ScopeMetrics::metrics);
        let mut names: Vec<_> = all.map(Metric::name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "kelvin.client.alerts",
                "kelvin.client.readings.acknowledged",
                "kelvin.client.readings.dropped",
                "kelvin.client.readings.measured",
                "kelvin.client.readings.rejected",
                "kelvin.client.readings.resent",
            ]
        );
    }
}
