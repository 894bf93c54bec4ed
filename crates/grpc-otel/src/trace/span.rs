//! The span of one call.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Status, TraceContextExt},
};
use percent_encoding::percent_decode;
use tonic::Code;

use super::MessageEvents;
use crate::{
    clock::{Instant, StartTime},
    frame::Message,
    message_counter::MessageCounter,
    names::ERROR_TYPE,
    side::Side,
    status::{self, Reason},
};

/// What the status of spans says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanStatus {
    /// As gRFC A72 has it: OK is Ok, all other codes are errors, and the description begins with the code.
    #[default]
    Grpc,
    /// As OpenTelemetry's conventions have it: OK leaves the status unset, of a server's codes only those are errors that
    /// are its own fault (UNKNOWN, `DEADLINE_EXCEEDED`, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, `DATA_LOSS`), and the
    /// description is the message alone.
    OpenTelemetry,
}

/// The span of a call and the context it is in.
pub(crate) struct CallSpan {
    /// Empty if there is neither. Not an `Option`, which would take longer to move.
    context: Context,
    present: bool,
    /// Whether anything is recorded, and since when.
    began: Option<StartTime>,
    #[cfg(feature = "tracing")]
    bridge: tracing::Span,
}

/// While it lives, the context of a call is current.
pub(crate) struct Current<'a> {
    _context: ContextGuard,
    #[cfg(feature = "tracing")]
    _bridge: tracing::span::Entered<'a>,
    #[cfg(not(feature = "tracing"))]
    _lifetime: std::marker::PhantomData<&'a ()>,
}

impl CallSpan {
    /// Creates the span in that context; `began` is since when it is recorded, if it is. Of a call that is not sampled
    /// the context is kept too, as what is below it is to know that.
    pub(crate) fn new(context: Context, began: Option<StartTime>) -> Self {
        Self {
            context,
            present: true,
            began,
            #[cfg(feature = "tracing")]
            bridge: tracing::Span::none(),
        }
    }

    /// Creates one with neither a span nor a context.
    pub(crate) fn none() -> Self {
        Self { present: false, ..Self::new(Context::new(), None) }
    }

    /// Adds a span of the `tracing` crate that carries the ids of this one.
    #[cfg(feature = "tracing")]
    pub(crate) fn bridged(self, method: &'static str) -> Self {
        let Some(context) = self.context() else { return self };
        let bridge = tracing::info_span!(
            "rpc",
            rpc.method = method,
            trace_id = %context.span().span_context().trace_id(),
            span_id = %context.span().span_context().span_id(),
        );
        Self { bridge, ..self }
    }

    pub(crate) fn context(&self) -> Option<&Context> {
        self.present.then_some(&self.context)
    }

    /// Makes the context current until the guard is dropped.
    pub(crate) fn attach(&self) -> Option<Current<'_>> {
        Some(Current {
            _context: self.context()?.clone().attach(),
            #[cfg(feature = "tracing")]
            _bridge: self.bridge.enter(),
            #[cfg(not(feature = "tracing"))]
            _lifetime: std::marker::PhantomData,
        })
    }

    /// Makes the context current for measurements, which only care for spans that are recorded.
    pub(crate) fn attach_recorded(&self) -> Option<ContextGuard> {
        self.began?;
        Some(self.context.clone().attach())
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.began.is_some()
    }

    /// Returns the time of day at that moment.
    pub(crate) fn time_at(&self, moment: Instant) -> SystemTime {
        self.began.unwrap_or_else(|| StartTime::at(moment)).time_at(moment)
    }

    pub(crate) fn event(&self, name: &'static str, at: Instant, attributes: Vec<KeyValue>) {
        self.context.span().add_event_with_timestamp(name, self.time_at(at), attributes);
    }

    /// Ends the span without a status.
    pub(crate) fn finish(&self, at: Instant) {
        self.context.span().end_with_timestamp(self.time_at(at));
    }

    /// Records a message that has passed. Of a compressed one the size before compression is not known here, so its
    /// event is the one A72 has for the compressed size alone.
    pub(crate) fn message(
        &self,
        events: MessageEvents,
        outbound: bool,
        message: Message,
        unrecorded: &AtomicU64,
    ) {
        if !events.includes(message.sequence) {
            unrecorded.fetch_add(1, Relaxed);
            return;
        }
        let (name, size) = match (outbound, message.compressed) {
            (true, false) => ("Outbound message", "message-size"),
            (true, true) => ("Outbound message compressed", "message-size-compressed"),
            (false, false) => ("Inbound message", "message-size"),
            (false, true) => ("Inbound compressed message", "message-size-compressed"),
        };
        let attributes = vec![
            KeyValue::new("sequence-number", to_i64(message.sequence)),
            KeyValue::new(size, i64::from(message.size)),
        ];
        self.event(name, Instant::now(), attributes);
    }

    /// Ends the span.
    pub(crate) fn end(&self, end: &End<'_>) {
        let Some(began) = self.began else { return };
        let span = self.context.span();
        let name = status::name(end.code);
        let (outbound, inbound) = match end.side {
            Side::Server => (end.response, end.request),
            Side::Call | Side::Attempt => (end.request, end.response),
        };
        let unrecorded = |key, counter: &MessageCounter| {
            let unrecorded = counter.unrecorded.load(Relaxed);
            (unrecorded > 0).then(|| KeyValue::new(key, to_i64(unrecorded)))
        };
        let is_error = status::is_error(end.side, end.code);
        // All at once, as the span is behind a lock.
        let attributes = [
            Some(KeyValue::new(end.code_name, name)),
            is_error.then(|| KeyValue::new(ERROR_TYPE, name)),
            unrecorded("grpc_otel.outbound.unrecorded", outbound),
            unrecorded("grpc_otel.inbound.unrecorded", inbound),
        ];
        span.set_attributes(attributes.into_iter().flatten());
        let status = match end.status {
            SpanStatus::Grpc if end.code == Code::Ok => Status::Ok,
            SpanStatus::Grpc => Status::error(describe(name, end.reason)),
            SpanStatus::OpenTelemetry if is_error => Status::error(message(end.reason).into_owned()),
            SpanStatus::OpenTelemetry => Status::Unset,
        };
        if status != Status::Unset {
            span.set_status(status);
        }
        span.end_with_timestamp(began.time_at(end.at));
    }
}

/// How a call ended.
pub(crate) struct End<'a> {
    pub(crate) side: Side,
    pub(crate) at: Instant,
    pub(crate) code: Code,
    pub(crate) reason: &'a Reason<'a>,
    pub(crate) status: SpanStatus,
    /// The attribute of the code.
    pub(crate) code_name: &'static str,
    pub(crate) request: &'a MessageCounter,
    pub(crate) response: &'a MessageCounter,
}

/// Returns the code and the message: `UNAVAILABLE, unable to resolve host`.
fn describe(code: &str, reason: &Reason<'_>) -> String {
    let message = message(reason);
    if message.is_empty() { code.to_owned() } else { format!("{code}, {message}") }
}

fn message<'a>(reason: &'a Reason<'_>) -> Cow<'a, str> {
    match reason {
        Reason::Text(text) => (*text).into(),
        Reason::Headers(headers) => match headers.get(tonic::Status::GRPC_MESSAGE) {
            Some(message) => percent_decode(message.as_bytes()).decode_utf8_lossy(),
            None => "".into(),
        },
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
