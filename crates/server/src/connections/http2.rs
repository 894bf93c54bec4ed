//! Serves HTTP/2 on one connection with h2 itself, without hyper, which exposes neither h2's stream ids, nor GOAWAY with a
//! reason, nor the budget for small frames (docs/decisions/0010-h2-without-hyper.md).
//!
//! The calls of a connection run in its task, and the time that they run per poll is bounded: a connection with many busy
//! calls gets the same share of its thread as a connection with a single call. With one task per call, 8,000 busy calls of a
//! few callers delayed all other callers by more than a second. Also, closing a connection frees the memory of all its calls
//! at once.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::{Request, Response};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    account::Account,
    call::Call,
    incoming_body::IncomingBody,
    metered::Metered,
    turns::{NextTurn, Turns},
};
use crate::{
    config::Config,
    lifetime::{end_of_call, jittered},
    metrics::CloseReason,
};

/// The flow-control window of a stream in bytes: HTTP/2's default. With 16 KiB, client streaming reached 0.65 of its
/// throughput.
const STREAM_WINDOW: u32 = 65_535;

/// The maximum number of bytes of a stream that h2 buffers, whatever window its caller grants.
const SEND_BUFFER: usize = 128 * 1024;

/// The time that a peer has to read the GOAWAY, and again to close its side of the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of bytes that a turn of a closing connection discards: decrypting them takes about as long as any turn.
const DISCARDED_PER_TURN: usize = 256 * 1024;

/// The time that calls have to end after the client certificate of their connection is rejected. Then the connection is
/// closed.
const CERTIFICATE_GRACE: Duration = Duration::from_secs(1);

/// Serves calls until the connection ends. `rejected` completes when its client certificate is no longer accepted.
pub(crate) async fn serve<I, S, B>(
    mut io: I,
    account: Arc<Account>,
    config: &Config,
    drain: &CancellationToken,
    rejected: impl Future<Output = ()>,
    service: S,
) -> Result<(), h2::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible, Future: Unpin>,
    B: Body<Data = Bytes> + Unpin,
{
    let turns = account.turns().clone();
    if let Ended::Forced = serve_calls(&mut io, account, config, drain, rejected, service).await? {
        // What the peer sends is discarded only after the calls, h2 and the account are dropped: a peer that goes on sending
        // holds no memory but that of TLS meanwhile.
        let _ = timeout(CLOSE_TIMEOUT, discard(&mut io, &turns)).await;
    }
    Ok(())
}

/// How a connection ended without an error.
enum Ended {
    /// The peer has closed it, or it has drained.
    Gracefully,
    /// The account required it.
    Forced,
}

/// Serves calls like [`serve`], and drops everything but `io` when the connection ends.
async fn serve_calls<I, S, B>(
    io: &mut I,
    account: Arc<Account>,
    config: &Config,
    drain: &CancellationToken,
    rejected: impl Future<Output = ()>,
    service: S,
) -> Result<Ended, h2::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible, Future: Unpin>,
    B: Body<Data = Bytes> + Unpin,
{
    // A connection that has to close reads nothing more, so a handshake would not end.
    let handshake = builder(config).handshake(Metered::new(io, Arc::clone(&account)));
    let Some(connection) = account.unless_closing(handshake).await else { return Ok(Ended::Forced) };
    let connection = connection?;
    let max_stream_age = config.max_stream_age;
    let (begun, calls) = (Vec::new(), FuturesUnordered::new());
    // A new connection queues like a busy one: a caller that connects again and again delays others no more than that.
    let next_turn = Some(account.next_turn());
    let mut serving = Serving { connection, service, account, next_turn, max_stream_age, begun, calls };
    let mut rejected = pin!(rejected.fuse());
    let end = async {
        tokio::select! {
            () = drain.cancelled() => 2 * max_stream_age,
            () = sleep(jittered(config.max_connection_age)) => 2 * max_stream_age,
            () = rejected.as_mut() => CERTIFICATE_GRACE,
        }
    };
    let limit = match serving.until(end).await {
        End::Closed(result) => return result.map(|()| Ended::Gracefully),
        End::Requested(limit) => limit,
        End::Forced(reason) => return serving.abort(reason).await,
    };
    // GOAWAY: open calls continue until they end or reach their maximum age; the peer starts new calls on another
    // connection. A caller that does not read its replies can delay the end, but only up to `limit`.
    serving.connection.graceful_shutdown();
    let end = async {
        tokio::select! {
            () = sleep(limit) => {}
            () = async { rejected.await; sleep(CERTIFICATE_GRACE).await } => {}
        }
    };
    match serving.until(end).await {
        End::Closed(result) => result.map(|()| Ended::Gracefully),
        End::Requested(()) => Ok(Ended::Gracefully),
        End::Forced(reason) => serving.abort(reason).await,
    }
}

