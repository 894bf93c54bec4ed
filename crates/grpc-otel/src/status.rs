//! How an RPC ended: its code, from trailers, headers, errors or the HTTP status.

use std::{any::Any, fmt::Display};

use http::{HeaderMap, HeaderName, StatusCode};
use tonic::{Code, Status, TimeoutExpired};

use crate::{BoxError, headers::find, side::Side};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[cfg(feature = "metrics")]
pub(crate) const CODES: usize = 17;

/// Why a call ended, for the description of its span.
#[cfg_attr(not(feature = "trace"), expect(dead_code, reason = "only spans describe the end"))]
pub(crate) enum Reason<'a> {
    Headers(&'a HeaderMap),
    Text(&'a str),
}

/// How gRPC spells the code (`doc/statuscodes.md`), and `grpc.status` does: `UNAVAILABLE`.
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

/// The code in trailers, or in headers of a trailers-only response.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(find(headers, &GRPC_STATUS)?.as_bytes()))
}

/// The code of a response that ended without one (`doc/http-grpc-status-mapping.md`).
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

/// The code and message of an error, and the error to hand on, of the type it has.
///
/// No trait is common to boxed errors and others, so the type is looked at: of those that are known the status is the one
/// tonic makes of them, all others are UNKNOWN.
pub(crate) fn from_error<E: Display + 'static>(error: E) -> (Code, String, E) {
    let mut slot = Some(error);
    let any: &mut dyn Any = &mut slot;
    let known = if let Some(boxed) = any.downcast_mut::<Option<BoxError>>() {
        replaced(boxed, from_boxed)
    } else if let Some(status) = any.downcast_mut::<Option<Status>>() {
        replaced(status, |status| (status.code(), status.message().to_owned(), status))
    } else {
        from_transport(any)
    };
    let error = slot.expect("put back by each of them");
    let (code, message) = known.unwrap_or_else(|| (Code::Unknown, error.to_string()));
    (code, message, error)
}

/// Reads an error by taking it out of its place and putting it back.
fn replaced<E>(slot: &mut Option<E>, read: impl FnOnce(E) -> (Code, String, E)) -> Option<(Code, String)> {
    let (code, message, error) = read(slot.take()?);
    *slot = Some(error);
    Some((code, message))
}

/// The errors of tonic's channel.
#[cfg(feature = "transport")]
fn from_transport(any: &mut dyn Any) -> Option<(Code, String)> {
    replaced(any.downcast_mut::<Option<tonic::transport::Error>>()?, |error| {
        // tonic reads only errors that it may keep: it gets a share, which is back when its status is dropped.
        let shared = std::sync::Arc::new(error);
        let (code, message, share) = from_boxed(Box::new(Shared(shared.clone())));
        drop(share);
        let error = std::sync::Arc::into_inner(shared).expect("the other share is dropped");
        (code, message, error)
    })
}

#[cfg(not(feature = "transport"))]
fn from_transport(_: &mut dyn Any) -> Option<(Code, String)> {
    None
}

/// An error whose owner wants it back.
#[cfg(feature = "transport")]
#[derive(Debug)]
struct Shared(std::sync::Arc<tonic::transport::Error>);

#[cfg(feature = "transport")]
impl Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "transport")]
impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// The status tonic makes of an error, and the error to hand on.
///
/// tonic answers an expired time limit with CANCELLED; by gRPC's definition it is
/// `DEADLINE_EXCEEDED`, and so it is recorded.
fn from_boxed(error: BoxError) -> (Code, String, BoxError) {
    let expired = sources(&*error).any(<dyn std::error::Error>::is::<TimeoutExpired>);
    match Status::try_from_error(error) {
        Ok(status) => {
            let code = if expired { Code::DeadlineExceeded } else { status.code() };
            (code, status.message().to_owned(), Box::new(status))
        }
        Err(error) => (Code::Unknown, error.to_string(), error),
    }
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Whether OpenTelemetry's conventions call the code an error: for clients all but OK, for
/// servers those that are the server's fault.
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
