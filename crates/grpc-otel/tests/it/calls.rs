//! What calls of each kind leave in the metrics.

use bytes::Bytes;
use grpc_otel::Methods;
use http_body_util::{BodyExt as _, Full};
use tokio_stream::StreamExt as _;
use tonic::{Code, codec::CompressionEncoding};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    greeter::{HelloReply, greeter_client::GreeterClient},
    observed::Observed,
    support::{client, hello, serve},
};

const SENT: &str = "grpc.server.call.sent_total_compressed_message_size";
const RECEIVED: &str = "grpc.server.call.rcvd_total_compressed_message_size";

fn size(message: &impl prost::Message) -> f64 {
    message.encoded_len() as f64
}

#[tokio::test]
async fn each_kind_is_counted_with_its_sizes() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let mut greeter = client(&caller.builder().build(), &endpoint);

    let requests = ["a", "", "bytes 100000"].map(hello);
    let sent: f64 = requests.iter().map(size).sum();
    greeter.say_hello(hello("bytes 70000")).await.unwrap();
    let replies = greeter.lots_of_replies(hello("bytes 1,bytes 0,bytes 65536")).await.unwrap();
    assert_eq!(replies.into_inner().collect::<Vec<_>>().await.len(), 3);
    greeter.lots_of_greetings(tokio_stream::iter(requests.clone())).await.unwrap();
    let replies = greeter.bidi_hello(tokio_stream::iter(requests)).await.unwrap();
    assert_eq!(replies.into_inner().collect::<Vec<_>>().await.len(), 3);

    let reply = |text: &str| size(&HelloReply { message: text.to_owned() });
    for (method, received, returned) in [
        ("SayHello", size(&hello("bytes 70000")), reply(&"x".repeat(70_000))),
        (
            "LotsOfReplies",
            size(&hello("bytes 1,bytes 0,bytes 65536")),
            reply("x") + reply("") + reply(&"x".repeat(65_536)),
        ),
        ("LotsOfGreetings", sent, reply("3")),
        ("BidiHello", sent, reply("Hello a") + reply("Hello ") + reply(&"x".repeat(100_000))),
    ] {
        let method = format!("helloworld.Greeter/{method}");
        let ended = [("grpc.method", method.as_str()), ("grpc.status", "OK")];
        assert_eq!(server.count("grpc.server.call.started", &ended[..1]), 1, "{method}");
        assert_eq!(server.count("grpc.server.call.duration", &ended), 1, "{method}");
        assert_eq!(server.sum(RECEIVED, &ended).to_bits(), received.to_bits(), "{method}");
        assert_eq!(server.sum(SENT, &ended).to_bits(), returned.to_bits(), "{method}");
        assert_eq!(caller.count("grpc.client.call.duration", &ended), 1, "{method}");
        let attempt = |way| {
            caller.sum(&format!("grpc.client.attempt.{way}_total_compressed_message_size"), &ended).to_bits()
        };
        assert_eq!(attempt("sent"), received.to_bits(), "{method}");
        assert_eq!(attempt("rcvd"), returned.to_bits(), "{method}");
    }
}

#[tokio::test]
async fn compressed_messages_count_as_compressed() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().build()).await;
    let mut greeter = GreeterClient::new(endpoint.connect_lazy())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    greeter.say_hello(hello("bytes 100000")).await.unwrap();

    let sent = server.sum(SENT, &[]);
    assert!(sent > 0.0 && sent < 10_000.0, "{sent} bytes of 100,000 equal ones");
    let spans = server.spans();
    let names: Vec<_> = spans[0].events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(names, ["Inbound compressed message", "Outbound message compressed"]);
    let size = spans[0].events.iter().last().unwrap().attributes.iter().next_back().unwrap();
    assert_eq!(size.key.as_str(), "message-size-compressed");
    assert_eq!(size.value.to_string(), sent.to_string());
}

