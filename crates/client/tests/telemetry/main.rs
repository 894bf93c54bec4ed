//! What a server, the four clients and a caller of the test's own tell an OTLP collector, read from the decoded
//! protobuf and compared with each other.

mod connections;
mod off;
mod propagators;
mod seen;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use kelvin_telemetry::receiver::proto::{
    metrics::v1::{AggregationTemporality, metric::Data},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use seen::Seen;
use world::{CALLER, RPCS, SERVER, TOKEN, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_metrics_and_logs_agree() {
    let world = World::start().await;
    let broken = world.break_off_a_stream().await;
    world.until_every_client_was_served_twice().await;
    let received = world.stop().await;
    received.look(|received| assert!(!format!("{received:?}").contains(TOKEN), "a token is exported"));
    let seen = Seen::new(&received);

    everybody_says_who_they_are(&seen);
    every_call_of_the_server_has_its_caller(&seen);
    calls_counted_are_calls_traced(&seen);
    instruments_are_those_of_a66(&seen);
    readings_stored_are_readings_acknowledged(&seen);
    log_record_in_call_has_its_ids(&seen, &broken);
}

fn everybody_says_who_they_are(seen: &Seen) {
    let expected: BTreeSet<_> = RPCS.iter().map(|(rpc, _)| *rpc).chain([SERVER, CALLER]).collect();
    for services in [seen.services_of_spans(), seen.services_of_metrics()] {
        assert_eq!(services.keys().copied().collect::<BTreeSet<_>>(), expected);
        let instances: BTreeSet<_> = services.values().flatten().collect();
        assert_eq!(instances.len(), expected.len(), "one instance of each: {services:?}");
    }
}

/// Each span of the server hangs under the attempt of the client that made the call, in one trace.
fn every_call_of_the_server_has_its_caller(seen: &Seen) {
    let callers: BTreeMap<_, _> = seen
        .spans()
        .filter(|(_, span)| span.kind() != SpanKind::Server)
        .map(|(service, span)| ((&span.trace_id, &span.span_id), (service, span)))
        .collect();
    for (method, rpc) in RPCS.map(|(rpc, method)| (method, rpc)) {
        let received = seen.spans_of(SERVER, &format!("Recv.SensorService.{method}"));
        assert!(received.len() >= 2, "{method} was called");
        let mut services = BTreeSet::new();
        for span in received {
            assert_eq!(span.kind(), SpanKind::Server);
            let (service, attempt) = callers[&(&span.trace_id, &span.parent_span_id)];
            assert_eq!(attempt.kind(), SpanKind::Internal);
            assert_eq!(attempt.name, format!("Attempt.SensorService.{method}"));
            let (caller, call) = callers[&(&attempt.trace_id, &attempt.parent_span_id)];
            assert_eq!(call.kind(), SpanKind::Client);
            assert_eq!((caller, call.name.as_str()), (service, &*format!("Sent.SensorService.{method}")));
            assert!(call.parent_span_id.is_empty(), "calls of clients begin traces");
            assert!(call.start_time_unix_nano <= attempt.start_time_unix_nano);
            services.insert(service);
        }
        assert!(services.contains(rpc), "{method} by {services:?}");
    }
}

/// The counters and histograms of A66 count the same calls as there are spans, on both sides.
fn calls_counted_are_calls_traced(seen: &Seen) {
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
        for (service, span) in seen.spans() {
            if let Some(key) = traced(service, side, span) {
                *calls.entry(key).or_default() += 1;
            }
        }
        assert!(calls.len() >= RPCS.len(), "{calls:?}");
        for ((service, method), calls) in calls {
            assert_eq!(seen.count(&service, ended, &method), calls, "{ended} of {method} at {service}");
            if let Some(started) = started {
                assert_eq!(
                    seen.count(&service, started, &method),
                    calls,
                    "{started} of {method} at {service}"
                );
            }
        }
    }
}

/// gRFC A66: names, units and, for one of each kind, the bounds.
fn instruments_are_those_of_a66(seen: &Seen) {
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
            "unary",
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
            let metric = seen.metric(service, name).unwrap_or_else(|| panic!("{service} has no {name}"));
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

fn readings_stored_are_readings_acknowledged(seen: &Seen) {
    let acknowledged: u64 =
        RPCS.iter().map(|(rpc, _)| seen.sum(rpc, "kelvin.client.readings.acknowledged")).sum();
    assert!(acknowledged > 0);
    let of_the_broken_stream = 1;
    assert_eq!(seen.sum(SERVER, "kelvin.readings.accepted"), acknowledged + of_the_broken_stream);
    assert_eq!(seen.sum(SERVER, "kelvin.readings.stored"), acknowledged + of_the_broken_stream);
    assert_eq!(seen.sum(SERVER, "kelvin.streams.aborted"), 1);
}

/// The server's log line on the stream that broke off carries the ids of that call, and its span says so too.
fn log_record_in_call_has_its_ids(seen: &Seen, trace_id: &[u8]) {
    let record =
        seen.log(SERVER, "stream aborted; stored readings are kept").expect("a line on the broken stream");
    assert_eq!(record.trace_id, trace_id);
    let span = seen
        .spans_of(SERVER, "Recv.SensorService.StreamSensorReadings")
        .into_iter()
        .find(|span| span.trace_id == trace_id)
        .expect("a span of the broken stream");
    assert_eq!(record.span_id, span.span_id);
    assert!(span.status.as_ref().is_some_and(|status| status.code() != StatusCode::Ok));

    // Clients log as well, under their own names.
    for (rpc, _) in RPCS {
        assert!(seen.log(rpc, "connected").is_some(), "{rpc} says that it is connected");
    }
}
