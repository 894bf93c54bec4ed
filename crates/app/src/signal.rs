//! The signals that end a program: SIGTERM, SIGINT, SIGHUP, SIGQUIT, and those of timers and limits, which would leave
//! keys behind.

use std::{
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::process::Signal as Number;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

/// What a shell reports for a process that a signal ended: 128 and the signal's number.
const BY_SIGNAL: i32 = 128;

/// A signal counts as the second one if it comes this long after the first. `timeout` of GNU and service managers send the
/// same one to a process and then to its group, and a shutdown in order would never happen.
pub const SECOND_SIGNAL: Duration = Duration::from_millis(500);

/// Folders with keys and tokens, removed by whatever ends the process.
static SECRETS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has the folder removed when a second signal ends the process at once and destructors do not run.
pub fn remove_at_exit(folder: PathBuf) {
    SECRETS.lock().push(folder);
}

/// Resolves at the first signal, so that the program can shut down in order. A second one, half a second later or more,
/// ends the process at once (128 and its number), however busy its runtimes are: a thread of its own listens.
/// Signals count from the call on, not from the first poll. SIGHUP stays ignored where it is, as by `nohup`. A file that
/// reaches the limit of its size (SIGXFSZ) gives an error to who writes it, as a full disk does.
///
/// # Panics
/// When the system refuses the thread or the handlers, which it does only when it is out of resources.
pub fn shutdown() -> impl Future<Output = ()> + Send + use<> {
    let (first, asked) = oneshot::channel();
    let (installed, ready) = std::sync::mpsc::channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
            runtime.block_on(async {
                let mut signals = listen().expect("signal handlers");
                let _ = installed.send(());
                if let Some((_, name)) = signals.recv().await {
                    tracing::info!(signal = name, "shutting down; a second signal ends the process at once");
                }
                let _ = first.send(());
                let since = Instant::now();
                while let Some((kind, _)) = signals.recv().await {
                    if since.elapsed() < SECOND_SIGNAL {
                        continue;
                    }
                    for folder in SECRETS.lock().iter() {
                        // Nothing is left to report to.
                        let _ = fs::remove_dir_all(folder);
                    }
                    std::process::exit(BY_SIGNAL + kind.as_raw_value());
                }
            });
        })
        .expect("a thread for signals");
    ready.recv().expect("signal handlers");
    async move {
        let _ = asked.await;
    }
}

/// Receives each signal, on the current runtime.
fn listen() -> io::Result<mpsc::UnboundedReceiver<(SignalKind, &'static str)>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // Its default action ends the process; a handler stays when its stream is dropped.
    drop(signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?);
    // A shell ignores SIGINT and SIGQUIT in the background, where these are sent all the same.
    let by_hand = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()];
    let kinds = [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::quit(), "SIGQUIT"),
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::alarm(), "SIGALRM"),
        (SignalKind::io(), "SIGIO"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
        (SignalKind::from_raw(Number::VTALARM.as_raw()), "SIGVTALRM"),
        (SignalKind::from_raw(Number::XCPU.as_raw()), "SIGXCPU"),
    ];
    for (kind, name) in kinds {
        if !by_hand.contains(&kind) && is_ignored(kind) {
            continue;
        }
        let mut stream: Signal = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let _ = sender.send((kind, name));
            }
        });
    }
    Ok(receiver)
}

/// Whether the parent process had this signal ignored. Unknown outside of Linux.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (mask >> (kind.as_raw_value() - 1)) & 1 == 1
}
