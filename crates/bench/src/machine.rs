//! Cores, and the time spent on them.

use std::{fs, io, time::Duration};

use core_affinity::CoreId;

/// One core for the server and one for the load.
pub(crate) fn two_cores() -> io::Result<(CoreId, CoreId)> {
    match core_affinity::get_core_ids().as_deref() {
        Some([server, load, ..]) => Ok((*server, *load)),
        _ => Err(io::Error::other("two cores are needed: one for the server, one for the load")),
    }
}

/// Keeps this thread, and those it will start, on a core.
pub(crate) fn pin(core: CoreId) -> io::Result<()> {
    if core_affinity::set_for_current(core) {
        return Ok(());
    }
    Err(io::Error::other(format!("cannot stay on core {}", core.id)))
}

/// Processor time of a process so far; `None` where there is no `/proc`.
pub(crate) fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // proc(5): fields 14 and 15 are user and system time, in hundredths of a second on Linux; the name (field 2)
    // may hold spaces and ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}
