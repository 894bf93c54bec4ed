//! A bare h2 echo. It answers every call with the same acknowledgement: what HTTP/2 and TLS cost without gRPC.

use std::{error::Error, net::SocketAddr, path::Path};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use kelvin_proto::Ack;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW, tls};

pub(crate) fn serve(address: SocketAddr, files: &Path) -> Result<(), Box<dyn Error>> {
    let ack = Ack { message: "stored 1 reading".into(), accepted: Some(1) };
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(ack.encoded_len())?);
    ack.encode(&mut message)?;
    let message = message.freeze();
    tls::accept(address, files, move |stream| connection(stream, message.clone()))
}

async fn connection(stream: TlsStream<TcpStream>, message: Bytes) {
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(stream);
    let Ok(mut connection) = handshake.await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let message = message.clone();
        tokio::task::spawn_local(async move {
            // An error means that the caller has gone.
            let _ = echo(request.into_body(), respond, message).await;
        });
    }
}

async fn echo(
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    message: Bytes,
) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
    }
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut send = respond.send_response(head, false)?;
    send.send_data(message, false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    send.send_trailers(trailers)
}
