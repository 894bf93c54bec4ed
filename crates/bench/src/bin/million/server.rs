use std::{
    env, future,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use core_affinity::CoreId;
use kelvin_app::disable_huge_pages;
use kelvin_bench::files::Files;
use kelvin_credentials::{ClientFiles, ClientTls};
use kelvin_server::{Config, Server};
use kelvin_telemetry::Telemetry;
use kelvin_testing::{Process, machine};

use crate::{connection::Endpoint, error::Result};

/// The server in a process of its own, which ends with this value.
pub(crate) struct Running {
    process: Process,
    address: String,
    files: Files,
}

impl Running {
    /// Starts it on a core, with its readings in memory or on the Valkey at that address.
    pub(crate) fn start(history: u32, valkey: Option<String>, core: CoreId) -> Result<Self> {
        let files = Files::make().map_err(|error| error.to_string())?;
        machine::pin(core)?;
        let process = Command::new(env::current_exe()?)
            .arg("serve")
            .arg(files.folder.path())
            .arg(history.to_string())
            .args(valkey)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut process = Process::new(process);
        let mut address = String::new();
        let output = process.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().to_owned(), files })
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let files = ClientFiles { ca: Some(self.files.path("ca.crt")), cert: None, key: None };
        Ok(Endpoint { address: self.address.parse()?, tls: ClientTls::load(files)?.config() })
    }

    /// Processor seconds so far.
    pub(crate) fn cpu_time(&self) -> f64 {
        machine::cpu_time(self.process.id()).unwrap_or_default()
    }

    /// Bytes of memory, as the kernel counts them.
    pub(crate) fn resident(&self) -> usize {
        let bytes = machine::resident(self.process.id()).unwrap_or_default();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Serves until the process is killed; says on standard output where.
pub(crate) fn serve(files: &Path, history: u32, valkey: Option<String>) -> Result<()> {
    disable_huge_pages();
    let file = |name| files.join(name).display().to_string();
    let store = match valkey {
        Some(address) => vec![
            ("KELVIN_STORE", "valkey".to_owned()),
            ("KELVIN_VALKEY_ADDRESS", address),
            // It shares its core with the load.
            ("KELVIN_VALKEY_TIMEOUT", "30s".to_owned()),
        ],
        None => vec![("KELVIN_STORE_MEMORY_LIMIT", "2GiB".to_owned())],
    };
    let settings = [
        ("KELVIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("KELVIN_HEALTH_LISTEN", String::new()),
        ("KELVIN_WORKERS", "1".to_owned()),
        ("KELVIN_TLS_CERT", file("server.crt")),
        ("KELVIN_TLS_KEY", file("server.key")),
        ("KELVIN_TOKEN_FILE", file("token")),
        ("KELVIN_MAX_SENSORS", "1000000".to_owned()),
        ("KELVIN_MAX_READINGS", "1000000000".to_owned()),
        ("KELVIN_MAX_READINGS_PER_SENSOR", history.to_string()),
    ];
    let config = Config::from_pairs(settings.into_iter().chain(store))?;
    let telemetry = Telemetry::builder("kelvin-server", env!("CARGO_PKG_VERSION")).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::build(config, &telemetry)?;
        println!("{}", server.local_addr());
        io::stdout().flush()?;
        Ok(server.run(future::pending()).await?)
    })
}
