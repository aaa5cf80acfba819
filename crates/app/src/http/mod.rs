//! Requests to others over HTTP: to the tools that watch the deployment, and to applications that are
//! notified of a switch. Each request is bounded in time and size.

#[cfg(any(test, feature = "fake"))]
pub mod fake;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request::Builder;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Maximum time of a response, from the first byte to the last.
pub(crate) const WITHIN: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 8 << 20;

/// The address of a tool: `http://HOST:PORT/PREFIX` or `https://`, optionally with
/// `USER:PASSWORD@`. Never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
    prefix: String,
    authorization: Option<String>,
}

impl Endpoint {
    /// Whether its url holds a password.
    pub fn has_password(&self) -> bool {
        self.authorization.is_some()
    }

    /// Whether it is spoken to with TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is on this machine, where the traffic cannot be intercepted on the network.
    pub fn is_local(&self) -> bool {
        let address = self.place().0.parse::<std::net::IpAddr>();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }

    /// Reads a url. The message never repeats it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "must be a URL like \"http://localhost:9090\"";
        let uri: Uri = text.parse().map_err(|_| WANTED)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(WANTED),
        };
        if uri.query().is_some() || text.contains('#') {
            return Err("must be a URL without \"?\" and \"#\"");
        }
        let authority = uri.authority().ok_or(WANTED)?;
        if authority.host().is_empty() {
            return Err(WANTED);
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let authorization = user.map(|user| {
            let words: Vec<u8> = percent_decode_str(user).collect();
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(words))
        });
        Ok(Self {
            secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// Gets a document; `path` begins with a slash and is percent-encoded. An error
    /// names the endpoint.
    pub async fn get(&self, path: &str) -> Result<Reply, String> {
        let request = Request::get(format!("{}{path}", self.prefix));
        self.exchange(request, Bytes::new(), None, WITHIN).await
    }

    /// Posts a document with these headers. `tls`: the trusted authorities and the client certificate, if not
    /// the system's and none.
    pub async fn hand_over(
        &self,
        headers: &[(HeaderName, HeaderValue)],
        document: Bytes,
        tls: Option<&Arc<ClientConfig>>,
        within: Duration,
    ) -> Result<Handed, String> {
        let path = if self.prefix.is_empty() { "/" } else { &self.prefix };
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let Reply { status, retry_after, body, .. } =
            self.exchange(request, document, tls, within).await?;
        Ok(Handed { status, retry_after, body })
    }

    /// Whether a server listens there.
    pub async fn listens(&self) -> Result<(), String> {
        let connected = tokio::time::timeout(WITHIN, TcpStream::connect(self.place())).await;
        match connected {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("{self}: {error}")),
            Err(_) => Err(format!("{self}: {}", no_answer())),
        }
    }

    /// An IPv6 address is in brackets in a url and nowhere else.
    fn place(&self) -> (&str, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }

    async fn exchange(
        &self,
        request: Builder,
        body: Bytes,
        tls: Option<&Arc<ClientConfig>>,
        within: Duration,
    ) -> Result<Reply, String> {
        let answer = tokio::time::timeout(within, self.connect_and_send(request, body, tls)).await;
        let answer = answer
            .unwrap_or_else(|_| Err(format!("no response within {} s", within.as_secs_f64())));
        answer.map_err(|why| format!("{self}: {why}"))
    }

    async fn connect_and_send(
        &self,
        request: Builder,
        body: Bytes,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Reply, String> {
        let (host, port) = self.place();
        let stream = TcpStream::connect((host, port)).await.map_err(|e| e.to_string())?;
        if !self.secure {
            return self.send(TokioIo::new(stream), request, body).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let tls = tls.map_or_else(trusting_the_system, |tls| Ok(Arc::clone(tls)))?;
        let connector = TlsConnector::from(tls);
        let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        self.send(TokioIo::new(stream), request, body).await
    }

    async fn send<C>(
        &self,
        connection: C,
        mut request: Builder,
        body: Bytes,
    ) -> Result<Reply, String>
    where
        C: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let opened = hyper::client::conn::http1::handshake(connection).await;
        let (mut sender, connection) = opened.map_err(|e| e.to_string())?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        request = request
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Reply { from: self.to_string(), status, retry_after, body })
    }
}

