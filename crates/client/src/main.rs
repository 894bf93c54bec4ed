//! The binary of the clients; everything is in the library.

use std::{future::pending, process::ExitCode, time::Duration};

use kelvin_app::{
    BoxError, Command, Program, SettingsError,
    health::{self, Health},
    signal,
};
use kelvin_client::{Channel, Config, check};
use kelvin_credentials::OtlpTls;
use kelvin_telemetry::{Telemetry, WithTelemetry};
use opentelemetry::metrics::MeterProvider as _;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: Program = Program {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Simulates sensors that send their readings to a Kelvin server, or reads them back.",
    commands: &[
        Command {
            name: "healthcheck",
            about: "Asks the health port of the running client whether it is ready.",
        },
        Command {
            name: "check",
            about: "Makes each kind of call once, and one without credentials, and prints the results.",
        },
    ],
};

/// The timeout for the last export of telemetry.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    PROGRAM.main(async |WithTelemetry(config): WithTelemetry<Config>, command| match command {
        Some("healthcheck") => healthcheck(&config).await,
        command => {
            let shutdown = signal::shutdown();
            let tls = OtlpTls::default();
            let loader = tls.clone();
            let telemetry = Telemetry::builder(PROGRAM.name, PROGRAM.version)
                .tls(move |files| loader.load(files))
                .prometheus(config.prometheus)
                .init_logs()
                .build()
                .map_err(|error| error.with(config.check_files()))?;
            let meter = telemetry.meter_provider().meter(PROGRAM.name);
            tokio::spawn(tls.watch(config.reload_interval, &meter));
            Config::log_warnings();
            warn_without_export(&config, &telemetry);
            let result = match command {
                Some(_) => tokio::select! {
                    checked = check::run(&config, &telemetry) => checked,
                    () = shutdown => Err("interrupted".into()),
                },
                None => run(config, &telemetry, shutdown).await,
            };
            telemetry.shutdown(FLUSH_LIMIT).await;
            result
        }
    })
}

/// Warns of settings about metrics where nothing exports them.
fn warn_without_export(config: &Config, telemetry: &Telemetry) {
    if config.rpc_metrics && !telemetry.exports_metrics() {
        tracing::warn!(
            variable = "KELVIN_RPC_METRICS",
            "KELVIN_RPC_METRICS has no effect: no metrics are exported; set OTEL_EXPORTER_OTLP_ENDPOINT or KELVIN_PROMETHEUS=true"
        );
    }
    if config.prometheus && telemetry.prometheus().is_none() {
        tracing::warn!(
            variable = "KELVIN_PROMETHEUS",
            "KELVIN_PROMETHEUS has no effect with OTEL_SDK_DISABLED=true"
        );
    }
}

async fn run(
    config: Config,
    telemetry: &Telemetry,
    shutdown: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let health = Health::new();
    if let Some(prometheus) = telemetry.prometheus() {
        health.serve_metrics(move || prometheus.render());
    }
    if let Some(address) = config.health_listen {
        let listener = TcpListener::bind(kelvin_app::listen::available(address))
            .await
            .map_err(|error| format!("cannot listen on {address} (KELVIN_HEALTH_LISTEN): {error}"))?;
        tokio::spawn(health::serve(listener, health.clone(), pending()));
    }
    let channel = Channel::open(&config, telemetry)?;
    kelvin_client::run(config, channel, telemetry, health, shutdown).await;
    Ok(())
}

async fn healthcheck(config: &Config) -> Result<(), BoxError> {
    let Some(address) = config.health_listen else {
        let mut error = SettingsError::default();
        error.push("KELVIN_HEALTH_LISTEN", "must be set: without it the client has no health port");
        return Err(error.into());
    };
    Ok(health::check(address).await?)
}
