//! The signals that end a program: SIGTERM, SIGINT, SIGHUP and SIGQUIT.

use std::{fs, io, path::PathBuf, thread};

use parking_lot::Mutex;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

/// What a shell reports for a process that a signal ended: 128 and the signal's number.
const BY_SIGNAL: i32 = 128;

/// Folders with keys and tokens, removed by whatever ends the process.
static SECRETS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has the folder removed when a second signal ends the process at once and destructors do not run.
pub fn remove_at_exit(folder: PathBuf) {
    SECRETS.lock().push(folder);
}

/// Resolves at the first SIGTERM, SIGINT, SIGHUP or SIGQUIT, so that the program can shut down in order. The second
/// one ends the process at once (128 and its number), however busy its runtimes are: a thread of its own listens.
/// Signals count from the call on, not from the first poll. SIGHUP stays ignored where it is, as by `nohup`.
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
                if let Some((kind, _)) = signals.recv().await {
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
    let kinds = [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::quit(), "SIGQUIT"),
        (SignalKind::hangup(), "SIGHUP"),
    ];
    for (kind, name) in kinds {
        if kind == SignalKind::hangup() && is_ignored(kind) {
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
