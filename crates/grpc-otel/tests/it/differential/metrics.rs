//! What metrics have to be the same in, and where they may differ.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use serde::Deserialize;

use crate::observed;

/// A series of a metric, as `go/main.go` prints it.
#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    name: String,
    unit: String,
    kind: String,
    attributes: BTreeMap<String, String>,
    count: u64,
    sum: f64,
    bounds: Vec<f64>,
}

/// What has to be the same of a series. Durations are not.
#[derive(PartialEq)]
pub(crate) struct Value {
    kind: String,
    unit: String,
    count: u64,
    size: Option<u64>,
    bounds: Vec<u64>,
}

/// Differences by side and scenario, with the reason for each.
const EXPLAINED: [(&str, &str, &str); 4] = [
    (
        "server",
        "other",
        "A66 has every call end in grpc.server.call.duration; grpc-go tells its plugin the start of a call to an \
         unregistered method and never its end",
    ),
    ("server", "Deadline", DEADLINE),
    ("server", "DeadlineInStream", DEADLINE),
    (
        "",
        "UnaryCompressed",
        "compressors differ in how small they get the same bytes; count and labels agree",
    ),
];
const DEADLINE: &str = "grpc-go's server learns of it by the client's RST_STREAM before its own timer fires and says \
                        CANCELLED; statuscodes.md has DEADLINE_EXCEEDED for a call whose deadline has passed";

/// Instruments that grpc-go does not have. The script has no method with more than one measurement of each.
const ONLY_OURS: [(&str, &str); 4] = [
    ("grpc.client.call.retries", RETRIES),
    ("grpc.client.call.retry_delay", RETRIES),
    ("grpc.client.call.delay.duration", DELAYS),
    ("grpc.client.attempt.delay.duration", DELAYS),
];
const RETRIES: &str =
    "A96's metrics of retries, which grpc-go does not have yet; the attempts themselves agree";
const DELAYS: &str = "A121's metrics of delays, which grpc-go does not have yet; A72's events of them agree";

/// Why a series of a method may differ.
pub(crate) fn explain(name: &str, ours: Option<&Value>, theirs: Option<&Value>) -> Option<&'static str> {
    let instrument = name.split(' ').next()?;
    if let Some((_, why)) = ONLY_OURS.iter().find(|(only, _)| *only == instrument) {
        return (theirs.is_none() && ours.is_some_and(|ours| ours.count == 1)).then_some(*why);
    }
    let method = name.split(' ').find_map(|label| label.strip_prefix("grpc.method="))?;
    let scenario = method.trim_start_matches("diff.Test/");
    let explained = |(side, of, _): &&_| name.starts_with(&format!("grpc.{side}")) && *of == scenario;
    EXPLAINED.iter().find(explained).map(|(_, _, why)| *why)
}

/// Series by name and labels, without what differs from run to run: the port, and the time taken.
pub(crate) fn by_name<'a>(all: impl Iterator<Item = &'a Series>) -> BTreeMap<String, Value> {
    all.map(|series| {
        let labels: Vec<_> = series
            .attributes
            .iter()
            .map(|(key, value)| match key.as_str() {
                "grpc.target" => {
                    format!("{key}={}", value.trim_end_matches(|c: char| c.is_ascii_digit()))
                }
                _ => format!("{key}={value}"),
            })
            .collect();
        let value = Value {
            kind: series.kind.clone(),
            unit: series.unit.clone(),
            count: series.count,
            size: (series.unit == "By").then(|| series.sum.to_bits()),
            bounds: series.bounds.iter().map(|bound| bound.to_bits()).collect(),
        };
        (format!("{} {}", series.name, labels.join(" ")), value)
    })
    .collect()
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, unit, count, size, bounds } = self;
        write!(f, "{kind} of {count}, {} bounds", bounds.len())?;
        size.map_or(Ok(()), |bits| write!(f, ", {} {unit}", f64::from_bits(bits)))
    }
}

impl From<observed::Series> for Series {
    fn from(series: observed::Series) -> Self {
        Self {
            name: series.name,
            unit: series.unit,
            kind: series.kind.split(' ').next().unwrap_or_default().to_owned(),
            attributes: series.attributes,
            count: series.count,
            sum: series.sum,
            bounds: series.bounds,
        }
    }
}
