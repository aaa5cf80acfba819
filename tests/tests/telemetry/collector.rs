//! A receiver of OTLP on a free port, over gRPC or HTTP, that keeps what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;

/// Ended when it is dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    requests: Requests,
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Requests {
    fn keep(&self, request: ExportTraceServiceRequest) {
        self.0.lock().expect("nobody panics with it").push(request);
    }
}

#[tonic::async_trait]
impl TraceService for Requests {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.keep(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) fn grpc() -> Result<Self> {
        Self::start(|listener, requests| async move {
            let incoming = TcpIncoming::from(listener);
            let service = TraceServiceServer::new(requests);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.context("the collector ended")
        })
    }

    pub(crate) fn http() -> Result<Self> {
        Self::start(|listener, requests| async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let requests = requests.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, requests.clone()));
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that is killed ends it in the middle.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        })
    }

    fn start<F>(serve: impl FnOnce(TcpListener, Requests) -> F) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let requests = Requests::default();
        let serving = {
            let _inside = runtime.enter();
            serve(listener, requests.clone())
        };
        runtime.spawn(serving);
        Ok(Self { address, requests, _runtime: runtime })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans received so far, each once. One that came twice is the same both times.
    pub(crate) fn spans(&self) -> Result<Vec<Span>> {
        let requests = self.requests.0.lock().expect("nobody panics with it");
        let mut spans = BTreeMap::new();
        for resource in requests.iter().flat_map(|request| &request.resource_spans) {
            let about = resource.resource.as_ref().context("spans of nobody")?;
            ensure!(text(&about.attributes, "service.name") == Some("eventsource"), "{about:?}");
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                let key = (span.trace_id.clone(), span.span_id.clone());
                if let Some(first) = spans.insert(key, span.clone()) {
                    ensure!(first == *span, "one id, two spans: {first:?} and {span:?}");
                }
            }
        }
        Ok(spans.into_values().collect())
    }
}

async fn answer(
    request: Request<Incoming>,
    requests: Requests,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let is_otlp = request.method() == Method::POST
        && request.uri().path() == "/v1/traces"
        && request.headers().get("content-type").is_some_and(|t| t == "application/x-protobuf");
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(Full::default());
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) if is_otlp => requests.keep(request),
        _ => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

/// The text of that attribute.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        _ => None,
    }
}
