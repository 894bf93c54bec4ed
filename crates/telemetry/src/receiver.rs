//! An OTLP collector in the process, for tests: keeps what it is sent, decoded. By gRPC, and by HTTP on
//! a second port.

use std::{
    convert::Infallible,
    io::{self, Read as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_http::Bytes;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs},
    metrics::v1::{Metric, ResourceMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tonic::{
    Status, async_trait,
    codec::CompressionEncoding,
    transport::{Server, server::TcpIncoming},
};

pub use opentelemetry_proto::tonic as proto;

/// How long [`Receiver::until`] waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that was sent, in order of arrival.
#[derive(Debug, Default)]
pub struct Received {
    /// Spans.
    pub traces: Vec<ResourceSpans>,
    /// Metrics, once for each export.
    pub metrics: Vec<ResourceMetrics>,
    /// Log records.
    pub logs: Vec<ResourceLogs>,
    /// The headers of each export.
    pub headers: Vec<HeaderMap>,
}

impl Received {
    /// Returns the spans and who sent them.
    pub fn spans(&self) -> impl Iterator<Item = (&Resource, &Span)> {
        self.traces.iter().flat_map(|of| {
            let spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
            of.resource.iter().cycle().zip(spans)
        })
    }

    /// Returns the metrics of all exports and who sent them; what is cumulative is last in its last export.
    pub fn metrics(&self) -> impl Iterator<Item = (&Resource, &Metric)> {
        self.metrics.iter().flat_map(|of| {
            let metrics = of.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            of.resource.iter().cycle().zip(metrics)
        })
    }

    /// Returns the log records and who sent them.
    pub fn log_records(&self) -> impl Iterator<Item = (&Resource, &LogRecord)> {
        self.logs.iter().flat_map(|of| {
            let records = of.scope_logs.iter().flat_map(|scope| &scope.log_records);
            of.resource.iter().cycle().zip(records)
        })
    }
}

/// Returns the text of an attribute.
#[must_use]
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A running collector, until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    received: Arc<watch::Sender<Received>>,
    grpc: SocketAddr,
    http: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Listens on two free ports of loopback.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(&mut Server::builder()).await
    }

    /// Listens like [`start`](Self::start), with a gRPC server that is set up already, say for TLS.
    pub async fn start_with(server: &mut Server) -> io::Result<Self> {
        let received = Arc::new(watch::Sender::new(Received::default()));
        let (grpc, http) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
        let collector = Collector(Arc::clone(&received));
        let gzip = CompressionEncoding::Gzip;
        let services = server
            .add_service(TraceServiceServer::new(collector.clone()).accept_compressed(gzip))
            .add_service(MetricsServiceServer::new(collector.clone()).accept_compressed(gzip))
            .add_service(LogsServiceServer::new(collector.clone()).accept_compressed(gzip));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            services.serve_with_incoming(TcpIncoming::from(grpc)).await.expect("the OTLP server runs");
        });
        tasks.spawn(collector.serve_http(http));
        Ok(Self { received, grpc: grpc_address, http: http_address, _tasks: tasks })
    }

    /// Returns the value of `OTEL_EXPORTER_OTLP_ENDPOINT` for gRPC.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Returns the value of `OTEL_EXPORTER_OTLP_ENDPOINT` for HTTP.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Looks at what was received so far.
    pub fn look<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.received.borrow())
    }

    /// Waits until `find` finds something in what was received.
    ///
    /// # Panics
    /// After half a minute, naming `what` was waited for and what there is.
    pub async fn until<T>(&self, what: &str, mut find: impl FnMut(&Received) -> Option<T>) -> T {
        let mut changes = self.received.subscribe();
        let found = async {
            loop {
                let found = find(&changes.borrow_and_update());
                match found {
                    Some(found) => return found,
                    None => changes.changed().await.expect("the receiver lives"),
                }
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => self.look(|received| {
                let spans: Vec<_> = received.spans().map(|(_, span)| &span.name).collect();
                let metrics: Vec<_> = received.metrics().map(|(_, metric)| &metric.name).collect();
                let logs: Vec<_> = received.log_records().map(|(_, record)| &record.body).collect();
                panic!("not received: {what}; but {spans:?}, {metrics:?}, {logs:?}")
            }),
        }
    }
}

#[derive(Clone)]
struct Collector(Arc<watch::Sender<Received>>);

impl Collector {
    fn headers(&self, headers: HeaderMap) {
        self.0.send_modify(|received| received.headers.push(headers));
    }

    fn traces(&self, request: ExportTraceServiceRequest) {
        self.0.send_modify(|received| received.traces.extend(request.resource_spans));
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        self.0.send_modify(|received| received.metrics.extend(request.resource_metrics));
    }

    fn logs(&self, request: ExportLogsServiceRequest) {
        self.0.send_modify(|received| received.logs.extend(request.resource_logs));
    }

    async fn serve_http(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let collector = self.clone();
            connections.spawn(async move {
                let service = service_fn(|request| collector.answer(request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        let (parts, body) = request.into_parts();
        let is = |name: &str, value: &str| parts.headers.get(name).is_some_and(|header| header == value);
        let (protobuf, gzip) = (is("content-type", "application/x-protobuf"), is("content-encoding", "gzip"));
        self.headers(parts.headers);
        let body = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
        let body = if gzip { body.and_then(|body| gunzip(&body).ok()) } else { body };
        let taken = body.filter(|_| protobuf).and_then(|body| match parts.uri.path() {
            "/v1/traces" => ExportTraceServiceRequest::decode(body).ok().map(|request| self.traces(request)),
            "/v1/metrics" => {
                ExportMetricsServiceRequest::decode(body).ok().map(|request| self.metrics(request))
            }
            "/v1/logs" => ExportLogsServiceRequest::decode(body).ok().map(|request| self.logs(request)),
            _ => None,
        });
        let status = if taken.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        let response = Response::builder().status(status).header("content-type", "application/x-protobuf");
        Ok(response.body(String::new()).expect("a response of constants"))
    }
}

fn gunzip(body: &[u8]) -> io::Result<Bytes> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain)?;
    Ok(plain.into())
}

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.headers(metadata.into_headers());
        self.traces(request);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.headers(metadata.into_headers());
        self.metrics(request);
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.headers(metadata.into_headers());
        self.logs(request);
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}
