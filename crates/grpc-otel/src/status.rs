//! How an RPC ended: its code, from trailers, headers, errors or the HTTP status.

use std::{
    any::Any,
    error::Error,
    fmt::{self, Debug, Display, Formatter},
    iter::successors,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, StatusCode};
use tonic::{Code, Status, TimeoutExpired};
#[cfg(feature = "transport")]
use tower::load_shed::error::Overloaded;

use crate::{BoxError, headers::find, side::Side};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// How many codes gRPC defines, from 0 to 16 (`doc/statuscodes.md`).
#[cfg(feature = "metrics")]
pub(crate) const CODES: usize = 17;

/// Why a call ended, for the description of its span.
#[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "only spans describe the end"))]
pub(crate) enum Reason<'a> {
    Headers(&'a HeaderMap),
    Text(&'a str),
}

/// Returns the code as gRPC spells it (`doc/statuscodes.md`), and `grpc.status` does: `UNAVAILABLE`.
#[must_use]
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Reads the code in trailers, or in headers of a trailers-only response.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(find(headers, &GRPC_STATUS)?.as_bytes()))
}

/// Returns the code of a response that ended without one (`doc/http-grpc-status-mapping.md`).
pub(crate) fn from_http(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Returns the code and message of an error, and the same error to hand on.
///
/// No trait is common to boxed errors and others, so the type is looked at: of those that are known the status is the one
/// tonic makes of them, all others are UNKNOWN.
pub(crate) fn from_error<E: Display + 'static>(error: E) -> (Code, String, E) {
    let mut slot = Some(error);
    let any: &mut dyn Any = &mut slot;
    let known = if let Some(boxed) = any.downcast_mut::<Option<BoxError>>() {
        as_tonic_has_it(boxed, |error| &**error)
    } else if let Some(status) = any.downcast_mut::<Option<Status>>() {
        as_tonic_has_it(status, |error| error)
    } else {
        from_transport(any)
    };
    let error = slot.expect("put back by each of them");
    let (code, message) = known.unwrap_or_else(|| (Code::Unknown, error.to_string()));
    (code, message, error)
}

/// Reads an error of tonic's channel.
#[cfg(feature = "transport")]
fn from_transport(any: &mut dyn Any) -> Option<(Code, String)> {
    as_tonic_has_it(any.downcast_mut::<Option<tonic::transport::Error>>()?, |error| error)
}

#[cfg(not(feature = "transport"))]
fn from_transport(_: &mut dyn Any) -> Option<(Code, String)> {
    None
}

/// Returns the code and message of the status that tonic makes of an error, if it knows one.
///
/// tonic reads only errors that it may keep: it gets a share, which is back when its status is dropped.
///
/// It answers an expired time limit with CANCELLED; by gRPC's definition that is `DEADLINE_EXCEEDED`, and so it is recorded.
fn as_tonic_has_it<E>(slot: &mut Option<E>, as_error: fn(&E) -> Source<'_>) -> Option<(Code, String)>
where
    E: Debug + Send + Sync + 'static,
{
    let error = Arc::new(slot.take()?);
    let expired =
        successors(Some(as_error(&error)), |&error| error.source()).any(<dyn Error>::is::<TimeoutExpired>);
    let known =
        equal(as_error(&error)).unwrap_or_else(|| Box::new(Shared { error: error.clone(), as_error }));
    let status = Status::try_from_error(known).ok().map(|status| {
        let code = if expired { Code::DeadlineExceeded } else { status.code() };
        (code, status.message().to_owned())
    });
    *slot = Arc::into_inner(error);
    status
}

/// Returns an error that equals one which tonic only knows as its own, not as the source of another error.
#[cfg(feature = "transport")]
fn equal(error: Source<'_>) -> Option<BoxError> {
    if error.is::<Overloaded>() {
        return Some(Overloaded::new().into());
    }
    error.downcast_ref::<h2::Error>()?.reason().map(|reason| h2::Error::from(reason).into())
}

#[cfg(not(feature = "transport"))]
fn equal(_: Source<'_>) -> Option<BoxError> {
    None
}

type Source<'a> = &'a (dyn Error + 'static);

/// An error whose owner wants it back.
#[derive(Debug)]
struct Shared<E> {
    error: Arc<E>,
    as_error: fn(&E) -> Source<'_>,
}

impl<E> Display for Shared<E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt((self.as_error)(&self.error), f)
    }
}

impl<E: Debug> Error for Shared<E> {
    fn source(&self) -> Option<Source<'_>> {
        Some((self.as_error)(&self.error))
    }
}

/// Returns whether OpenTelemetry's conventions call the code an error: for clients all but OK, for servers those that
/// are the server's fault.
pub(crate) fn is_error(side: Side, code: Code) -> bool {
    if side != Side::Server {
        return code != Code::Ok;
    }
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
