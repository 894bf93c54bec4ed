//! Sends some of everything: `emit [LOOPS]`. Says on stderr how long the loops and the shutdown took, in
//! milliseconds, and how much memory was taken on top, in KiB. Where it goes is up to the `OTEL_*` variables.

use std::{
    error::Error,
    panic,
    time::{Duration, Instant},
};

use kelvin_credentials::OtlpTls;
use kelvin_telemetry::{Telemetry, observe_runtime};
use opentelemetry::{
    KeyValue,
    metrics::MeterProvider,
    trace::{Tracer, TracerProvider},
};

const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let loops: u32 = std::env::args().nth(1).map_or(Ok(1), |loops| loops.parse())?;
    let tls = OtlpTls::default();
    let telemetry =
        Telemetry::builder("emit", "1.2.3").tls(move |files| tls.load(files)).init_logs().build()?;
    // To be seen where stdout is closed; what panics in a thread of an exporter is not exported.
    panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let tracer = telemetry.tracer_provider().map(|provider| provider.tracer("emit"));
    let meter = telemetry.meter_provider().meter("emit");
    observe_runtime(&meter, "main", &tokio::runtime::Handle::current());
    let count = meter.u64_counter("emit.count").with_unit("{loop}").build();
    let size = meter.f64_histogram("emit.size").with_unit("By").with_boundaries(vec![0.0, 1.5, 1e9]).build();

    let memory = peak_memory();
    let start = Instant::now();
    for number in 0..loops {
        let log = || tracing::info!(number, "in the inner span");
        match &tracer {
            Some(tracer) => tracer.in_span("outer", |_| tracer.in_span("inner", |_| log())),
            None => log(),
        }
        count.add(1, &[KeyValue::new("kind", "a")]);
        size.record(1.0, &[]);
    }
    let emitted = start.elapsed();
    let start = Instant::now();
    telemetry.shutdown(SHUTDOWN_LIMIT).await;
    let shutdown = start.elapsed();
    eprintln!("{} {} {}", emitted.as_millis(), shutdown.as_millis(), peak_memory() - memory);
    Ok(())
}

/// The most physical memory there was at any time, in KiB; 0 where there is no `/proc`.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    peak.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
}
