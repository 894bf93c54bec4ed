//! One HTTP/2 call: runs its handler and sends the reply as fast as the caller's flow-control windows allow.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tokio::time::{Instant, sleep_until};

use super::{account::Account, backpressure::Backpressure, incoming_body::IncomingBody};
use crate::caller::Credentials;

/// An extension of a reply: the bytes that its handler keeps until the call ends, in addition to the overhead of every
/// call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandlerMemory(pub(crate) usize);

/// A call that has begun: first the future of its handler, then the reply that is being sent. Both are stored inline and are
/// `Unpin`, so that a call that completes at its first poll, as most unary calls do, costs no allocation and no copy.
pub(super) struct Call<F, B> {
    entry: Entry,
    stage: Stage<F, B>,
}

enum Stage<F, B> {
    Handler { handler: F, respond: SendResponse<Bytes> },
    Reply(Outgoing<B>),
}

/// The entry of a call in the account of its connection. Dropping it ends the call in the account.
#[derive(Debug)]
struct Entry {
    account: Arc<Account>,
    stream: u32,
    /// The latest end of the call, even if its caller's flow-control windows are closed.
    end: Instant,
    /// Whether the whole reply was handed to h2.
    handed_over: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.account.call_ended(self.stream, self.handed_over);
    }
}

impl<F, B> Call<F, B> {
    /// Begins a call; `call` creates its handler.
    pub(super) fn begin(
        account: &Arc<Account>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        end: Instant,
        call: impl FnOnce(Request<IncomingBody>) -> F,
    ) -> Self {
        let (account, stream) = (Arc::clone(account), respond.stream_id().as_u32());
        account.call_accepted(stream, header_list_size(request.headers()));
        let entry = Entry { account: Arc::clone(&account), stream, end, handed_over: false };
        let handler = call(request.map(|body| IncomingBody::new(body, account)));
        Self { entry, stage: Stage::Handler { handler, respond } }
    }
}

/// Runs the handler and sends its reply; waits for the next turn when the connection has used up its turn.
impl<F, B> Future for Call<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { entry, stage } = self.get_mut();
        ready!(entry.account.poll_turn(cx));
        if let Stage::Handler { handler, respond } = stage {
            let response = match Pin::new(handler).poll(cx) {
                Poll::Ready(Ok(response)) => response,
                Poll::Ready(Err(never)) => match never {},
                // Polled for RST_STREAM, so that the call ends when its caller cancels it.
                Poll::Pending => return respond.poll_reset(cx).map(|_| ()),
            };
            match entry.send_head(response, respond) {
                Some(reply) => *stage = Stage::Reply(reply),
                None => return Poll::Ready(()),
            }
        }
        if let Stage::Reply(reply) = stage {
            entry.handed_over = ready!(reply.poll(entry, cx));
        }
        Poll::Ready(())
    }
}

impl Entry {
    /// Sends the response headers and returns the body that is left to send.
    fn send_head<B>(
        &mut self,
        response: Response<B>,
        respond: &mut SendResponse<Bytes>,
    ) -> Option<Outgoing<B>>
    where
        B: Body<Data = Bytes>,
    {
        let (mut head, body) = response.into_parts();
        let credentials = head.extensions.remove();
        if let Some(HandlerMemory(bytes)) = head.extensions.remove() {
            self.account.handler_holds(self.stream, bytes);
        }
        let bodiless = body.is_end_stream();
        // An error means that the stream or its connection is closed.
        let send = respond.send_response(Response::from_parts(head, ()), bodiless).ok()?;
        self.handed_over = bodiless;
        (!bodiless).then(|| Outgoing {
            send,
            body,
            chunk: Bytes::new(),
            works: false,
            credentials,
            stalled: None,
            backpressure: Backpressure::default(),
        })
    }
}

/// A response body that is being sent. A chunk is handed to h2 only as far as the peer's flow-control windows allow, so that
/// h2 buffers no data that it cannot send, and trailers never wait behind such data.
struct Outgoing<B> {
    send: SendStream<Bytes>,
    body: B,
    chunk: Bytes,
    /// Whether the handler has written since it last waited.
    works: bool,
    /// The caller's credentials, for replies that may last long.
    credentials: Option<Credentials>,
    /// Completes when a call whose caller's windows are closed has to end.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    backpressure: Backpressure,
}

impl<B: Body<Data = Bytes> + Unpin> Outgoing<B> {
    /// Returns true when the whole body was handed to h2, and false when the stream was reset.
    fn poll(&mut self, entry: &Entry, cx: &mut Context<'_>) -> Poll<bool> {
        let polled = self.poll_frames(entry, cx);
        // Only a waiting call has to poll for a reset: any other one notices it when it sends.
        if polled.is_pending() && self.send.poll_reset(cx).is_ready() {
            return Poll::Ready(false);
        }
        polled
    }

    fn poll_frames(&mut self, entry: &Entry, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if !self.chunk.is_empty() {
                match self.poll_send(cx) {
                    Poll::Ready(true) => continue,
                    Poll::Ready(false) => return Poll::Ready(false),
                    Poll::Pending => return self.poll_end_of_stall(entry.end, cx).map(|()| false),
                }
            }
            ready!(entry.account.poll_turn_of_frame(cx));
            ready!(self.backpressure.poll_may_grow(&entry.account, cx));
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                if std::mem::take(&mut self.works) {
                    entry.account.handler_waits(entry.stream);
                }
                return Poll::Pending;
            };
            let handed_over = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        entry.account.reply_queued(entry.stream, data.len());
                        self.queue(data);
                        continue;
                    }
                    Err(frame) => self.send.send_trailers(frame.into_trailers().unwrap_or_default()),
                },
                None => self.send.send_data(Bytes::new(), true),
                Some(Err(_)) => {
                    self.send.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(false);
                }
            };
            return Poll::Ready(handed_over.is_ok());
        }
    }

    fn queue(&mut self, data: Bytes) {
        self.send.reserve_capacity(data.len());
        self.chunk = data;
        self.works = true;
    }

    /// Sends a part of the chunk; returns false when the stream is closed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut capacity = self.send.capacity();
        while capacity == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(granted)) => capacity = granted,
                Some(Err(_)) | None => return Poll::Ready(false),
            }
        }
        let part = self.chunk.split_to(capacity.min(self.chunk.len()));
        self.stalled = None;
        if self.send.send_data(part, false).is_err() {
            return Poll::Ready(false);
        }
        if !self.chunk.is_empty() {
            self.send.reserve_capacity(self.chunk.len());
        }
        Poll::Ready(true)
    }

    /// Resets the stream when a call whose chunk cannot be sent has to end. Such a call needs limits here, because its
    /// handler, which has its own, is not polled while a chunk waits.
    fn poll_end_of_stall(&mut self, end: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let credentials = &self.credentials;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(end_of_stall(end, credentials.clone())));
        ready!(stalled.as_mut().poll(cx));
        self.send.send_reset(Reason::CANCEL);
        Poll::Ready(())
    }
}

async fn end_of_stall(end: Instant, credentials: Option<Credentials>) {
    let rejected = async {
        match credentials {
            Some(credentials) => credentials.rejected().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = sleep_until(end) => {}
        () = rejected => {}
    }
}

/// Returns the size of a header list as HTTP/2 defines it (RFC 9113, 6.5.2), which is about what the headers take in memory.
/// On the wire, HPACK can encode each of them in one byte.
fn header_list_size(headers: &HeaderMap) -> usize {
    const OVERHEAD: usize = 32;
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD).sum()
}
