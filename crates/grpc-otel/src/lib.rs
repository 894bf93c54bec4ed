//! gRPC's own metrics ([gRFC A66]) and traces ([gRFC A72]) for any tonic service.
//!
//! ```
//! use grpc_otel::{GrpcOtel, Methods};
//! use opentelemetry_sdk::{metrics::SdkMeterProvider, propagation::TraceContextPropagator, trace::SdkTracerProvider};
//! use tonic::transport::{Channel, Server};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main] async fn main() {
//! // With exporters, in a real program.
//! let (meters, tracers) = (SdkMeterProvider::default(), SdkTracerProvider::default());
//! let otel = GrpcOtel::builder()
//!     .meter_provider(&meters)
//!     .tracer_provider(&tracers)
//!     .propagator(TraceContextPropagator::new())
//!     .build();
//!
//! // A server; `Methods::from_descriptor_set` takes what tonic-prost-build writes for reflection.
//! let methods: Methods = ["helloworld.Greeter/SayHello"].into_iter().collect();
//! let server = Server::builder().layer(otel.server_layer(methods));
//!
//! // A client.
//! let channel = Channel::from_static("http://greeter:50051").connect_lazy();
//! let channel = ServiceBuilder::new().layer(otel.client_layer("dns:///greeter:50051")).service(channel);
//! # drop((server, channel)); }
//! ```
//!
//! A layer sees a call to its end: code and duration come from the trailers, sizes from the bodies, and a call that is
//! dropped is CANCELLED, or `DEADLINE_EXCEEDED` when its time was up. What a layer outside of it answers it does not
//! see, so limits, time limits (`DeadlineLayer`) and authentication belong inside.
//!
//! The README has the table of instruments, all options, and the cost.
//!
//! [gRFC A66]: https://github.com/grpc/proposal/blob/master/A66-otel-stats.md
//! [gRFC A72]: https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "metrics", feature = "trace")))]
compile_error!("grpc-otel records nothing without one of its features `metrics` and `trace`");

mod attempts;
mod body;
mod builder;
mod call;
mod client;
mod clock;
#[cfg(feature = "deadline")]
mod deadline;
#[cfg(feature = "descriptor")]
mod descriptor;
mod error;
mod frame;
mod future;
mod headers;
mod message_counter;
mod methods;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod recorder;
mod server;
mod shared;
mod side;
mod status;
mod target;
pub mod timeout;
#[cfg(feature = "trace")]
mod trace;

pub use attempts::TransparentRetry;
pub use body::{RequestBody, ResponseBody};
pub use builder::{Builder, GrpcOtel};
pub use client::{
    Attempt, ClientAttempt, ClientAttemptLayer, ClientCall, ClientCallLayer, ClientLayer, Delay,
};
#[cfg(feature = "deadline")]
pub use deadline::{DeadlineBody, DeadlineFuture, DeadlineLayer, DeadlineService};
#[cfg(feature = "descriptor")]
pub use descriptor::DescriptorError;
pub use error::BoxError;
pub use future::ResponseFuture;
pub use methods::Methods;
#[cfg(feature = "metrics")]
pub use metrics::DurationMetrics;
pub use names::Semconv;
pub use server::{ServerLayer, ServerService};
pub use status::name as status_name;
pub use target::canonical as canonical_target;
#[cfg(feature = "grpc-trace-bin")]
pub use trace::GrpcTraceBinPropagator;
#[cfg(feature = "trace")]
pub use trace::{MessageEvents, SpanStatus, background};

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
