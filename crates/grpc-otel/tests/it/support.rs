//! A greeter that does what names say.

use std::{
    io::Write,
    pin::Pin,
    sync::{Arc, Mutex},
};

use grpc_otel::{ClientLayer, GrpcOtel, Methods};
use opentelemetry::{Context, StringValue, baggage::BaggageExt as _, trace::TraceContextExt as _};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint, Server},
};
use tower::ServiceBuilder;
use tracing_subscriber::fmt::MakeWriter;

use crate::greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};

pub(crate) const TARGET: &str = "dns:///greeter.test:50051";

pub(crate) fn methods() -> Methods {
    Methods::from_descriptor_set(FILE_DESCRIPTOR_SET).unwrap()
}

/// Where a server is to listen, and a channel's way there.
pub(crate) async fn listen() -> (Endpoint, TcpListenerStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Endpoint::try_from(format!("http://{address}")).unwrap(), TcpListenerStream::new(listener))
}

pub(crate) fn greeter() -> GreeterServer<Scripted> {
    GreeterServer::new(Scripted)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
}

/// Starts a server behind the layer; it lives as long as the test.
pub(crate) async fn serve(otel: &GrpcOtel) -> Endpoint {
    let (endpoint, incoming) = listen().await;
    let server = Server::builder().layer(otel.server_layer(methods())).add_service(greeter());
    tokio::spawn(server.serve_with_incoming(incoming));
    endpoint
}

pub(crate) type Client = GreeterClient<<ClientLayer as tower::Layer<Channel>>::Service>;

/// A client behind the layer.
pub(crate) fn client(otel: &GrpcOtel, endpoint: &Endpoint) -> Client {
    GreeterClient::new(
        ServiceBuilder::new().layer(otel.client_layer(TARGET)).service(endpoint.connect_lazy()),
    )
}

pub(crate) fn hello(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}

/// Does what the names in its requests tell it.
#[derive(Clone)]
pub(crate) struct Scripted;

/// `fail 14 message`, `wait` without end, `panic`, `bytes 1000`, `log`, tell the `context`; anything
/// else is greeted.
async fn obey(name: &str) -> Result<HelloReply, Status> {
    let (verb, rest) = name.split_once(' ').unwrap_or((name, ""));
    match verb {
        "fail" => {
            let (code, message) = rest.split_once(' ').unwrap_or((rest, ""));
            Err(Status::new(Code::from_i32(code.parse().unwrap()), message))
        }
        "wait" => std::future::pending().await,
        "panic" => panic!("as requested"),
        "log" => {
            tracing::info!("as requested");
            Ok(HelloReply::default())
        }
        "context" => Ok(HelloReply { message: Context::map_current(describe) }),
        "bytes" => Ok(HelloReply { message: "x".repeat(rest.parse().unwrap()) }),
        _ => Ok(HelloReply { message: format!("Hello {name}") }),
    }
}

fn describe(context: &Context) -> String {
    let span = context.span();
    let (trace_id, span_id) = (span.span_context().trace_id(), span.span_context().span_id());
    let tenant = context.baggage().get("tenant").map_or("", StringValue::as_str);
    format!("{trace_id} {span_id} {tenant}")
}

/// Log lines, kept.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Scripted {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        obey(&request.get_ref().name).await.map(Response::new)
    }

    /// One reply for each name between commas.
    async fn lots_of_replies(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let names: Vec<_> = request.get_ref().name.split(',').map(str::to_owned).collect();
        let replies = tokio_stream::iter(names).then(|name| async move { obey(&name).await });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn lots_of_greetings(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut requests = request.into_inner();
        let mut count = 0;
        while let Some(request) = requests.message().await? {
            obey(&request.name).await?;
            count += 1;
        }
        Ok(Response::new(HelloReply { message: count.to_string() }))
    }

    async fn bidi_hello(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let replies = request.into_inner().then(|request| async move { obey(&request?.name).await });
        Ok(Response::new(Box::pin(replies)))
    }
}
