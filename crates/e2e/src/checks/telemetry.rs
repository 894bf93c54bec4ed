//! Telemetry: traces, metrics and logs of the same calls, and the links between them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use kelvin_proto::{CallType, Method, SensorStatsRequest};
use kube::ResourceExt as _;
use serde_json::Value;

use super::calls;
use crate::{
    cluster::{Cluster, Store},
    collector,
    jaeger::{Span, Trace},
    poll,
    report::Outcome,
    server::Caller,
};

/// Maximum time until metrics are in Prometheus: they are exported every 15 s and pass through the Collector's queue.
const DELIVERY_LIMIT: Duration = Duration::from_secs(90);
/// Attributes that the Collector adds to every resource.
const KUBERNETES: [&str; 4] = ["k8s.namespace.name", "k8s.pod.name", "k8s.node.name", "k8s.deployment.name"];

/// Checks that each kind of client gets readings acknowledged or receives readings.
pub async fn clients_progress(cluster: &Cluster) -> Result<String> {
    // A pattern instead of `or`: clients that only receive readings have a counter of acknowledged ones, at 0.
    let readings = "kelvin_client_readings_(acknowledged|received)_total";
    let namespace = &cluster.namespace;
    let before =
        cluster.counters(format!("{{__name__=~\"{readings}\",k8s_namespace_name=\"{namespace}\"}}")).await?;
    poll::until(DELIVERY_LIMIT, async || {
        let growth = before.growth_by(cluster, "kelvin_rpc").await?;
        let mut readings = Vec::new();
        for kind in CallType::ALL.map(CallType::name) {
            let more = growth.get(kind).copied().unwrap_or_default();
            ensure!(more > 0.0, "{kind} makes no progress; increases in Prometheus: {growth:?}");
            readings.push(format!("{kind} {more}"));
        }
        Ok(format!("new readings: {}", readings.join(", ")))
    })
    .await
}

/// Checks memory and CPU use at the default load.
///
/// With Valkey there are more servers, so their CPU use is only reported.
pub async fn within_budget(cluster: &Cluster) -> Result<String> {
    const MEBIBYTES: f64 = 40.0;
    const MILLICORES: f64 = 100.0;
    let ours = format!("k8s_namespace_name=\"{}\"", cluster.namespace);
    poll::until(DELIVERY_LIMIT, async || {
        let memory = format!("max(process_memory_usage_bytes{{{ours},k8s_container_name=\"server\"}})");
        let cpu = format!("sum(rate(process_cpu_time_seconds_total{{{ours}}}[2m]))");
        let (memory, cpu) = (cluster.query(&memory).await?, cluster.query(&cpu).await?);
        let mebibytes = memory.first().context("no memory is reported")?.value() / 1024.0 / 1024.0;
        let millicores = cpu.first().context("no CPU time is reported")?.value() * 1000.0;
        let found = format!("server {mebibytes:.1} MiB, {millicores:.0} millicores in total");
        ensure!(mebibytes < MEBIBYTES, "{found}; the server's limit is {MEBIBYTES} MiB");
        ensure!(
            millicores < MILLICORES || cluster.store == Store::Valkey,
            "{found}; the limit is {MILLICORES} millicores"
        );
        Ok(found)
    })
    .await
}

/// Checks that a server span is the child of a client span, and that both have Kubernetes attributes.
pub async fn trace_joins_client_and_server(cluster: &Cluster) -> Result<String> {
    let service = format!("{}-client-unary", cluster.release);
    poll::until(DELIVERY_LIMIT, async || {
        let traces = cluster.traces(&service, 20).await?;
        ensure!(!traces.is_empty(), "Jaeger has no trace of {service}");
        let joined = traces.iter().find_map(|trace| Some((trace, client_and_server_spans(cluster, trace)?)));
        let (trace, (client, server)) =
            joined.context("no trace has a server span whose parent is a client span")?;
        for span in [client, server] {
            for attribute in KUBERNETES {
                let missing = || format!("{} has no {attribute}", trace.service(span));
                trace.processes[&span.process_id].tag(attribute).with_context(missing)?;
            }
        }
        Ok(format!("{}: {} -> {}", trace.id, client.operation_name, server.operation_name))
    })
    .await
}

