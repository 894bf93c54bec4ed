//! The four calls on an HTTP/2 stream.

use std::{collections::VecDeque, future::poll_fn, time::Instant};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, StatusCode};
use kelvin_proto::{Ack, Deframer, Severity};
use prost::Message as _;
use tonic::{Code, Status};

use crate::payload::Frame;

/// The readings that a call transferred.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Transferred {
    /// Readings stored or read.
    pub readings: u64,
    /// Readings that were sent and not stored.
    pub rejected: u64,
}

/// A started call: both directions are open.
pub(crate) struct Call {
    pub response: ResponseFuture,
    pub send: SendStream<Bytes>,
}

/// The one field of a [`kelvin_proto::ServerMessage`] that [`Call::bidi_streaming`] reads.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialServerMessage {
    #[prost(enumeration = "Severity", optional, tag = "3")]
    severity: Option<i32>,
}

impl Call {
    /// Sends one reading and reads its acknowledgement.
    pub(crate) async fn unary(mut self, reading: Bytes) -> Result<Transferred, Status> {
        self.send.send_data(reading, true).map_err(status_from_h2)?;
        read_response(self.response, |_| {}).await?;
        Ok(Transferred { readings: 1, rejected: 0 })
    }

    /// Sends all `frames` and reads the acknowledgement.
    pub(crate) async fn client_streaming(
        mut self,
        frames: impl Iterator<Item = &Frame>,
    ) -> Result<Transferred, Status> {
        let mut sent = 0;
        let mut accepted = None;
        for frame in frames {
            if send_all(&mut self.send, frame.bytes.clone()).await.is_err() {
                break; // The response has the reason.
            }
            sent += frame.messages;
        }
        // Fails when the server has already responded.
        let _ = self.send.send_data(Bytes::new(), true);
        read_response(self.response, |message| {
            accepted = Ack::decode(message).ok().and_then(|ack| ack.accepted);
        })
        .await?;
        let readings = accepted.unwrap_or(sent).min(sent);
        Ok(Transferred { readings, rejected: sent - readings })
    }

