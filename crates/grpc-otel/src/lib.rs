//! gRPC's own metrics ([gRFC A66]) and traces ([gRFC A72]) for any tonic service.
//!
//! [gRFC A66]: https://github.com/grpc/proposal/blob/master/A66-otel-stats.md
//! [gRFC A72]: https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "metrics", feature = "trace")))]
compile_error!("grpc-otel records nothing without one of its features `metrics` and `trace`");

mod body;
mod builder;
mod call;
mod client;
#[cfg(feature = "deadline")]
mod deadline;
mod frame;
mod future;
mod methods;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod recorder;
mod server;
mod status;
mod target;
mod timeout;
#[cfg(feature = "trace")]
mod trace;

pub use body::{RequestBody, ResponseBody};
pub use builder::{Builder, GrpcOtel};
pub use client::{ClientAttempt, ClientAttemptLayer, ClientCall, ClientCallLayer, ClientLayer};
#[cfg(feature = "deadline")]
pub use deadline::{DeadlineBody, DeadlineFuture, DeadlineLayer, DeadlineService};
pub use future::ResponseFuture;
pub use methods::{DescriptorError, Methods};
#[cfg(feature = "metrics")]
pub use metrics::DurationMetrics;
pub use server::{ServerLayer, ServerService};
#[cfg(feature = "grpc-trace-bin")]
pub use trace::GrpcTraceBinPropagator;
#[cfg(feature = "trace")]
pub use trace::{MessageEvents, SpanErrors, background};

/// Any error a service may end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
