//! Requests to the user interfaces at the addresses that `make ui` prints.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Request, Uri, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use crate::cluster::Cluster;

/// Path relative to the root of the repository, where `make smoke` runs.
const SCRIPT: &str = "mk/ui";
/// Time within which the script has to print all addresses; it runs kubectl for each Service.
const STARTUP_LIMIT: Duration = Duration::from_mins(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A running `mk/ui` script, with the addresses that it has printed.
pub struct Ui {
    script: Child,
    links: BTreeMap<String, Uri>,
}

impl Ui {
    /// Starts the script and reads the addresses that it prints.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let mut script = Command::new(SCRIPT)
            .arg(format!("kubectl --context {}", cluster.name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{SCRIPT} (run this from the root of the repository)"))?;
        let stdout = script.stdout.take().context("the output of make ui is not piped")?;
        let links = timeout(STARTUP_LIMIT, links(BufReader::new(stdout).lines()));
        match links.await.context("timed out waiting for make ui to print its addresses").flatten() {
            Ok(links) => Ok(Self { script, links }),
            Err(error) => {
                Self { script, links: BTreeMap::new() }.stop().await?;
                Err(error)
            }
        }
    }

    /// Returns the address of a user interface, or `None` if that is not installed.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Uri> {
        self.links.get(name)
    }

    /// Sends a GET request to a user interface and parses the JSON response.
    pub async fn get<T: DeserializeOwned>(&self, name: &str, path: &str, login: Option<&Login>) -> Result<T> {
        let link = self.link(name).with_context(|| format!("make ui prints no address for {name}"))?;
        request(link, path, login, None).await
    }

    /// Sends a POST request with a JSON body to a user interface and parses the JSON response.
    pub async fn post<T: DeserializeOwned>(
        &self,
        name: &str,
        path: &str,
        login: Option<&Login>,
        body: &serde_json::Value,
    ) -> Result<T> {
        let link = self.link(name).with_context(|| format!("make ui prints no address for {name}"))?;
        request(link, path, login, Some(body.to_string())).await
    }

    /// Stops the script and its port-forwards, as Ctrl-C does.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(id) = self.script.id() {
            Command::new("kill").arg(id.to_string()).status().await?;
        }
        timeout(REQUEST_TIMEOUT, self.script.wait())
            .await
            .context("make ui did not exit after SIGTERM")??;
        Ok(())
    }
}

/// A username and password, as the value of an `Authorization` header.
pub struct Login(String);

impl Login {
    /// Encodes a username and password for HTTP basic authentication.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }
}

/// Returns the first address in each line by the line's first word, up to the line that mentions Ctrl-C.
async fn links<R>(mut output: tokio::io::Lines<R>) -> Result<BTreeMap<String, Uri>>
where
    R: tokio::io::AsyncBufRead + Unpin,
{
    let mut links = BTreeMap::new();
    while let Some(line) = output.next_line().await? {
        if line.contains("Ctrl-C") {
            return Ok(links);
        }
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        if let Some(link) = words.find(|word| word.starts_with("http://")) {
            links.entry(name.to_owned()).or_insert(link.parse()?);
        }
    }
    bail!("make ui exited before it had printed all addresses; it printed those of {:?}", links.keys())
}

/// Sends a request to the origin of `link` and parses the JSON response.
async fn request<T: DeserializeOwned>(
    link: &Uri,
    path: &str,
    login: Option<&Login>,
    body: Option<String>,
) -> Result<T> {
    let authority = link.authority().with_context(|| format!("{link} has no host"))?;
    let mut request = Request::builder().uri(path).header(header::HOST, authority.as_str());
    if let Some(Login(login)) = login {
        request = request.header(header::AUTHORIZATION, login);
    }
    if body.is_some() {
        request = request.method("POST").header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(body.unwrap_or_default())?;
    let answer = timeout(REQUEST_TIMEOUT, send(authority.as_str(), request)).await;
    let (status, body) = answer
        .with_context(|| format!("no response from {authority} to {path}"))?
        .with_context(|| format!("{path} at {authority}"))?;
    let text = || String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
    ensure!(status.is_success(), "{path} at {authority}: {status}: {}", text());
    serde_json::from_slice(&body).with_context(|| format!("{path} at {authority}: {}", text()))
}

async fn send(authority: &str, request: Request<String>) -> Result<(http::StatusCode, Vec<u8>)> {
    let stream = TokioIo::new(TcpStream::connect(authority).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes().to_vec();
    connection.abort();
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn links_are_read_up_to_the_last_line() {
        let printed = "Jaeger      http://localhost:16686/search?service=kelvin-server\n\
                       Grafana     not installed\n\
                       Kelvin      localhost:50051, gRPC over TLS with a token:\n\n\
                       Press Ctrl-C to stop.\nmore";
        let links = links(BufReader::new(printed.as_bytes()).lines()).await.unwrap();
        assert_eq!(links.len(), 1, "{links:?}");
        assert_eq!(links["Jaeger"], "http://localhost:16686/search?service=kelvin-server");
    }

    #[tokio::test]
    async fn missing_last_line_is_an_error() {
        let printed = "Jaeger      http://localhost:16686/\n";
        let error = links(BufReader::new(printed.as_bytes()).lines()).await.unwrap_err().to_string();
        assert!(error.contains("Jaeger"), "{error}");
    }
}
