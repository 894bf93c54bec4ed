//! Network policies: a pod of the same namespace reaches the server only with the labels of a client.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    cluster::{Cluster, GRPC_PORT},
    task::Task,
};

const IMAGE: &str = "busybox:1.35";

/// The pod with a client's labels shows that it is the policy that stops the other.
pub async fn other_namespace_is_blocked(cluster: &Cluster) -> Result<String> {
    ensure!(reaches(cluster, true).await?, "a pod with a client's labels does not reach the server");
    ensure!(!reaches(cluster, false).await?, "a pod without labels reaches the server");
    Ok("only with a client's labels".to_owned())
}

async fn reaches(cluster: &Cluster, client: bool) -> Result<bool> {
    let server = format!("{}-server", cluster.release);
    // A connection that is made is ended by the server: what was sent is no TLS.
    let script = format!("echo . | nc -w 5 {server} {GRPC_PORT} >/dev/null");
    let container = json!({"name": "nc", "image": IMAGE, "command": ["sh", "-c", script]});
    let task = Task::start(cluster, client, container, json!([])).await?;
    let (reached, _) = task.end(Duration::from_mins(1)).await?;
    Ok(reached)
}
