//! Every instrument against the table of its specification.

use grpc_otel::DurationMetrics;
use tonic::Request;

use crate::{
    observed::{Observed, Series},
    support::{client, hello, serve},
};

const LATENCY: &str = "0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, \
    0.006, 0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, \
    0.3, 0.4, 0.5, 0.65, 0.8, 1, 2, 5, 10, 20, 50, 100";
const SIZE: &str = "0, 1024, 2048, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, \
    268435456, 1073741824, 4294967296";
const RPC: &str = "0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10";

/// Name, kind, unit, attributes, bounds: as gRFC A66 has them.
const SERVER: &[(&str, &str, &str, &[&str], &str)] = &[
    ("grpc.server.call.started", "counter", "{call}", &["grpc.method"], ""),
    ("grpc.server.call.duration", "histogram", "s", &["grpc.method", "grpc.status"], LATENCY),
    (
        "grpc.server.call.sent_total_compressed_message_size",
        "histogram of integers",
        "By",
        &["grpc.method", "grpc.status"],
        SIZE,
    ),
    (
        "grpc.server.call.rcvd_total_compressed_message_size",
        "histogram of integers",
        "By",
        &["grpc.method", "grpc.status"],
        SIZE,
    ),
];
const ENDED: &[&str] = &["grpc.method", "grpc.status", "grpc.target"];
const CLIENT: &[(&str, &str, &str, &[&str], &str)] = &[
    ("grpc.client.attempt.started", "counter", "{attempt}", &["grpc.method", "grpc.target"], ""),
    ("grpc.client.attempt.duration", "histogram", "s", ENDED, LATENCY),
    ("grpc.client.attempt.sent_total_compressed_message_size", "histogram of integers", "By", ENDED, SIZE),
    ("grpc.client.attempt.rcvd_total_compressed_message_size", "histogram of integers", "By", ENDED, SIZE),
    ("grpc.client.call.duration", "histogram", "s", ENDED, LATENCY),
];
/// Of OpenTelemetry's semantic conventions.
const RPC_SERVER: (&str, &str, &str, &[&str], &str) = (
    "rpc.server.call.duration",
    "histogram",
    "s",
    &["rpc.method", "rpc.response.status_code", "rpc.system.name"],
    RPC,
);
const RPC_CLIENT: (&str, &str, &str, &[&str], &str) = (
    "rpc.client.call.duration",
    "histogram",
    "s",
    &["rpc.method", "rpc.response.status_code", "rpc.system.name", "server.address", "server.port"],
    RPC,
);

fn check(exported: &[Series], expected: &[(&str, &str, &str, &[&str], &str)]) {
    let mut names: Vec<_> = exported.iter().map(|series| series.name.as_str()).collect();
    names.sort_unstable();
    let mut wanted: Vec<_> = expected.iter().map(|(name, ..)| *name).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for (name, kind, unit, attributes, bounds) in expected {
        let series = exported.iter().find(|series| series.name == *name).unwrap();
        assert_eq!((series.kind, series.unit.as_str()), (*kind, *unit), "{name}");
        assert_eq!(series.attributes.keys().collect::<Vec<_>>(), *attributes, "{name}");
        let bounds: Vec<f64> = bounds.split(", ").filter_map(|bound| bound.parse().ok()).collect();
        assert_eq!(series.bounds, bounds, "{name}");
        assert_eq!(series.count, 1, "{name}");
        assert!(!series.description.is_empty(), "{name}");
    }
}

async fn one_call(durations: DurationMetrics) -> (Vec<Series>, Vec<Series>) {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().duration_metrics(durations).build()).await;
    let otel = caller.builder().duration_metrics(durations).build();
    client(&otel, &endpoint).say_hello(Request::new(hello("world"))).await.unwrap();
    (server.series(), caller.series())
}

#[tokio::test]
async fn instruments_are_those_of_a66() {
    let (server, client) = one_call(DurationMetrics::Grpc).await;
    check(&server, SERVER);
    check(&client, CLIENT);
    for series in server.iter().chain(&client) {
        assert_eq!(series.attributes["grpc.method"], "helloworld.Greeter/SayHello");
        assert!(series.attributes.get("grpc.status").is_none_or(|status| status == "OK"));
        assert!(series.attributes.get("grpc.target").is_none_or(|t| t == "dns:///greeter.test:50051"));
    }
}

#[tokio::test]
async fn durations_go_by_opentelemetrys_names_too() {
    let (server, client) = one_call(DurationMetrics::Both).await;
    check(&server, &[SERVER, &[RPC_SERVER]].concat());
    check(&client, &[CLIENT, &[RPC_CLIENT]].concat());
    let rpc = client.iter().find(|series| series.name == "rpc.client.call.duration").unwrap();
    let attributes: Vec<_> = rpc.attributes.values().collect();
    assert_eq!(attributes, ["helloworld.Greeter/SayHello", "OK", "grpc", "greeter.test", "50051"]);

    let (server, client) = one_call(DurationMetrics::OpenTelemetry).await;
    let without = |table: &[(&'static str, _, _, _, _)], name| {
        table.iter().copied().filter(|row: &(&str, _, _, _, _)| row.0 != name).collect::<Vec<_>>()
    };
    check(&server, &[without(SERVER, "grpc.server.call.duration"), vec![RPC_SERVER]].concat());
    check(&client, &[without(CLIENT, "grpc.client.call.duration"), vec![RPC_CLIENT]].concat());
}

#[tokio::test]
async fn nothing_is_recorded_without_providers() {
    let endpoint = serve(&grpc_otel::GrpcOtel::builder().build()).await;
    let otel = grpc_otel::GrpcOtel::builder().build();
    let reply = client(&otel, &endpoint).say_hello(hello("world")).await.unwrap();
    assert_eq!(reply.get_ref().message, "Hello world");
}

/// As Prometheus names what OTLP brings: a counter gets `_total`, a histogram its unit and one of three endings.
#[tokio::test]
async fn grafana_board_names_only_instruments_that_exist() {
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../grafana.json")).expect("the board is JSON");
    let (server, client) = one_call(DurationMetrics::Grpc).await;
    let known: Vec<_> = server.iter().chain(&client).map(|series| series.name.replace('.', "_")).collect();
    let panels = board["panels"].as_array().unwrap();
    for panel in panels {
        let expr = panel["targets"][0]["expr"].as_str().unwrap();
        let names = expr
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("grpc_server_") || word.starts_with("grpc_client_"));
        let mut found = 0;
        for name in names {
            found += 1;
            let base = ["_total", "_seconds_count", "_seconds_bucket", "_bytes_sum"]
                .iter()
                .find_map(|ending| name.strip_suffix(ending));
            assert!(base.is_some_and(|base| known.iter().any(|known| known == base)), "{name} in {expr}");
        }
        assert!(found > 0, "{expr}");
    }
    assert!(panels.len() >= 6);
}