/// Returns the first client span with a child span of the server, and that child.
fn client_and_server_spans<'a>(cluster: &Cluster, trace: &'a Trace) -> Option<(&'a Span, &'a Span)> {
    let (client, server) = (format!("{}-client", cluster.release), format!("{}-server", cluster.release));
    let spans = trace.spans.iter().filter(|span| trace.service(span) == server);
    spans
        .filter_map(|span| Some((trace.parent(span)?, span)))
        .find(|(parent, _)| trace.service(parent).starts_with(&client))
}

/// Makes calls of a method that no other client uses, and checks that Prometheus counts each of them.
pub async fn calls_are_counted(cluster: &Cluster) -> Result<String> {
    const CALLS: u8 = 7;
    let count = format!(
        "grpc_server_call_duration_seconds_count{{k8s_namespace_name=\"{}\",grpc_method=\"{}\"}}",
        cluster.namespace,
        Method::GetSensorStats.full_name()
    );
    let before = cluster.counters(count).await?;
    let mut client = Caller::new(cluster).await?.client().await?;
    for _ in 0..CALLS {
        // The sensor is unknown: failed calls are counted as well.
        let _ = client.get_sensor_stats(SensorStatsRequest { sensor_id: "e2e-nobody".to_owned() }).await;
    }
    poll::until(DELIVERY_LIMIT, async || {
        let counted = before.total_growth(cluster).await?;
        ensure!((counted - f64::from(CALLS)).abs() < 0.5, "{CALLS} calls made, {counted} counted");
        Ok(format!("{CALLS} calls made, {counted} counted"))
    })
    .await
}

/// Checks that Prometheus has the temperature of a sensor under its ID.
///
/// This needs `KELVIN_SENSOR_METRICS`, as in `k8s/kelvin.yaml`.
pub async fn sensor_temperature(cluster: &Cluster) -> Result<String> {
    const LIMIT: Duration = Duration::from_secs(30);
    const TEMPERATURE: f64 = 19.375;
    let reading = calls::reading("temperature", TEMPERATURE);
    let query = format!(
        "kelvin_sensor_temperature_celsius{{k8s_namespace_name=\"{}\",kelvin_sensor_id=\"{}\"}}",
        cluster.namespace, reading.sensor_id
    );
    let mut client = Caller::new(cluster).await?.client().await?;
    client.send_single_reading(reading.clone()).await?;
    let sent = Instant::now();
    poll::until(LIMIT, async || {
        let samples = cluster.query(&query).await?;
        let sample = samples.first().with_context(|| format!("Prometheus has no {}", reading.sensor_id))?;
        let value = sample.value();
        ensure!((value - TEMPERATURE).abs() < 1e-9, "sent {TEMPERATURE}, but Prometheus has {value}");
        ensure!(samples.len() == 1, "{} servers report the sensor", samples.len());
        Ok(format!("{value} after {:.0} s", sent.elapsed().as_secs_f64()))
    })
    .await
}

/// Checks that Kelvin's spans have each attribute that the Collector turns into a label of span metrics.
pub async fn span_metric_dimensions(cluster: &Cluster) -> Result<String> {
    let dimensions = collector::dimensions()?;
    poll::until(DELIVERY_LIMIT, async || {
        let mut found = Vec::new();
        for dimension in &dimensions {
            let label = dimension.replace('.', "_");
            let query = format!(
                "count by ({label}) (traces_span_metrics_calls_total{{k8s_namespace_name=\"{}\",{label}!=\"\"}})",
                cluster.namespace
            );
            let values = cluster.query(&query).await?.len();
            ensure!(values > 0, "no span metric has {dimension}");
            found.push(format!("{dimension} has {values}"));
        }
        Ok(format!("{} values", found.join(", ")))
    })
    .await
}

