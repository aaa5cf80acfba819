//! One request and its response, on a connection of its own. A failure records whether the request can have
//! arrived.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::tls::{Tls, trusting_the_system};
use super::url::HttpUrl;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Nothing was sent. A retry may succeed.
    #[error("{0}")]
    NotSent(String),
    /// It was sent; whether it arrived is unknown.
    #[error("{0}")]
    Unknown(String),
    /// The certificate of the server is not trusted.
    #[error("its certificate is not trusted ({0})")]
    Untrusted(String),
    /// A retry would fail as well.
    #[error("{0}")]
    ForGood(String),
}

/// The bytes of a connection, encrypted or not.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// An open connection.
pub type Connection = TokioIo<Box<dyn Duplex>>;

/// A response that has begun.
pub struct Begun {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

/// A response.
pub struct Whole {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Begun {
    /// The next piece of the body; `None`: that was all.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Lost> {
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

    /// The rest, of at most `bytes_max` bytes.
    pub async fn whole(self, bytes_max: usize) -> Result<Whole, Lost> {
        let Self { status, headers, body, _connection } = self;
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| Lost::Unknown(error.to_string()))?.to_bytes();
        Ok(Whole { status, headers, body })
    }
}

/// Connects, with TLS if the URL has it. `tls`: the trusted authorities and the certificate to show, if not the
/// system's and none.
pub async fn connect(
    to: &HttpUrl,
    tls: Option<&Tls>,
    within: Duration,
) -> Result<Connection, Lost> {
    let connected = tokio::time::timeout(within, open(to, tls)).await;
    connected.unwrap_or_else(|_| {
        Err(Lost::NotSent(format!("no connection within {} s", within.as_secs_f64())))
    })
}

async fn open(to: &HttpUrl, tls: Option<&Tls>) -> Result<Connection, Lost> {
    let (host, port) = (to.host(), to.port());
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<_> = found
        .map_err(|error| Lost::ForGood(format!("the host \"{host}\" is not known: {error}")))?
        .collect();
    let stream = TcpStream::connect(&*found).await;
    let stream = stream.map_err(|error| Lost::NotSent(error.to_string()))?;
    if !to.is_secure() {
        return Ok(TokioIo::new(Box::new(stream)));
    }
    let tls = tls.map_or_else(trusting_the_system, |tls| Ok(Arc::clone(tls)));
    let connector = TlsConnector::from(tls.map_err(Lost::ForGood)?);
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| Lost::ForGood(error.to_string()))?;
    let stream = connector.connect(name, stream).await.map_err(|error| insecure(&error))?;
    Ok(TokioIo::new(Box::new(stream)))
}

/// Sends a request, and returns when its response begins. The path of the request is that on the server
/// ([`HttpUrl::path`]). `within`: how long a connection, and then the response, may take.
pub async fn send(
    to: &HttpUrl,
    tls: Option<&Tls>,
    mut request: Request<Bytes>,
    (connect_within, answer_within): (Duration, Duration),
) -> Result<Begun, Lost> {
    let connection = connect(to, tls, connect_within).await?;
    let opened = hyper::client::conn::http1::handshake(connection).await;
    let (mut sender, connection) = opened.map_err(|error| Lost::NotSent(words(&error)))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let host = HeaderValue::from_str(&to.authority());
    let host = host.map_err(|error| Lost::ForGood(error.to_string()))?;
    request.headers_mut().insert(HOST, host);
    let answered = sender.send_request(request.map(Full::new));
    let answered = tokio::time::timeout(answer_within, answered).await;
    let answered = answered.map_err(|_| {
        Lost::Unknown(format!("no response within {} s", answer_within.as_secs_f64()))
    })?;
    let (head, body) = answered.map_err(|error| Lost::Unknown(words(&error)))?.into_parts();
    Ok(Begun { status: head.status, headers: head.headers, body, _connection: connection })
}

/// The error and its cause, which has the details.
fn words(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn insecure(error: &io::Error) -> Lost {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => Lost::Untrusted(why.to_string()),
        Some(rustls::Error::InvalidMessage(_)) => {
            Lost::ForGood("it does not speak TLS; is it http://?".to_owned())
        }
        Some(error) => Lost::ForGood(error.to_string()),
        None => Lost::NotSent(error.to_string()),
    }
}
