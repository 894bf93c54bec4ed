use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::Request;
use kelvin_bench::files::TOKEN;
use kelvin_proto::{CallType, SensorRequest};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::ClientConfig};

use crate::{
    error::Result,
    sensors::{id, put},
};

/// Where the server is and how to reach it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
}

/// One HTTP/2 connection.
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    address: SocketAddr,
}

/// A client-streaming call.
pub(crate) struct Stream {
    response: ResponseFuture,
    send: SendStream<Bytes>,
}

impl Endpoint {
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect("localhost".try_into()?, tcp).await?;
        let (send, connection) = h2::client::handshake(stream).await?;
        // Each call sees the error itself.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Connection { send, address: self.address })
    }
}

impl Connection {
    pub(crate) async fn stream(&mut self) -> Result<Stream> {
        let request = self.request(CallType::ClientStreaming)?;
        let (response, send) = self.send.clone().ready().await?.send_request(request, false)?;
        Ok(Stream { response, send })
    }

    /// Reads all readings of a sensor.
    pub(crate) async fn get(&mut self, sensor: usize) -> Result<()> {
        let request = self.request(CallType::ServerStreaming)?;
        let (response, mut send) = self.send.clone().ready().await?.send_request(request, false)?;
        let mut bytes = BytesMut::new();
        put(&SensorRequest { sensor_id: id(sensor), ..SensorRequest::default() }, &mut bytes);
        send.send_data(bytes.freeze(), true)?;
        end(response).await
    }

    fn request(&self, kind: CallType) -> Result<Request<()>> {
        Ok(Request::post(format!("https://{}{}", self.address, kind.path()))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("authorization", TOKEN)
            .body(())?)
    }
}

impl Stream {
    /// Sends all of it as one DATA frame where the server's windows allow that.
    pub(crate) async fn send(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            let capacity = match self.send.capacity() {
                0 => poll_fn(|cx| self.send.poll_capacity(cx)).await.ok_or("the server ended the call")??,
                capacity => capacity,
            };
            self.send.send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
        }
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<()> {
        self.send.send_data(Bytes::new(), true)?;
        end(self.response).await
    }
}

/// Reads a response to its end.
async fn end(response: ResponseFuture) -> Result<()> {
    let mut body: RecvStream = response.await?.into_body();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        _ => Err(format!("the call failed: {trailers:?}").into()),
    }
}
