//! SIGTERM and SIGINT.

use std::{io, thread};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// What a shell reports for a process that a signal ended: 128 and the signal's number.
const BY_SIGNAL: i32 = 128;

/// Resolves at the first SIGTERM or SIGINT, so that the program can end in good order. The second one
/// ends the process at once (143 or 130), however busy its runtimes are: a thread of its own listens.
/// Signals count from the call on, not from the first poll.
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
                let mut signals = listen().expect("handlers for SIGTERM and SIGINT");
                let _ = installed.send(());
                let name = next(&mut signals).await.1;
                tracing::info!(signal = name, "shutting down; a second signal ends it at once");
                let _ = first.send(());
                let (number, _) = next(&mut signals).await;
                std::process::exit(BY_SIGNAL + number);
            });
        })
        .expect("a thread for signals");
    ready.recv().expect("handlers for SIGTERM and SIGINT");
    async move {
        let _ = asked.await;
    }
}

fn listen() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

async fn next((terminate, interrupt): &mut (Signal, Signal)) -> (i32, &'static str) {
    tokio::select! {
        _ = terminate.recv() => (SignalKind::terminate().as_raw_value(), "SIGTERM"),
        _ = interrupt.recv() => (SignalKind::interrupt().as_raw_value(), "SIGINT"),
    }
}