    /// Sends one request and counts the readings of the response.
    pub(crate) async fn server_streaming(mut self, request: Bytes) -> Result<Transferred, Status> {
        let mut readings = 0;
        self.send.send_data(request, true).map_err(status_from_h2)?;
        match read_response(self.response, |_| readings += 1).await {
            // A server that has no readings may answer with trailers alone.
            Err(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(Transferred { readings, rejected: 0 }),
        }
    }

    /// Sends frames and reads their responses at the same time, with at most about `in_flight` readings unacknowledged.
    /// Calls `on_acknowledged` with the time at which a frame was sent, once all its readings are acknowledged.
    pub(crate) async fn bidi_streaming(
        mut self,
        mut frames: impl Iterator<Item = &Frame>,
        in_flight: u64,
        mut on_acknowledged: impl FnMut(Instant),
    ) -> Result<Transferred, Status> {
        let (mut sent, mut acknowledged, mut transferred) = (0, 0, Transferred::default());
        let mut in_flight_frames = VecDeque::new();
        let mut deframer = deframer();
        let mut response = Some(self.response);
        let mut body = None;
        let mut open = true;
        loop {
            while open && sent - acknowledged < in_flight {
                let frame = frames.next();
                let done = match frame {
                    Some(frame) => send_all(&mut self.send, frame.bytes.clone()).await,
                    None => self.send.send_data(Bytes::new(), true).map_err(status_from_h2),
                };
                open = frame.is_some() && done.is_ok();
                if let (Some(frame), true) = (frame, open) {
                    sent += frame.messages;
                    in_flight_frames.push_back((sent, Instant::now()));
                }
            }
            if let Some(response) = response.take() {
                body = Some(response_body(response).await?);
            }
            let body = body.as_mut().expect("the headers were read");
            let Some(chunk) = next_chunk(body).await? else {
                check_complete(&deframer)?;
                return check_trailers(body).await.map(|()| transferred);
            };
            deframer.feed(&chunk, |_, message| {
                acknowledged += 1;
                let response = PartialServerMessage::decode(message).unwrap_or_default();
                match response.severity {
                    Some(severity) if severity == Severity::Rejected as i32 => transferred.rejected += 1,
                    _ => transferred.readings += 1,
                }
                Ok::<_, Status>(())
            })?;
            while let Some((_, at)) = in_flight_frames.pop_front_if(|(end, _)| *end <= acknowledged) {
                on_acknowledged(at);
            }
        }
    }
}

/// Sends all `bytes`, in parts where the flow-control windows require it.
async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Status> {
    loop {
        stream.reserve_capacity(bytes.len());
        let capacity = match stream.capacity() {
            0 => poll_fn(|context| stream.poll_capacity(context))
                .await
                .ok_or_else(|| Status::cancelled("the stream is closed"))?
                .map_err(status_from_h2)?,
            capacity => capacity,
        };
        let part = bytes.split_to(capacity.min(bytes.len()));
        stream.send_data(part, false).map_err(status_from_h2)?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
}

/// Reads a response to its end. Returns an error unless its status is OK.
async fn read_response(response: ResponseFuture, mut on_message: impl FnMut(&[u8])) -> Result<(), Status> {
    let mut body = response_body(response).await?;
    let mut deframer = deframer();
    while let Some(chunk) = next_chunk(&mut body).await? {
        deframer.feed(&chunk, |_, message| {
            on_message(message);
            Ok::<_, Status>(())
        })?;
    }
    check_complete(&deframer)?;
    check_trailers(&mut body).await
}

/// Creates a deframer for a response, whose messages may have any length and are never compressed: the calls do not ask for
/// it.
fn deframer() -> Deframer {
    Deframer::new(usize::MAX, false)
}

/// Returns an error if the stream ended in the middle of a message.
fn check_complete(deframer: &Deframer) -> Result<(), Status> {
    if deframer.is_between_messages() {
        return Ok(());
    }
    Err(Status::internal("the stream ended in the middle of a message"))
}

async fn response_body(response: ResponseFuture) -> Result<RecvStream, Status> {
    let (head, body) = response.await.map_err(status_from_h2)?.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Err(status); // A trailers-only response; OK without a message is an error too.
    }
    if head.status != StatusCode::OK {
        return Err(status_from_http(head.status));
    }
    Ok(body)
}

async fn next_chunk(body: &mut RecvStream) -> Result<Option<Bytes>, Status> {
    let Some(chunk) = body.data().await else { return Ok(None) };
    let chunk = chunk.map_err(status_from_h2)?;
    body.flow_control().release_capacity(chunk.len()).map_err(status_from_h2)?;
    Ok(Some(chunk))
}

async fn check_trailers(body: &mut RecvStream) -> Result<(), Status> {
    let trailers: HeaderMap = body.trailers().await.map_err(status_from_h2)?.unwrap_or_default();
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(_) => Err(Status::from_header_map(&trailers).expect("the status is there")),
        None => Err(Status::unknown("the server ended the call without a status")),
    }
}

/// Maps an HTTP status to a gRPC status:
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn status_from_http(code: StatusCode) -> Status {
    let message = format!("HTTP status {code}");
    match code.as_u16() {
        400 => Status::internal(message),
        401 => Status::unauthenticated(message),
        403 => Status::permission_denied(message),
        404 => Status::unimplemented(message),
        429 | 502 | 503 | 504 => Status::unavailable(message),
        _ => Status::unknown(message),
    }
}

/// Maps the error as tonic does, except that a lost connection is UNAVAILABLE.
fn status_from_h2(error: h2::Error) -> Status {
    let calm = error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    if error.is_io() || (error.is_go_away() && !calm) {
        return Status::unavailable(error.to_string());
    }
    error.into()
}
