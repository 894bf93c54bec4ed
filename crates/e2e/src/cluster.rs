//! Access to the cluster through the Kubernetes API: pods, Secrets, logs, events, and HTTP requests to Services.

use std::fmt;

use anyhow::{Context, Result, anyhow, bail};
use http::Request;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod, Secret},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, LogParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

/// The gRPC port of the server's pods.
pub const GRPC_PORT: u16 = 50051;

/// The store of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The memory of the only server; lost when its process ends.
    Memory,
    /// Valkey, shared by all servers.
    Valkey,
}

/// A cluster in which a release of Kelvin is installed.
#[derive(Clone)]
pub struct Cluster {
    /// Client for API objects that have no method here.
    pub client: Client,
    /// Name of the kubectl context.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Name of the release, with which the names of its objects begin.
    pub release: String,
    /// The release's `store.kind`.
    pub store: Store,
}

impl Cluster {
    /// Connects with kubectl's configuration. Returns an error if the release is not installed.
    pub async fn connect(context: Option<String>, namespace: String, release: String) -> Result<Self> {
        let name = match context {
            Some(name) => name,
            None => Kubeconfig::read()?.current_context.context("kubectl has no current context")?,
        };
        let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
        let config =
            Config::from_kubeconfig(&options).await.with_context(|| format!("kubeconfig context {name}"))?;
        let client = Client::try_from(config)?;
        let server = format!("{release}-server");
        let deployment =
            Api::<Deployment>::namespaced(client.clone(), &namespace).get(&server).await.with_context(
                || format!("cannot get Deployment {server} in {namespace} of {name}; make up installs it"),
            )?;
        let store = store(&deployment);
        Ok(Self { client, name, namespace, release, store })
    }

    /// Returns the pods of a namespace that match a label selector.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        Ok(self.pod_api(namespace).list(&ListParams::default().labels(selector)).await?.items)
    }

    /// Returns the server's pods, including those that are terminating.
    pub async fn servers(&self) -> Result<Vec<Pod>> {
        self.pods(&self.namespace, &format!("{},app.kubernetes.io/component=server", self.selector())).await
    }

    /// Returns the container image of the servers.
    pub async fn server_image(&self) -> Result<String> {
        let pods = self.servers().await?;
        let container = pods.iter().find_map(|pod| pod.spec.as_ref()?.containers.first());
        container.and_then(|container| container.image.clone()).context("no server has an image")
    }

    /// Returns the name of a server pod that is ready and not terminating.
    pub async fn ready_server(&self) -> Result<String> {
        let servers = self.servers().await?;
        let ready = servers.iter().find(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
        ready.map(Pod::name_any).ok_or_else(|| anyhow!("no server is ready"))
    }

    /// Returns the label selector of all pods of the release.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("app.kubernetes.io/part-of=kelvin,app.kubernetes.io/instance={}", self.release)
    }

    /// Returns the API for the pods of a namespace.
    #[must_use]
    pub fn pod_api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Returns the API for the Secrets of the release's namespace.
    #[must_use]
    pub fn secret_api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns the value of a key in a Secret of the release; `name` lacks the release's prefix.
    pub async fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>> {
        let name = format!("{}-{name}", self.release);
        let secret = self.secret_api().get(&name).await.with_context(|| format!("Secret {name}"))?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        value.map(|value| value.0).ok_or_else(|| anyhow!("Secret {name} has no {key}"))
    }

    /// Returns the first of the tokens that the servers accept, without `Bearer` and the caller's name.
    pub async fn token(&self) -> Result<String> {
        let lines = String::from_utf8(self.secret("tokens", "tokens").await?)?;
        let line = lines.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let mut words = line.unwrap_or_default().split_whitespace();
        let token = words.find(|word| !word.eq_ignore_ascii_case("bearer"));
        token.map(str::to_owned).context("no token in the tokens Secret")
    }

    /// Deletes a pod of the release's namespace with the pod's own termination grace period.
    pub async fn delete_pod(&self, name: &str) -> Result<()> {
        self.pod_api(&self.namespace).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Sends a GET request to a Service (`name:port`) and parses the JSON response.
    pub async fn get<T: DeserializeOwned>(&self, namespace: &str, service: &str, path: &str) -> Result<T> {
        let uri = format!("/api/v1/namespaces/{namespace}/services/{service}/proxy{path}");
        let request = Request::get(uri).body(Vec::new())?;
        self.client
            .request(request)
            .await
            .with_context(|| format!("GET {path} from {service} in {namespace}"))
    }

    /// Opens a connection to a port of a pod in the release's namespace.
    pub async fn dial(&self, pod: &str, port: u16) -> Result<tokio::io::DuplexStream> {
        let mut forward = self.pod_api(&self.namespace).portforward(pod, &[port]).await?;
        let Some(stream) = forward.take_stream(port) else { bail!("no port-forward to {pod}:{port}") };
        Ok(stream)
    }

    /// Returns the last log lines of a pod.
    pub async fn logs(&self, namespace: &str, pod: &str, lines: i64) -> Result<String> {
        let params = LogParams { tail_lines: Some(lines), ..LogParams::default() };
        Ok(self.pod_api(namespace).logs(pod, &params).await?)
    }

    /// Returns the events of type `Warning` in the release's namespace.
    pub async fn warnings(&self) -> Result<Vec<Event>> {
        let events = Api::<Event>::namespaced(self.client.clone(), &self.namespace);
        Ok(events.list(&ListParams::default().fields("type=Warning")).await?.items)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "the server's memory",
            Self::Valkey => "Valkey",
        })
    }
}

/// Returns whether the pod's `Ready` condition is true.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// Reads the store from the environment of the server's containers.
fn store(deployment: &Deployment) -> Store {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut environment =
        pod.into_iter().flat_map(|pod| &pod.containers).flat_map(|container| container.env.iter().flatten());
    match environment.find(|variable| variable.name == "KELVIN_STORE") {
        Some(variable) if variable.value.as_deref() == Some("valkey") => Store::Valkey,
        _ => Store::Memory,
    }
}
