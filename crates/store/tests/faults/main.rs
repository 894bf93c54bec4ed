//! What becomes of acknowledged readings when something breaks: each fault under load in each mode of
//! acknowledgement, with bookkeeping. `make faults`, or with `ROUNDS=10`.
//!
//! Several servers (stores of their own, one of them a process of its own) write unique readings and note what was
//! acknowledged. Afterwards what the store gives back is compared with the notes: nothing acknowledged may be missing
//! where that is promised, nothing may be there twice anywhere, every call must be answered in time, and the rate
//! must come back.

mod cell;
mod fault;
mod load;
#[path = "../processes/mod.rs"]
mod processes;
mod proxy;

use std::{env, process::ExitCode};

use futures_util::future::join_all;
use kelvin_store::Acknowledge;

use cell::Cell;
use fault::Fault;

const MODES: [Acknowledge; 3] = [Acknowledge::Primary, Acknowledge::Replica, Acknowledge::Fsync];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, port, mode, number] = &arguments[..]
        && command == "writer"
    {
        load::process(port, mode, number).await;
        return ExitCode::SUCCESS;
    }
    let Ok(rounds) = env::var("ROUNDS") else {
        println!("`make faults` runs this");
        return ExitCode::SUCCESS;
    };
    let rounds = rounds.parse().expect("ROUNDS is a number");
    let (mut passed, mut all) = (0, 0);
    println!(
        "{:<44} {:<8} {:>8} {:>6} {:>8} {:>10}",
        "fault", "mode", "stored", "lost", "doubled", "back in s"
    );
    for _ in 0_u32..rounds {
        for fault in Fault::ALL {
            let cells = join_all(MODES.map(|mode| Cell { fault, mode }.run())).await;
            for (mode, cell) in MODES.iter().zip(cells) {
                println!("{:<44} {:<8} {cell}", fault.name(), mode.to_string());
                all += 1;
                passed += u32::from(cell.passed());
            }
        }
    }
    println!("faults: {passed} of {all}");
    if passed == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
