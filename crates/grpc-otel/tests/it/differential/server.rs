//! A server that does as its caller's script says, with messages of plain bytes.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService, StreamingService},
};
use tower::Service;

use super::script::Call;

/// The messages are bytes already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Serves all scenarios of the script, but the unregistered one.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) methods: Arc<BTreeSet<String>>,
    pub(crate) attempts: Arc<Mutex<HashMap<String, u32>>>,
}

impl NamedService for Scripted {
    const NAME: &'static str = "diff.Test";
}

impl<B> Service<Request<B>> for Scripted
where
    B: HttpBody + Send + 'static,
    B::Error: Into<grpc_otel::BoxError> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if !this.methods.contains(request.uri().path().trim_start_matches('/')) {
                return Ok(Status::unimplemented("not in the script").into_http());
            }
            let mut grpc = Grpc::new(Raw)
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip);
            Ok(grpc.streaming(this, request).await)
        })
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl StreamingService<Bytes> for Scripted {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Replies>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.obey(request).await.map(tonic::Response::new) })
    }
}

impl Scripted {
    async fn obey(&self, request: tonic::Request<Streaming<Bytes>>) -> Result<Replies, Status> {
        let script = request.metadata().get("x-script").ok_or_else(|| Status::internal("no script"))?;
        let call: Call =
            serde_json::from_slice(script.as_bytes()).map_err(|error| Status::internal(error.to_string()))?;
        let mut requests = request.into_inner();
        while requests.message().await?.is_some() {}
        let attempt = {
            let mut attempts = self.attempts.lock().expect("never poisoned");
            let attempt = attempts.entry(call.scenario.clone()).or_default();
            *attempt += 1;
            *attempt
        };
        if attempt <= call.fail_first {
            return Err(Status::unavailable("not yet"));
        }
        let end = match (call.wait, Code::from_i32(call.status)) {
            (false, Code::Ok) => None,
            (false, code) if call.replies.is_empty() => return Err(Status::new(code, "as scripted")),
            (false, code) => Some(Err(Status::new(code, "as scripted"))),
            (true, _) if call.replies.is_empty() => std::future::pending().await,
            (true, _) => None,
        };
        let replies = tokio_stream::iter(call.replies).map(|size| Ok(Bytes::from(vec![0; size])));
        let replies = replies.chain(tokio_stream::iter(end));
        if call.wait {
            return Ok(Box::pin(replies.chain(tokio_stream::pending())));
        }
        Ok(Box::pin(replies))
    }
}
