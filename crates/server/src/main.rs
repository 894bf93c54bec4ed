//! `kelvin-server`: reads its settings, serves, drains, flushes.

use std::{process::ExitCode, time::Duration};

use kelvin_app::{BoxError, Command, Program, signal};
use kelvin_credentials::OtlpTls;
use kelvin_server::{Config, Server, healthcheck};
use kelvin_telemetry::Telemetry;
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

/// How long the last telemetry may take to leave.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    PROGRAM.main(async |config: Config, command| match command {
        Some("healthcheck") => Ok(healthcheck::check(&config).await?),
        _ => serve(config).await,
    })
}

async fn serve(config: Config) -> Result<(), BoxError> {
    let shutdown = signal::shutdown();
    let (tls, interval) = (OtlpTls::default(), config.reload_interval);
    let loader = tls.clone();
    let telemetry = Telemetry::builder("kelvin-server", env!("CARGO_PKG_VERSION"))
        .tls(move |files| loader.load(files))
        .prometheus(config.prometheus)
        .init_logs()
        .build()?;
    tokio::spawn(tls.watch(interval, &telemetry.meter_provider().meter("kelvin")));
    Config::warn_unknown();
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
