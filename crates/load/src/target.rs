use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use kelvin_proto::CallType;

use crate::LoadError;

/// A server.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// `None` for plaintext.
    pub tls: Option<Tls>,
    /// The `authorization` metadata.
    pub token: Option<HeaderValue>,
}

/// How to authenticate the server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// With ALPN `h2`.
    pub config: Arc<ClientConfig>,
    /// The name its certificate must have.
    pub name: ServerName<'static>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The size of the read buffer; rustls alone reads 4 KiB at a time.
const READ_BUFFER_SIZE: usize = 128 << 10;
/// Large enough that a server never waits for a `WINDOW_UPDATE` frame.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

impl Target {
    /// Connects. Returns the connection and the task that drives it.
    pub(crate) async fn connect(&self) -> Result<(SendRequest<Bytes>, JoinHandle<()>), LoadError> {
        let unreachable = |source| LoadError::Unreachable { address: self.address.clone(), source };
        let tcp = with_timeout(TcpStream::connect(&self.address)).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let tcp = BufReader::with_capacity(READ_BUFFER_SIZE, tcp);
        let Some(tls) = &self.tls else { return self.handshake(tcp).await };
        let connector = TlsConnector::from(tls.config.clone());
        let stream = with_timeout(connector.connect(tls.name.clone(), tcp))
            .await
            .map_err(|source| LoadError::Tls { address: self.address.clone(), source })?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(LoadError::NotHttp2(self.address.clone()));
        }
        self.handshake(stream).await
    }

    async fn handshake<T>(&self, io: T) -> Result<(SendRequest<Bytes>, JoinHandle<()>), LoadError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Answers of one small message a frame are what we ask for.
            .data_frame_budget(usize::MAX)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(|_| LoadError::NotHttp2(self.address.clone()))?;
        let driver = tokio::spawn(async move {
            // Each call returns the error itself.
            let _ = connection.await;
        });
        Ok((send, driver))
    }

    /// Returns the headers of a call, to be cloned.
    pub(crate) fn request(&self, kind: CallType) -> Request<()> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = http::Uri::builder()
            .scheme(scheme)
            .authority(self.address.as_str())
            .path_and_query(kind.path())
            .build()
            .expect("an address that was connected to is an authority");
        let mut headers = HeaderMap::new();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("kelvin-load"));
        headers.extend(self.token.iter().map(|token| (header::AUTHORIZATION, token.clone())));
        *request.headers_mut() = headers;
        request
    }
}

async fn with_timeout<T>(connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
