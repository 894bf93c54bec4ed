//! What a server, the four clients and a caller of the test's own export by OTLP, decoded and compared with each other.

mod connections;
mod disabled;
mod exported;
mod propagators;
mod setup;

use std::collections::{BTreeMap, BTreeSet};

use kelvin_proto::CallType;
use kelvin_telemetry::receiver::proto::{
    metrics::v1::{AggregationTemporality, metric::Data},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};

use exported::Exported;
use setup::{CALLER, SERVER, Setup, TOKEN, span_name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_metrics_and_logs_agree() {
    let setup = Setup::start().await;
    let aborted = setup.abort_stream().await;
    setup.wait_for_two_calls_of_each_client().await;
    let received = setup.stop().await;
    received.look(|received| assert!(!format!("{received:?}").contains(TOKEN), "a token is exported"));
    let exported = Exported::new(&received);

    every_service_has_one_instance(&exported);
    server_spans_are_children_of_client_attempts(&exported);
    call_counts_match_spans(&exported);
    instruments_match_a66(&exported);
    stored_readings_match_acknowledged(&exported);
    log_record_has_ids_of_its_call(&exported, &aborted);
}

fn every_service_has_one_instance(exported: &Exported) {
    let expected: BTreeSet<_> =
        CallType::ALL.map(CallType::name).into_iter().chain([SERVER, CALLER]).collect();
    for services in [exported.services_of_spans(), exported.services_of_metrics()] {
        assert_eq!(services.keys().copied().collect::<BTreeSet<_>>(), expected);
        let instances: BTreeSet<_> = services.values().flatten().collect();
        assert_eq!(instances.len(), expected.len(), "one instance of each: {services:?}");
    }
}

/// Each span of the server is a child of the attempt of the client that made the call.
fn server_spans_are_children_of_client_attempts(exported: &Exported) {
    let callers: BTreeMap<_, _> = exported
        .spans()
        .filter(|(_, span)| span.kind() != SpanKind::Server)
        .map(|(service, span)| ((&span.trace_id, &span.span_id), (service, span)))
        .collect();
    for rpc in CallType::ALL {
        let received = exported.spans_of(SERVER, &span_name("Recv", rpc));
        assert!(received.len() >= 2, "{rpc} was called");
        let mut services = BTreeSet::new();
        for span in received {
            assert_eq!(span.kind(), SpanKind::Server);
            let (service, attempt) = callers[&(&span.trace_id, &span.parent_span_id)];
            assert_eq!(attempt.kind(), SpanKind::Internal);
            assert_eq!(attempt.name, span_name("Attempt", rpc));
            let (caller, call) = callers[&(&attempt.trace_id, &attempt.parent_span_id)];
            assert_eq!(call.kind(), SpanKind::Client);
            assert_eq!((caller, &call.name), (service, &span_name("Sent", rpc)));
            assert!(call.parent_span_id.is_empty(), "calls of clients begin traces");
            assert!(call.start_time_unix_nano <= attempt.start_time_unix_nano);
            services.insert(service);
        }
        assert!(services.contains(rpc.name()), "{rpc} by {services:?}");
    }
}

/// The counters and histograms of A66 count the same calls as there are spans, on both sides.
fn call_counts_match_spans(exported: &Exported) {
    let traced = |service: &str, side: &str, span: &Span| {
        let name = span.name.strip_prefix(&format!("{side}."))?;
        let (grpc_service, method) = name.rsplit_once('.')?;
        Some((service.to_owned(), format!("{grpc_service}/{method}")))
    };
    for (side, started, ended) in [
        ("Recv", Some("grpc.server.call.started"), "grpc.server.call.duration"),
        ("Attempt", Some("grpc.client.attempt.started"), "grpc.client.attempt.duration"),
        ("Sent", None, "grpc.client.call.duration"),
    ] {
        let mut calls = BTreeMap::<_, u64>::new();
        for (service, span) in exported.spans() {
            if let Some(key) = traced(service, side, span) {
                *calls.entry(key).or_default() += 1;
            }
        }
        assert!(calls.len() >= CallType::ALL.len(), "{calls:?}");
        for ((service, method), calls) in calls {
            assert_eq!(exported.count(&service, ended, &method), calls, "{ended} of {method} at {service}");
            if let Some(started) = started {
                assert_eq!(
                    exported.count(&service, started, &method),
                    calls,
                    "{started} of {method} at {service}"
                );
            }
        }
    }
}

/// gRFC A66: names, units and, for one of each kind, the bounds.
fn instruments_match_a66(exported: &Exported) {
    for (service, instruments) in [
        (
            SERVER,
            &[
                ("grpc.server.call.started", "{call}"),
                ("grpc.server.call.duration", "s"),
                ("grpc.server.call.sent_total_compressed_message_size", "By"),
                ("grpc.server.call.rcvd_total_compressed_message_size", "By"),
                ("grpc.server.tls.handshakes", "{handshake}"),
                ("kelvin.readings.accepted", "{reading}"),
                ("kelvin.readings.stored", "{reading}"),
                ("kelvin.sensors", "{sensor}"),
            ][..],
        ),
        (
            CallType::Unary.name(),
            &[
                ("grpc.client.attempt.started", "{attempt}"),
                ("grpc.client.attempt.duration", "s"),
                ("grpc.client.attempt.sent_total_compressed_message_size", "By"),
                ("grpc.client.attempt.rcvd_total_compressed_message_size", "By"),
                ("grpc.client.call.duration", "s"),
                ("grpc.client.tls.handshakes", "{handshake}"),
                ("grpc.subchannel.connection_attempts_succeeded", "{attempt}"),
                ("grpc.subchannel.open_connections", "{connection}"),
                ("kelvin.client.readings.acknowledged", "{reading}"),
                ("kelvin.client.readings.dropped", "{reading}"), // none are: from 0 on
            ],
        ),
    ] {
        for (name, unit) in instruments {
            let metric = exported.metric(service, name).unwrap_or_else(|| panic!("{service} has no {name}"));
            assert_eq!(&metric.unit, unit, "{name}");
            if let Some(Data::Histogram(histogram)) = &metric.data {
                assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
                let bounds = &histogram.data_points[0].explicit_bounds;
                let (number, last) = if *unit == "s" { (41, 100.0) } else { (14, 4_294_967_296.0) };
                assert_eq!((bounds.len(), bounds.last()), (number, Some(&last)), "bounds of {name}");
            }
        }
    }
}

fn stored_readings_match_acknowledged(exported: &Exported) {
    let acknowledged: u64 =
        CallType::ALL.map(|rpc| exported.sum(rpc.name(), "kelvin.client.readings.acknowledged")).iter().sum();
    assert!(acknowledged > 0);
    let in_aborted_stream = 1;
    assert_eq!(exported.sum(SERVER, "kelvin.readings.accepted"), acknowledged + in_aborted_stream);
    assert_eq!(exported.sum(SERVER, "kelvin.readings.stored"), acknowledged + in_aborted_stream);
    assert_eq!(exported.sum(SERVER, "kelvin.streams.aborted"), 1);
}

/// The server's log line on the aborted stream carries the ids of that call, and its span says so too.
fn log_record_has_ids_of_its_call(exported: &Exported, trace_id: &[u8]) {
    let record = exported
        .log(SERVER, "stream aborted; stored readings are kept")
        .expect("a line on the aborted stream");
    assert_eq!(record.trace_id, trace_id);
    let span = exported
        .spans_of(SERVER, &span_name("Recv", CallType::ClientStreaming))
        .into_iter()
        .find(|span| span.trace_id == trace_id)
        .expect("a span of the aborted stream");
    assert_eq!(record.span_id, span.span_id);
    assert!(span.status.as_ref().is_some_and(|status| status.code() != StatusCode::Ok));

    // Clients log as well, under their own names.
    for rpc in CallType::ALL {
        assert!(exported.log(rpc.name(), "connected").is_some(), "{rpc} says that it is connected");
    }
}