fn builder(config: &Config) -> Builder {
    let streams = config.max_concurrent_streams.get();
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        // Large enough for all streams to fill their windows.
        .initial_connection_window_size(streams.saturating_mul(STREAM_WINDOW).min((1 << 31) - 1))
        // The account counts the overhead of small frames, across streams and connections.
        .data_frame_budget(usize::MAX)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(config.max_header_size.0).unwrap_or(u32::MAX));
    builder
}

/// Why [`Serving::until`] returns.
enum End<T> {
    /// The connection has ended.
    Closed(Result<(), h2::Error>),
    /// The future that was passed in has completed.
    Requested(T),
    /// The account requires the connection to close.
    Forced(CloseReason),
}

struct Serving<I, S, F, B> {
    connection: Connection<I, Bytes>,
    service: S,
    account: Arc<Account>,
    /// What to wait for before the next turn: before the first one, and when the last one was used up.
    next_turn: Option<NextTurn>,
    max_stream_age: Duration,
    /// Calls that began in this turn and have not been polled yet.
    begun: Vec<Call<F, B>>,
    /// Calls that were pending when they were last polled.
    calls: FuturesUnordered<Call<F, B>>,
}

impl<I, S, B> Serving<I, S, S::Future, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible, Future: Unpin>,
    B: Body<Data = Bytes> + Unpin,
{
    /// Serves calls until `end` completes, or until the connection ends or has to close.
    async fn until<T>(&mut self, end: impl Future<Output = T>) -> End<T> {
        let mut end = pin!(end);
        poll_fn(|cx| match self.poll_in_turn(cx) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => end.as_mut().poll(cx).map(End::Requested),
        })
        .await
    }

    /// Waits for the next turn, if the last one was used up, and polls in it. A connection that has to close does not wait,
    /// because it frees memory.
    fn poll_in_turn<T>(&mut self, cx: &mut Context<'_>) -> Poll<End<T>> {
        if let Some(next_turn) = &mut self.next_turn
            && self.account.poll_closing(cx).is_pending()
        {
            // Whatever else wakes the task before is seen in that turn. An error means that the thread is ending.
            let _ = ready!(next_turn.poll_unpin(cx));
        }
        self.account.begin_turn();
        let polled = self.poll(cx);
        // Also when the connection ends: a task that reads a request body would wait for a next turn that never begins.
        self.next_turn = self.account.end_turn();
        polled
    }

    fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<End<T>> {
        let mut now = None;
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond, *now.get_or_insert_with(Instant::now));
                    // The remaining calls that the peer has sent are not accepted.
                    self.account.check_unauthenticated();
                    if self.account.closing().is_some() {
                        break;
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(End::Closed(Err(error))),
                Poll::Ready(None) => return Poll::Ready(End::Closed(Ok(()))),
                Poll::Pending => break,
            }
        }
        self.account.check_unauthenticated();
        if let Poll::Ready(reason) = self.account.poll_closing(cx) {
            return Poll::Ready(End::Forced(reason));
        }
        self.account.begin_turn_of_calls();
        self.poll_calls(cx);
        if !self.begun.is_empty() {
            // New calls are polled after waiting ones, and together instead of one by one as they are accepted, so that
            // requests that were read together are answered in one write. A pending call is polled once more in `calls`,
            // which registers the waker of `FuturesUnordered`.
            self.calls.extend(self.begun.extract_if(.., |call| call.poll_unpin(cx).is_pending()));
            self.begun.clear();
            self.poll_calls(cx);
        } else if self.begun.capacity() > 0 {
            // An idle connection keeps no allocation.
            self.begun = Vec::new();
        }
        Poll::Pending
    }

    fn poll_calls(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.calls.poll_next_unpin(cx) {}
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>, now: Instant) {
        let end = end_of_call(request.headers(), self.max_stream_age, now);
        let call = Call::begin(&self.account, request, respond, end, |request| self.service.call(request));
        self.begun.push(call);
    }

    /// Drops all calls and closes the connection with a GOAWAY that has the error code for `reason`.
    async fn abort(&mut self, reason: CloseReason) -> Result<Ended, h2::Error> {
        self.begun.clear();
        self.calls.clear();
        self.connection.abrupt_shutdown(error_code(reason));
        let closed = timeout(CLOSE_TIMEOUT, poll_fn(|cx| self.connection.poll_closed(cx))).await;
        closed.unwrap_or(Ok(())).map(|()| Ended::Forced)
    }
}

