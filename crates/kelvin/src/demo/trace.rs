//! A trace as a tree.

use std::time::Duration;

use opentelemetry::{
    SpanId, TraceId,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;

/// The spans of one trace, of both sides of the wire.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    spans: Vec<SpanData>,
}

/// One span of the tree.
#[derive(Debug, PartialEq)]
pub(super) struct TreeSpan {
    /// With the lines that connect it to its parent.
    pub(super) name: String,
    pub(super) side: &'static str,
    /// Since the beginning of the trace.
    pub(super) start: Duration,
    pub(super) duration: Duration,
    pub(super) error: Option<String>,
}

impl Trace {
    pub(super) fn push(&mut self, span: SpanData) {
        self.spans.push(span);
    }

    pub(super) fn id(&self) -> Option<TraceId> {
        self.spans.first().map(|span| span.span_context.trace_id())
    }

    /// Returns the root span, once it has ended.
    pub(super) fn root(&self) -> Option<&SpanData> {
        self.spans.iter().find(|span| span.parent_span_id == SpanId::INVALID)
    }

    /// From the root down, children in order of their start.
    pub(super) fn tree(&self) -> Vec<TreeSpan> {
        let mut spans = Vec::new();
        if let Some(root) = self.root() {
            self.push_subtree(root, root, "", "", &mut spans);
        }
        spans
    }

    fn push_subtree(
        &self,
        root: &SpanData,
        span: &SpanData,
        lead: &str,
        lead_below: &str,
        spans: &mut Vec<TreeSpan>,
    ) {
        let between = |from: &SpanData, to| {
            std::time::SystemTime::duration_since(&to, from.start_time).unwrap_or_default()
        };
        spans.push(TreeSpan {
            name: format!("{lead}{}", span.name),
            side: match span.span_kind {
                SpanKind::Client => "client",
                // The kind of an attempt says nothing of its side.
                SpanKind::Internal if span.name.starts_with("Attempt.") => "client",
                SpanKind::Server => "server",
                _ => "",
            },
            start: between(root, span.start_time),
            duration: between(span, span.end_time),
            error: match &span.status {
                Status::Error { description } => Some(description.to_string()),
                _ => None,
            },
        });
        let id = span.span_context.span_id();
        let mut children: Vec<_> = self.spans.iter().filter(|child| child.parent_span_id == id).collect();
        children.sort_by_key(|child| child.start_time);
        for (at, child) in children.iter().enumerate() {
            let (own, below) = if at + 1 == children.len() { ("└ ", "  ") } else { ("├ ", "│ ") };
            self.push_subtree(
                root,
                child,
                &format!("{lead_below}{own}"),
                &format!("{lead_below}{below}"),
                spans,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::test_span::span;

    #[test]
    fn spans_of_both_sides_form_one_tree() {
        let mut trace = Trace::default();
        for span in [
            span("Recv.S.M", SpanKind::Server, 4, 3, (7, 9)),
            span("Attempt.S.M", SpanKind::Internal, 2, 1, (1, 4)),
            span("Attempt.S.M", SpanKind::Internal, 3, 1, (5, 10)),
            span("Sent.S.M", SpanKind::Client, 1, 0, (0, 11)),
        ] {
            trace.push(span);
        }
        let tree: Vec<_> = trace
            .tree()
            .into_iter()
            .map(|span| (span.name, span.side, span.start.as_millis(), span.duration.as_millis()))
            .collect();
        assert_eq!(
            tree,
            [
                ("Sent.S.M".into(), "client", 0, 11),
                ("├ Attempt.S.M".into(), "client", 1, 3),
                ("└ Attempt.S.M".into(), "client", 5, 5),
                ("  └ Recv.S.M".into(), "server", 7, 2),
            ]
            .map(|(name, side, start, duration): (String, _, _, _)| (name, side, start, duration))
        );
    }

    #[test]
    fn trace_without_root_has_no_tree() {
        let mut trace = Trace::default();
        trace.push(span("Recv.S.M", SpanKind::Server, 2, 1, (0, 1)));
        assert_eq!(trace.tree(), []);
    }
}
