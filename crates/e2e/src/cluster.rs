//! Kubernetes' API: pods, Secrets, logs, events, and HTTP to Services through the API server's proxy.

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

/// Port of the server's pods.
pub const GRPC_PORT: u16 = 50051;

/// Where the servers keep their readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the memory of the one server: gone with it.
    Memory,
    /// In Valkey, for all servers.
    Valkey,
}

/// A cluster with a release of Kelvin in it.
#[derive(Clone)]
pub struct Cluster {
    /// For API objects that have no method here.
    pub client: Client,
    /// Of kubectl's context.
    pub name: String,
    /// Of the release.
    pub namespace: String,
    /// Prefix of the names of its objects.
    pub release: String,
    /// Its `store.kind`.
    pub store: Store,
}

impl Cluster {
    /// By kubectl's configuration; an error when the release is not there.
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
                || format!("Deployment {server} in {namespace} of {name}: is Kelvin up (make up)?"),
            )?;
        let store = store(&deployment);
        Ok(Self { client, name, namespace, release, store })
    }

    /// Pods of a namespace that a label selector picks.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        Ok(self.pod_api(namespace).list(&ListParams::default().labels(selector)).await?.items)
    }

    /// The server's pods, those that are going included.
    pub async fn servers(&self) -> Result<Vec<Pod>> {
        self.pods(&self.namespace, &format!("{},app.kubernetes.io/component=server", self.selector())).await
    }

    /// The servers' image.
    pub async fn server_image(&self) -> Result<String> {
        let pods = self.servers().await?;
        let container = pods.iter().find_map(|pod| pod.spec.as_ref()?.containers.first());
        container.and_then(|container| container.image.clone()).context("no server has an image")
    }

    /// A server that takes calls.
    pub async fn ready_server(&self) -> Result<String> {
        let servers = self.servers().await?;
        let ready = servers.iter().find(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
        ready.map(Pod::name_any).ok_or_else(|| anyhow!("no server is ready"))
    }

    /// Label selector of all of the release's pods.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("app.kubernetes.io/part-of=kelvin,app.kubernetes.io/instance={}", self.release)
    }

    /// API of the pods of a namespace.
    #[must_use]
    pub fn pod_api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// API of the Secrets of Kelvin's namespace.
    #[must_use]
    pub fn secret_api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A key of a Secret in Kelvin's namespace; `name` without the release's.
    pub async fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>> {
        let name = format!("{}-{name}", self.release);
        let secret = self.secret_api().get(&name).await.with_context(|| format!("Secret {name}"))?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        value.map(|value| value.0).ok_or_else(|| anyhow!("Secret {name} has no {key}"))
    }

    /// The first of the servers' tokens, without `Bearer` and the caller's name.
    pub async fn token(&self) -> Result<String> {
        let lines = String::from_utf8(self.secret("tokens", "tokens").await?)?;
        let line = lines.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let mut words = line.unwrap_or_default().split_whitespace();
        let token = words.find(|word| !word.eq_ignore_ascii_case("bearer"));
        token.map(str::to_owned).context("no token in the tokens Secret")
    }

    /// Deletes a pod of Kelvin's namespace, with its own grace.
    pub async fn delete_pod(&self, name: &str) -> Result<()> {
        self.pod_api(&self.namespace).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// GET from a Service (`name:port`), JSON back.
    pub async fn get<T: DeserializeOwned>(&self, namespace: &str, service: &str, path: &str) -> Result<T> {
        let uri = format!("/api/v1/namespaces/{namespace}/services/{service}/proxy{path}");
        let request = Request::get(uri).body(Vec::new())?;
        self.client
            .request(request)
            .await
            .with_context(|| format!("GET {path} from {service} in {namespace}"))
    }

    /// A connection to a port of a pod in Kelvin's namespace.
    pub async fn dial(&self, pod: &str, port: u16) -> Result<tokio::io::DuplexStream> {
        let mut forward = self.pod_api(&self.namespace).portforward(pod, &[port]).await?;
        let Some(stream) = forward.take_stream(port) else { bail!("no port-forward to {pod}:{port}") };
        Ok(stream)
    }

    /// The last lines that a pod wrote.
    pub async fn logs(&self, namespace: &str, pod: &str, lines: i64) -> Result<String> {
        let params = LogParams { tail_lines: Some(lines), ..LogParams::default() };
        Ok(self.pod_api(namespace).logs(pod, &params).await?)
    }

    /// What Kubernetes warned of in Kelvin's namespace.
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

/// Ready, by the pod's own conditions.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

fn store(deployment: &Deployment) -> Store {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut environment =
        pod.into_iter().flat_map(|pod| &pod.containers).flat_map(|container| container.env.iter().flatten());
    match environment.find(|variable| variable.name == "KELVIN_STORE") {
        Some(variable) if variable.value.as_deref() == Some("valkey") => Store::Valkey,
        _ => Store::Memory,
    }
}
