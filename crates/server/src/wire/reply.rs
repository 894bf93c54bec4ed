//! Responses, and how a handler's messages reach the connection.
//!
//! A streaming handler does not run in a task of its own. The HTTP/2 connection polls the response body for its next
//! frame, and the body polls the handler, which writes messages to a [`ResponseWriter`] and hands full frames over in a
//! slot that both share:
//!
//! ```text
//! connection ── poll_frame ──▶ ReplyBody ── poll ──▶ handler ── write ──▶ ResponseWriter
//!     ◀──────── frame ──────────  take  ◀──── slot (one frame) ◀──── flush ────┘
//! ```
//!
//! *Why no channel:* a task and a channel per call would cost two wake-ups and an allocation per frame. This is a count, not
//! a measurement; docs/decisions/0001-own-grpc-wire.md has measurements of the wire code as a whole.
//!
//! *Why the slot needs no waker:* a handler that waits for a free slot is polled again when the connection asks for the
//! next frame, and it asks only after it has sent the last one. Nothing else frees the slot. A handler that
//! waits for anything else has registered the waker of `poll_frame`'s context there.
//!
//! *What is held while pending:* at most one frame in the slot and one that is being filled, together 32 KiB. A peer that
//! does not read stops the handler, and with it the reading of the request: that is the back pressure of
//! a chat.
//!
//! The slot's lock is never contended: body and handler run in the same poll.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use kelvin_proto::frame::PREFIX;
use tonic::{Code, Status};

use super::{
    Deframer, UntilEnded,
    encoding::ACCEPTED,
    response_writer::{FrameSlot, ResponseWriter, put},
};
use crate::{caller::Credentials, lifetime::Lifetime};

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Headers and trailers of a reply without a failure. Copying them takes a third less than inserting them one by one.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let grpc = HeaderValue::from_static("application/grpc");
    HeaderMap::from_iter([(CONTENT_TYPE, grpc), (ACCEPT_ENCODING, ACCEPTED)])
});
static OK: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]));

/// The future of a call.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The HTTP response of a call.
pub(crate) type Reply = Response<ReplyBody>;

/// The body of a request as HTTP/2 gives it, whatever is wrapped around it.
pub(crate) trait RequestBody:
    Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B where
    B: Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + Unpin + 'static
{
}

/// The messages of a request.
#[derive(Debug)]
pub(crate) struct Messages<B> {
    pub(crate) body: B,
    pub(crate) deframer: Deframer,
}

/// The body of a response.
pub(crate) enum ReplyBody {
    /// At most one message, then trailers; a failure before the first message has its status in the headers.
    Single { message: Option<Bytes>, trailers: Option<HeaderMap> },
    /// The messages that a handler writes to its [`ResponseWriter`], then the trailers that it returns.
    Stream { handler: Option<BoxFuture<HeaderMap>>, slot: FrameSlot, trailers: Option<HeaderMap> },
    /// The body of a service that tonic provides.
    Tonic(UntilEnded<tonic::body::Body>),
}

/// A reply of one message and OK.
pub(crate) fn message(message: &impl prost::Message) -> Reply {
    let mut buffer = Vec::with_capacity(message.encoded_len() + PREFIX);
    put(&mut buffer, message);
    single(buffer.into())
}

/// A reply of one message that is encoded, with its prefix, and OK.
pub(crate) fn framed(message: &'static [u8]) -> Reply {
    single(Bytes::from_static(message))
}

fn single(message: Bytes) -> Reply {
    reply(ReplyBody::Single { message: Some(message), trailers: Some(OK.clone()) })
}

/// A reply without a message.
pub(crate) fn failure(status: Status) -> Reply {
    let mut reply = status.into_http();
    reply.headers_mut().insert(ACCEPT_ENCODING, ACCEPTED);
    reply
}

