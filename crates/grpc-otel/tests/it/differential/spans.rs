//! What spans have to be the same in, and where they may differ.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Display, Formatter},
};

use opentelemetry::{KeyValue, trace::Status};
use opentelemetry_sdk::trace::SpanData;
use serde::Deserialize;

/// A span, as `go/main.go` prints it.
#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    name: String,
    id: String,
    parent: String,
    kind: String,
    status: String,
    description: String,
    attributes: BTreeMap<String, String>,
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    name: String,
    attributes: BTreeMap<String, String>,
}

/// One part of a span that is not the same on both sides.
struct Difference<'a> {
    span: &'a str,
    part: &'a str,
    ours: &'a str,
    theirs: &'a str,
}

type Rule = (fn(&Difference<'_>) -> bool, &'static str);

const EXPLAINED: [Rule; 6] = [
    (
        |of| of.span == "Recv.other" && of.theirs.is_empty(),
        "A72 ends the span when the stream is closed; grpc-go begins that of an unregistered method and never ends it",
    ),
    (
        |of| {
            let known = ["rpc.", "server.", "network.peer.", "error.type"];
            of.theirs.is_empty()
                && known.iter().any(|known| of.part.starts_with(&format!("attribute {known}")))
        },
        "OpenTelemetry's conventions for gRPC, which A72 leaves room for; grpc-go has A72's attributes alone",
    ),
    (
        |of| {
            let code = of.theirs.strip_prefix("Error: ").and_then(|text| of.ours.strip_suffix(text));
            let code = code.and_then(|code| code.strip_prefix("Error: ")?.strip_suffix(", "));
            of.part == "status"
                && code.is_some_and(|code| code.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        },
        "A72 has the code in the description (\"UNAVAILABLE, unable to resolve host\"); grpc-go has the message alone",
    ),
    (
        |of| {
            let local = ["Deadline", "Cancel", "Unregistered", "Sent.diff.Test.RetryExhausted"];
            let local = local.iter().any(|local| of.span.contains(local));
            of.part == "status"
                && local
                && [of.ours, of.theirs].iter().all(|status| status.starts_with("Error: "))
        },
        "no specification has the text of a status that the library itself makes",
    ),
    (
        |of| of.span.starts_with("Delay") && of.theirs.is_empty(),
        "A121's spans of delays, which grpc-go does not have yet",
    ),
    (
        |of| {
            let compressed = of.span.ends_with("UnaryCompressed") && of.part == "events";
            compressed && directions(of.ours) == directions(of.theirs)
        },
        "A72 allows an event of its own for the compressed size; the size before compression a layer does not see, and \
         compressors differ in how small they get the same bytes",
    ),
];

/// First and last word of each event: its direction and sequence number.
fn directions(events: &str) -> Vec<(Option<&str>, Option<&str>)> {
    events.split("; ").map(|event| (event.split(' ').next(), event.rsplit(' ').next())).collect()
}

/// Why a part of a span may differ.
pub(crate) fn explain(name: &str, ours: Option<&String>, theirs: Option<&String>) -> Option<&'static str> {
    let (span, part) = name.split_once(": ")?;
    let text = |value: Option<&String>| value.map_or("", String::as_str).to_owned();
    let (ours, theirs) = (text(ours), text(theirs));
    let difference = Difference { span, part, ours: &ours, theirs: &theirs };
    EXPLAINED.iter().find(|(explains, _)| explains(&difference)).map(|(_, why)| *why)
}

/// Numbers spans of one name, given in the order in which they began; returns the names by the ids.
fn numbered(spans: &[Span]) -> HashMap<&String, String> {
    let mut seen = HashMap::<_, usize>::new();
    spans
        .iter()
        .map(|span| {
            let number = seen.entry(&span.name).or_default();
            *number += 1;
            let numbered = if *number == 1 { span.name.clone() } else { format!("{} {number}", span.name) };
            (&span.id, numbered)
        })
        .collect()
}

/// The peers that spans name, as `go/main.go` describes them. The server listens on `port`.
pub(crate) fn peers(spans: &[Span], port: u16) -> BTreeMap<String, String> {
    let (names, port) = (numbered(spans), port.to_string());
    let described = spans.iter().filter_map(|span| {
        let address = span.attributes.get("network.peer.address")?;
        let whose = match span.attributes.get("network.peer.port") {
            Some(of_peer) if *of_peer == port => "port of the server",
            Some(_) => "another port",
            None => "no port",
        };
        Some((names[&span.id].clone(), format!("{address}, {whose}")))
    });
    described.collect()
}

/// All parts of spans, given in the order in which they began.
pub(crate) fn by_part(spans: &[Span]) -> BTreeMap<String, String> {
    let names = numbered(spans);
    let mut parts = BTreeMap::new();
    for span in spans {
        let mut add = |part: &str, value: String| parts.insert(format!("{}: {part}", names[&span.id]), value);
        let status = [span.status.as_str(), span.description.as_str()];
        let events: Vec<_> = span.events.iter().map(Event::to_string).collect();
        add("kind", span.kind.clone());
        add("parent", names.get(&span.parent).map_or("none", String::as_str).to_owned());
        add("status", status.join(": ").trim_end_matches(": ").to_owned());
        add("events", events.join("; "));
        for (key, value) in &span.attributes {
            add(&format!("attribute {key}"), value.clone());
        }
    }
    parts
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.attributes.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl From<&SpanData> for Span {
    fn from(span: &SpanData) -> Self {
        let (status, description) = match &span.status {
            Status::Unset => ("Unset", ""),
            Status::Ok => ("Ok", ""),
            Status::Error { description } => ("Error", &**description),
        };
        let named = |pairs: &[KeyValue]| {
            pairs.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
        };
        let events = span.events.iter();
        Self {
            name: span.name.to_string(),
            id: span.span_context.span_id().to_string(),
            parent: span.parent_span_id.to_string(),
            kind: format!("{:?}", span.span_kind).to_lowercase(),
            status: status.to_owned(),
            description: description.to_owned(),
            attributes: named(&span.attributes),
            events: events
                .map(|event| Event { name: event.name.to_string(), attributes: named(&event.attributes) })
                .collect(),
        }
    }
}
