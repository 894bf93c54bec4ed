//! Network policies: a pod in the same namespace reaches the server only if it has the labels of a client.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    cluster::{Cluster, GRPC_PORT},
    task::Task,
};

const IMAGE: &str = "busybox:1.35";

/// Checks that a pod without labels cannot connect to the server.
///
/// A pod with a client's labels can, which shows that the policy blocks the other one.
pub async fn unlabelled_pod_is_blocked(cluster: &Cluster) -> Result<String> {
    ensure!(reaches(cluster, true).await?, "a pod with a client's labels does not reach the server");
    ensure!(!reaches(cluster, false).await?, "a pod without labels reaches the server");
    Ok("only with a client's labels".to_owned())
}

/// Returns whether a pod can connect to the server.
async fn reaches(cluster: &Cluster, client: bool) -> Result<bool> {
    let server = format!("{}-server", cluster.release);
    // The server closes an established connection, because the data is not TLS.
    let script = format!("echo . | nc -w 5 {server} {GRPC_PORT} >/dev/null");
    let container = json!({"name": "nc", "image": IMAGE, "command": ["sh", "-c", script]});
    let task = Task::start(cluster, client, container, json!([])).await?;
    let (reached, _) = task.wait(Duration::from_mins(1)).await?;
    Ok(reached)
}
