//! How an RPC ended: its code, from trailers, headers, errors or the HTTP status.

use http::{HeaderMap, HeaderName, StatusCode};
use tonic::{Code, Status, TimeoutExpired};

use crate::{BoxError, headers::find};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[cfg(feature = "metrics")]
pub(crate) const CODES: usize = 17;

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

/// The status tonic makes of an error, and the error to hand on.
///
/// tonic answers an expired time limit with CANCELLED; by gRPC's definition it is
/// `DEADLINE_EXCEEDED`, and so it is recorded.
pub(crate) fn from_error(error: BoxError) -> (Code, String, BoxError) {
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
pub(crate) fn is_error(side: crate::recorder::Side, code: Code) -> bool {
    if side != crate::recorder::Side::Server {
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
