//! The same calls through this crate and through grpc-go's OpenTelemetry plugin, and how their metrics, spans and peers
//! differ.
//!
//! `script.json` says which calls; `go/` runs them there, `rust.rs` here. Every difference is either explained by the
//! specification, in `metrics.rs` and `spans.rs`, or fails this test.

mod metrics;
mod rust;
mod script;
mod server;
mod spans;
mod telemetry;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Display,
    path::Path,
    process::{Command, Stdio},
};

use self::{script::Call, telemetry::Telemetry};

/// So many differences of one reason are printed.
const SHOWN: usize = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go, which downloads modules: `make differential` runs it"]
async fn same_calls_agree_with_grpc_go() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/differential");
    let go = Command::new("go")
        .args(["run", ".", "../script.json"])
        .current_dir(folder.join("go"))
        .stdout(Stdio::piped())
        .spawn()?;
    let script: Vec<Call> = serde_json::from_slice(&std::fs::read(folder.join("script.json"))?)?;
    let ours = rust::run(&script).await?;
    let output = tokio::task::spawn_blocking(|| go.wait_with_output()).await??;
    if !output.status.success() {
        return Err("the program in tests/it/differential/go failed".into());
    }
    let theirs: Telemetry = serde_json::from_slice(&output.stdout)?;

    let series = |of: &Telemetry| metrics::by_name(of.server.iter().chain(&of.client));
    let parts = |of: &Telemetry| spans::by_part(&of.spans);
    let unexplained = compare("series", &series(&ours), &series(&theirs), metrics::explain)
        + compare("parts of spans", &parts(&ours), &parts(&theirs), spans::explain)
        + compare("peers", &ours.peers, &theirs.peers, |_, _, _| None);
    assert_eq!(unexplained, 0, "differences that are not explained");
    Ok(())
}

/// Tells what differs, by reason, and how many differences have none.
fn compare<V: PartialEq + Display>(
    what: &str,
    ours: &BTreeMap<String, V>,
    theirs: &BTreeMap<String, V>,
    explain: fn(&str, Option<&V>, Option<&V>) -> Option<&'static str>,
) -> usize {
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let (equal, different): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| ours.get(*name) == theirs.get(*name));
    println!("{} {what} are the same\n", equal.len());
    let mut reasons = BTreeMap::<_, Vec<_>>::new();
    for name in different {
        let (ours, theirs) = (ours.get(name), theirs.get(name));
        let show = |value: Option<&V>| value.map_or_else(|| "none".to_owned(), V::to_string);
        let line = format!("{name}\n    grpc-otel: {}\n    grpc-go:   {}", show(ours), show(theirs));
        reasons.entry(explain(name, ours, theirs)).or_default().push(line);
    }
    for (reason, lines) in &reasons {
        println!("{} {what} differ: {}", lines.len(), reason.unwrap_or("NOT EXPLAINED"));
        let shown = if reason.is_some() { SHOWN } else { lines.len() };
        lines.iter().take(shown).for_each(|line| println!("  {line}"));
        println!();
    }
    reasons.get(&None).map_or(0, Vec::len)
}
