//! One RPC, or one attempt at it, from its start to its end.

use std::{
    fmt::Display,
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Buf;
use http::{HeaderMap, StatusCode};
use tonic::Code;

#[cfg(feature = "trace")]
use crate::trace::{CallSpan, Current};
use crate::{client::Attempts, clock::Instant, frame::FrameParser, recorder::Recorder, status, timeout};

/// Timers fire this much apart on the two sides of a call and still mean the same deadline.
const TIMER_GRANULARITY: Duration = Duration::from_millis(1);

/// What is known of a call while it runs. The bodies of both directions and the response future
/// share it.
pub(crate) struct Call {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) started: Instant,
    pub(crate) timeout: Option<Duration>,
    pub(crate) request: Flow,
    pub(crate) response: Flow,
    pub(crate) attempts: Option<Arc<Attempts>>,
    #[cfg(feature = "trace")]
    pub(crate) span: CallSpan,
}

/// Messages that have passed in one direction.
#[derive(Default)]
pub(crate) struct Flow {
    bytes: AtomicU64,
    #[cfg(feature = "trace")]
    pub(crate) unrecorded: AtomicU64,
}

impl Flow {
    /// Bytes of complete messages, without prefixes.
    #[cfg(feature = "metrics")]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
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
        let flow = match self.direction {
            Direction::Request => &call.request,
            Direction::Response => &call.response,
        };
        #[cfg(feature = "trace")]
        if let Some(events) = call.span.message_events(&call.recorder) {
            let outbound = call.recorder.side.sends(self.direction);
            each_chunk(data, |chunk| {
                self.parser
                    .push(chunk, |message| call.span.message(events, outbound, message, &flow.unrecorded));
            });
            flow.bytes.store(self.parser.bytes(), Relaxed);
            return;
        }
        each_chunk(data, |chunk| self.parser.push(chunk, |_| {}));
        flow.bytes.store(self.parser.bytes(), Relaxed);
    }
}

/// Most data is one piece; one of more tells them by `chunks_vectored`.
fn each_chunk(data: &impl Buf, mut see: impl FnMut(&[u8])) {
    let first = data.chunk();
    if first.len() == data.remaining() {
        return see(first);
    }
    let mut chunks = [IoSlice::new(&[]); 64];
    let count = data.chunks_vectored(&mut chunks);
    chunks[..count].iter().for_each(|chunk| see(chunk));
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

    /// While the result lives, the context of the call is the current one.
    #[cfg(feature = "trace")]
    #[inline]
    pub(crate) fn attach(&self) -> Option<Current<'_>> {
        self.0.as_ref()?.span.attach()
    }

    /// The same while the body of a response is polled, if a handler is behind it.
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

    /// Ends the call by an error of the service or the body; the error is handed on.
    pub(crate) fn end_by_error<E: Display + 'static>(&mut self, error: E) -> E {
        let Some(call) = self.0.take() else { return error };
        let (code, message, error) = status::from_error(error);
        call.end(code, &Reason::Text(&message));
        error
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(call) = self.0.take() else { return };
        if std::thread::panicking() {
            call.end(Code::Unknown, &Reason::Text("panicked"));
        } else if call.timeout.is_some_and(|timeout| call.started.elapsed() + TIMER_GRANULARITY >= timeout) {
            call.end(Code::DeadlineExceeded, &Reason::Text("deadline exceeded"));
        } else {
            call.end(Code::Cancelled, &Reason::Text("dropped before the end"));
        }
    }
}

/// Why a call ended, for the description of its span.
#[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "only spans describe the end"))]
pub(crate) enum Reason<'a> {
    Headers(&'a HeaderMap),
    Text(&'a str),
}

impl Call {
    /// Counts the call, in its context: exemplars name the span that is current.
    pub(crate) fn begun(self) -> Arc<Self> {
        #[cfg(feature = "metrics")]
        {
            #[cfg(feature = "trace")]
            let _current = self.span.attach_recorded();
            self.recorder.metrics.started();
        }
        Arc::new(self)
    }

    /// A call began then, with these headers; what it knows of attempts and its span are to be added.
    pub(crate) fn new(recorder: Arc<Recorder>, started: Instant, headers: &HeaderMap) -> Self {
        Self {
            recorder,
            started,
            timeout: timeout::from_headers(headers),
            request: Flow::default(),
            response: Flow::default(),
            attempts: None,
            #[cfg(feature = "trace")]
            span: CallSpan::none(),
        }
    }

    #[cfg_attr(not(feature = "trace"), expect(unused_variables, reason = "only spans describe the end"))]
    fn end(&self, code: Code, reason: &Reason<'_>) {
        let ended = Instant::now();
        let duration = ended - self.started;
        #[cfg(feature = "trace")]
        let current = self.span.attach_recorded();
        if let Some(attempts) = &self.attempts {
            attempts.ended(self, duration);
        }
        #[cfg(feature = "metrics")]
        self.recorder.metrics.ended(code, duration, &self.request, &self.response);
        #[cfg(feature = "trace")]
        drop(current);
        #[cfg(feature = "trace")]
        self.span.end(self, ended, code, reason);
    }
}
