//! How fast the Valkey store takes readings in and gives them back:
//! `cargo run --release -p kelvin-store --example valkey_speed` (Valkey on core 1, the store and its load on core 0).

#[path = "../tests/processes/mod.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod processes;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use kelvin_store::{
    Acknowledge, AlertSettings, Batch, Credentials, Kind, Limits, Opener, Query, Reading, Report, Store,
    ValkeySettings,
};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};
use tokio::sync::watch;

use processes::Server;

const HELD: usize = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for arguments in [&[][..], &["--appendonly", "yes"]] {
        println!("valkey-server {}", arguments.join(" "));
        let server = Server::start(arguments).await;
        pin(std::process::id(), 0);
        pin(server.id(), 1);
        let store = open(&server).await;
        for (what, sensors, calls, size, rounds) in [
            ("one reading a call, 64 in flight", 1000, 64, 1, 2000),
            ("1000 sensors in turn, batches of 500, 16 in flight", 1000, 16, 500, 400),
            ("one sensor a stream, batches of 500, 16 in flight", 16, 16, 500, 400),
        ] {
            let start = (Instant::now(), cpu(&server).await);
            let writers = (0..calls).map(|writer| write(&store, sensors, size, rounds, writer));
            join_all(writers).await;
            let readings = calls * size * rounds;
            let seconds = start.0.elapsed().as_secs_f64();
            let used = (cpu(&server).await - start.1) / readings as f64 * 1e6;
            println!(
                "  {what}: {:.0} readings/s, Valkey {used:.2} CPU s a million",
                readings as f64 / seconds
            );
        }
        let memory: usize = server.info("used_memory").await.parse().expect("a number");
        server.tell(&["FLUSHALL"]).await;
        for _ in 0..HELD / 10 {
            write(&store, 100, 1000, 1, 0).await;
        }
        let after: usize = server.info("used_memory").await.parse().expect("a number");
        println!(
            "  batches of ten, {HELD} a sensor: {:.1} bytes a reading ({memory} before)",
            after as f64 / (100 * HELD) as f64
        );
        let (start, mut count, mut out) = (Instant::now(), 0, Vec::new());
        for sensor in 0..100 {
            let mut reader = store.read(&name(sensor), Query::default()).await.expect("the store is read");
            while reader.next(&mut out).await.expect("the store is read") {
                count += out.len();
                out.clear();
            }
        }
        println!(
            "  get, {HELD} readings a sensor: {:.0} readings/s",
            count as f64 / start.elapsed().as_secs_f64()
        );
    }
}

async fn open(server: &Server) -> Store {
    let settings = ValkeySettings {
        addresses: vec![server.address()],
        cluster: false,
        username: None,
        acknowledge: Acknowledge::Primary,
        prefix: ValkeySettings::PREFIX.to_owned(),
        partitions: ValkeySettings::PARTITIONS,
        timeout: Duration::from_secs(5),
        credentials: watch::channel(Credentials::default()).1,
    };
    let limits = Limits {
        readings_per_sensor: HELD,
        sensors: 1_000_000,
        readings: 1_000_000_000,
        idle: Duration::from_hours(1),
        recent_window: 10,
    };
    let alerts = AlertSettings { low: Some(-40.0), high: Some(85.0), z_score: Some(3.5) };
    let meter = NoopMeterProvider::new().meter("speed");
    let opener = Opener::new(Kind::Valkey(settings), limits, alerts, &meter).expect("the settings are valid");
    opener.open().await.expect("the store opens")
}

/// Each sensor in turn.
async fn write(store: &Store, sensors: usize, size: usize, rounds: usize, writer: usize) {
    let (mut batch, mut report) = (Batch::default(), Report::default());
    let mut sensor = writer;
    for _ in 0..rounds {
        batch.clear();
        for timestamp in (0..).take(size) {
            let reading = Reading { temperature: 20.0 + fastrand::f64(), timestamp };
            batch.push(&name(sensor % sensors), reading);
            sensor += 1;
        }
        store.append(&batch, &mut report).await.expect("the store takes the batch");
    }
}

fn name(sensor: usize) -> String {
    format!("sensor-{sensor}")
}

async fn cpu(server: &Server) -> f64 {
    let user: f64 = server.info("used_cpu_user").await.parse().expect("a number");
    let system: f64 = server.info("used_cpu_sys").await.parse().expect("a number");
    user + system
}

fn pin(process: u32, core: u32) {
    let done = Command::new("taskset").args(["-apc", &core.to_string(), &process.to_string()]).output();
    if !done.is_ok_and(|output| output.status.success()) {
        eprintln!("process {process} is not pinned to core {core}");
    }
}