/// Checks that the API behind Jaeger's Monitor tab returns metrics of the server.
///
/// Jaeger queries Prometheus for the metric names in `k8s/jaeger.yaml`.
pub async fn monitor_tab(cluster: &Cluster) -> Result<String> {
    poll::until(DELIVERY_LIMIT, async || {
        let mut found = Vec::new();
        for metric in ["calls", "errors", "latencies"] {
            let path = format!(
                "/api/metrics/{metric}?service={}-server&spanKind=server&quantile=0.95\
                 &lookback=300000&step=15000&ratePer=120000",
                cluster.release
            );
            let family: Value = cluster.get("observability", "jaeger:16686", &path).await?;
            let series = family["metrics"].as_array().into_iter().flatten();
            let points = series.filter_map(|series| series["metricPoints"].as_array()).flatten();
            // NaN is encoded as a string, which `as_f64` skips.
            let mut values = points.filter_map(|point| point["gaugeValue"]["doubleValue"].as_f64());
            let newest =
                values.next_back().with_context(|| format!("Jaeger has no {metric} of the server"))?;
            found.push(format!("{metric} {newest:.3}"));
        }
        Ok(found.join(", "))
    })
    .await
}

/// Checks that Prometheus scrapes the components that Kelvin's dashboards do not show.
pub async fn targets_are_scraped(cluster: &Cluster) -> Result<String> {
    const TARGETS: [&str; 2] =
        ["up{namespace=\"cert-manager\"}", "up{namespace=\"observability\",pod=~\"jaeger.+\"}"];
    poll::until(DELIVERY_LIMIT, async || {
        let mut found = Vec::new();
        for targets in TARGETS {
            found.push(format!(
                "{targets} is 1 for {} pods",
                check_all_series_are_one(cluster, targets).await?
            ));
        }
        Ok(found.join(", "))
    })
    .await
}

/// Checks that Valkey's exporter can log in to Valkey: Prometheus scrapes it even if it cannot.
pub async fn valkey_exporter(cluster: &Cluster) -> Result<Outcome> {
    let pods = cluster.pods("valkey", "").await?;
    let mut containers = pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    if !containers.any(|container| container.name == "metrics") {
        return Ok(Outcome::Unavailable("valkey-exporter"));
    }
    poll::until(DELIVERY_LIMIT, async || {
        let pods = check_all_series_are_one(cluster, "redis_up{namespace=\"valkey\"}").await?;
        Ok(Outcome::Passed(format!("redis_up is 1 for {pods} pods")))
    })
    .await
}

/// Checks that all series of a query have the value 1, and returns their number.
async fn check_all_series_are_one(cluster: &Cluster, query: &str) -> Result<usize> {
    let samples = cluster.query(query).await?;
    ensure!(!samples.is_empty(), "Prometheus has no {query}");
    let other = samples.iter().find(|sample| (sample.value() - 1.0).abs() > f64::EPSILON);
    ensure!(other.is_none(), "{query} is not 1: {other:?}");
    Ok(samples.len())
}

/// Aborts a stream, which the server logs with the trace ID of the call.
///
/// Dropping the runtime closes the connection. Dropping only the call would keep it open as long as its request stream.
async fn abort_stream(cluster: &Cluster) -> Result<()> {
    let caller = Caller::new(cluster).await?;
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            caller.client().await?.sensor_chat(tokio_stream::pending()).await?;
            Ok(())
        })
    })
    .await?
}

/// Checks that a log line of the server has the ID of a trace that is in Jaeger.
///
/// The Collector writes the logs that it receives to its own output, one record per line.
pub async fn log_line_leads_to_trace(cluster: &Cluster) -> Result<String> {
    const NAMESPACE: &str = "observability";
    poll::until(DELIVERY_LIMIT, async || {
        Box::pin(abort_stream(cluster)).await?;
        for pod in cluster.pods(NAMESPACE, "app.kubernetes.io/instance=collector").await? {
            let logs = cluster.logs(NAMESPACE, &pod.name_any(), 5000).await?;
            // The line of a resource precedes those of its records.
            let mut ours = false;
            for line in logs.lines() {
                if line.contains("ResourceLog #") {
                    ours = line.contains(&format!("k8s.namespace.name={}", cluster.namespace));
                }
                let Some((_, id)) = line.split_once("trace_id=").filter(|_| ours) else { continue };
                let id: String = id.chars().take_while(char::is_ascii_hexdigit).collect();
                if let Ok(trace) = cluster.trace(&id).await {
                    return Ok(format!("{id}: {} spans", trace.spans.len()));
                }
            }
        }
        Err(anyhow!("no Kelvin log line has the ID of a trace that is in Jaeger"))
    })
    .await
}
