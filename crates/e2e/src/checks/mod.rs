//! The checks, a file for each subject. Each says what it found, or why not.

pub mod attempts;
pub mod calls;
pub mod interfaces;
pub mod isolation;
pub mod manifests;
pub mod pods;
pub mod promql;
pub mod queries;
pub mod refusals;
pub mod renewal;
pub mod restart;
pub mod scale;
pub mod telemetry;

use crate::{
    cluster::{Cluster, Store},
    report::Report,
};

/// All checks, those that disturb the cluster last.
pub async fn all(cluster: &Cluster, report: &mut Report) {
    report.check("pods are ready", pods::ready(cluster)).await;
    report.check("Pod Security refuses a privileged pod", pods::restricted(cluster)).await;
    report.check("clients make progress, all four", telemetry::clients_progress(cluster)).await;
    report.check("server and clients stay within their budget", telemetry::within_budget(cluster)).await;

    report.check("grpcurl writes and reads back by reflection", calls::grpcurl(cluster)).await;
    report.check("a client of ours makes all four calls", calls::all_four(cluster)).await;
    report.check("health is served over TLS", calls::health(cluster)).await;
    report.check("helm test passes", calls::helm_test(cluster)).await;

    report.check("values for other clusters pass a dry run", manifests::dry_run(cluster)).await;

    report.check("no token is refused", refusals::no_token(cluster)).await;
    report.check("a wrong token is refused", refusals::wrong_token(cluster)).await;
    report.check("a client certificate is as good as a token", refusals::certificate(cluster)).await;
    report.check("plain text is refused", refusals::plain_text(cluster)).await;
    report.check("a server of another CA is refused", refusals::other_ca(cluster)).await;
    report
        .check("NetworkPolicy stops a pod without rights", isolation::other_namespace_is_blocked(cluster))
        .await;

    report.check("a trace joins client and server", telemetry::joined_trace(cluster)).await;
    report.check("Prometheus counts what the server did", telemetry::counted(cluster)).await;
    report.check("a sensor's temperature reaches Prometheus", telemetry::temperature(cluster)).await;
    report.check("span metrics have every dimension", telemetry::dimensions(cluster)).await;
    report.check("Jaeger's Monitor tab has data", telemetry::monitor_tab(cluster)).await;
    report.check("cert-manager and Jaeger are scraped", telemetry::scraped(cluster)).await;
    if cluster.store == Store::Valkey {
        report.check_if_here("Valkey's exporter reaches Valkey", telemetry::valkey_exporter(cluster)).await;
    }
    report.check("an exemplar leads to its trace by make ui", interfaces::exemplar(cluster)).await;
    report.check_if_here("Grafana shows what make ui promises", interfaces::grafana(cluster)).await;
    report.check("a log line leads to its trace", telemetry::log_line(cluster)).await;
    // Before the dashboards, which also show reloads.
    report.check("certificates are renewed unnoticed", renewal::unnoticed(cluster)).await;
    report.check("dashboards: every query returns data", queries::dashboards(cluster)).await;
    report.check("alerts: every expression has data", queries::alerts(cluster)).await;

    report.check("helm upgrade rolls without a failed call", restart::upgrade(cluster)).await;
    report.check("a server pod is deleted, clients carry on", restart::server(cluster)).await;
    report.check("Kubernetes warned of nothing of ours", pods::no_warnings(cluster)).await;
}

/// What several servers promise: `make scale`.
pub async fn scale(cluster: &Cluster, report: &mut Report) {
    report.check("servers are spread over nodes", scale::several(cluster)).await;
    report.check("rolling update", scale::rolling_update(cluster)).await;
    report.check("one server, and all again", scale::down_and_up(cluster)).await;
    report.check("a node is drained", scale::drain(cluster)).await;
    report.check("certificates are renewed unnoticed", renewal::unnoticed(cluster)).await;
    report.check("Valkey's pod is deleted", scale::store_deleted(cluster)).await;
    report.check("the autoscaler adds and takes away", scale::autoscaling(cluster)).await;
}
