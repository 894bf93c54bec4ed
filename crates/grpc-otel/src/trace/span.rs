//! The span of one call.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Status, TraceContextExt},
};
use percent_encoding::percent_decode;
use tonic::Code;

use super::MessageEvents;
use crate::{
    call::{Call, Flow, Reason},
    clock::{Beginning, Instant},
    frame::Message,
    names::ERROR_TYPE,
    recorder::{Recorder, Side},
    status,
};

/// Which codes make the span of a server's call an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanErrors {
    /// All but OK (gRFC A72).
    #[default]
    Grpc,
    /// Only those that are the server's fault: UNKNOWN, `DEADLINE_EXCEEDED`, UNIMPLEMENTED,
    /// INTERNAL, UNAVAILABLE, `DATA_LOSS` (OpenTelemetry's semantic conventions).
    OpenTelemetry,
}

/// The span of a call and the context it is in.
pub(crate) struct CallSpan {
    /// Empty if there is neither. Not an `Option`, which would take longer to move.
    context: Context,
    present: bool,
    /// Whether anything is recorded, and since when.
    began: Option<Beginning>,
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
    /// The span in that context; since when it is recorded, if it is. Of a call that is not sampled
    /// the context is kept too, as what is below it is to know that.
    pub(crate) fn new(context: Context, began: Option<Beginning>) -> Self {
        Self {
            context,
            present: true,
            began,
            #[cfg(feature = "tracing")]
            bridge: tracing::Span::none(),
        }
    }

    /// There is neither a span nor a context.
    pub(crate) fn none() -> Self {
        Self { present: false, ..Self::new(Context::new(), None) }
    }

    /// The same with a span of the `tracing` crate that carries the ids of this one.
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

    /// The same for measurements, which only care for spans that are recorded.
    pub(crate) fn attach_recorded(&self) -> Option<ContextGuard> {
        self.began?;
        Some(self.context.clone().attach())
    }

    /// Which messages are to be told, if any are. Those of a client's call are events of its attempts.
    pub(crate) fn message_events(&self, recorder: &Recorder) -> Option<MessageEvents> {
        let events = recorder.shared.tracing.events;
        (self.began.is_some() && recorder.side != Side::Call && !events.is_none()).then_some(events)
    }

    /// A message has passed. Of a compressed one the size before compression is not known here,
    /// so its event is the one A72 has for the compressed size alone.
    pub(crate) fn message(
        &self,
        events: MessageEvents,
        outbound: bool,
        message: Message,
        unrecorded: &AtomicU64,
    ) {
        let Some(began) = self.began else { return };
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
        let time = began.time_at(Instant::now());
        self.context.span().add_event_with_timestamp(name, time, attributes);
    }

    /// Ends the span.
    pub(crate) fn end(&self, call: &Call, ended: Instant, code: Code, reason: &Reason<'_>) {
        let Some(began) = self.began else { return };
        let span = self.context.span();
        let name = status::name(code);
        let side = call.recorder.side;
        let error = match call.recorder.shared.tracing.server_errors {
            SpanErrors::OpenTelemetry if side == Side::Server => status::is_error(side, code),
            _ => code != Code::Ok,
        };
        let (outbound, inbound) = match side {
            Side::Server => (&call.response, &call.request),
            Side::Call | Side::Attempt => (&call.request, &call.response),
        };
        let unrecorded = |key, flow: &Flow| {
            let unrecorded = flow.unrecorded.load(Relaxed);
            (unrecorded > 0).then(|| KeyValue::new(key, to_i64(unrecorded)))
        };
        // All at once, as the span is behind a lock.
        let attributes = [
            Some(KeyValue::new(call.recorder.shared.semconv.status_code(), name)),
            error.then(|| KeyValue::new(ERROR_TYPE, name)),
            unrecorded("grpc_otel.outbound.unrecorded", outbound),
            unrecorded("grpc_otel.inbound.unrecorded", inbound),
        ];
        span.set_attributes(attributes.into_iter().flatten());
        if error {
            span.set_status(Status::error(describe(name, reason)));
        } else if code == Code::Ok {
            span.set_status(Status::Ok);
        }
        span.end_with_timestamp(began.time_at(ended));
    }
}

/// The code and the message: `UNAVAILABLE, unable to resolve host`.
fn describe(code: &str, reason: &Reason<'_>) -> String {
    let message = match reason {
        Reason::Text(text) => (*text).into(),
        Reason::Headers(headers) => match headers.get(tonic::Status::GRPC_MESSAGE) {
            Some(message) => percent_decode(message.as_bytes()).decode_utf8_lossy(),
            None => "".into(),
        },
    };
    if message.is_empty() { code.to_owned() } else { format!("{code}, {message}") }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