/// Reads and discards until the peer closes the connection. TCP resets a connection that is closed with unread bytes, and the
/// peer may then lose the GOAWAY with the reason.
async fn discard(io: &mut (impl AsyncRead + Unpin), turns: &Turns) -> io::Result<()> {
    loop {
        let _ = turns.next().await;
        if poll_fn(|cx| poll_discard(Pin::new(io), cx)).await? {
            return Ok(());
        }
    }
}

/// Discards what one turn may read; returns whether the peer has closed the connection.
fn poll_discard(mut io: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let mut scratch = [0; 4096];
    for _ in 0..DISCARDED_PER_TURN / scratch.len() {
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(io.as_mut().poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(true));
        }
    }
    Poll::Ready(Ok(false))
}

/// Returns the error code of the GOAWAY for the peer.
fn error_code(reason: CloseReason) -> Reason {
    match reason {
        CloseReason::Idle | CloseReason::Displaced => Reason::NO_ERROR,
        _ => Reason::ENHANCE_YOUR_CALM,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        task::yield_now,
    };
    use tower::service_fn;

    use super::{
        super::{Limits, Registry, preface::PREFACE},
        *,
    };
    use crate::metrics::Metrics;

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn closed_connection_frees_its_memory_while_its_peer_goes_on_sending() {
        let config =
            Config::from_pairs([("KELVIN_PLAINTEXT", "true"), ("KELVIN_TOKEN_FILE", "tokens")]).unwrap();
        let metrics = Metrics::new(&opentelemetry::global::meter("test"), 1);
        let registry = Arc::new(Registry::new(Limits::new(&config), Arc::new(metrics)));
        let (turns, give) = Turns::new();
        tokio::spawn(give);
        let admitted = registry.admit().unwrap();
        let account = Arc::new(Account::new(&admitted, turns));
        let held = Arc::downgrade(&account);
        let (io, mut peer) = duplex(64 * 1024);
        let serving = tokio::spawn(async move {
            let service =
                service_fn(|_| std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>());
            serve(io, account, &config, &CancellationToken::new(), std::future::pending(), service).await
        });
        peer.write_all(&[PREFACE, &SETTINGS].concat()).await.unwrap();
        peer.read_exact(&mut [0; SETTINGS.len()]).await.unwrap();
        let sending = CancellationToken::new();
        let flood = tokio::spawn({
            let sending = sending.clone();
            async move {
                while !sending.is_cancelled() && peer.write_all(&PING).await.is_ok() {
                    yield_now().await;
                }
            }
        });
        registry.make_room();
        let freed = async {
            while held.strong_count() > 0 {
                yield_now().await;
            }
        };
        timeout(10 * CLOSE_TIMEOUT, freed).await.unwrap();
        assert!(!serving.is_finished(), "what the peer sends is discarded");
        sending.cancel();
        flood.await.unwrap();
        serving.await.unwrap().unwrap();
    }
}
