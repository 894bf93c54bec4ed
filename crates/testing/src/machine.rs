//! Cores, and the time spent on them.

use std::{fs, io, time::Duration};

use core_affinity::CoreId;

/// Returns one core for the server and one for the load.
pub fn two_cores() -> io::Result<(CoreId, CoreId)> {
    match core_affinity::get_core_ids().as_deref() {
        Some([server, load, ..]) => Ok((*server, *load)),
        _ => Err(io::Error::other("two cores are needed: one for the server, one for the load")),
    }
}

/// Keeps this thread, and those it will start, on a core.
pub fn pin(core: CoreId) -> io::Result<()> {
    if core_affinity::set_for_current(core) {
        return Ok(());
    }
    Err(io::Error::other(format!("cannot pin this thread to core {}", core.id)))
}

/// Returns the CPU time of the threads of a process so far, in seconds; `None` where there is no `/proc`.
#[must_use]
pub fn cpu_time(process: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    // The first field is the time on a core, in nanoseconds (kernel: Documentation/scheduler/sched-stats.rst).
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    Some(times.sum::<Duration>().as_secs_f64())
}

/// Returns the resident memory of a process in bytes; `None` where there is no `/proc`.
#[must_use]
pub fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}
