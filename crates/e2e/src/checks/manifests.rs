//! What the API server says of the chart's manifests for other kinds of cluster.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use super::calls::helm;
use crate::cluster::Cluster;

/// Values for each kind of cluster.
const VALUES: &str = "charts/kelvin/ci";

/// Refusals because this cluster lacks something: the Gateway API, IPv6.
const LACKING: [&str; 4] = [
    "no matches for kind",
    "ensure CRDs are installed first",
    "not configured on this cluster",
    "not configured for dual-stack",
];

/// Every values file renders objects that the API server would take.
pub async fn dry_run(cluster: &Cluster) -> Result<String> {
    let folder = TempDir::new()?;
    let (mut accepted, mut lacking) = (0, 0);
    for entry in fs::read_dir(VALUES).context("run this in the repository's root")? {
        let values = entry?.path();
        let manifest = folder.path().join("manifest.yaml");
        fs::write(&manifest, rendered(cluster, &values).await?)?;
        let said = dry_run_of(cluster, &manifest).await?;
        accepted += said.matches("serverside-applied").count();
        for line in said.lines().filter(|line| !line.is_empty() && !line.contains("serverside-applied")) {
            ensure!(LACKING.iter().any(|text| line.contains(text)), "{}: {line}", values.display());
            lacking += 1;
        }
    }
    ensure!(accepted > 0, "no values files in {VALUES}");
    Ok(format!("{accepted} objects accepted, {lacking} need what this cluster lacks"))
}

/// Under a name of its own: selectors of what is there cannot be changed.
async fn rendered(cluster: &Cluster, values: &Path) -> Result<String> {
    let values = values.to_str().context("the path is not UTF-8")?;
    // A pod, unlike a Deployment, is refused when its account or RuntimeClass does not exist.
    let settings = "test.enabled=false";
    let apis = "monitoring.coreos.com/v1/PrometheusRule,cert-manager.io/v1";
    let arguments = ["--values", values, "--set", settings, "--api-versions", apis];
    helm(cluster, &[&["template", "dry-run", "charts/kelvin"], &arguments[..]].concat()).await
}

async fn dry_run_of(cluster: &Cluster, manifest: &Path) -> Result<String> {
    let mut command = Command::new("kubectl");
    command
        .args(["--context", &cluster.name, "apply", "--server-side", "--dry-run=server", "-f"])
        .arg(manifest);
    let said = command.kill_on_drop(true).output().await.context("running kubectl")?;
    let lines = [&said.stdout[..], &said.stderr].join(&b'\n');
    Ok(String::from_utf8_lossy(&lines).into_owned())
}
