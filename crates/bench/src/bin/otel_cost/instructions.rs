//! Instructions of a call, counted by callgrind: unlike times they hardly depend on what else the machine does.

use std::{env, error::Error, fs, process::Command};

use clap::ValueEnum as _;

use crate::variant::{CALLS, Variant};

/// Rounds of two runs, whose difference is free of the start and of what the first calls set up.
const ROUNDS: [u32; 2] = [1, 21];

/// Instructions of one call, those of the SDK's threads included.
pub(crate) fn per_call(variant: Variant) -> Result<f64, Box<dyn Error>> {
    let [short, long] = [count(variant, ROUNDS[0])?, count(variant, ROUNDS[1])?];
    Ok((long - short) / f64::from(CALLS * (ROUNDS[1] - ROUNDS[0])))
}

/// Instructions of a process that makes so many rounds of calls.
fn count(variant: Variant, rounds: u32) -> Result<f64, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("callgrind.out");
    let name = variant.to_possible_value().expect("no variant is skipped");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["--rounds", &rounds.to_string(), "in-process", "--variant", name.get_name()])
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let profile = fs::read_to_string(file)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind has no totals")?.trim().parse()?)
}
