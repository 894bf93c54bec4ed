//! The four calls on an HTTP/2 stream.

use std::{collections::VecDeque, future::poll_fn, time::Instant};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, StatusCode};
use kelvin_proto::{Ack, Severity};
use prost::Message as _;
use tonic::Status;

use crate::{messages::Messages, payload::Frame};

/// What a call moved.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Moved {
    /// Readings stored or read.
    pub readings: u64,
    /// Readings that were sent and not stored.
    pub rejected: u64,
}

/// A call that is begun: both directions are open.
pub(crate) struct Call {
    pub response: ResponseFuture,
    pub send: SendStream<Bytes>,
}

/// All that [`Call::chat`] needs of a [`kelvin_proto::ServerMessage`].
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(enumeration = "Severity", optional, tag = "3")]
    severity: Option<i32>,
}

impl Call {
    /// One reading there, one acknowledgement back.
    pub(crate) async fn unary(mut self, reading: Bytes) -> Result<Moved, Status> {
        self.send.send_data(reading, true).map_err(status)?;
        read(self.response, |_| {}).await?;
        Ok(Moved { readings: 1, rejected: 0 })
    }

    /// As many frames as the iterator gives, one acknowledgement back.
    pub(crate) async fn client_streaming(
        mut self,
        frames: impl Iterator<Item = &Frame>,
    ) -> Result<Moved, Status> {
        let mut sent = 0;
        let mut accepted = None;
        for frame in frames {
            if send(&mut self.send, frame.bytes.clone()).await.is_err() {
                break; // The answer says why.
            }
            sent += frame.messages;
        }
        // Fails when the server has answered already.
        let _ = self.send.send_data(Bytes::new(), true);
        read(self.response, |message| accepted = Ack::decode(message).ok().and_then(|ack| ack.accepted))
            .await?;
        let readings = accepted.unwrap_or(sent).min(sent);
        Ok(Moved { readings, rejected: sent - readings })
    }

    /// One request there, readings back.
    pub(crate) async fn server_streaming(mut self, request: Bytes) -> Result<Moved, Status> {
        let mut readings = 0;
        self.send.send_data(request, true).map_err(status)?;
        read(self.response, |_| readings += 1).await?;
        Ok(Moved { readings, rejected: 0 })
    }

    /// Frames there and answers back at the same time, with at most about `in_flight` readings unanswered.
    /// `answered` is called when a frame of readings was sent, once all of it is answered.
    pub(crate) async fn chat(
        mut self,
        mut frames: impl Iterator<Item = &Frame>,
        in_flight: u64,
        mut answered: impl FnMut(Instant),
    ) -> Result<Moved, Status> {
        let (mut sent, mut seen, mut moved) = (0, 0, Moved::default());
        let mut waiting = VecDeque::new();
        let mut messages = Messages::default();
        let mut response = Some(self.response);
        let mut body = None;
        let mut open = true;
        loop {
            while open && sent - seen < in_flight {
                let frame = frames.next();
                let done = match frame {
                    Some(frame) => send(&mut self.send, frame.bytes.clone()).await,
                    None => self.send.send_data(Bytes::new(), true).map_err(status),
                };
                open = frame.is_some() && done.is_ok();
                if let (Some(frame), true) = (frame, open) {
                    sent += frame.messages;
                    waiting.push_back((sent, Instant::now()));
                }
            }
            if let Some(response) = response.take() {
                body = Some(head(response).await?);
            }
            let body = body.as_mut().expect("its head was read");
            let Some(piece) = piece(body).await? else {
                messages.end()?;
                return trailers(body).await.map(|()| moved);
            };
            messages.feed(&piece, |message| {
                seen += 1;
                let answer = Answer::decode(message).unwrap_or_default();
                match answer.severity {
                    Some(severity) if severity == Severity::Rejected as i32 => moved.rejected += 1,
                    _ => moved.readings += 1,
                }
            })?;
            while let Some((_, at)) = waiting.pop_front_if(|(end, _)| *end <= seen) {
                answered(at);
            }
        }
    }
}

/// Sends all of it, in parts where the server's windows ask for that.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Status> {
    loop {
        stream.reserve_capacity(bytes.len());
        let room = match stream.capacity() {
            0 => poll_fn(|context| stream.poll_capacity(context))
                .await
                .ok_or_else(|| Status::cancelled("the stream is closed"))?
                .map_err(status)?,
            room => room,
        };
        let part = bytes.split_to(room.min(bytes.len()));
        stream.send_data(part, false).map_err(status)?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
}

/// Reads an answer to its end; an error unless its status is OK.
async fn read(response: ResponseFuture, mut each: impl FnMut(&[u8])) -> Result<(), Status> {
    let mut body = head(response).await?;
    let mut messages = Messages::default();
    while let Some(piece) = piece(&mut body).await? {
        messages.feed(&piece, &mut each)?;
    }
    messages.end()?;
    trailers(&mut body).await
}

async fn head(response: ResponseFuture) -> Result<RecvStream, Status> {
    let (head, body) = response.await.map_err(status)?.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Err(status); // Trailers only; an OK without an answer is none.
    }
    if head.status != StatusCode::OK {
        return Err(of_http(head.status));
    }
    Ok(body)
}

async fn piece(body: &mut RecvStream) -> Result<Option<Bytes>, Status> {
    let Some(piece) = body.data().await else { return Ok(None) };
    let piece = piece.map_err(status)?;
    body.flow_control().release_capacity(piece.len()).map_err(status)?;
    Ok(Some(piece))
}

async fn trailers(body: &mut RecvStream) -> Result<(), Status> {
    let trailers: HeaderMap = body.trailers().await.map_err(status)?.unwrap_or_default();
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(_) => Err(Status::from_header_map(&trailers).expect("the status is there")),
        None => Err(Status::unknown("the server ended the call without a status")),
    }
}

/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn of_http(code: StatusCode) -> Status {
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

/// As tonic maps it; a connection that is lost is UNAVAILABLE.
fn status(error: h2::Error) -> Status {
    let calm = error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    if error.is_io() || (error.is_go_away() && !calm) {
        return Status::unavailable(error.to_string());
    }
    error.into()
}
