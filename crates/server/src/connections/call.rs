//! One call on its way through HTTP/2: the handler's answer goes out as fast as its caller takes it.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{HeaderMap, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};

use super::{account::Account, backpressure::Backpressure};
use crate::caller::Credentials;

/// Extension of a reply: bytes that its handler keeps until the call ends, besides what every call takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandlerMemory(pub(crate) usize);

/// A call that has begun. Drop releases what its account holds for it.
#[derive(Debug)]
pub(super) struct Call {
    account: Arc<Account>,
    stream: u32,
    /// When it has to end at the latest, whatever its caller's windows are.
    end: Instant,
    /// All of the reply is with h2.
    handed_over: bool,
}

impl Call {
    pub(super) fn begin(account: Arc<Account>, stream: u32, headers: &HeaderMap, end: Instant) -> Self {
        account.call_accepted(stream, header_list_size(headers));
        Self { account, stream, end, handed_over: false }
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Runs the handler and sends its answer.
    pub(super) async fn run<F, B>(mut self, handler: F, mut respond: SendResponse<Bytes>)
    where
        F: Future<Output = Result<Response<B>, Infallible>>,
        B: Body<Data = Bytes>,
    {
        let mut handler = pin!(handler);
        let response = poll_fn(|cx| match handler.as_mut().poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Some(response)),
            Poll::Ready(Err(never)) => match never {},
            // Polled so that this call learns of a caller who gives up.
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        });
        let Some(response) = response.await else { return };
        let (mut head, body) = response.into_parts();
        let credentials = head.extensions.remove();
        if let Some(HandlerMemory(bytes)) = head.extensions.remove() {
            self.account.handler_holds(self.stream, bytes);
        }
        let bodiless = body.is_end_stream();
        // Errors mean that the caller or its connection has gone.
        let Ok(send) = respond.send_response(Response::from_parts(head, ()), bodiless) else { return };
        if bodiless {
            self.handed_over = true;
            return;
        }
        let handed_over = {
            let body = pin!(body);
            let mut reply = Outgoing {
                call: &self,
                send,
                body,
                chunk: Bytes::new(),
                works: false,
                credentials,
                stalled: None,
                backpressure: Backpressure::default(),
            };
            poll_fn(|cx| reply.poll(cx)).await
        };
        self.handed_over = handed_over;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.account.call_ended(self.stream, self.handed_over);
    }
}

pin_project! {
    /// A call that waits while its connection has had its turn.
    pub(super) struct Paced<F> {
        account: Arc<Account>,
        #[pin]
        call: F,
    }
}

impl<F> Paced<F> {
    pub(super) fn new(account: Arc<Account>, call: F) -> Self {
        Self { account, call }
    }
}

impl<F: Future> Future for Paced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        ready!(this.account.poll_turn(cx));
        this.call.poll(cx)
    }
}

/// A body on its way to the peer. A chunk is handed to h2 as far as the peer's windows go, so that what h2 holds is on
/// its way and trailers never wait behind data that cannot be sent.
struct Outgoing<'a, B> {
    call: &'a Call,
    send: SendStream<Bytes>,
    body: Pin<&'a mut B>,
    chunk: Bytes,
    /// The handler has written since it waited.
    works: bool,
    /// Of a reply that may go on for long.
    credentials: Option<Credentials>,
    /// The end of a call whose caller's windows are closed.
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    backpressure: Backpressure,
}

impl<B: Body<Data = Bytes>> Outgoing<'_, B> {
    /// Ready when all is handed to h2, or with false when the stream is reset.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let polled = self.poll_frames(cx);
        // Only a call that waits has to ask: nothing can be sent on a stream that is reset, so one that goes on finds out.
        if polled.is_pending() && self.send.poll_reset(cx).is_ready() {
            return Poll::Ready(false);
        }
        polled
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if !self.chunk.is_empty() {
                match self.poll_send(cx) {
                    Poll::Ready(true) => continue,
                    Poll::Ready(false) => return Poll::Ready(false),
                    Poll::Pending => return self.poll_end_of_stall(cx).map(|()| false),
                }
            }
            ready!(self.call.account.poll_turn_of_frame(cx));
            ready!(self.backpressure.poll_may_grow(&self.call.account, cx));
            let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
                if std::mem::take(&mut self.works) {
                    self.call.account.handler_waits(self.call.stream);
                }
                return Poll::Pending;
            };
            let handed_over = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
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
        self.call.account.reply_queued(self.call.stream, data.len());
        self.send.reserve_capacity(data.len());
        self.chunk = data;
        self.works = true;
    }

    /// Sends a part of the chunk; false when the stream is gone.
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

    /// The handler is not polled while a chunk waits, so that its own limits do not end it.
    fn poll_end_of_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (end, credentials) = (self.call.end, &self.credentials);
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

/// As HTTP/2 counts it (RFC 9113, 6.5.2): about what the headers take in memory. On the wire they can be a byte each.
fn header_list_size(headers: &HeaderMap) -> usize {
    const OVERHEAD: usize = 32;
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD).sum()
}
