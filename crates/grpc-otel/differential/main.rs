//! The same calls through this crate and through grpc-go's OpenTelemetry plugin, and what their metrics have apart.
//!
//! `script.json` says which calls; `go/` runs them there, `rust.rs` here. Every difference is either explained below by
//! the specification, or ends this program with an error.

#[path = "../tests/it/observed.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod observed;
mod rust;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use serde::Deserialize;

/// One call, and how it is to go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Call {
    scenario: String,
    kind: String,
    /// Sizes of the messages, in bytes.
    requests: Vec<usize>,
    replies: Vec<usize>,
    status: i32,
    /// After the replies the server goes silent.
    wait: bool,
    gzip: bool,
    timeout_ms: Option<u64>,
    /// The caller gives up after so many replies.
    cancel_after: Option<usize>,
    /// So many attempts are told to come back later.
    fail_first: u32,
}

/// A series of a metric, as `go/main.go` prints it.
#[derive(Debug, Deserialize)]
struct Series {
    name: String,
    unit: String,
    kind: String,
    attributes: BTreeMap<String, String>,
    count: u64,
    sum: f64,
    bounds: Vec<f64>,
}

/// What has to be the same of a series. Durations are not.
type Value = (String, String, u64, Option<u64>, Vec<u64>);

/// Differences by scenario, with the reason for each.
const EXPLAINED: [(&str, &str, &str); 4] = [
    (
        "server",
        "Unregistered",
        "A66 has every call end in grpc.server.call.duration; grpc-go tells its plugin the start of a call to an \
         unregistered method and never its end",
    ),
    (
        "server",
        "Deadline",
        "grpc-go's server learns of it by the client's RST_STREAM before its own timer fires and says CANCELLED; \
         statuscodes.md has DEADLINE_EXCEEDED for a call whose deadline has passed",
    ),
    ("server", "DeadlineInStream", "the same in a stream"),
    (
        "both",
        "UnaryCompressed",
        "compressors differ in how small they get the same bytes; count and labels agree",
    ),
];

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential");
    let go = Command::new("go")
        .args(["run", ".", "../script.json"])
        .current_dir(folder.join("go"))
        .stdout(Stdio::piped())
        .spawn()?;
    let script: Vec<Call> = serde_json::from_slice(&std::fs::read(folder.join("script.json"))?)?;
    let ours = rust::run(&script).await?;
    let output = tokio::task::spawn_blocking(|| go.wait_with_output()).await??;
    if !output.status.success() {
        return Err("the program in differential/go failed".into());
    }
    let theirs: BTreeMap<String, Vec<Series>> = serde_json::from_slice(&output.stdout)?;

    let mut unexplained = 0;
    for side in ["server", "client"] {
        let (ours, theirs) = (by_name(&ours[side]), by_name(&theirs[side]));
        let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        let mut equal = 0;
        for name in names {
            if ours.get(name) == theirs.get(name) {
                equal += 1;
                continue;
            }
            let reason = EXPLAINED
                .iter()
                .find(|(at, scenario, _)| (*at == side || *at == "both") && explains(scenario, name));
            unexplained += usize::from(reason.is_none());
            println!(
                "{name}\n  grpc-otel: {}\n  grpc-go:   {}",
                show(ours.get(name)),
                show(theirs.get(name))
            );
            println!("  {}\n", reason.map_or("UNEXPLAINED", |(_, _, why)| why));
        }
        println!("{side}: {equal} series agree in name, unit, labels, bounds, counts and sizes\n");
    }
    println!("{unexplained} differences are not explained");
    Ok(if unexplained == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Series by name and labels, without what differs from run to run: the port, and the time taken.
fn by_name(all: &[Series]) -> BTreeMap<String, Value> {
    all.iter()
        .map(|series| {
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
            let size = (series.unit == "By").then(|| series.sum.to_bits());
            let bounds = series.bounds.iter().map(|bound| bound.to_bits()).collect();
            let value = (series.kind.clone(), series.unit.clone(), series.count, size, bounds);
            (format!("{} {}", series.name, labels.join(" ")), value)
        })
        .collect()
}

/// Servers call the unregistered method `other`.
fn explains(scenario: &str, name: &str) -> bool {
    let method = if scenario == "Unregistered" { "other" } else { scenario };
    name.split(' ').any(|label| {
        label
            .strip_prefix("grpc.method=")
            .is_some_and(|value| value.trim_start_matches("diff.Test/") == method)
    })
}

fn show(value: Option<&Value>) -> String {
    let Some((_, unit, count, size, _)) = value else { return "none".into() };
    let size = size.map_or_else(String::new, |bits| format!(", {} {unit}", f64::from_bits(bits)));
    format!("{count}{size}")
}
