//! What a call costs in allocations. This is a program of its own because it counts those of the whole process.

use std::{
    alloc::System,
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use grpc_otel::{GrpcOtel, Methods};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use opentelemetry_sdk::{
    metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracerProvider},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer as _, Service, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many DATA frames, then trailers.
struct Messages(usize, &'static [u8]);

/// Empty messages: their prefixes are zeros.
const ONE: &[u8] = &[0; 5];
const HUNDRED: &[u8] = &[0; 500];

impl Body for Messages {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            let trailers =
                HeaderMap::from_iter([(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.1)))))
    }
}

fn drain(body: impl Body) {
    let mut body = pin!(body);
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        if frame.is_trailers() {
            return;
        }
    }
}

/// Allocations of one call that receives and sends so many of these frames.
fn allocations<S, R>(service: &mut S, frames: usize, frame: &'static [u8]) -> usize
where
    S: Service<Request<Messages>, Response = Response<R>>,
    R: Body,
{
    let mut call = || {
        let request = Request::post("http://localhost/pkg.Service/Method")
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .body(Messages(frames, frame))
            .unwrap();
        let before = Region::new(ALLOCATOR);
        let response = pin!(service.call(request));
        if let Poll::Ready(Ok(response)) = response.poll(&mut Context::from_waker(Waker::noop())) {
            drain(response.into_body());
        }
        before.change().allocations
    };
    // The first call meets the series.
    call();
    // Other threads of the process can only add to a count.
    (0..10).map(|_| call()).min().unwrap_or_default()
}

/// What the layer adds to a service that does nothing: for a unary call, and for a stream of a thousand frames of a
/// hundred messages each way.
fn added(otel: &GrpcOtel) -> [usize; 2] {
    let methods: Methods = ["pkg.Service/Method"].into_iter().collect();
    [(1, ONE), (1000, HUNDRED)].map(|(frames, frame)| {
        let mut bare = service_fn(|request: Request<Messages>| async {
            let Messages(frames, frame) = *request.body();
            drain(request.into_body());
            Ok::<_, Infallible>(Response::new(Messages(frames, frame)))
        });
        let inner = service_fn(move |request: Request<grpc_otel::RequestBody<Messages>>| async move {
            drain(request.into_body());
            Ok::<_, Infallible>(Response::new(Messages(frames, frame)))
        });
        let mut layered = otel.server_layer(methods.clone()).layer(inner);
        allocations(&mut layered, frames, frame) - allocations(&mut bare, frames, frame)
    })
}

#[test]
fn call_allocates_little_and_message_nothing() {
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).build();
    let meters = SdkMeterProvider::builder().with_reader(reader).build();
    let tracers = |sampler| SdkTracerProvider::builder().with_sampler(sampler).build();
    let metrics = || GrpcOtel::builder().meter_provider(&meters);

    assert_eq!(added(&GrpcOtel::builder().build()), [0, 0], "nothing recorded");
    assert_eq!(added(&metrics().build()), [1, 1], "metrics");
    let unsampled = metrics().tracer_provider(&tracers(Sampler::AlwaysOff)).build();
    assert_eq!(added(&unsampled), [2, 2], "metrics and a span not sampled");
    // The span, its place in the context and its attributes; then events, which are few even of 100,000 messages.
    let [unary, stream] = added(&metrics().tracer_provider(&tracers(Sampler::AlwaysOn)).build());
    assert_eq!(unary, 7, "metrics and a span");
    assert!(stream <= 64, "{stream} allocations for a span of a long stream");
}
