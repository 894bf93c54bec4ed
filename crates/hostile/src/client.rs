//! A well-behaved gRPC client on one HTTP/2 connection.

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
    test_server::{Failure, TOKEN, TestServer, text},
};

/// Exceeds the duration of every successful call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) const UNARY: &str = Method::SendSingleReading.path();
pub(crate) const CLIENT_STREAM: &str = Method::StreamSensorReadings.path();
pub(crate) const CHAT: &str = Method::SensorChat.path();
pub(crate) const READ: &str = Method::GetSensorReadings.path();
pub(crate) const AGGREGATE: &str = Method::AggregateSensorReadings.path();
pub(crate) const LIST: &str = Method::ListSensors.path();
pub(crate) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
pub(crate) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A connection to the server.
#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    /// Values of the `authorization` headers that each call sends.
    pub(crate) tokens: Vec<&'static str>,
}

/// The response of a call.
pub(crate) struct Reply {
    headers: HeaderMap,
    body: RecvStream,
    /// Received bytes that are not a whole message yet.
    buffer: Vec<u8>,
}

impl Client {
    /// Opens a connection.
    pub(crate) async fn connect(server: &TestServer) -> Result<Self, Failure> {
        Self::handshake(server.connect().await?).await
    }

    /// Starts HTTP/2 on a TLS stream.
    pub(crate) async fn handshake(io: TlsStream<TcpStream>) -> Result<Self, Failure> {
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(65_535)
            .initial_connection_window_size(1 << 20)
            .data_frame_budget(usize::MAX)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(text)?;
        tokio::spawn(async move {
            // Every call on the connection returns the error.
            let _ = connection.await;
        });
        Ok(Self { send, tokens: vec![TOKEN] })
    }

    /// Opens a call, as soon as the limit of concurrent streams allows one more.
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

    /// Sends one message and returns the status and the number of response messages.
    pub(crate) async fn call(&self, path: &str, message: &impl Message) -> Result<(String, usize), Failure> {
        let (status, messages) = self.exchange(path, message).await?;
        Ok((status, messages.len()))
    }

    /// Sends one message and returns the last response message.
    pub(crate) async fn call_for_message(
        &self,
        path: &str,
        message: &impl Message,
    ) -> Result<Vec<u8>, Failure> {
        let (status, mut messages) = self.exchange(path, message).await?;
        messages.pop().ok_or_else(|| format!("{path}: no response message, status {status}"))
    }

    /// Sends one message and returns the status and the response messages.
    async fn exchange(&self, path: &str, message: &impl Message) -> Result<(String, Vec<Vec<u8>>), Failure> {
        timeout(CALL_TIMEOUT, async {
            let (mut sender, response) = self.open(path).await?;
            sender.0.send_data(prefixed(&message.encode_to_vec()).into(), true).map_err(text)?;
            let mut reply = Reply::receive(response).await?;
            let mut messages = Vec::new();
            while let Some(message) = reply.next().await? {
                messages.push(message);
            }
            Ok((reply.status().await?, messages))
        })
        .await
        .map_err(|_| format!("{path}: no response within {CALL_TIMEOUT:?}"))?
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
    /// Sends a message in one DATA frame, as soon as flow control allows it.
    pub(crate) async fn send_message(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.send_frame(prefixed(message).into()).await
    }

    /// Sends a message `times` times in one DATA frame, as soon as flow control allows it.
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

    /// Ends the request.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.0.send_data(Bytes::new(), true).map_err(text)
    }
}

impl Reply {
    /// Waits for the response headers.
    pub(crate) async fn receive(response: ResponseFuture) -> Result<Self, Failure> {
        let (head, body) = response.await.map_err(text)?.into_parts();
        Ok(Self { headers: head.headers, body, buffer: Vec::new() })
    }

    /// Returns the next message without its prefix, or `None` at the end of the response.
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

    /// Returns `grpc-status` from the trailers, or from the headers of a trailers-only response.
    pub(crate) async fn status(&mut self) -> Result<String, Failure> {
        let trailers = self.body.trailers().await.map_err(text)?;
        let status = trailers.as_ref().unwrap_or(&self.headers).get("grpc-status");
        Ok(status.and_then(|status| status.to_str().ok()).unwrap_or("none").to_owned())
    }
}

/// Returns a reading with the current time.
pub(crate) fn reading(sensor_id: &str) -> SensorReading {
    SensorReading { sensor_id: sensor_id.to_owned(), temperature: 20.5, timestamp: kelvin_app::unix_now() }
}
