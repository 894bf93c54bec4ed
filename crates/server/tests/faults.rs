//! What becomes of acknowledged readings when something breaks: each fault in each mode of acknowledgement, under load
//! and with bookkeeping. `make faults`, or with `ROUNDS=10`; it takes minutes, so plain `cargo test` lists it as ignored.
//!
//! Two servers, processes of their own, share a Valkey. At each of them callers of three kinds send unique readings at
//! a steady pace, none of them twice, and note what was acknowledged. Afterwards that is compared with what a fresh
//! server gives back: nothing acknowledged may be missing where that is promised, nothing may be there twice, every
//! call must be answered in time, no server may crash, and the rate must come back.

mod support;

mod faults {
    mod callers;
    pub(crate) mod cell;
    pub(crate) mod fault;
    mod notes;
    mod proxy;
    mod world;
}

use std::{any::Any, env, panic::AssertUnwindSafe};

use futures_util::{
    FutureExt as _,
    stream::{self, StreamExt as _},
};
use kelvin_server::Acknowledge;

use faults::{
    cell::{self, Cell},
    fault::Fault,
};

const MODES: [Acknowledge; 3] = [Acknowledge::Primary, Acknowledge::Replica, Acknowledge::Fsync];
/// Cells at a time. Each has its own servers and Valkey, and all of them together leave the machine room.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make faults` runs it"]
async fn acknowledged_readings_survive_faults() {
    let rounds: usize = env::var("ROUNDS").map_or(1, |rounds| rounds.parse().expect("ROUNDS is a number"));
    println!(
        "{:<44} {:<8} {:>8} {:>6} {:>8} {:>10}",
        "fault", "mode", "stored", "lost", "doubled", "back in s"
    );
    let (mut failed, mut all) = (Vec::new(), 0);
    let cells = Fault::ALL.into_iter().flat_map(|fault| MODES.map(|mode| Cell { fault, mode }));
    let cells = cells.cycle().take(rounds * Fault::ALL.len() * MODES.len());
    let run = |cell: Cell| async move { (cell, AssertUnwindSafe(cell.run()).catch_unwind().await) };
    let mut results = stream::iter(cells).map(run).buffered(AT_ONCE);
    while let Some((Cell { fault, mode }, result)) = results.next().await {
        let good = result.as_ref().is_ok_and(cell::Result::passed);
        let result = result.map_or_else(|panic| format!("FAILED: {}", message(&*panic)), |it| it.to_string());
        let line = format!("{:<44} {:<8} {result}", fault.name(), mode.to_string());
        println!("{line}");
        all += 1;
        failed.extend((!good).then_some(line));
    }
    println!("faults: {} of {all}", all - failed.len());
    // Once more, where they are seen.
    for line in &failed {
        println!("{line}");
    }
    assert!(failed.is_empty(), "{} of {all} failed", failed.len());
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
