//! Checks of Grafana and Jaeger at the addresses that `make ui` prints.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Uri;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    poll,
    prometheus::exemplar_ids,
    report::Outcome,
    ui::{Login, Ui},
};

/// Maximum time until port-forwards work and the newest spans have been exported.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// Checks that the trace ID of an exemplar in Prometheus leads to a trace in Jaeger, at the addresses that users open.
pub async fn exemplar_leads_to_trace(cluster: &Cluster) -> Result<String> {
    let ui = Ui::start(cluster).await?;
    let found = poll::until(READY_LIMIT, async || {
        let id = newest_exemplar(cluster, &ui).await?;
        Ok(format!("{id}: {} spans at {}", spans(&ui, &id).await?, origin(jaeger(&ui)?)))
    })
    .await;
    ui.stop().await?;
    found
}

/// Checks that Grafana has the dashboards, reaches its data sources, runs queries and links exemplars to Jaeger.
pub async fn grafana(cluster: &Cluster) -> Result<Outcome> {
    let ui = Ui::start(cluster).await?;
    let found = match ui.link("Grafana") {
        Some(_) => {
            poll::until(READY_LIMIT, async || grafana_works(cluster, &ui).await).await.map(Outcome::Passed)
        }
        None => Ok(Outcome::Unavailable("grafana")),
    };
    ui.stop().await?;
    found
}

async fn grafana_works(cluster: &Cluster, ui: &Ui) -> Result<String> {
    let login = login(cluster).await?;
    let get = async |path: &str| ui.get::<Value>("Grafana", path, Some(&login)).await;

    let boards = dashboards(cluster).await?;
    let search = get("/api/search?tag=kelvin&type=dash-db").await?;
    let known = search.as_array().map_or(0, Vec::len);
    ensure!(known == boards, "Grafana lists {known} of {boards} dashboards");
    let home = get("/api/dashboards/home").await?;
    ensure!(
        home["dashboard"]["uid"] == "kelvin-overview",
        "Grafana's home dashboard is {}, not kelvin-overview",
        home["dashboard"]["title"]
    );

    for uid in ["prometheus", "jaeger"] {
        let health = get(&format!("/api/datasources/uid/{uid}/health")).await?;
        ensure!(health["status"] == "OK", "data source {uid}: {health}");
    }

    let query = json!({"from": "now-5m", "to": "now", "queries": [{
        "refId": "A", "datasource": {"type": "prometheus", "uid": "prometheus"}, "instant": true, "range": false,
        "expr": format!("sum(kelvin_sensors{{k8s_namespace_name=\"{}\"}})", cluster.namespace),
    }]});
    let answer: Value = ui.post("Grafana", "/api/ds/query", Some(&login), &query).await?;
    let values = &answer["results"]["A"]["frames"][0]["data"]["values"];
    let sensors =
        values[1][0].as_f64().with_context(|| format!("a panel's query returned no number: {answer}"))?;

    let source = get("/api/datasources/uid/prometheus").await?;
    let link = source["jsonData"]["exemplarTraceIdDestinations"][0]["url"].as_str();
    let id = newest_exemplar(cluster, ui).await?;
    let link: Uri = link
        .context("Grafana's Prometheus data source has no exemplar link")?
        .replace("${__value.raw}", &id)
        .parse()?;
    let jaeger = jaeger(ui)?;
    ensure!(origin(&link) == origin(jaeger), "exemplars link to {link}, but Jaeger is at {jaeger}");
    ensure!(link.path() == format!("/trace/{id}"), "exemplars link to {link}, not to /trace/{id}");
    spans(ui, &id).await?;
    Ok(format!("{known} dashboards, {sensors} sensors, {link}"))
}

/// Returns the trace ID of the newest exemplar of the server's span metrics.
async fn newest_exemplar(cluster: &Cluster, ui: &Ui) -> Result<String> {
    let histogram = format!(
        "traces_span_metrics_duration_milliseconds_bucket{{service_name=\"{}-server\",k8s_namespace_name=\"{}\"}}",
        cluster.release, cluster.namespace
    );
    let query = crate::prometheus::exemplar_query(&histogram);
    let answer: Value = ui.get("Prometheus", &query, None).await?;
    exemplar_ids(answer["data"].clone())?.into_iter().next().context("no exemplars")
}

/// Returns the number of spans of a trace in Jaeger, or an error if there are none.
async fn spans(ui: &Ui, id: &str) -> Result<usize> {
    let trace: Value = ui.get("Jaeger", &format!("/api/traces/{id}"), None).await?;
    let spans = trace["data"][0]["spans"].as_array().map_or(0, Vec::len);
    ensure!(spans > 0, "Jaeger has no trace {id}");
    Ok(spans)
}

fn jaeger(ui: &Ui) -> Result<&Uri> {
    ui.link("Jaeger").context("make ui prints no address for Jaeger")
}

fn origin(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |host| host.as_str()))
}

/// Returns the administrator's login: viewers have no access to data sources.
async fn login(cluster: &Cluster) -> Result<Login> {
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), "monitoring");
    let secret = secrets.get("prometheus-grafana").await?.data.unwrap_or_default();
    let text = |key: &str| {
        let value = secret.get(key).with_context(|| format!("Secret prometheus-grafana has no {key}"))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&value.0).into_owned())
    };
    Ok(Login::new(&text("admin-user")?, &text("admin-password")?))
}

/// Returns the number of dashboards of the release.
async fn dashboards(cluster: &Cluster) -> Result<usize> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &cluster.namespace);
    Ok(maps.list(&ListParams::default().labels("grafana_dashboard=1")).await?.items.len())
}
