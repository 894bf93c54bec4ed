//! Server-side dry run of the chart's manifests for other kinds of cluster.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use super::calls::helm;
use crate::cluster::Cluster;

/// Directory with a values file for each kind of cluster.
const VALUES: &str = "charts/kelvin/ci";

/// Error messages that mean that this cluster lacks a feature: the Gateway API or IPv6.
const UNSUPPORTED: [&str; 4] = [
    "no matches for kind",
    "ensure CRDs are installed first",
    "not configured on this cluster",
    "not configured for dual-stack",
];

/// Checks that the API server accepts the objects that each values file renders.
pub async fn dry_run(cluster: &Cluster) -> Result<String> {
    let folder = TempDir::new()?;
    let (mut accepted, mut unsupported) = (0, 0);
    for entry in fs::read_dir(VALUES)
        .context("cannot read the chart's values (run this from the root of the repository)")?
    {
        let values = entry?.path();
        let manifest = folder.path().join("manifest.yaml");
        fs::write(&manifest, render(cluster, &values).await?)?;
        let output = dry_run_of(cluster, &manifest).await?;
        accepted += output.matches("serverside-applied").count();
        for line in output.lines().filter(|line| !line.is_empty() && !line.contains("serverside-applied")) {
            ensure!(UNSUPPORTED.iter().any(|text| line.contains(text)), "{}: {line}", values.display());
            unsupported += 1;
        }
    }
    ensure!(accepted > 0, "no values files in {VALUES}");
    Ok(format!("{accepted} objects accepted, {unsupported} need features that this cluster lacks"))
}

/// Renders the chart with a values file.
///
/// The release name differs from the installed one, because selectors of existing objects are immutable.
async fn render(cluster: &Cluster, values: &Path) -> Result<String> {
    let values = values.to_str().context("the path is not UTF-8")?;
    // The API server rejects a pod, unlike a Deployment, if its ServiceAccount or RuntimeClass does not exist.
    let settings = "test.enabled=false";
    let apis = "monitoring.coreos.com/v1/PrometheusRule,cert-manager.io/v1";
    let arguments = ["--values", values, "--set", settings, "--api-versions", apis];
    helm(cluster, &[&["template", "dry-run", "charts/kelvin"], &arguments[..]].concat()).await
}

/// Applies a manifest with a server-side dry run, and returns kubectl's standard output and error.
async fn dry_run_of(cluster: &Cluster, manifest: &Path) -> Result<String> {
    let mut command = Command::new("kubectl");
    command
        .args(["--context", &cluster.name, "apply", "--server-side", "--dry-run=server", "-f"])
        .arg(manifest);
    let output = command.kill_on_drop(true).output().await.context("running kubectl")?;
    let lines = [&output.stdout[..], &output.stderr].join(&b'\n');
    Ok(String::from_utf8_lossy(&lines).into_owned())
}
