//! A well-behaved caller: gRPC over one HTTP/2 connection.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use kelvin_proto::{Method, SensorReading};
use prost::Message;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;

use crate::{
    frames::prefixed,
    world::{Failure, TOKEN, World, text},
};

/// Longer than any call takes that goes well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const UNARY: &str = Method::SendSingleReading.path();
pub(crate) const CLIENT_STREAM: &str = Method::StreamSensorReadings.path();
pub(crate) const CHAT: &str = Method::SensorChat.path();
pub(crate) const READ: &str = Method::GetSensorReadings.path();
pub(crate) const AGGREGATE: &str = Method::AggregateSensorReadings.path();
pub(crate) const LIST: &str = Method::ListSensors.path();
pub(crate) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
pub(crate) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// One connection.
#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    /// The `authorization` headers of its calls.
    pub(crate) tokens: Vec<&'static str>,
}

/// What has come of a call so far.
pub(crate) struct Reply {
    headers: HeaderMap,
    body: RecvStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(world: &World) -> Result<Self, Failure> {
        Self::over(world.connect().await?).await
    }

    pub(crate) async fn over(io: TlsStream<TcpStream>) -> Result<Self, Failure> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(65_535)
            .initial_connection_window_size(1 << 20)
            .data_frame_budget(usize::MAX)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(text)?;
        tokio::spawn(async move {
            // Every call sees the error itself.
            let _ = connection.await;
        });
        Ok(Self { send, tokens: vec![TOKEN] })
    }

    /// Begins a call, as soon as the connection has room for one.
    pub(crate) async fn open(&self, path: &str) -> Result<(Sender, ResponseFuture), Failure> {
        let mut request = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for token in &self.tokens {
            request = request.header("authorization", *token);
        }
        let mut send = self.send.clone().ready().await.map_err(text)?;
        let (response, send) = send.send_request(request.body(()).map_err(text)?, false).map_err(text)?;
        Ok((Sender(send), response))
    }

    /// A call of one message. Returns the status and how many messages the answer has.
    pub(crate) async fn call(&self, path: &str, message: &impl Message) -> Result<(String, usize), Failure> {
        let (status, messages) = self.exchange(path, message).await?;
        Ok((status, messages.len()))
    }

    /// The only message of the answer to a call of one message.
    pub(crate) async fn answer(&self, path: &str, message: &impl Message) -> Result<Vec<u8>, Failure> {
        let (status, mut messages) = self.exchange(path, message).await?;
        messages.pop().ok_or_else(|| format!("{path}: status {status} and no message"))
    }

    async fn exchange(&self, path: &str, message: &impl Message) -> Result<(String, Vec<Vec<u8>>), Failure> {
        timeout(PATIENCE, async {
            let (mut sender, response) = self.open(path).await?;
            sender.0.send_data(prefixed(&message.encode_to_vec()).into(), true).map_err(text)?;
            let mut reply = Reply::of(response).await?;
            let mut messages = Vec::new();
            while let Some(message) = reply.next().await? {
                messages.push(message);
            }
            Ok((reply.status().await?, messages))
        })
        .await
        .map_err(|_| format!("{path}: no answer within {PATIENCE:?}"))?
    }

    /// Stores one reading.
    pub(crate) async fn store(&self, sensor_id: &str) -> Result<(), Failure> {
        match self.call(UNARY, &reading(sensor_id)).await? {
            (status, 1) if status == "0" => Ok(()),
            (status, _) => Err(format!("status {status}")),
        }
    }
}

/// The sending half of a call.
pub(crate) struct Sender(SendStream<Bytes>);

impl Sender {
    /// Sends one message in a frame of its own, when the peer's windows have room.
    pub(crate) async fn send_message(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.send_frame(prefixed(message).into()).await
    }

    /// Sends a message many times in one frame.
    pub(crate) async fn send_messages(&mut self, message: &[u8], times: usize) -> Result<(), Failure> {
        self.send_frame(prefixed(message).repeat(times).into()).await
    }

    async fn send_frame(&mut self, frame: Bytes) -> Result<(), Failure> {
        self.0.reserve_capacity(frame.len());
        while self.0.capacity() < frame.len() {
            std::future::poll_fn(|cx| self.0.poll_capacity(cx))
                .await
                .ok_or("the stream is closed")?
                .map_err(text)?;
        }
        self.0.send_data(frame, false).map_err(text)
    }

    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.0.send_data(Bytes::new(), true).map_err(text)
    }
}

impl Reply {
    pub(crate) async fn of(response: ResponseFuture) -> Result<Self, Failure> {
        let (head, body) = response.await.map_err(text)?.into_parts();
        Ok(Self { headers: head.headers, body, buffer: Vec::new() })
    }

    /// The next message, without its prefix.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(length) = self.buffer.get(1..5) {
                let end = 5 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
                if self.buffer.len() >= end {
                    let message = self.buffer[5..end].to_vec();
                    self.buffer.drain(..end);
                    return Ok(Some(message));
                }
            }
            let Some(data) = self.body.data().await else { return Ok(None) };
            let data = data.map_err(text)?;
            self.body.flow_control().release_capacity(data.len()).map_err(text)?;
            self.buffer.extend_from_slice(&data);
        }
    }

    /// The code in the trailers, or in the headers of a reply without any.
    pub(crate) async fn status(&mut self) -> Result<String, Failure> {
        let trailers = self.body.trailers().await.map_err(text)?;
        let status = trailers.as_ref().unwrap_or(&self.headers).get("grpc-status");
        Ok(status.and_then(|status| status.to_str().ok()).unwrap_or("none").to_owned())
    }
}

pub(crate) fn reading(sensor_id: &str) -> SensorReading {
    SensorReading { sensor_id: sensor_id.to_owned(), temperature: 20.5, timestamp: kelvin_app::unix_now() }
}
