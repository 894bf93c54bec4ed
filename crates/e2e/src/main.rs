//! `kelvin-e2e`: checks a running cluster and prints a table of results. Exits with 1 if a check fails.

use std::process::ExitCode;

use clap::Parser;
use kelvin_e2e::{checks, cluster::Cluster, report::Report};

/// Checks a Kelvin release in a running cluster from end to end.
#[derive(Parser)]
struct Args {
    /// kubectl context; by default the current one
    #[arg(long)]
    context: Option<String>,
    /// Namespace of the release
    #[arg(long, default_value = "kelvin")]
    namespace: String,
    /// Name of the release
    #[arg(long, default_value = "kelvin")]
    release: String,
    /// Run only the checks whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Run the high-availability checks, which need several servers on Valkey, instead of the usual checks
    #[arg(long)]
    scale: bool,
    /// Run this shell command instead of the usual checks; check that no call fails and no acknowledged reading is lost
    #[arg(long, value_name = "COMMAND")]
    during: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let cluster = Cluster::connect(args.context, args.namespace, args.release).await?;
    println!("Kelvin in {}, readings in {}", cluster.name, cluster.store);
    let name = match &args.during {
        Some(_) => "during",
        None if args.scale => "scale",
        None => "smoke",
    };
    let mut report = Report::new(name, args.only);
    if let Some(command) = &args.during {
        report.check(command, checks::restart::no_call_fails_during(&cluster, command)).await;
    } else if args.scale {
        checks::scale(&cluster, &mut report).await;
    } else {
        checks::all(&cluster, &mut report).await;
    }
    if report.failed() {
        report.diagnose(&cluster).await;
    }
    Ok(report.finish())
}
