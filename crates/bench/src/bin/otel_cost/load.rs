//! The load: `h2` itself, as a tonic client takes more time for a call than the server under test.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use clap::ValueEnum;
use futures_util::{future::poll_fn, stream::FuturesUnordered};
use h2::{
    RecvStream,
    client::{self, SendRequest},
};
use http::Request;
use kelvin_proto::{SensorReading, SensorRequest};
use prost::Message;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_stream::StreamExt as _;

/// Calls at once of a unary load.
const CALLS: usize = 64;
/// Messages of one streaming call.
const MESSAGES: usize = 200_000;
const FRAME: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Unary calls
    Unary,
    /// Messages received in full DATA frames
    ClientStreaming,
    /// Messages sent, all ready
    ServerStreaming,
}

/// How many calls, or messages of streams, came through.
pub(crate) struct Done(pub(crate) usize);

pub(crate) struct Load {
    case: Case,
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

pub(crate) async fn connect(port: u16, case: Case) -> Result<Load, Box<dyn Error>> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let (requests, connection) = client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake(socket)
        .await?;
    let connection = tokio::spawn(async move {
        // Its end shows in the calls.
        let _ = connection.await;
    });
    Ok(Load { case, requests, connection })
}

impl Load {
    /// Loads the server for that long.
    pub(crate) async fn run(&mut self, time: Duration) -> Result<Done, Box<dyn Error>> {
        let end = Instant::now() + time;
        let (at_once, amount) = if self.case == Case::Unary { (CALLS, 1) } else { (1, MESSAGES) };
        let body = self.body();
        let call = || call(self.requests.clone(), self.case, body.clone());
        let mut calls: FuturesUnordered<_> = (0..at_once).map(|_| call()).collect();
        let mut done = 0;
        while let Some(result) = calls.next().await {
            result?;
            done += amount;
            if Instant::now() < end {
                calls.push(call());
            }
        }
        Ok(Done(done))
    }

    /// The bytes of one call's requests.
    fn body(&self) -> Bytes {
        let reading =
            SensorReading { sensor_id: "sensor-0001".into(), temperature: 20.5, timestamp: 1_700_000_000 };
        let mut body = BytesMut::new();
        match self.case {
            Case::Unary => frame(&reading, &mut body),
            Case::ClientStreaming => (0..MESSAGES).for_each(|_| frame(&reading, &mut body)),
            Case::ServerStreaming => {
                let limit = Some(MESSAGES as u64);
                frame(
                    &SensorRequest { sensor_id: "sensor-0001".into(), limit, ..SensorRequest::default() },
                    &mut body,
                );
            }
        }
        body.freeze()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A message with gRPC's prefix.
fn frame(message: &impl Message, body: &mut BytesMut) {
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).expect("small"));
    message.encode(body).expect("grows");
}

async fn call(requests: SendRequest<Bytes>, case: Case, mut body: Bytes) -> Result<(), Box<dyn Error>> {
    let path = match case {
        Case::Unary => "/SensorService/SendSingleReading",
        Case::ClientStreaming => "/SensorService/StreamSensorReadings",
        Case::ServerStreaming => "/SensorService/GetSensorReadings",
    };
    let request = Request::post(format!("http://127.0.0.1{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut sending) = requests.ready().await?.send_request(request, false)?;
    while body.len() > FRAME {
        sending.reserve_capacity(FRAME);
        while sending.capacity() < FRAME {
            poll_fn(|cx| sending.poll_capacity(cx)).await.ok_or("the stream is closed")??;
        }
        sending.send_data(body.split_to(FRAME), false)?;
    }
    sending.send_data(body, true)?;
    finish(response.await?.into_body()).await
}

async fn finish(mut body: RecvStream) -> Result<(), Box<dyn Error>> {
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    match body.trailers().await?.as_ref().and_then(|trailers| trailers.get("grpc-status")) {
        Some(status) if status == "0" => Ok(()),
        status => Err(format!("the call ended with {status:?}").into()),
    }
}
