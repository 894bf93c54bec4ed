//! Two ways to keep a sensor's readings on Valkey, compared by rate, bytes and exactness of the cap:
//! packed batches in a stream with the statistics in a string, or both in one string with a ring.
//! `cargo run --release -p kelvin-store --example valkey_layout` (Valkey on core 1, the load on core 0).

use kelvin_testing::ValkeyServer;
use std::{process::Command, time::Instant};

use redis::Script;

const CAP: usize = 2000;
const SENSORS: usize = 200;
const CONNECTIONS: usize = 8;
const PIPELINE: usize = 100;
const HEADER: usize = 64;

const STREAM: &str = r"
local count, mean, m2 = 0, 0, 0
local raw = redis.call('GET', KEYS[1])
if raw then count, mean, m2 = struct.unpack('<ddd', raw) end
local n, batch_mean, batch_m2 = struct.unpack('<ddd', ARGV[2])
local total, delta = count + n, batch_mean - mean
mean, m2 = mean + delta * n / total, m2 + batch_m2 + delta * delta * count * n / total
redis.call('SET', KEYS[1], struct.pack('<dddddddd', total, mean, m2, 0, 0, 0, 0, 0))
redis.call('XADD', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(0, total - ARGV[1] + 1)),
  string.format('%.0f-0', total), 'r', ARGV[3])
return total";

const RING: &str = r"
local count, mean, m2 = 0, 0, 0
local raw = redis.call('GETRANGE', KEYS[1], 0, 63)
if #raw == 64 then count, mean, m2 = struct.unpack('<ddd', raw) end
local n, batch_mean, batch_m2 = struct.unpack('<ddd', ARGV[2])
local total, delta, cap = count + n, batch_mean - mean, tonumber(ARGV[1])
mean, m2 = mean + delta * n / total, m2 + batch_m2 + delta * delta * count * n / total
redis.call('SETRANGE', KEYS[1], 0, struct.pack('<dddddddd', total, mean, m2, 0, 0, 0, 0, 0))
local at = count % cap
local fit = math.min(n, cap - at)
redis.call('SETRANGE', KEYS[1], 64 + at * 16, string.sub(ARGV[3], 1, fit * 16))
if fit < n then redis.call('SETRANGE', KEYS[1], 64, string.sub(ARGV[3], fit * 16 + 1)) end
return total";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!(
        "{:>7} {:>6} {:>12} {:>12} {:>14} {:>16} {:>14}",
        "layout", "batch", "commands/s", "readings/s", "CPU us a call", "bytes a reading", "held for 2000"
    );
    for batch in [1, 10, 100] {
        for (name, code) in [("stream", STREAM), ("ring", RING)] {
            measure(name, code, batch).await;
        }
    }
}

async fn measure(name: &str, code: &str, batch: usize) {
    let server = ValkeyServer::start(&[]).await;
    pin(std::process::id(), 0);
    pin(server.id(), 1);
    let script = Script::new(code);
    server.exec(&["SCRIPT", "LOAD", code]).await;
    let before: usize = server.info("used_memory").await.parse().expect("a number");

    // Full rings and a fifth more, so that cutting off is measured too.
    let rounds = CAP * 6 / 5 / batch;
    let (start, used) = (Instant::now(), cpu(&server).await);
    let writers = (0..CONNECTIONS).map(|writer| write(&server, script.get_hash(), batch, rounds, writer));
    futures_util::future::join_all(writers).await;
    let seconds = start.elapsed().as_secs_f64();
    let used = (cpu(&server).await - used) / (SENSORS * rounds) as f64 * 1e6;

    let after: usize = server.info("used_memory").await.parse().expect("a number");
    let held = if name == "stream" {
        server.query::<usize>(&["XLEN", "{0}d"]).await.expect("a stream") * batch
    } else {
        (server.query::<usize>(&["STRLEN", "{0}s"]).await.expect("a string") - HEADER) / 16
    };
    let commands = (SENSORS * rounds) as f64 / seconds;
    let bytes = (after - before) as f64 / (SENSORS * held) as f64;
    let readings = commands * batch as f64;
    println!("{name:>7} {batch:>6} {commands:>12.0} {readings:>12.0} {used:>14.2} {bytes:>16.1} {held:>14}");
}

async fn write(server: &ValkeyServer, digest: &str, batch: usize, rounds: usize, writer: usize) {
    let client = redis::Client::open(("127.0.0.1", server.port)).expect("an address");
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
    let mut connection = connection.expect("the server is there");
    let summary = [batch as f64, 20.0, 1.0].map(f64::to_le_bytes);
    let readings: Vec<u8> = (0..batch * 16).map(|_| fastrand::u8(..)).collect();
    let mut pipeline = redis::pipe();
    for round in 0..rounds * SENSORS / CONNECTIONS {
        let sensor = round * CONNECTIONS % SENSORS + writer;
        pipeline
            .cmd("EVALSHA")
            .arg(digest)
            .arg(2)
            .arg(format!("{{{sensor}}}s"))
            .arg(format!("{{{sensor}}}d"));
        pipeline.arg(CAP).arg(summary.as_flattened()).arg(&readings).ignore();
        if pipeline.len() == PIPELINE {
            pipeline.exec_async(&mut connection).await.expect("the script runs");
            pipeline.clear();
        }
    }
    if !pipeline.is_empty() {
        pipeline.exec_async(&mut connection).await.expect("the script runs");
    }
}

/// CPU seconds the server has used.
async fn cpu(server: &ValkeyServer) -> f64 {
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
