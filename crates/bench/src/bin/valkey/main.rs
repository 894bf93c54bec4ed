//! Kelvin on Valkey: Kelvin and the load on one core, Valkey on the other, once plain and once with TLS and an
//! append-only file. What Valkey itself can do is asked of `valkey-benchmark` in the same run.

mod direct;
mod error;
mod grpc;
mod peer;
mod report;
mod variant;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use core_affinity::CoreId;
use kelvin_bench::goals::Goals;
use kelvin_proto::CallType;
use kelvin_server::Acknowledge;
use kelvin_testing::machine;

use error::Result;
use grpc::{Measured, Shape};
use report::{Row, Table};
use variant::{HELD, Variant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Readings a second of all sensors in turn.
const STREAMING: Shape = Shape {
    kind: CallType::ClientStreaming,
    sensors: 1000,
    connections: 4,
    streams: 16,
    messages: 5000,
    acknowledge: Acknowledge::Primary,
};
/// So many sensors that a flush has one reading of each.
const SCATTERED: Shape = Shape { sensors: 50_000, messages: 500, ..STREAMING };
const SINGLE: Shape = Shape { kind: CallType::Unary, messages: 1, ..STREAMING };
const GET: Shape =
    Shape { kind: CallType::ServerStreaming, sensors: 100, streams: 4, messages: HELD as u64, ..STREAMING };

#[derive(Parser)]
#[command(about = "Benchmarks Kelvin with the Valkey store against valkey-benchmark", version)]
struct Arguments {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    goals: Goals,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(hide = true)]
    Serve { core: usize },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve { core }) = arguments.command {
        machine::pin(CoreId { id: core })?;
        grpc::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    let (kelvin, valkey) = machine::two_cores()?;
    machine::pin(kelvin)?;
    let time = Duration::from_secs(arguments.seconds);
    let memory = grpc::measure(SINGLE, None, kelvin, time)?;
    let mut reached = true;
    for secured in [false, true] {
        let variant = Variant::start(secured, valkey, kelvin)?;
        let mut table = Table::begin(variant.name());
        fill(&mut table, &variant, &memory, kelvin, time)?;
        reached &= table.reached;
    }
    Ok(arguments.goals.exit_code(reached))
}

fn fill(
    table: &mut Table,
    variant: &Variant,
    memory: &Measured,
    kelvin: CoreId,
    time: Duration,
) -> Result<()> {
    let measure = |shape| {
        variant.empty()?;
        grpc::measure(shape, Some(variant), kelvin, time)
    };

    let streaming = measure(STREAMING)?;
    table.push(&Row::rate("client-streaming, 1000 sensors in turn", &streaming).at_least(1e6));
    let name = format!("ratio to valkey-benchmark, {}", streaming.size);
    variant.empty()?;
    table.push(&match peer::rate(variant, streaming.size, usize::try_from(time.as_secs())?)? {
        Some(rate) => Row::ratio(name, streaming.rate, rate).at_least(0.7),
        None => Row::left_out("ratio to valkey-benchmark: it is not on PATH"),
    });
    table.push(&Row::rate("client-streaming, 50,000 sensors in turn", &measure(SCATTERED)?));

    let single = measure(SINGLE)?;
    table.push(&Row::rate("one reading per call, 64 in flight", &single));
    let name = format!("ratio to the memory store ({:.0}/s)", memory.rate);
    table.push(&Row::ratio(name, single.rate, memory.rate).at_least(0.5));

    variant.empty()?;
    let ten = direct::fill(variant, 100, HELD, 10)?;
    table.push(&Row::bytes("bytes per reading, batches of ten", ten).at_most(20.0));
    let rate = direct::read_back(variant, 100, time)?;
    table.push(&Row::plain("get without gRPC, batches of ten", rate).at_least(5e6));
    table.push(&Row::rate("get, 10,000 readings per sensor", &measure(GET)?).at_least(5e6));
    variant.empty()?;
    table.push(&Row::bytes("bytes per reading, batches of one", direct::fill(variant, 100, HELD / 5, 1)?));
    variant.empty()?;
    table.push(&Row::bytes("bytes per sensor with one reading", direct::fill(variant, 50_000, 1, 1)?));

    variant.empty()?;
    let delay = direct::follow(variant, time)?;
    table.push(&Row::millis("follow under load, p99 of the delay in ms", delay).at_most(250.0));

    // Last, because a replica makes more work.
    let (acknowledge, _replica) = if variant.secured() {
        (Acknowledge::Fsync, None)
    } else {
        (Acknowledge::Replica, Some(variant.replicate()?))
    };
    for (name, shape) in
        [("client-streaming, 1000 sensors in turn", STREAMING), ("one reading per call", SINGLE)]
    {
        let measured = measure(Shape { acknowledge, ..shape })?;
        table.push(&Row::rate(&format!("{name}, acknowledge: {acknowledge}"), &measured));
    }
    Ok(())
}
