//! The checks, a file for each subject. Each says what it found, or why not.

pub mod attempts;
pub mod calls;
pub mod external;
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
    report.check("all four clients make progress", telemetry::clients_progress(cluster)).await;
    report.check("server and clients stay within their budget", telemetry::within_budget(cluster)).await;

    report.check("grpcurl writes and reads back by reflection", calls::grpcurl(cluster)).await;
    report.check("a test client makes all four types of call", calls::all_four(cluster)).await;
    report.check("health is served over TLS", calls::health(cluster)).await;
    report.check("helm test passes", calls::helm_test(cluster)).await;

    report.check("values for other clusters pass a dry run", manifests::dry_run(cluster)).await;

    report.check("a call without a token is refused", refusals::no_token(cluster)).await;
    report.check("a call with a wrong token is refused", refusals::wrong_token(cluster)).await;
    report.check("a client certificate works without a token", refusals::certificate(cluster)).await;
    report.check("a plain-text call is refused", refusals::plain_text(cluster)).await;
    report.check("a server with an untrusted CA is refused", refusals::other_ca(cluster)).await;
    report
        .check("NetworkPolicy blocks pods without labels", isolation::other_namespace_is_blocked(cluster))
        .await;

    report.check("a trace joins client and server", telemetry::joined_trace(cluster)).await;
    report.check("Prometheus counts what the server did", telemetry::calls_are_counted(cluster)).await;
    report.check("a sensor's temperature reaches Prometheus", telemetry::temperature(cluster)).await;
    report.check("span metrics have every dimension", telemetry::dimensions(cluster)).await;
    report.check("Jaeger's Monitor tab has data", telemetry::monitor_tab(cluster)).await;
    report.check("cert-manager and Jaeger are scraped", telemetry::scraped(cluster)).await;
    if cluster.store == Store::Valkey {
        report.check_if_here("Valkey's exporter reaches Valkey", telemetry::valkey_exporter(cluster)).await;
    }
    report.check("an exemplar leads to its trace via make ui", interfaces::exemplar(cluster)).await;
    report.check_if_here("Grafana shows dashboards and exemplar links", interfaces::grafana(cluster)).await;
    report.check("a log line leads to its trace", telemetry::log_line(cluster)).await;
    // Before the dashboards, which also show reloads.
    report.check("certificates are renewed, no call fails", renewal::unnoticed(cluster)).await;
    report.check("dashboards: every query returns data", queries::dashboards(cluster)).await;
    report.check("alerts: every rule's metrics have data", queries::alerts(cluster)).await;

    report
        .check_if_here("a NodePort Service is added and rolled back", external::upgrade_and_rollback(cluster))
        .await;
    report.check("clients recover when a server pod is deleted", restart::server(cluster)).await;
    report.check("no unexpected Kubernetes warning events", pods::no_warnings(cluster)).await;
}

/// What several servers promise: `make scale`.
pub async fn scale(cluster: &Cluster, report: &mut Report) {
    report.check("servers are spread over nodes", scale::several(cluster)).await;
    report.check("rolling update", scale::rolling_update(cluster)).await;
    report.check("scale down to one server and up again", scale::down_and_up(cluster)).await;
    report.check("a node is drained", scale::drain(cluster)).await;
    report.check("certificates are renewed, no call fails", renewal::unnoticed(cluster)).await;
    report.check("Valkey's pod is deleted", scale::store_deleted(cluster)).await;
    report.check("the autoscaler scales up and down", scale::autoscaling(cluster)).await;
}
