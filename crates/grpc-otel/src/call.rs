//! One RPC, or one attempt at it, from its start to its end.

#[cfg(feature = "trace")]
use std::sync::atomic::AtomicU8;
use std::{fmt::Display, io::IoSlice, sync::Arc, time::Duration};

use bytes::Buf;
use http::{HeaderMap, Request, StatusCode};
use tonic::Code;

#[cfg(feature = "trace")]
use crate::trace::{CallSpan, Current, End};
use crate::{
    attempts::Attempts,
    clock::Instant,
    frame::FrameParser,
    message_counter::MessageCounter,
    recorder::Recorder,
    side::{Direction, Side},
    status::{self, Reason},
};

/// Timers fire this much apart on the two sides of a call and still mean the same deadline: tokio's have a resolution
/// of one millisecond.
const TIMER_GRANULARITY: Duration = Duration::from_millis(1);

/// What is known of a call while it is under way. The bodies of both directions and the response future share it.
pub(crate) struct Call {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) started: Instant,
    pub(crate) timeout: Option<Duration>,
    pub(crate) request: MessageCounter,
    pub(crate) response: MessageCounter,
    pub(crate) attempts: Option<Arc<Attempts>>,
    /// What has become of the delays of an attempt, in picking a connection and in name resolution.
    #[cfg(feature = "trace")]
    pub(crate) delays: [AtomicU8; 2],
    /// Attributes of this call that its metrics have besides those of the method.
    #[cfg(feature = "metrics")]
    labels: Option<Box<[opentelemetry::KeyValue]>>,
    #[cfg(feature = "trace")]
    pub(crate) span: CallSpan,
}

/// Counts the messages of one body.
pub(crate) struct Meter {
    parser: FrameParser,
    direction: Direction,
}

impl Meter {
    pub(crate) fn new(direction: Direction) -> Self {
        Self { parser: FrameParser::default(), direction }
    }

    /// Takes the next part of the body.
    pub(crate) fn data(&mut self, call: &Call, data: &impl Buf) {
        let counter = match self.direction {
            Direction::Request => &call.request,
            Direction::Response => &call.response,
        };
        #[cfg(feature = "trace")]
        if call.span.is_recorded()
            && let Some(events) = call.recorder.shared.tracing.message_events(call.recorder.side)
        {
            let outbound = call.recorder.side.sends(self.direction);
            for_each_chunk(data, |chunk| {
                self.parser
                    .push(chunk, |message| call.span.message(events, outbound, message, &counter.unrecorded));
            });
            counter.set_bytes(self.parser.bytes());
            return;
        }
        for_each_chunk(data, |chunk| self.parser.push(chunk, |_| {}));
        counter.set_bytes(self.parser.bytes());
    }
}

/// Visits each piece of the data. Most data is one piece; data of several pieces gives them by `chunks_vectored`.
fn for_each_chunk(data: &impl Buf, mut visit: impl FnMut(&[u8])) {
    let first = data.chunk();
    if first.len() == data.remaining() {
        return visit(first);
    }
    // More pieces than that would not be counted; tonic's bodies give one.
    let mut chunks = [IoSlice::new(&[]); 64];
    let count = data.chunks_vectored(&mut chunks);
    chunks[..count].iter().for_each(|chunk| visit(chunk));
}

/// Ends its call exactly once, at the latest when it is dropped.
pub(crate) struct Guard(Option<Arc<Call>>);

impl Guard {
    pub(crate) fn new(call: Option<Arc<Call>>) -> Self {
        Self(call)
    }

    pub(crate) fn call(&self) -> Option<&Arc<Call>> {
        self.0.as_ref()
    }

