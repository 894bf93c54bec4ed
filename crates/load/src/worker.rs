//! One thread of the load: its connections, their streams, and call after call on each.
//!
//! A thread has a runtime of its own and shares only [`Shared`], which does not change but for `stop`, and its tally,
//! whose lock it holds for a few additions. `open` is the number of calls in progress. A connection that fails
//! is opened again after [`RECONNECT_DELAY`] until `stop` is set, and calls then have [`GRACE_PERIOD`] to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Status;

use kelvin_proto::CallType;

use crate::{
    LoadError, Options,
    call::{Call, Transferred},
    payload::{Frame, Payload},
    tally::Tally,
};

/// How long open calls may take to end after the measurement.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// The delay before a lost connection is opened again.
const RECONNECT_DELAY: Duration = Duration::from_millis(100);

/// The state that all threads share.
pub(crate) struct Shared {
    options: Options,
    payload: Payload,
    pub stop: AtomicBool,
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Self {
        let payload = Payload::new(options.sensors, options.messages, options.one_message_per_frame);
        Self { options: options.clone(), payload, stop: AtomicBool::new(false) }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the frames of one call, taken from the payload from `from` on; fewer if the time is over meanwhile.
    fn frames(&self, from: usize) -> impl Iterator<Item = &Frame> {
        let frames = &self.payload.frames;
        let mut left = self.options.messages;
        frames.iter().cycle().skip(from % frames.len()).take_while(move |frame| {
            let more = left > 0 && !self.stopped();
            left = left.saturating_sub(frame.messages);
            more
        })
    }
}

pub(crate) fn runtime() -> Result<Runtime, LoadError> {
    Builder::new_current_thread().enable_all().build().map_err(LoadError::Start)
}

/// Checks the target with one call of each type, and stores the readings that server-streaming calls will read.
pub(crate) async fn prepare(shared: &Shared) -> Result<(), LoadError> {
    let Options { target, call_types: kinds, sensors, messages, .. } = &shared.options;
    let (send, driver) = target.connect().await?;
    let first = Frame { ..shared.payload.singles[0].clone() };
    for kind in kinds {
        let made = async {
            let call = start_call(send.clone(), target.request(*kind)).await?;
            match kind {
                CallType::Unary => call.unary(first.bytes.clone()).await,
                CallType::ClientStreaming => call.client_streaming([&first].into_iter()).await,
                CallType::ServerStreaming => call.server_streaming(shared.payload.requests[0].clone()).await,
                CallType::BidiStreaming => call.bidi_streaming([&first].into_iter(), 1, |_| {}).await,
            }
        };
        made.await.map_err(|status| LoadError::FirstCall { kind: *kind, status: Box::new(status) })?;
    }
    if kinds.contains(&CallType::ServerStreaming) {
        let kind = CallType::ClientStreaming;
        for sensor in 0..*sensors {
            let frames = Payload::for_sensor(sensor, *messages);
            let stored = async {
                start_call(send.clone(), target.request(kind)).await?.client_streaming(frames.iter()).await
            };
            stored.await.map_err(|status| LoadError::FirstCall { kind, status: Box::new(status) })?;
        }
    }
    close(send, driver).await;
    Ok(())
}

/// Starts a call once the server's limit of concurrent streams allows it.
async fn start_call(send: SendRequest<Bytes>, request: http::Request<()>) -> Result<Call, Status> {
    let started = async {
        let (response, send) = send.ready().await?.send_request(request, false)?;
        Ok(Call { response, send })
    };
    started.await.map_err(|error: h2::Error| Status::unavailable(error.to_string()))
}

/// Closes the connection gracefully, or aborts it after a second.
async fn close(send: SendRequest<Bytes>, driver: tokio::task::JoinHandle<()>) {
    drop(send);
    let abort = driver.abort_handle();
    if timeout(Duration::from_secs(1), driver).await.is_err() {
        abort.abort();
    }
}

/// The connections and counts of one thread.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    pub tally: Mutex<Tally>,
    /// Calls in progress.
    pub open: AtomicU64,
}

impl Worker {
    pub(crate) fn new(shared: &Arc<Shared>, index: usize) -> Self {
        Self { shared: shared.clone(), index, tally: Mutex::default(), open: AtomicU64::new(0) }
    }

    /// Runs until `stop` is set and the open calls have ended.
    pub(crate) fn run(self: &Arc<Self>) {
        let Ok(runtime) = runtime() else { return };
        let Options { connections, threads, warm_up, duration, .. } = self.shared.options;
        runtime.block_on(async {
            let mut running = JoinSet::new();
            for connection in (self.index..connections).step_by(threads) {
                running.spawn(self.clone().connection(connection));
            }
            let _ = timeout(warm_up + duration + GRACE_PERIOD, running.join_all()).await;
        });
    }

    /// Keeps one connection at its number of concurrent calls, and reconnects when it is lost.
    async fn connection(self: Arc<Self>, connection: usize) {
        let Options { target, call_types: kinds, streams, .. } = &self.shared.options;
        while !self.shared.stopped() {
            match target.connect().await {
                Ok((send, driver)) => {
                    let mut open = JoinSet::new();
                    for number in (connection * streams..).take(*streams) {
                        let kind = kinds[number % kinds.len()];
                        open.spawn(self.clone().stream(send.clone(), kind, number));
                    }
                    open.join_all().await;
                    close(send, driver).await;
                }
                Err(error) => {
                    let status = Status::unavailable(error.to_string());
                    self.tally.lock().call_type(kinds[connection % kinds.len()]).record_failure(&status);
                }
            }
            if !self.shared.stopped() {
                sleep(RECONNECT_DELAY).await;
            }
        }
    }

    /// Makes one call after the other until the connection is closed.
    async fn stream(self: Arc<Self>, mut send: SendRequest<Bytes>, kind: CallType, number: usize) {
        let request = self.shared.options.target.request(kind);
        // Streams begin at different readings, far from each other.
        let mut iteration = number.wrapping_mul(7919);
        while !self.shared.stopped() {
            let Ok(ready) = send.ready().await else { return };
            send = ready;
            let started = Instant::now();
            let Ok((response, body)) = send.send_request(request.clone(), false) else { return };
            self.open.fetch_add(1, Ordering::Relaxed);
            let ended = self.run_call(Call { response, send: body }, kind, iteration).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            iteration = iteration.wrapping_add(1);
            let mut tally = self.tally.lock();
            let tally = tally.call_type(kind);
            match ended {
                Ok(transferred) => {
                    tally.record_success(transferred);
                    if kind != CallType::BidiStreaming {
                        tally.record_latency(started.elapsed());
                    }
                }
                Err(status) => tally.record_failure(&status),
            }
        }
    }

    async fn run_call(&self, call: Call, kind: CallType, iteration: usize) -> Result<Transferred, Status> {
        let Payload { singles, requests, .. } = &self.shared.payload;
        match kind {
            CallType::Unary => call.unary(singles[iteration % singles.len()].bytes.clone()).await,
            CallType::ClientStreaming => call.client_streaming(self.shared.frames(iteration)).await,
            CallType::ServerStreaming => {
                call.server_streaming(requests[iteration % requests.len()].clone()).await
            }
            CallType::BidiStreaming => {
                let on_acknowledged =
                    |sent: Instant| self.tally.lock().call_type(kind).record_latency(sent.elapsed());
                call.bidi_streaming(
                    self.shared.frames(iteration),
                    self.shared.options.in_flight,
                    on_acknowledged,
                )
                .await
            }
        }
    }
}
