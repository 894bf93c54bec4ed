//! Which instruments there are.

use crate::names::Filter;

/// Under which names the duration of calls is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationMetrics {
    /// `grpc.server.call.duration` and `grpc.client.call.duration` of gRFC A66.
    #[default]
    Grpc,
    /// `rpc.server.call.duration` and `rpc.client.call.duration` of OpenTelemetry's semantic
    /// conventions in place of them. The other instruments of A66 have no equivalent and stay.
    OpenTelemetry,
    /// Both.
    Both,
}

/// What the application asked for.
#[derive(Default)]
pub(crate) struct Selection {
    pub(crate) duration: DurationMetrics,
    /// Those of A96.
    pub(crate) retries: bool,
    /// Those of A121.
    pub(crate) delays: bool,
    pub(crate) filter: Option<Filter>,
}

impl Selection {
    pub(crate) fn includes(&self, instrument: &str) -> bool {
        let by_default = match instrument {
            "grpc.server.call.duration" | "grpc.client.call.duration" => {
                self.duration != DurationMetrics::OpenTelemetry
            }
            "rpc.server.call.duration" | "rpc.client.call.duration" => self.duration != DurationMetrics::Grpc,
            "grpc.client.call.delay.duration" | "grpc.client.attempt.delay.duration" => self.delays,
            "grpc.client.call.retries"
            | "grpc.client.call.transparent_retries"
            | "grpc.client.call.hedges"
            | "grpc.client.call.retry_delay" => self.retries,
            _ => true,
        };
        by_default && self.filter.as_ref().is_none_or(|filter| filter(instrument))
    }
}
