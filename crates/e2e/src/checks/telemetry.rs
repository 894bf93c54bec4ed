//! One call in three signals: trace, metrics and log, and the ways between them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use kelvin_proto::SensorStatsRequest;
use kube::ResourceExt as _;

use super::calls;
use crate::{
    cluster::{Cluster, Store},
    collector,
    jaeger::{Span, Trace},
    poll,
    server::Caller,
};

/// Metrics go out every 15 s and through the Collector's queue; spans sooner.
const DELIVERY: Duration = Duration::from_secs(90);
pub(super) const KINDS: [&str; 4] = ["unary", "client-streaming", "server-streaming", "bidi-streaming"];
const KUBERNETES: [&str; 4] = ["k8s.namespace.name", "k8s.pod.name", "k8s.node.name", "k8s.deployment.name"];

/// Each kind of client gets readings acknowledged, or back.
pub async fn clients_progress(cluster: &Cluster) -> Result<String> {
    let of = |name| format!("{name}{{k8s_namespace_name=\"{}\"}}", cluster.namespace);
    let (acknowledged, received) =
        (of("kelvin_client_readings_acknowledged_total"), of("kelvin_client_readings_received_total"));
    let before = cluster.counters(format!("{acknowledged} or {received}")).await?;
    poll::until(DELIVERY, async || {
        let grown = before.grown(cluster, "kelvin_rpc").await?;
        let mut readings = Vec::new();
        for kind in KINDS {
            let more = grown.get(kind).copied().unwrap_or_default();
            ensure!(more > 0.0, "{kind} stands still; in Prometheus are {grown:?}");
            readings.push(format!("{kind} {more}"));
        }
        Ok(format!("{} more", readings.join(", ")))
    })
    .await
}

/// At the default load. With Valkey there are more servers, and their CPU is only reported.
pub async fn within_budget(cluster: &Cluster) -> Result<String> {
    const MEBIBYTES: f64 = 40.0;
    const MILLICORES: f64 = 100.0;
    let ours = format!("k8s_namespace_name=\"{}\"", cluster.namespace);
    poll::until(DELIVERY, async || {
        let memory = format!("max(process_memory_usage_bytes{{{ours},k8s_container_name=\"server\"}})");
        let cpu = format!("sum(rate(process_cpu_time_seconds_total{{{ours}}}[2m]))");
        let (memory, cpu) = (cluster.query(&memory).await?, cluster.query(&cpu).await?);
        let mebibytes = memory.first().context("no memory is reported")?.value() / 1024.0 / 1024.0;
        let millicores = cpu.first().context("no CPU time is reported")?.value() * 1000.0;
        let found = format!("server {mebibytes:.1} MiB, all together {millicores:.0} millicores");
        ensure!(mebibytes < MEBIBYTES, "{found}");
        ensure!(millicores < MILLICORES || cluster.store == Store::Valkey, "{found}");
        Ok(found)
    })
    .await
}

/// A span of the server is the child of one of a client's, and both say where they ran.
pub async fn joined_trace(cluster: &Cluster) -> Result<String> {
    let service = format!("{}-client-unary", cluster.release);
    poll::until(DELIVERY, async || {
        let traces = cluster.traces(&service, 20).await?;
        ensure!(!traces.is_empty(), "Jaeger has no trace of {service}");
        let joined = traces.iter().find_map(|trace| Some((trace, joint(cluster, trace)?)));
        let (trace, (client, server)) = joined.context("no trace has spans of client and server joined")?;
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

fn joint<'a>(cluster: &Cluster, trace: &'a Trace) -> Option<(&'a Span, &'a Span)> {
    let (client, server) = (format!("{}-client", cluster.release), format!("{}-server", cluster.release));
    let spans = trace.spans.iter().filter(|span| trace.service(span) == server);
    spans
        .filter_map(|span| Some((trace.parent(span)?, span)))
        .find(|(parent, _)| trace.service(parent).starts_with(&client))
}

/// Calls that nobody else makes, counted to the last.
pub async fn counted(cluster: &Cluster) -> Result<String> {
    const CALLS: u8 = 7;
    let count = format!(
        "grpc_server_call_duration_seconds_count{{k8s_namespace_name=\"{}\",grpc_method=\"SensorService/GetSensorStats\"}}",
        cluster.namespace
    );
    let before = cluster.counters(count).await?;
    let mut client = Caller::new(cluster).await?.client().await?;
    for _ in 0..CALLS {
        // Of a sensor that is not known: an error is counted as well.
        let _ = client.get_sensor_stats(SensorStatsRequest { sensor_id: "e2e-nobody".to_owned() }).await;
    }
    poll::until(DELIVERY, async || {
        let counted = before.total_growth(cluster).await?;
        ensure!((counted - f64::from(CALLS)).abs() < 0.5, "{CALLS} calls made, {counted} counted");
        Ok(format!("{CALLS} calls made, {counted} counted"))
    })
    .await
}

/// As somebody with a sensor looks for it: by its id. Needs `KELVIN_SENSOR_METRICS`, as in `k8s/kelvin.yaml`.
pub async fn temperature(cluster: &Cluster) -> Result<String> {
    const LIMIT: Duration = Duration::from_secs(30);
    const TEMPERATURE: f64 = 19.375;
    let reading = calls::reading("temperature", TEMPERATURE)?;
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
        ensure!((value - TEMPERATURE).abs() < 1e-9, "{TEMPERATURE} was sent, Prometheus has {value}");
        ensure!(samples.len() == 1, "{} servers report the sensor", samples.len());
        Ok(format!("{value} after {:.0} s", sent.elapsed().as_secs_f64()))
    })
    .await
}

/// Each attribute that the Collector makes a label of span metrics is one that our spans have.
pub async fn dimensions(cluster: &Cluster) -> Result<String> {
    let dimensions = collector::dimensions()?;
    poll::until(DELIVERY, async || {
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

/// Breaks off a stream, which the server logs within the trace of the call. The connection ends with its runtime; a
/// dropped call alone would stay open as long as its request stream.
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

/// The Collector writes the logs that it gets to its own output, one record a line.
pub async fn log_line(cluster: &Cluster) -> Result<String> {
    const NAMESPACE: &str = "observability";
    poll::until(DELIVERY, async || {
        Box::pin(abort_stream(cluster)).await?;
        for pod in cluster.pods(NAMESPACE, "app.kubernetes.io/instance=collector").await? {
            let logs = cluster.logs(NAMESPACE, &pod.name_any(), 5000).await?;
            // A resource's line goes before its records'.
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
        Err(anyhow!("no log line of Kelvin's with the id of a trace that Jaeger has"))
    })
    .await
}
