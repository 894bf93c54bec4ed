//! The instruments of a store. What is refused or raises an alert is in the [`Report`](crate::Report), and counted by
//! who asked.

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrumentBuilder, Histogram, Meter, ObservableCounter, ObservableGauge},
};

/// The store that all instruments but [`commands`] have as an attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreKind {
    Memory,
    Valkey,
}

/// The operations that [`duration`] measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Append,
    Read,
}

/// The reasons for the removal of stored readings, counted in [`evicted`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum EvictionReason {
    /// A limit is reached, and newer readings of the sensor need the room.
    Full,
    /// The sensor expired.
    Idle,
}

impl StoreKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Valkey => "valkey",
        }
    }
}

impl From<StoreKind> for KeyValue {
    fn from(kind: StoreKind) -> Self {
        Self::new("kelvin.store", kind.as_str())
    }
}

impl Operation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
        }
    }
}

impl From<Operation> for KeyValue {
    fn from(operation: Operation) -> Self {
        Self::new("operation", operation.as_str())
    }
}

impl EvictionReason {
    pub(crate) const ALL: [Self; 2] = [Self::Full, Self::Idle];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Idle => "idle",
        }
    }
}

impl From<EvictionReason> for KeyValue {
    fn from(reason: EvictionReason) -> Self {
        Self::new("reason", reason.as_str())
    }
}

pub(crate) fn sensors(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.sensors")
        .with_unit("{sensor}")
        .with_description("Sensors the store knows.")
}

pub(crate) fn readings(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.readings.stored")
        .with_unit("{reading}")
        .with_description("Readings that can be read back.")
}

pub(crate) fn sensor_limit(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.sensors.limit")
        .with_unit("{sensor}")
        .with_description("Maximum number of sensors in the store (KELVIN_MAX_SENSORS).")
}

pub(crate) fn reading_limit(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.readings.limit")
        .with_unit("{reading}")
        .with_description("Maximum number of readings in the store (KELVIN_MAX_READINGS).")
}

pub(crate) fn memory_usage(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.store.memory.usage")
        .with_unit("By")
        .with_description("Memory used by the store; with Valkey, that of its fullest node.")
}

pub(crate) fn memory_limit(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.store.memory.limit")
        .with_unit("By")
        .with_description("Memory limit of the store: KELVIN_STORE_MEMORY_LIMIT, or maxmemory of Valkey.")
}

pub(crate) fn evicted(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableCounter<u64>, u64> {
    meter
        .u64_observable_counter("kelvin.readings.evicted")
        .with_unit("{reading}")
        .with_description("Readings evicted at a limit, or removed with an idle sensor.")
}

pub(crate) fn expired_sensors(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableCounter<u64>, u64> {
    meter
        .u64_observable_counter("kelvin.sensors.expired")
        .with_unit("{sensor}")
        .with_description("Sensors that expired after the idle timeout (KELVIN_SENSOR_IDLE_TIMEOUT).")
}

pub(crate) fn duration(meter: &Meter) -> Histogram<f64> {
    meter
        .f64_histogram("kelvin.store.duration")
        .with_unit("s")
        .with_description("How long the store took for an operation.")
        .with_boundaries(vec![
            0.000_001,
            0.000_002_5,
            0.000_005,
            0.000_01,
            0.000_025,
            0.000_05,
            0.000_1,
            0.000_25,
            0.000_5,
            0.001,
            0.002_5,
            0.005,
            0.01,
            0.025,
            0.05,
            0.1,
            0.25,
            0.5,
            1.0,
            2.5,
            5.0,
        ])
        .build()
}

pub(crate) fn up(meter: &Meter) -> AsyncInstrumentBuilder<'_, ObservableGauge<u64>, u64> {
    meter
        .u64_observable_gauge("kelvin.store.up") // no unit: Prometheus would add _ratio for "1"
        .with_description("1 while the shared store answers this server, 0 while it does not.")
}

/// OpenTelemetry's semantic conventions for database clients.
pub(crate) fn commands(meter: &Meter) -> Histogram<f64> {
    meter
        .f64_histogram("db.client.operation.duration")
        .with_unit("s")
        .with_description("Duration of database client operations.")
        .with_boundaries(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0])
        .build()
}
