//! Queues, batches and intervals of exports: `OTEL_BSP_*`, `OTEL_BLRP_*`, `OTEL_METRIC_EXPORT_INTERVAL` and the limits of
//! spans. The SDK reads them too, but takes any number and does not trim.

use opentelemetry_sdk::{
    logs::{
        self, BatchLogProcessor, LogExporter, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE,
        OTEL_BLRP_MAX_EXPORT_BATCH_SIZE_DEFAULT, OTEL_BLRP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_QUEUE_SIZE_DEFAULT,
        OTEL_BLRP_SCHEDULE_DELAY, OTEL_BLRP_SCHEDULE_DELAY_DEFAULT,
    },
    metrics::{
        OTEL_METRIC_EXPORT_INTERVAL, OTEL_METRIC_EXPORT_INTERVAL_DEFAULT, PeriodicReader,
        exporter::PushMetricExporter,
    },
    trace::{
        self, BatchSpanProcessor, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE_DEFAULT,
        OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT, OTEL_BSP_SCHEDULE_DELAY,
        OTEL_BSP_SCHEDULE_DELAY_DEFAULT, SpanExporter, SpanLimits,
    },
};

use crate::{environment::Environment, numbers::LIMIT};

pub(crate) fn spans(environment: &Environment, exporter: impl SpanExporter + 'static) -> BatchSpanProcessor {
    let queue = environment.size(OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT);
    let batch = environment.size(OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE_DEFAULT);
    let config = trace::BatchConfigBuilder::default()
        .with_max_queue_size(queue)
        .with_max_export_batch_size(batch)
        .with_scheduled_delay(environment.millis(OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_SCHEDULE_DELAY_DEFAULT))
        .build();
    BatchSpanProcessor::builder(exporter).with_batch_config(config).build()
}

pub(crate) fn logs(environment: &Environment, exporter: impl LogExporter + 'static) -> BatchLogProcessor {
    let queue = environment.size(OTEL_BLRP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_QUEUE_SIZE_DEFAULT);
    let batch = environment.size(OTEL_BLRP_MAX_EXPORT_BATCH_SIZE, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE_DEFAULT);
    let config = logs::BatchConfigBuilder::default()
        .with_max_queue_size(queue)
        .with_max_export_batch_size(batch)
        .with_scheduled_delay(environment.millis(OTEL_BLRP_SCHEDULE_DELAY, OTEL_BLRP_SCHEDULE_DELAY_DEFAULT))
        .build();
    BatchLogProcessor::builder(exporter).with_batch_config(config).build()
}

pub(crate) fn metrics<E: PushMetricExporter>(environment: &Environment, exporter: E) -> PeriodicReader<E> {
    let interval = environment.millis(OTEL_METRIC_EXPORT_INTERVAL, OTEL_METRIC_EXPORT_INTERVAL_DEFAULT);
    PeriodicReader::builder(exporter).with_interval(interval).build()
}

pub(crate) fn span_limits(environment: &Environment) -> SpanLimits {
    let default = SpanLimits::default();
    let limit = |name, default| environment.number(name, &LIMIT).unwrap_or(default);
    SpanLimits {
        max_attributes_per_span: limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", default.max_attributes_per_span),
        max_events_per_span: limit("OTEL_SPAN_EVENT_COUNT_LIMIT", default.max_events_per_span),
        max_links_per_span: limit("OTEL_SPAN_LINK_COUNT_LIMIT", default.max_links_per_span),
        ..default
    }
}
