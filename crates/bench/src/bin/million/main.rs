//! A million sensors on one server: an hour of history each, then a steady rate.
//!
//! The server runs in a process of its own on one core, the load on the other. The history goes in through the API as
//! fast as it goes; then each sensor sends a reading every ten seconds while somebody reads.

mod connection;
mod error;
mod sensors;
mod server;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use kelvin_bench::goals::Goals;
use kelvin_testing::{ValkeyServer, machine};
use tokio::task::JoinSet;

use connection::{Connection, Endpoint};
use error::Result;
use sensors::{INTERVAL, Sensors};
use server::Running;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Between two turns of a connection.
const TURN: Duration = Duration::from_millis(100);
/// Between two reads.
const READ: Duration = Duration::from_millis(50);

#[derive(Parser)]
#[command(
    about = "Loads one server with a million sensors and measures its memory, CPU and read latency",
    version
)]
struct Arguments {
    /// Number of sensors
    #[arg(long, default_value_t = 1_000_000)]
    sensors: usize,
    /// Readings per sensor that are stored before the steady phase
    #[arg(long, default_value_t = 360)]
    history: u32,
    /// TLS connections
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Duration of the steady phase in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Store on a Valkey without persistence that runs beside the load, instead of in memory; there are no goals for it
    #[arg(long)]
    valkey: bool,
    #[command(flatten)]
    goals: Goals,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The server's process
    #[command(hide = true)]
    Serve { files: PathBuf, history: u32, valkey: Option<String> },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Serve { files, history, valkey }) => {
            server::serve(files, *history, valkey.clone()).map(|()| true)
        }
        None => measure(&arguments),
    };
    match done {
        Ok(reached) => arguments.goals.exit_code(reached),
        Err(error) => {
            eprintln!("million: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<bool> {
    let (server_core, load_core) = machine::two_cores()?;
    // Valkey inherits the load's core; starting the server moves this thread to the server's.
    machine::pin(load_core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let valkey = arguments.valkey.then(|| runtime.block_on(ValkeyServer::start(&[])));
    let server = Running::start(arguments.history, valkey.as_ref().map(ValkeyServer::address), server_core)?;
    machine::pin(load_core)?;
    runtime.block_on(async {
        let endpoint = server.endpoint()?;
        let connections = prefill(arguments, &endpoint, &server).await?;
        let cpu_of_valkey = || valkey.as_ref().and_then(|valkey| machine::cpu_time(valkey.id()));
        let cpu = (server.cpu_time(), cpu_of_valkey());
        let start = Instant::now();
        let mut steady = JoinSet::new();
        // Gateways do not send in step: their turns are spread over the time between two turns of one of them.
        let shift = TURN / u32::try_from(connections.len().max(1))?;
        for (first, (connection, sensors)) in (0..).map(|index| shift * index).zip(connections) {
            steady.spawn(hold(connection, sensors, first, Duration::from_secs(arguments.seconds)));
        }
        let mut latencies = read(&endpoint, arguments).await?;
        let (mut sent, mut late) = (0, Duration::ZERO);
        while let Some(ended) = steady.join_next().await {
            let (readings, latest) = ended??;
            sent += readings;
            late = late.max(latest);
        }
        let seconds = start.elapsed().as_secs_f64();
        let share = (server.cpu_time() - cpu.0) / seconds;
        let share_of_valkey = cpu_of_valkey().zip(cpu.1).map(|(now, then)| (now - then) / seconds);
        latencies.sort_unstable();
        let p99 = latencies[latencies.len() * 99 / 100];
        let resident = server.resident();
        let rate = sent as f64 / seconds;
        println!(
            "steady: {rate:.0} readings/s over {} connections, at most {late:.0?} late",
            arguments.connections
        );
        println!(
            "resident memory: {:.1} MiB, {} B per sensor",
            resident as f64 / 1_048_576.0,
            resident / arguments.sensors
        );
        println!("server: {:.1} % of a core", share * 100.0);
        println!("get of {} readings: p99 {p99:.2?} over {} calls", arguments.history, latencies.len());
        if let Some((valkey, share)) = valkey.as_ref().zip(share_of_valkey) {
            let resident = machine::resident(valkey.id()).unwrap_or_default();
            println!(
                "Valkey: {:.1} MiB, {} B per sensor, {:.1} % of a core",
                resident as f64 / 1_048_576.0,
                resident / arguments.sensors as u64,
                share * 100.0
            );
            return Ok(true);
        }
        let good = resident / arguments.sensors <= 1180 && share <= 0.35 && p99 <= Duration::from_millis(10);
        if !good {
            println!("goals MISSED: at most 1180 B per sensor, 35 % of a core, p99 10 ms");
        }
        Ok(good)
    })
}

/// Each connection sends its sensors' history, one reading of each in turn.
async fn prefill(
    arguments: &Arguments,
    endpoint: &Endpoint,
    server: &Running,
) -> Result<Vec<(Connection, Sensors)>> {
    let start = Instant::now();
    let mut filling = JoinSet::new();
    for index in 0..arguments.connections {
        let mut sensors = Sensors::new((index..arguments.sensors).step_by(arguments.connections));
        let (endpoint, history) = (endpoint.clone(), arguments.history);
        filling.spawn(async move {
            let mut connection = endpoint.connect().await?;
            let mut stream = connection.stream().await?;
            for _ in 0..history {
                let mut left = sensors.count();
                while left > 0 {
                    let count = left.min(300);
                    stream.send(sensors.encode(count)).await?;
                    left -= count;
                }
            }
            stream.end().await?;
            Result::Ok((connection, sensors))
        });
    }
    let filled: Vec<_> = filling.join_all().await.into_iter().collect::<Result<_>>()?;
    let readings = arguments.sensors as f64 * f64::from(arguments.history);
    let took = start.elapsed();
    println!(
        "prefilled {:.0} M readings in {:.1?}: {:.2} M/s, {:.1} MiB resident",
        readings / 1e6,
        took,
        readings / 1e6 / took.as_secs_f64(),
        server.resident() as f64 / 1_048_576.0
    );
    Ok(filled)
}

/// Sends what is due each turn, a reading a frame, and says how many it sent and how late a turn began at most.
async fn hold(
    mut connection: Connection,
    mut sensors: Sensors,
    first: Duration,
    duration: Duration,
) -> Result<(u64, Duration)> {
    let turns = usize::try_from(INTERVAL)? * 10;
    let mut stream = connection.stream().await?;
    let start = Instant::now();
    let mut ticks = tokio::time::interval_at((start + first).into(), TURN);
    let (mut sent, mut late) = (0, Duration::ZERO);
    for turn in 0_u32.. {
        let due = ticks.tick().await;
        if start.elapsed() >= duration {
            break;
        }
        late = late.max(due.elapsed());
        // So that all of them have had their turn after the interval, whatever the division leaves over.
        let part = |turn: usize| sensors.count() * turn / turns;
        let turn = turn as usize % turns;
        for _ in part(turn)..part(turn + 1) {
            stream.send(sensors.encode(1)).await?;
            sent += 1;
        }
    }
    stream.end().await?;
    Ok((sent, late))
}

/// Reads a sensor occasionally while the others send.
async fn read(endpoint: &Endpoint, arguments: &Arguments) -> Result<Vec<Duration>> {
    let mut connection = endpoint.connect().await?;
    let mut ticks = tokio::time::interval(READ);
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while start.elapsed().as_secs() < arguments.seconds {
        ticks.tick().await;
        let begun = Instant::now();
        connection.get(fastrand::usize(..arguments.sensors)).await?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}
