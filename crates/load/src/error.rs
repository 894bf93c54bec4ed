//! What keeps a load test from running.

use grpc_otel::status_name;
use kelvin_proto::CallType;
use tonic::Status;

/// The reason why there is no [`Report`](crate::Report).
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The TCP connection failed.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// As given in the options.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {address} failed: {source}")]
    Tls {
        /// As given in the options.
        address: String,
        /// The error of rustls.
        source: std::io::Error,
    },
    /// The peer negotiated another protocol than `h2`.
    #[error("{0} does not speak HTTP/2")]
    NotHttp2(String),
    /// A call of the check before the start failed.
    #[error("the first {} call failed: {} {}", kind.name(), status_name(status.code()), status.message())]
    FirstCall {
        /// Its type.
        kind: CallType,
        /// The status of the response.
        status: Box<Status>,
    },
    /// The options contradict each other.
    #[error("{0}")]
    Options(&'static str),
    /// A thread or a runtime could not be created.
    #[error("cannot start a worker thread or its runtime: {0}")]
    Start(#[source] std::io::Error),
}
