//! `kelvin-server`: reads its settings, serves, drains, flushes.

use std::{process::ExitCode, time::Duration};

use kelvin_app::{BoxError, Command, Program, raise_open_file_limit, signal};
use kelvin_credentials::OtlpTls;
use kelvin_server::{Config, Server, healthcheck};
use kelvin_telemetry::{Telemetry, WithTelemetry};
use opentelemetry::metrics::MeterProvider as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: Program = Program {
    name: "kelvin-server",
    version: env!("CARGO_PKG_VERSION"),
    about: "Collects temperature readings from sensors over gRPC.",
    commands: &[Command {
        name: "healthcheck",
        about: "Checks the health of the server that runs with the same settings; exits with 0 if it is serving.",
    }],
};

/// Open files other than connections: listeners, the health port's connections, exporters, files that are read.
const OTHER_FILES: u64 = 100;

/// The time limit for exporting the last telemetry.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    PROGRAM.main(async |WithTelemetry(config): WithTelemetry<Config>, command| match command {
        Some("healthcheck") => Ok(healthcheck::check(&config).await?),
        _ => serve(config).await,
    })
}

fn raise_file_limit(config: &Config) {
    let needed = config.max_connections.get() as u64 + OTHER_FILES;
    if let Some(limit) = raise_open_file_limit().filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            "limit on open files too low for KELVIN_MAX_CONNECTIONS={}; raise it (ulimit -n, LimitNOFILE)",
            config.max_connections
        );
    }
}

/// Warns of settings about metrics where nothing exports them.
fn warn_without_export(config: &Config, telemetry: &Telemetry) {
    for (variable, is_set) in
        [("KELVIN_RPC_METRICS", config.rpc_metrics), ("KELVIN_SENSOR_METRICS", config.sensor_metrics > 0)]
    {
        if is_set && !telemetry.exports_metrics() {
            tracing::warn!(
                variable,
                "{variable} has no effect: no metrics are exported; set OTEL_EXPORTER_OTLP_ENDPOINT or KELVIN_PROMETHEUS=true"
            );
        }
    }
    if config.prometheus && telemetry.prometheus().is_none() {
        tracing::warn!(
            variable = "KELVIN_PROMETHEUS",
            "KELVIN_PROMETHEUS has no effect with OTEL_SDK_DISABLED=true"
        );
    }
}

async fn serve(config: Config) -> Result<(), BoxError> {
    let shutdown = signal::shutdown();
    let (tls, interval) = (OtlpTls::default(), config.reload_interval);
    let loader = tls.clone();
    let telemetry = Telemetry::builder("kelvin-server", env!("CARGO_PKG_VERSION"))
        .tls(move |files| loader.load(files))
        .prometheus(config.prometheus)
        .init_logs()
        .build()
        .map_err(|error| error.with(config.check_files()))?;
    tokio::spawn(tls.watch(interval, &telemetry.meter_provider().meter("kelvin")));
    Config::log_warnings();
    warn_without_export(&config, &telemetry);
    raise_file_limit(&config);
    let served = match Server::build(config, &telemetry) {
        Ok(server) => {
            telemetry.export_first_metrics();
            server.run(shutdown).await
        }
        Err(error) => Err(error),
    };
    telemetry.shutdown(FLUSH_LIMIT).await;
    Ok(served?)
}