fn no_answer() -> String {
    format!("no response within {} s", WITHIN.as_secs())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.prefix)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A response.
pub struct Reply {
    from: String,
    /// The status of the response.
    pub status: u16,
    retry_after: Option<Duration>,
    body: Bytes,
}

/// The response to a posted document.
pub struct Handed {
    /// The status of the response.
    pub status: u16,
    /// When to retry, if the response has `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The body of the response.
    pub body: Bytes,
}

impl Reply {
    /// The JSON document, if the response is one.
    pub fn json(&self) -> Result<serde_json::Value, String> {
        if self.status != 200 {
            return Err(format!("{}: it answered with status {}", self.from, self.status));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| format!("{}: its answer is not JSON", self.from))
    }
}

/// Certificates are believed that the system believes (`SSL_CERT_FILE` names others).
fn trusting_the_system() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let config = tls_client(None, None)?;
    Ok(Arc::clone(CONFIG.get_or_init(|| config)))
}

/// Believes the certificates of `trust`, or else those that the system believes, and shows the certificate
/// of `identity`, which is followed by its key. All in PEM; no error repeats any of it.
pub fn tls_client(
    trust: Option<&[u8]>,
    identity: Option<(&[u8], &[u8])>,
) -> Result<Arc<ClientConfig>, String> {
    const NO_PEM: &str = "holds no certificate in PEM";
    let certificates = |pem: &[u8]| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        all.ok().filter(|all| !all.is_empty()).ok_or(NO_PEM)
    };
    let mut roots = RootCertStore::empty();
    match trust {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| format!("cannot be used: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match identity {
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "its key is not in PEM")?;
            let shown = builder.with_client_auth_cert(certificates(chain)?, key);
            shown.map_err(|error| format!("cannot be shown: {error}"))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    #[test]
    fn urls_are_read_and_passwords_never_shown() {
        let endpoint = Endpoint::parse("https://ops:hunter%402@grafana.example/g/").unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}").matches("hunter").count(), 0);
        assert_eq!(endpoint.to_string(), "https://grafana.example:443/g");
        // "ops:hunter@2"
        assert_eq!(endpoint.authorization.as_deref(), Some("Basic b3BzOmh1bnRlckAy"));
        assert_eq!(Endpoint::parse("http://[::1]:9090").unwrap().to_string(), "http://[::1]:9090");
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for text in ["", "hunter2", "ftp://hunter2", "http://", "http://h/?q=hunter2", "/hunter2"] {
            let problem = Endpoint::parse(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[tokio::test]
    async fn a_document_is_asked_for_with_who_asks() {
        let fake = Fake::start(|path| (200, format!("{{\"asked\":\"{path}\"}}"))).await;
        let url = fake.url().replace("http://", "http://u:p@");
        let endpoint = Endpoint::parse(&format!("{url}/prefix")).unwrap();
        let reply = endpoint.get("/api?x=%20").await.unwrap();
        assert_eq!(reply.json().unwrap()["asked"], "/prefix/api?x=%20");
        assert!(fake.heard()[0].contains("authorization: Basic dTpw"), "{:?}", fake.heard());
    }

    #[tokio::test]
    async fn what_is_no_document_is_said() {
        let fake = Fake::start(|path| match path {
            "/login" => (302, String::new()),
            "/long" => (200, "x".repeat(ANSWER_MAX + 1)),
            _ => (200, "<html>".to_owned()),
        })
        .await;
        let endpoint = Endpoint::parse(&fake.url()).unwrap();
        let said = |reply: Result<Reply, String>| reply.and_then(|reply| reply.json()).unwrap_err();
        assert!(said(endpoint.get("/login").await).contains("status 302"));
        assert!(said(endpoint.get("/page").await).contains("not JSON"));
        assert!(said(endpoint.get("/long").await).contains("length limit"));
        drop(fake);
        assert!(endpoint.get("/page").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_waited_for() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let problem = Endpoint::parse(&url).unwrap().get("/").await.err().unwrap();
        assert!(problem.contains("no response within 3 s"), "{problem}");
    }
}
