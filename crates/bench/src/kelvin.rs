//! Kelvin with what it has in a cluster: tokens, metrics, and one call in ten traced.

use std::{error::Error, future, io, net::SocketAddr, path::Path};

use kelvin_server::{Config, Server};
use kelvin_telemetry::Telemetry;

use crate::cases::READINGS_PER_SENSOR;

/// Serves until the process ends; `started` is told where.
pub(crate) fn serve(
    files: &Path,
    started: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let file = |name| files.join(name).display().to_string();
    let config = Config::from_pairs([
        ("KELVIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("KELVIN_HEALTH_LISTEN", "127.0.0.1:0".to_owned()),
        ("KELVIN_WORKERS", "1".to_owned()),
        ("KELVIN_TLS_CERT", file("server.crt")),
        ("KELVIN_TLS_KEY", file("server.key")),
        ("KELVIN_TOKEN_FILE", file("token")),
        ("KELVIN_MAX_READINGS_PER_SENSOR", READINGS_PER_SENSOR.to_string()),
    ])?;
    let telemetry = Telemetry::builder("kelvin-server", env!("CARGO_PKG_VERSION")).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::build(config, &telemetry)?;
        started(server.local_addr())?;
        Ok(server.run(future::pending()).await?)
    })
}
