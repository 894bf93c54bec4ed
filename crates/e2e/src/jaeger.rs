//! Client of Jaeger's HTTP API.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;

const NAMESPACE: &str = "observability";
const SERVICE: &str = "jaeger:16686";

/// A trace.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Trace ID in hexadecimal.
    #[serde(rename = "traceID")]
    pub id: String,
    /// Spans in no particular order.
    pub spans: Vec<Span>,
    /// Processes by the `process_id` of their spans.
    pub processes: BTreeMap<String, Process>,
}

/// A span.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Span ID in hexadecimal.
    #[serde(rename = "spanID")]
    pub id: String,
    /// Name of the span.
    pub operation_name: String,
    /// Key into [`Trace::processes`].
    #[serde(rename = "processID")]
    pub process_id: String,
    references: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

/// The OpenTelemetry resource that a span belongs to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Value of `service.name`.
    pub service_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
struct Tag {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Vec<Trace>>,
}

impl Cluster {
    /// Returns up to `limit` traces of the last ten minutes with a span of the service.
    pub async fn traces(&self, service: &str, limit: u32) -> Result<Vec<Trace>> {
        let path = format!("/api/traces?service={service}&limit={limit}&lookback=10m");
        let answer: Answer = self.get(NAMESPACE, SERVICE, &path).await?;
        Ok(answer.data.unwrap_or_default())
    }

    /// Returns the trace with the given ID, or an error if Jaeger has none.
    pub async fn trace(&self, id: &str) -> Result<Trace> {
        let answer: Answer = self.get(NAMESPACE, SERVICE, &format!("/api/traces/{id}")).await?;
        let mut traces = answer.data.unwrap_or_default();
        traces.pop().ok_or_else(|| anyhow::anyhow!("Jaeger has no trace {id}"))
    }
}

impl Trace {
    /// Returns the `service.name` of a span.
    #[must_use]
    pub fn service(&self, span: &Span) -> &str {
        self.processes.get(&span.process_id).map_or("", |process| &process.service_name)
    }

    /// Returns the parent of a span, or `None` if the trace does not contain it.
    #[must_use]
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        let parent = span.references.iter().find(|reference| reference.ref_type == "CHILD_OF")?;
        self.spans.iter().find(|span| span.id == parent.span_id)
    }
}

impl Process {
    /// Returns an attribute of the resource.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&Value> {
        self.tags.iter().find(|tag| tag.key == key).map(|tag| &tag.value)
    }
}
