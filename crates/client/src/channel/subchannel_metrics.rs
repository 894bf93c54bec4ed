//! Metrics of connections: `grpc.subchannel.*` (gRFC A94) and `grpc.client.tls.handshakes` (A118).

use std::{io, sync::Arc};

use h2::Reason;
use kelvin_credentials::HandshakeResult;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter, UpDownCounter},
};

#[derive(Debug, Clone)]
pub(super) struct SubchannelMetrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    target: KeyValue,
    succeeded: Counter<u64>,
    failed: Counter<u64>,
    disconnections: Counter<u64>,
    open: UpDownCounter<i64>,
    handshakes: Counter<u64>,
}

impl SubchannelMetrics {
    pub(super) fn new(meter: &Meter, target: &str) -> Self {
        let counter = |name: &'static str, unit: &'static str, description: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        let instruments = Instruments {
            target: KeyValue::new("grpc.target", grpc_otel::canonical_target(target)),
            succeeded: counter(
                "grpc.subchannel.connection_attempts_succeeded",
                "{attempt}",
                "Number of successful connection attempts.",
            ),
            failed: counter(
                "grpc.subchannel.connection_attempts_failed",
                "{attempt}",
                "Number of failed connection attempts.",
            ),
            disconnections: counter(
                "grpc.subchannel.disconnections",
                "{disconnection}",
                "Number of times the selected subchannel becomes disconnected.",
            ),
            open: meter
                .i64_up_down_counter("grpc.subchannel.open_connections")
                .with_unit("{connection}")
                .with_description("Number of open connections.")
                .build(),
            handshakes: counter(
                "grpc.client.tls.handshakes",
                "{handshake}",
                "Number of TLS handshakes, by result.",
            ),
        };
        // Prometheus sees no increase in a series that begins with its first event: it begins at 0.
        instruments.failed.add(0, std::slice::from_ref(&instruments.target));
        Self(Arc::new(instruments))
    }

    pub(super) fn failed(&self) {
        self.0.failed.add(1, std::slice::from_ref(&self.0.target));
    }

    /// Records a new connection, which counts as open until the result is dropped.
    pub(super) fn connected(&self) -> OpenConnection {
        let target = std::slice::from_ref(&self.0.target);
        self.0.succeeded.add(1, target);
        self.0.open.add(1, target);
        OpenConnection { metrics: self.clone(), error: SHUTDOWN.into() }
    }

    pub(super) fn handshake(&self, result: HandshakeResult) {
        self.0.handshakes.add(1, &[self.0.target.clone(), result.into()]);
    }
}

const SHUTDOWN: &str = "subchannel shutdown";

/// Counts a connection while it is open. If it is dropped without [`ended`](Self::ended), this client has ended it.
pub(super) struct OpenConnection {
    metrics: SubchannelMetrics,
    error: String,
}

impl OpenConnection {
    /// Records that the connection has ended, and not by this client.
    pub(super) fn ended(mut self, result: &hyper::Result<()>, tls: bool) {
        self.error = disconnect_error(result, tls);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let Instruments { target, disconnections, open, .. } = &*self.metrics.0;
        let error = KeyValue::new("grpc.disconnect_error", std::mem::take(&mut self.error));
        disconnections.add(1, &[target.clone(), error]);
        open.add(-1, std::slice::from_ref(target));
    }
}

/// A94's `grpc.disconnect_error`.
fn disconnect_error(result: &hyper::Result<()>, tls: bool) -> String {
    let Err(error) = result else {
        // A server that closes TLS in an orderly way has sent GOAWAY. Without TLS, hyper reports a closed socket in the same
        // way.
        return if tls { "GOAWAY NO_ERROR".into() } else { "unknown".into() };
    };
    let sources =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    for source in sources {
        if let Some(error) = source.downcast_ref::<h2::Error>()
            && error.is_go_away()
        {
            return format!("GOAWAY {:?}", error.reason().unwrap_or(Reason::NO_ERROR));
        }
        let io = source.downcast_ref::<io::Error>().or_else(|| source.downcast_ref::<h2::Error>()?.get_io());
        if let Some(error) = io {
            return socket_error(error.kind()).into();
        }
    }
    "unknown".into()
}

fn socket_error(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        _ => "socket error",
    }
}
