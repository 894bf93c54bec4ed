//! HTTP/2 on one connection, by h2 itself: hyper passes on neither its stream ids, nor its GOAWAY with a reason, nor its
//! budget for small frames.
//!
//! The calls of a connection run in its task, and what they do at once is bounded in time: a connection with many calls
//! that have work has the same share of its thread as one with a single call. With a task for each call, 8,000 busy calls
//! of a few callers made everyone else wait for more than a second. And a connection that is closed frees all that its
//! calls hold at once.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
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
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{account::Account, call::Call, incoming_body::IncomingBody, metered::Metered};
use crate::{
    config::Config,
    lifetime::{end_of_call, jittered},
    metrics::CloseReason,
};

/// Bytes a caller may send on one stream before we have read them: HTTP/2's default. With 16 KiB client streaming reached
/// 0.65 of its rate.
const STREAM_WINDOW: u32 = 65_535;

/// Bytes of a stream that wait for the network at most, whatever window its caller grants.
const SEND_BUFFER: usize = 128 * 1024;

/// How long a peer may take to read why its connection is closed, and to close its side.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Time for calls to end after the client certificate of their connection is rejected; then the connection is closed.
const CERTIFICATE_GRACE: Duration = Duration::from_secs(1);

/// Serves calls until the connection ends. `rejected` completes when its client certificate is no longer accepted.
pub(crate) async fn serve<I, S, B>(
    io: I,
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
    let connection = builder(config).handshake(Metered::new(io, Arc::clone(&account))).await?;
    let max_stream_age = config.max_stream_age;
    let (begun, calls) = (Vec::new(), FuturesUnordered::new());
    let mut serving = Serving { connection, service, account, max_stream_age, begun, calls };
    let mut rejected = pin!(rejected.fuse());
    let end = async {
        tokio::select! {
            () = drain.cancelled() => 2 * max_stream_age,
            () = sleep(jittered(config.max_connection_age)) => 2 * max_stream_age,
            () = rejected.as_mut() => CERTIFICATE_GRACE,
        }
    };
    let limit = match serving.until(end).await {
        End::Closed(result) => return result,
        End::Asked(limit) => limit,
        End::Condemned(reason) => return serving.abort(reason).await,
    };
    // GOAWAY: calls that are open go on until they end or their age ends them, new ones go elsewhere. A caller
    // who does not read what it asked for can delay that, but not without limit.
    serving.connection.graceful_shutdown();
    let end = async {
        tokio::select! {
            () = sleep(limit) => {}
            () = async { rejected.await; sleep(CERTIFICATE_GRACE).await } => {}
        }
    };
    match serving.until(end).await {
        End::Closed(result) => result,
        End::Asked(()) => Ok(()),
        End::Condemned(reason) => serving.abort(reason).await,
    }
}

fn builder(config: &Config) -> Builder {
    let streams = config.max_concurrent_streams.get();
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        // All streams may fill their windows.
        .initial_connection_window_size(streams.saturating_mul(STREAM_WINDOW).min((1 << 31) - 1))
        // What small frames take besides their payloads is counted by the account, across streams and connections.
        .data_frame_budget(usize::MAX)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(config.max_header_size.0).unwrap_or(u32::MAX));
    builder
}

/// Why [`Serving::until`] returns.
enum End<T> {
    Closed(Result<(), h2::Error>),
    Asked(T),
    Condemned(CloseReason),
}

struct Serving<I, S, F, B> {
    connection: Connection<I, Bytes>,
    service: S,
    account: Arc<Account>,
    max_stream_age: Duration,
    /// Calls of this turn, not polled yet.
    begun: Vec<Call<F, B>>,
    /// Calls that had to wait.
    calls: FuturesUnordered<Call<F, B>>,
}

impl<I, S, B> Serving<I, S, S::Future, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible, Future: Unpin>,
    B: Body<Data = Bytes> + Unpin,
{
    async fn until<T>(&mut self, end: impl Future<Output = T>) -> End<T> {
        let mut end = pin!(end);
        poll_fn(|cx| {
            self.account.begin_turn();
            let polled = self.poll(cx);
            // However it ends: a task that reads a request waits for the next turn, which would not come.
            self.account.end_turn();
            match polled {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => end.as_mut().poll(cx).map(End::Asked),
            }
        })
        .await
    }

    fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<End<T>> {
        let mut now = None;
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond, *now.get_or_insert_with(Instant::now));
                    // Calls that came along are not even looked at.
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
            return Poll::Ready(End::Condemned(reason));
        }
        self.account.begin_turn_of_calls();
        self.poll_calls(cx);
        if !self.begun.is_empty() {
            // After those that have waited. Not one by one as they are accepted: what is read together is answered in
            // one write. Whatever has to wait is polled once more there, which registers the right waker.
            self.calls.extend(self.begun.extract_if(.., |call| call.poll_unpin(cx).is_pending()));
            self.begun.clear();
            self.poll_calls(cx);
        } else if self.begun.capacity() > 0 {
            // An idle connection keeps no room for calls.
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

    /// Resets all streams and says why.
    async fn abort(&mut self, reason: CloseReason) -> Result<(), h2::Error> {
        self.begun.clear();
        self.calls.clear();
        self.connection.abrupt_shutdown(error_code(reason));
        timeout(LAST_WORDS, poll_fn(|cx| self.connection.poll_closed(cx))).await.unwrap_or(Ok(()))
    }
}

/// Returns the error code of the GOAWAY for the peer.
fn error_code(reason: CloseReason) -> Reason {
    match reason {
        CloseReason::Idle | CloseReason::Displaced => Reason::NO_ERROR,
        _ => Reason::ENHANCE_YOUR_CALM,
    }
}