/// A reply of the messages that `handler` writes and the trailers it returns. It ends with the credentials of its caller
/// even while the caller takes nothing.
pub(crate) fn stream<F>(credentials: Credentials, handler: impl FnOnce(ResponseWriter) -> F) -> Reply
where
    F: Future<Output = HeaderMap> + Send + 'static,
{
    let slot = FrameSlot::default();
    let handler: BoxFuture<HeaderMap> = Box::pin(handler(ResponseWriter::new(slot.clone())));
    let mut reply = reply(ReplyBody::Stream { handler: Some(handler), slot, trailers: None });
    reply.extensions_mut().insert(credentials);
    reply
}

/// The reply of a service that tonic provides, which takes the encodings `accepted`. It ends when `lifetime` does.
pub(crate) fn from_tonic(
    reply: Response<tonic::body::Body>,
    accepted: HeaderValue,
    lifetime: Lifetime,
) -> Reply {
    let credentials = lifetime.credentials();
    let mut reply = reply.map(|body| ReplyBody::Tonic(UntilEnded::new(body, lifetime)));
    let headers = reply.headers_mut();
    headers.insert(ACCEPT_ENCODING, accepted);
    // Unary methods of tonic's services return OUT_OF_RANGE for a message longer than allowed, and for nothing else. gRPC's
    // own libraries, and our other calls, return RESOURCE_EXHAUSTED.
    if Status::from_header_map(headers).is_some_and(|status| status.code() == Code::OutOfRange) {
        headers.insert(GRPC_STATUS, HeaderValue::from_static("8"));
    }
    reply.extensions_mut().insert(credentials);
    reply
}

fn reply(body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.headers_mut() = HEADERS.clone();
    reply
}

impl Default for ReplyBody {
    fn default() -> Self {
        Self::Single { message: None, trailers: None }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match self.get_mut() {
            Self::Single { message, trailers } => {
                message.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers))
            }
            Self::Stream { handler, slot, trailers } => {
                if let Some(running) = handler {
                    // A panic costs this call and nothing else.
                    match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
                        Ok(Poll::Pending) => {}
                        Ok(Poll::Ready(end)) => (*handler, *trailers) = (None, Some(end)),
                        Err(_) => {
                            (*handler, *trailers) = (None, Some(super::trailers(&crate::status::panicked())));
                        }
                    }
                }
                let data = slot.lock().take();
                match data {
                    Some(data) => Some(Frame::data(data)),
                    None if handler.is_some() => return Poll::Pending,
                    None => trailers.take().map(Frame::trailers),
                }
            }
            Self::Tonic(body) => return Pin::new(body).poll_frame(cx),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Single { message, trailers } => message.is_none() && trailers.is_none(),
            Self::Stream { .. } => false,
            Self::Tonic(body) => body.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::wire::Template;

    async fn next(body: &mut ReplyBody) -> Option<Frame<Bytes>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.transpose().unwrap()
    }

    #[tokio::test]
    async fn panicking_handler_ends_stream_with_status() {
        let mut body = stream(Credentials::default(), async |mut out| {
            out.reserve(100).await.put_acks(&mut Template::stored_ack(1), 0, 1);
            out.flush().await;
            panic!("a mistake in a handler");
        })
        .into_body();
        assert!(next(&mut body).await.unwrap().is_data());
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "13");
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn one_frame_waits_and_the_handler_with_it() {
        let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&written);
        let mut body = stream(Credentials::default(), async move |mut out| {
            for _ in 0..3 {
                out.reserve(100).await.put_acks(&mut Template::stored_ack(1), 0, 1);
                out.flush().await;
                counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            OK.clone()
        })
        .into_body();
        for taken in 1..=3 {
            assert!(next(&mut body).await.unwrap().is_data());
            assert!(written.load(std::sync::atomic::Ordering::Relaxed) <= taken);
        }
        assert_eq!(next(&mut body).await.unwrap().into_trailers().unwrap()["grpc-status"], "0");
    }
}
