//! TLS to collectors, with certificates that the program loads and keeps up to date.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use kelvin_app::{BoxError, SettingsError, TlsFiles};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::Service;

/// Returns the current TLS configuration; asked at each new connection.
pub type CurrentTls = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

/// Loads the files of one exporter.
pub(crate) type LoadTls = Box<dyn Fn(&TlsFiles) -> Result<CurrentTls, SettingsError>>;

/// For TCP. A collector's node that is gone answers nothing at all.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to `http` and `https` addresses.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    /// None where no `https` address is connected to.
    tls: Option<CurrentTls>,
    alpn: Option<&'static [u8]>,
}

impl Connector {
    pub(crate) fn new(tls: Option<CurrentTls>, alpn: Option<&'static [u8]>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { tcp, tls, alpn }
    }

    fn config(&self) -> Option<Arc<ClientConfig>> {
        let mut config = self.tls.as_ref()?();
        if let Some(alpn) = self.alpn {
            Arc::make_mut(&mut config).alpn_protocols = vec![alpn.to_vec()];
        }
        Some(config)
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Some(config) = self.config() {
            return Box::pin(HttpsConnector::from((self.tcp.clone(), config)).call(uri));
        }
        // What is sent may hold a token.
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Box::pin(async { Err("TLS is not configured, but the endpoint is https".into()) });
        }
        let stream = self.tcp.call(uri);
        Box::pin(async { Ok(MaybeHttpsStream::Http(stream.await?)) })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn https_address_is_never_connected_to_without_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = async |scheme: &str| {
            let uri = format!("{scheme}://{address}").parse().unwrap();
            Connector::new(None, None).call(uri).await.map(drop)
        };
        assert_eq!(
            connect("HTTPS").await.unwrap_err().to_string(),
            "TLS is not configured, but the endpoint is https"
        );
        connect("http").await.unwrap();
    }
}
