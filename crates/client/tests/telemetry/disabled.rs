//! Disabled telemetry on the wire: a client starts no trace context of its own.

use std::{convert::Infallible, net::SocketAddr};

use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kelvin_client::{Channel, Config};
use kelvin_proto::SensorReading;
use kelvin_telemetry::Telemetry;
use opentelemetry::{Context, propagation::TextMapPropagator as _, trace::FutureExt as _};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{Code, body::Body};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// Nobody listens there, and nothing is to be sent.
const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");

/// Starts a server that rejects every call and sends the headers of each to the channel.
pub(crate) async fn serve() -> (SocketAddr, mpsc::UnboundedReceiver<HeaderMap>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                if request.uri().path().starts_with("/SensorService/") {
                    let _ = sender.send(request.headers().clone());
                }
                async { Ok::<_, Infallible>(unimplemented()) }
            });
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (address, received)
}

fn unimplemented() -> Response<Body> {
    tonic::Status::unimplemented("for this test").into_http()
}

/// The `traceparent` headers of a call made in no context, and of one made while a request with a context is served.
async fn traceparents(variables: &[(&str, &str)]) -> [Option<HeaderValue>; 2] {
    let (address, mut received) = serve().await;
    let mut telemetry = Telemetry::builder("off", "1.0.0");
    for (name, value) in variables {
        telemetry = telemetry.variable(name, value);
    }
    let telemetry = telemetry.build().unwrap();
    let config = Config::from_pairs([("KELVIN_SERVER", format!("http://{address}"))]).unwrap();
    let channel = Channel::open(&config, &telemetry).unwrap();

    let incoming = std::collections::HashMap::from([("traceparent".to_owned(), TRACEPARENT.to_owned())]);
    let served = telemetry.propagator().extract_with_context(&Context::new(), &incoming);
    let mut sent = Vec::new();
    for context in [Context::new(), served] {
        let mut client = channel.client();
        let call = client.send_single_reading(SensorReading::default()).with_context(context);
        assert_eq!(call.await.unwrap_err().code(), Code::Unimplemented);
        sent.push(received.recv().await.unwrap().get("traceparent").cloned());
    }
    sent.try_into().unwrap()
}

#[tokio::test]
async fn client_without_exporter_only_forwards_trace_context() {
    for variables in
        [&[("OTEL_SDK_DISABLED", "true"), COLLECTOR][..], &[], &[("OTEL_TRACES_EXPORTER", "none"), COLLECTOR]]
    {
        let [own, served] = traceparents(variables).await;
        assert_eq!(own, None, "{variables:?}");
        assert_eq!(served.as_ref().map(HeaderValue::as_bytes), Some(TRACEPARENT.as_bytes()), "{variables:?}");
    }
}

#[tokio::test]
async fn client_with_exporter_sends_a_sampled_context() {
    let [own, served] = traceparents(&[COLLECTOR]).await.map(|header| header.unwrap());
    assert!(own.to_str().unwrap().ends_with("-01"), "{own:?}");
    let served = served.to_str().unwrap();
    assert!(served != TRACEPARENT && served[..36] == TRACEPARENT[..36], "{served}");
}