#[tokio::test]
async fn every_status_is_counted_under_its_name() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let mut greeter = client(&caller.builder().build(), &endpoint);
    let names = [
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    for (code, name) in (1..).zip(names) {
        // Once in headers, as there are no messages, and once in trailers.
        let refused = greeter.say_hello(hello(&format!("fail {code}"))).await.unwrap_err();
        assert_eq!(refused.code(), Code::from_i32(code));
        let replies = greeter.lots_of_replies(hello(&format!("a,fail {code}"))).await.unwrap();
        let broken = replies.into_inner().collect::<Vec<_>>().await.pop().unwrap().unwrap_err();
        assert_eq!(broken.code(), Code::from_i32(code));

        for method in ["SayHello", "LotsOfReplies"] {
            let method = format!("helloworld.Greeter/{method}");
            let ended = [("grpc.method", method.as_str()), ("grpc.status", name)];
            assert_eq!(server.count("grpc.server.call.duration", &ended), 1, "{name}");
            assert_eq!(caller.count("grpc.client.attempt.duration", &ended), 1, "{name}");
            assert_eq!(caller.count("grpc.client.call.duration", &ended), 1, "{name}");
        }
    }
}

#[tokio::test]
async fn unknown_methods_are_other() {
    let server = Observed::new();
    let endpoint = serve(&server.builder().build()).await;
    let mut raw = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    for path in ["/helloworld.Greeter/Unheard", "/made.Up/Method"] {
        raw.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<_, HelloReply>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let refused = raw.unary(tonic::Request::new(hello("x")), path, codec).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
    }
    let ended = [("grpc.method", "other"), ("grpc.status", "UNIMPLEMENTED")];
    assert_eq!(server.count("grpc.server.call.duration", &ended), 2);
    assert_eq!(server.count("grpc.server.call.started", &[]), 2);
    let span = &server.spans()[0];
    assert_eq!(span.name, "Recv.other");
    let text = |key: &str| {
        span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
    };
    assert_eq!(text("rpc.method").as_deref(), Some("_OTHER"));
    assert_eq!(text("rpc.method_original").as_deref(), Some("helloworld.Greeter/Unheard"));
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let caller = Observed::new();
    let (endpoint, incoming) = crate::support::listen().await;
    drop(incoming);
    let refused = client(&caller.builder().build(), &endpoint).say_hello(hello("x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let ended = [("grpc.status", "UNAVAILABLE")];
    assert_eq!(caller.count("grpc.client.attempt.duration", &ended), 1);
    assert_eq!(caller.count("grpc.client.call.duration", &ended), 1);
}

#[tokio::test]
async fn response_without_a_status_is_counted_by_its_http_status() {
    for (body, frames, name) in [("", 0, "UNAVAILABLE"), ("busy", 1, "UNAVAILABLE"), ("busy", 0, "CANCELLED")]
    {
        let server = Observed::new();
        let proxy = tower::service_fn(move |_: http::Request<_>| async move {
            let response = http::Response::builder().status(http::StatusCode::SERVICE_UNAVAILABLE);
            response.body(Full::new(Bytes::from_static(body.as_bytes())))
        });
        let layered = server.builder().build().server_layer(Methods::new()).layer(proxy);
        let request = http::Request::post("/").header(http::header::CONTENT_TYPE, "application/grpc");
        let mut response = layered.oneshot(request.body(tonic::body::Body::empty()).unwrap()).await.unwrap();
        // As HTTP's libraries do, nobody asks for what `is_end_stream` has ruled out.
        for _ in 0..frames {
            response.frame().await.unwrap().unwrap();
        }
        drop(response);
        assert_eq!(server.count("grpc.server.call.duration", &[("grpc.status", name)]), 1, "{body} {frames}");
    }
}

#[tokio::test]
async fn interceptor_around_observed_channel_is_counted() {
    let caller = Observed::new();
    let endpoint = serve(&Observed::new().builder().build()).await;
    let layer = caller.builder().build().client_layer(crate::support::TARGET);
    let mut greeter = GreeterClient::with_interceptor(
        layer.layer(endpoint.connect_lazy()),
        |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", "Bearer token".parse().expect("ASCII"));
            Ok(request)
        },
    );
    greeter.say_hello(hello("world")).await.unwrap();
    assert_eq!(caller.count("grpc.client.call.duration", &[("grpc.status", "OK")]), 1);
}
