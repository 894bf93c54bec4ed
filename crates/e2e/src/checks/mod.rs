//! The checks, with one file per subject. A check returns what it found, or an error that says what is wrong.

pub mod attempts;
pub mod authentication;
pub mod calls;
pub mod external;
pub mod interfaces;
pub mod isolation;
pub mod manifests;
pub mod pods;
pub mod promql;
pub mod queries;
pub mod renewal;
pub mod restart;
pub mod scale;
pub mod telemetry;

use crate::{
    cluster::{Cluster, Store},
    report::Report,
};

/// Runs all checks; those that disturb the cluster are last.
pub async fn all(cluster: &Cluster, report: &mut Report) {
    report.check("pods are ready", pods::ready(cluster)).await;
    report.check("Pod Security refuses a privileged pod", pods::privileged_pod_is_rejected(cluster)).await;
    report.check("all four clients make progress", telemetry::clients_progress(cluster)).await;
    report.check("server and clients stay within their budget", telemetry::within_budget(cluster)).await;

    report.check("grpcurl writes and reads using reflection", calls::grpcurl(cluster)).await;
    report.check("a test client makes all four types of call", calls::all_call_types(cluster)).await;
    report.check("health is served over TLS", calls::health(cluster)).await;
    report.check("helm test passes", calls::helm_test(cluster)).await;

    report.check("values for other clusters pass a dry run", manifests::dry_run(cluster)).await;

    report.check("a call without a token is refused", authentication::no_token(cluster)).await;
    report.check("a call with a wrong token is refused", authentication::wrong_token(cluster)).await;
    report
        .check("a client certificate works without a token", authentication::client_certificate(cluster))
        .await;
    report.check("a plain-text call is refused", authentication::plain_text(cluster)).await;
    report.check("an untrusted server certificate is refused", authentication::other_ca(cluster)).await;
    report
        .check("NetworkPolicy blocks pods without labels", isolation::unlabelled_pod_is_blocked(cluster))
        .await;

    report.check("a trace joins client and server", telemetry::trace_joins_client_and_server(cluster)).await;
    report.check("Prometheus counts the server's calls", telemetry::calls_are_counted(cluster)).await;
    report.check("a sensor's temperature reaches Prometheus", telemetry::sensor_temperature(cluster)).await;
    report.check("span metrics have every dimension", telemetry::span_metric_dimensions(cluster)).await;
    report.check("Jaeger's Monitor tab has data", telemetry::monitor_tab(cluster)).await;
    report.check("cert-manager and Jaeger are scraped", telemetry::targets_are_scraped(cluster)).await;
    if cluster.store == Store::Valkey {
        report.check_optional("Valkey's exporter reaches Valkey", telemetry::valkey_exporter(cluster)).await;
    }
    report
        .check("an exemplar leads to its trace via make ui", interfaces::exemplar_leads_to_trace(cluster))
        .await;
    report.check_optional("Grafana shows dashboards and exemplar links", interfaces::grafana(cluster)).await;
    report.check("a log line leads to its trace", telemetry::log_line_leads_to_trace(cluster)).await;
    // Before the dashboards: some of their panels show certificate reloads.
    report.check("no call fails while certificates are renewed", renewal::no_call_fails(cluster)).await;
    report.check("dashboards: every query returns data", queries::dashboards_have_data(cluster)).await;
    report.check("alerts: every rule's metrics have data", queries::alerts_have_data(cluster)).await;

    report
        .check_optional(
            "a NodePort Service is added and rolled back",
            external::upgrade_and_rollback(cluster),
        )
        .await;
    report
        .check(
            "clients recover when a server pod is deleted",
            restart::clients_recover_from_pod_deletion(cluster),
        )
        .await;
    report.check("no unexpected Kubernetes warning events", pods::no_warnings(cluster)).await;
}

/// Runs the high-availability checks, which need several servers: `make scale`.
pub async fn scale(cluster: &Cluster, report: &mut Report) {
    report.check("servers are spread over nodes", scale::servers_are_spread(cluster)).await;
    report.check("rolling update", scale::rolling_update(cluster)).await;
    report.check("scale down to one server and up again", scale::scale_down_and_up(cluster)).await;
    report.check("a node is drained", scale::drain_node(cluster)).await;
    report.check("no call fails while certificates are renewed", renewal::no_call_fails(cluster)).await;
    report.check("Valkey's pod is deleted", scale::delete_store(cluster)).await;
    report.check("the autoscaler scales up and down", scale::autoscaling(cluster)).await;
}
