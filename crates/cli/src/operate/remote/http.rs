//! One request to a server, and its response. A failure records whether
//! the request can have arrived.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rehome_app::AppError;
use rehome_app::config::{ClientConfig, ServerUrl};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, RootCertStore};
use tokio_util::task::AbortOnDropHandle;

/// Maximum time to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Maximum time until a response starts: a server limits its requests to less, unless appends may wait
/// for very long cutovers.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// A request.
pub(super) struct Ask {
    method: Method,
    path: String,
    accept: &'static str,
    body: Option<Bytes>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A status that is no error here, if the answer is no problem.
    pub(super) also: Option<StatusCode>,
}

impl Ask {
    /// A read; `path` begins with a slash and is percent-encoded.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            accept: "application/json",
            body: None,
            headers: Vec::new(),
            also: None,
        }
    }

    /// A change, with its body.
    pub(super) fn send(
        method: Method,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Result<Self, AppError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| AppError::failed("unwritable_request", error.to_string()))?;
        Ok(Self { method, body: Some(body.into()), ..Self::get(path) })
    }

    /// The same with a header.
    pub(super) fn header(mut self, name: HeaderName, value: &HeaderValue) -> Self {
        self.headers.push((name, value.clone()));
        self
    }

    /// The same, where this status is an answer like any other.
    pub(super) fn also(self, status: StatusCode) -> Self {
        Self { also: Some(status), ..self }
    }

    /// The same for a response that continues.
    pub(super) fn followed(self) -> Self {
        Self { accept: "text/event-stream", ..self }
    }
}

/// Why there is no answer.
pub(super) enum Lost {
    /// No response, and nothing was sent; it may pass.
    NotSent(String),
    /// It was sent; whether it arrived is not known.
    Unknown(String),
    /// To try again would be of no use.
    ForGood(String),
}

impl Lost {
    /// The reason.
    pub(super) fn words(self) -> String {
        match self {
            Self::NotSent(why) | Self::Unknown(why) | Self::ForGood(why) => why,
        }
    }
}

/// An answer that begins.
pub(super) struct Begun {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

impl Begun {
    /// The next piece; `None`: that was all.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Lost> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Lost::Unknown(words(&error))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The rest.
    pub(super) async fn whole(self) -> Result<Reply, Lost> {
        let Self { status, headers, body, _connection } = self;
        let body = Limited::new(body, ANSWER_MAX).collect();
        let body = tokio::time::timeout(ANSWER_WITHIN, body).await;
        let body = body.map_err(|_| Lost::Unknown("the response is incomplete".to_owned()))?;
        let body = body.map_err(|error| Lost::Unknown(error.to_string()))?.to_bytes();
        Ok(Reply { status, headers, body })
    }
}

/// An answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The way to a server.
pub(super) struct Http {
    url: ServerUrl,
    authorization: Option<HeaderValue>,
    tls: Option<TlsConnector>,
}

impl Http {
    pub(super) fn new(url: &ServerUrl, config: &ClientConfig) -> Result<Self, AppError> {
        let authorization = match &config.token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| {
                        AppError::failed("bad_token", "the token is not valid in a header")
                    })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let tls = url.is_secure().then(|| connector(config)).transpose()?;
        Ok(Self { url: url.clone(), authorization, tls })
    }

    /// Sends it, on a connection of its own, and answers as soon as the answer begins.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Begun, Lost> {
        let connected = tokio::time::timeout(CONNECT_WITHIN, self.connect()).await;
        let stream = connected.unwrap_or_else(|_| {
            let within = CONNECT_WITHIN.as_secs();
            Err(Lost::NotSent(format!("no connection within {within} s")))
        })?;
        let Some(tls) = &self.tls else { return self.exchange(TokioIo::new(stream), ask).await };
        let name = ServerName::try_from(self.url.host().to_owned())
            .map_err(|error| Lost::ForGood(error.to_string()))?;
        let secured = tokio::time::timeout(CONNECT_WITHIN, tls.connect(name, stream)).await;
        let secured = secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = secured.map_err(|error| untrusted(&error))?;
        self.exchange(TokioIo::new(stream), ask).await
    }

    async fn connect(&self) -> Result<TcpStream, Lost> {
        let (host, port) = (self.url.host(), self.url.port());
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<_> = found
            .map_err(|error| Lost::ForGood(format!("the host \"{host}\" is not known: {error}")))?
            .collect();
        let connected = TcpStream::connect(&*found).await;
        connected.map_err(|error| Lost::NotSent(error.to_string()))
    }

    async fn exchange<C>(&self, connection: C, ask: &Ask) -> Result<Begun, Lost>
    where
        C: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let opened = hyper::client::conn::http1::handshake(connection).await;
        let (mut sender, connection) = opened.map_err(|error| Lost::NotSent(words(&error)))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = format!("{}{}", self.url.prefix(), ask.path);
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(path)
            .header(HOST, self.url.authority())
            .header(ACCEPT, ask.accept);
        if ask.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(ask.body.clone().unwrap_or_default()))
            .map_err(|error| Lost::ForGood(error.to_string()))?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, sender.send_request(request)).await;
        let answered = answered.map_err(|_| {
            let within = ANSWER_WITHIN.as_secs();
            Lost::Unknown(format!("no answer within {within} s"))
        })?;
        let (head, body) = answered.map_err(|error| Lost::Unknown(words(&error)))?.into_parts();
        Ok(Begun { status: head.status, headers: head.headers, body, _connection: connection })
    }
}

/// The error and its cause, which has the details.
fn words(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn untrusted(error: &io::Error) -> Lost {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => Lost::ForGood(format!(
            "its certificate is not trusted ({why}); set client.ca_file to its authority"
        )),
        Some(rustls::Error::InvalidMessage(_)) => {
            Lost::ForGood("it does not speak TLS; is it http://?".to_owned())
        }
        Some(error) => Lost::ForGood(error.to_string()),
        None => Lost::NotSent(error.to_string()),
    }
}

fn connector(config: &ClientConfig) -> Result<TlsConnector, AppError> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        Some(path) => {
            let unusable = |why: String| {
                let message = format!("client.ca_file {} cannot be used: {why}", path.display());
                AppError::failed("unusable_certificate", message)
            };
            let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let found: Vec<_> = found.map_err(|error| unusable(error.to_string()))?;
            let (good, _) = roots.add_parsable_certificates(found);
            if good == 0 {
                return Err(unusable("it holds no certificate".to_owned()));
            }
        }
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| AppError::failed("no_tls", error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
