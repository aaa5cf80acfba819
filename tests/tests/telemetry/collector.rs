//! A receiver of OTLP on a free port, over gRPC or HTTP, with or without TLS, that stores the data.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Grpc,
    Http,
}

/// What it does with a request that it does not take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// It has too much to do: this status over HTTP, with `Retry-After` in seconds; UNAVAILABLE over gRPC.
    Busy(u16, u64),
    /// It takes the request and never answers.
    Hangs,
}

/// A certificate and its key, in PEM.
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Ended when it is dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    secure: bool,
    requests: Requests,
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    /// What becomes of the next requests.
    refusals: VecDeque<Refusal>,
    /// When requests came, whatever became of them.
    asked: Vec<Instant>,
    spans: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    headers: Vec<HeaderMap>,
}

impl Requests {
    /// A request has come: how it is refused, if it is.
    fn come(&self) -> Option<Refusal> {
        let mut received = self.0.lock().expect("nobody panics with it");
        received.asked.push(Instant::now());
        received.refusals.pop_front()
    }

    async fn admit(&self) -> Result<(), tonic::Status> {
        match self.come() {
            None => Ok(()),
            Some(Refusal::Busy(..)) => Err(tonic::Status::unavailable("too much to do")),
            Some(Refusal::Hangs) => std::future::pending().await,
        }
    }

    fn keep(&self, headers: HeaderMap, add: impl FnOnce(&mut Received)) {
        let mut received = self.0.lock().expect("nobody panics with it");
        received.headers.push(headers);
        add(&mut received);
    }
}

#[tonic::async_trait]
impl TraceService for Requests {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.admit().await?;
        let (head, _, request) = request.into_parts();
        self.keep(head.into_headers(), |received| received.spans.push(request));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Requests {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.admit().await?;
        let (head, _, request) = request.into_parts();
        self.keep(head.into_headers(), |received| received.metrics.push(request));
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) fn grpc() -> Result<Self> {
        Self::start(Speaks::Grpc, None)
    }

    pub(crate) fn http() -> Result<Self> {
        Self::start(Speaks::Http, None)
    }

    pub(crate) fn start(speaks: Speaks, certified: Option<&Certified>) -> Result<Self> {
        Self::on("127.0.0.1:0", speaks, certified, None)
    }

    /// At this address; where `clients` is there, only for those with a certificate that it has signed, or is.
    pub(crate) fn on(
        address: &str,
        speaks: Speaks,
        certified: Option<&Certified>,
        clients: Option<&str>,
    ) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let requests = Requests::default();
        let inside = runtime.enter();
        match speaks {
            Speaks::Grpc => {
                let mut server = tonic::transport::Server::builder();
                if let Some(Certified { certificate, key }) = certified {
                    let identity = Identity::from_pem(certificate, key);
                    let tls = ServerTlsConfig::new().identity(identity);
                    let tls = match clients {
                        Some(clients) => tls.client_ca_root(Certificate::from_pem(clients)),
                        None => tls,
                    };
                    server = server.tls_config(tls)?;
                }
                let spans = TraceServiceServer::new(requests.clone()).accept_compressed(Gzip);
                let metrics = MetricsServiceServer::new(requests.clone()).accept_compressed(Gzip);
                let serving = server
                    .add_service(spans)
                    .add_service(metrics)
                    .serve_with_incoming(TcpIncoming::from(listener));
                runtime.spawn(serving);
            }
            Speaks::Http => {
                let tls = certified.map(|own| acceptor(own, clients)).transpose()?;
                runtime.spawn(listen(listener, tls, requests.clone()));
            }
        }
        drop(inside);
        Ok(Self { address, secure: certified.is_some(), requests, _runtime: runtime })
    }

    pub(crate) fn endpoint(&self) -> String {
        if self.secure {
            format!("https://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    /// What becomes of the next requests, one after the other.
    pub(crate) fn refuses(&self, refusals: impl IntoIterator<Item = Refusal>) {
        self.requests.0.lock().expect("nobody panics with it").refusals.extend(refusals);
    }

    /// When requests came.
    pub(crate) fn asked(&self) -> Vec<Instant> {
        self.requests.0.lock().expect("nobody panics with it").asked.clone()
    }

    /// The spans received so far, each once. One that came twice is the same both times.
    pub(crate) fn spans(&self) -> Result<Vec<Span>> {
        self.spans_of("eventsource")
    }

    /// The same, if this is who sends them.
    pub(crate) fn spans_of(&self, service: &str) -> Result<Vec<Span>> {
        let received = self.requests.0.lock().expect("nobody panics with it");
        let mut spans = BTreeMap::new();
        for resource in received.spans.iter().flat_map(|request| &request.resource_spans) {
            let about = resource.resource.as_ref().context("spans of nobody")?;
            ensure!(text(&about.attributes, "service.name") == Some(service), "{about:?}");
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                let key = (span.trace_id.clone(), span.span_id.clone());
                if let Some(first) = spans.insert(key, span.clone()) {
                    ensure!(first == *span, "one id, two spans: {first:?} and {span:?}");
                }
            }
        }
        Ok(spans.into_values().collect())
    }

    /// The metrics received last, if this is who sends them.
    pub(crate) fn metrics_of(&self, service: &str) -> Result<Vec<Metric>> {
        let received = self.requests.0.lock().expect("nobody panics with it");
        let Some(request) = received.metrics.last() else { return Ok(Vec::new()) };
        let mut metrics = Vec::new();
        for resource in &request.resource_metrics {
            let about = resource.resource.as_ref().context("metrics of nobody")?;
            ensure!(text(&about.attributes, "service.name") == Some(service), "{about:?}");
            metrics.extend(resource.scope_metrics.iter().flat_map(|scope| scope.metrics.clone()));
        }
        Ok(metrics)
    }

    /// The heads of all requests.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.requests.0.lock().expect("nobody panics with it").headers.clone()
    }
}

fn acceptor(certified: &Certified, clients: Option<&str>) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certified.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes())?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for known in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(known?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build()?)
        }
    };
    let config = config.with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, requests: Requests) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, requests) = (tls.clone(), requests.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, requests).await,
                Some(tls) => {
                    // One that does not believe the certificate goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, requests).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, requests: Requests) {
    let service = service_fn(|request| answer(request, requests.clone()));
    let http = hyper::server::conn::http1::Builder::new();
    // A client that is killed ends it in the middle.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    requests: Requests,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    match requests.come() {
        None => {}
        Some(Refusal::Hangs) => std::future::pending().await,
        Some(Refusal::Busy(status, retry_after)) => {
            let response = Response::builder().status(status);
            let response = response.header("retry-after", retry_after).body(Full::default());
            return Ok(response.expect("a status and a number"));
        }
    }
    let (head, body) = request.into_parts();
    let is_otlp = head.method == Method::POST
        && head.headers.get("content-type").is_some_and(|t| t == "application/x-protobuf");
    let mut body = body.collect().await?.to_bytes();
    if head.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        let read = flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain);
        body = if read.is_ok() { plain.into() } else { Bytes::from_static(b"\xff") };
    }
    let spans = ExportTraceServiceRequest::decode(body.clone());
    let metrics = ExportMetricsServiceRequest::decode(body);
    let mut response = Response::new(Full::default());
    match (head.uri.path(), spans, metrics) {
        ("/v1/traces", Ok(spans), _) if is_otlp => {
            requests.keep(head.headers, |received| received.spans.push(spans));
        }
        ("/v1/metrics", _, Ok(metrics)) if is_otlp => {
            requests.keep(head.headers, |received| received.metrics.push(metrics));
        }
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
