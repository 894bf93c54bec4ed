//! What this process uses: <https://opentelemetry.io/docs/specs/semconv/system/process-metrics/>. On
//! Linux, from `/proc`; elsewhere nothing is reported.

use opentelemetry::metrics::Meter;

/// Observes memory, CPU time, threads and open files of this process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn observe(_: &Meter) {}

/// Observes memory, CPU time, threads and open files of this process.
#[cfg(target_os = "linux")]
pub(crate) fn observe(meter: &Meter) {
    use opentelemetry::KeyValue;

    meter
        .i64_observable_up_down_counter("process.memory.usage")
        .with_unit("By")
        .with_description("Physical memory in use")
        .with_callback(|observer| {
            if let Some(kibibytes) = linux::status("VmRSS:") {
                observer.observe(kibibytes * 1024, &[]);
            }
        })
        .build();
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("CPU time used, in user and in system mode")
        .with_callback(|observer| {
            if let Some((user, system)) = linux::cpu_seconds() {
                observer.observe(user, &[KeyValue::new("cpu.mode", "user")]);
                observer.observe(system, &[KeyValue::new("cpu.mode", "system")]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("process.thread.count")
        .with_unit("{thread}")
        .with_description("Threads")
        .with_callback(|observer| {
            if let Some(threads) = linux::status("Threads:") {
                observer.observe(threads, &[]);
            }
        })
        .build();
    meter
        .i64_observable_up_down_counter("process.unix.file_descriptor.count")
        .with_unit("{file_descriptor}")
        .with_description("Open files and sockets")
        .with_callback(|observer| {
            if let Some(open) = linux::open_files() {
                observer.observe(open, &[]);
            }
        })
        .build();
}

/// proc(5).
#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    /// Ticks of `/proc/self/stat` in a second; `USER_HZ` is 100 on every architecture Linux has today.
    const TICKS: f64 = 100.0;

    /// A number of `/proc/self/status`; memory is in KiB.
    pub(super) fn status(name: &str) -> Option<i64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    }

    /// Time in user and in system mode: the 14th and 15th field, counted past the name in parentheses,
    /// which may hold anything.
    pub(super) fn cpu_seconds() -> Option<(f64, f64)> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<f64>);
        Some((fields.next()?.ok()? / TICKS, fields.next()?.ok()? / TICKS))
    }

    /// Without the one that the listing itself opens.
    pub(super) fn open_files() -> Option<i64> {
        i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok().map(|count| count - 1)
    }
}