    /// Makes the context of the call current until the result is dropped.
    #[cfg(feature = "trace")]
    #[inline]
    pub(crate) fn attach(&self) -> Option<Current<'_>> {
        self.0.as_ref()?.span.attach()
    }

    /// Makes the context current while the body of a response is polled, if a handler is behind it.
    #[cfg(feature = "trace")]
    #[inline]
    pub(crate) fn attach_to_stream(&self) -> Option<Current<'_>> {
        self.0.as_ref().filter(|call| call.recorder.streams)?.span.attach()
    }

    /// Ends the call if these headers or trailers carry a status.
    pub(crate) fn end_by_headers(&mut self, headers: &HeaderMap) {
        if let Some(call) = &self.0
            && let Some(code) = status::from_headers(headers)
        {
            call.end(code, &Reason::Headers(headers));
            self.0 = None;
        }
    }

    /// Ends a call whose response was complete without a status.
    pub(crate) fn end_by_http(&mut self, status: StatusCode) {
        if let Some(call) = self.0.take() {
            call.end(status::from_http(status), &Reason::Text("no grpc-status received"));
        }
    }

    /// Ends the call by an error of the service or the body; returns the error.
    pub(crate) fn end_by_error<E: Display + 'static>(&mut self, error: E) -> E {
        let Some(call) = self.0.take() else { return error };
        let (code, message, error) = status::from_error(error);
        call.end(code, &Reason::Text(&message));
        error
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.dropped();
        }
    }
}

impl Call {
    /// Begins a call, and counts it in its context: exemplars name the span that is current.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "only metrics have labels"))]
    pub(crate) fn begin<B>(
        recorder: Arc<Recorder>,
        started: Instant,
        request: &Request<B>,
        timeout: Option<Duration>,
        attempts: Option<Arc<Attempts>>,
        #[cfg(feature = "trace")] span: CallSpan,
    ) -> Arc<Self> {
        #[cfg(feature = "metrics")]
        let labels = recorder.shared.metrics.labels(request.headers(), request.extensions());
        #[cfg(feature = "metrics")]
        {
            #[cfg(feature = "trace")]
            let _current = span.attach_recorded();
            recorder.metrics.started(labels.as_deref().unwrap_or_default());
        }
        Arc::new(Self {
            recorder,
            started,
            timeout,
            request: MessageCounter::default(),
            response: MessageCounter::default(),
            attempts,
            #[cfg(feature = "trace")]
            delays: Default::default(),
            #[cfg(feature = "metrics")]
            labels,
            #[cfg(feature = "trace")]
            span,
        })
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn labels(&self) -> &[opentelemetry::KeyValue] {
        self.labels.as_deref().unwrap_or_default()
    }

    /// Ends a call that was dropped: nobody waits for its end any more.
    #[cold]
    fn dropped(&self) {
        if std::thread::panicking() {
            self.end(Code::Unknown, &Reason::Text("panicked"));
        } else if self.timeout.is_some_and(|timeout| self.started.elapsed() + TIMER_GRANULARITY >= timeout) {
            self.end(Code::DeadlineExceeded, &Reason::Text("deadline exceeded"));
        } else {
            self.end(Code::Cancelled, &Reason::Text("dropped before the end"));
        }
    }

    #[cfg_attr(not(feature = "trace"), expect(unused_variables, reason = "only spans describe the end"))]
    fn end(&self, code: Code, reason: &Reason<'_>) {
        let ended = Instant::now();
        #[cfg(feature = "trace")]
        let current = self.span.attach_recorded();
        if let Some(attempts) = &self.attempts {
            if self.recorder.side == Side::Attempt {
                attempts.attempt_ended(ended);
            } else {
                #[cfg(feature = "metrics")]
                self.recorder.metrics.retried(attempts.retries(), self.labels());
            }
        }
        #[cfg(feature = "metrics")]
        self.recorder.metrics.ended(
            code,
            ended - self.started,
            [&self.request, &self.response],
            self.labels(),
        );
        #[cfg(feature = "trace")]
        drop(current);
        #[cfg(feature = "trace")]
        if self.span.is_recorded() {
            self.span.end(&End {
                side: self.recorder.side,
                at: ended,
                code,
                reason,
                status: self.recorder.shared.tracing.status,
                code_name: self.recorder.shared.semconv.status_code(),
                request: &self.request,
                response: &self.response,
            });
        }
    }
}
