//! A server that the configuration names by its URL. Each request is bounded in time and size.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request::Builder;
use percent_encoding::percent_decode_str;

use super::exchange::{connect, send};
use super::tls::Tls;
use super::url::{HttpUrl, NoUrl};

/// Maximum time of a response, from the first byte to the last.
pub(crate) const WITHIN: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 8 << 20;

/// The address of a tool: `http://HOST:PORT/PREFIX` or `https://`, optionally with
/// `USER:PASSWORD@`. Never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: HttpUrl,
    authorization: Option<String>,
}

impl Endpoint {
    /// Parses a URL. The message never repeats it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::read(text).map_err(|why| why.or("must be a URL like \"http://localhost:9090\""))
    }

    fn read(text: &str) -> Result<Self, NoUrl> {
        let (url, user) = HttpUrl::with_user(text)?;
        let authorization = user.map(|user| {
            let words: Vec<u8> = percent_decode_str(user).collect();
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(words))
        });
        Ok(Self { url, authorization })
    }

    /// Parses the URL of a document: its server, and its path there.
    pub fn of_document(text: &str) -> Result<(Self, String), NoUrl> {
        let (server, path) = HttpUrl::split(text)?;
        Ok((Self::read(server)?, path))
    }

    /// Where it is, without the password.
    pub fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Whether its URL holds a password.
    pub fn has_password(&self) -> bool {
        self.authorization.is_some()
    }

    /// Gets a document; `path` begins with a slash and is percent-encoded. An error
    /// names the endpoint.
    pub async fn get(&self, path: &str) -> Result<Reply, String> {
        let request = Request::get(self.url.path(path));
        let Handed { status, body, .. } =
            self.exchange(request, Bytes::new(), None, WITHIN).await?;
        Ok(Reply { from: self.to_string(), status, body })
    }

    /// Posts a document with these headers. `tls`: the trusted authorities and the client certificate, if not
    /// the system's and none.
    pub async fn hand_over(
        &self,
        headers: &[(HeaderName, HeaderValue)],
        document: Bytes,
        tls: Option<&Tls>,
        within: Duration,
    ) -> Result<Handed, String> {
        let mut request = Request::post(self.url.path(""));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.exchange(request, document, tls, within).await
    }

    /// Whether a server listens there.
    pub async fn listens(&self) -> Result<(), String> {
        let connected = connect(&self.url, None, WITHIN).await;
        connected.map(drop).map_err(|why| format!("{self}: {why}"))
    }

    async fn exchange(
        &self,
        request: Builder,
        body: Bytes,
        tls: Option<&Tls>,
        within: Duration,
    ) -> Result<Handed, String> {
        let answer = tokio::time::timeout(within, self.once(request, body, tls, within)).await;
        let answer = answer
            .unwrap_or_else(|_| Err(format!("no response within {} s", within.as_secs_f64())));
        answer.map_err(|why| format!("{self}: {why}"))
    }

    async fn once(
        &self,
        mut request: Builder,
        body: Bytes,
        tls: Option<&Tls>,
        within: Duration,
    ) -> Result<Handed, String> {
        request = request.header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        let begun = send(&self.url, tls, request, (within, within)).await;
        let answer = match begun {
            Ok(begun) => begun.whole(ANSWER_MAX).await,
            Err(lost) => Err(lost),
        };
        let answer = answer.map_err(|why| why.to_string())?;
        let retry_after = answer.headers.get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        Ok(Handed {
            status: answer.status.as_u16(),
            retry_after: retry_after.map(Duration::from_secs),
            body: answer.body,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A response to a request for a document.
pub struct Reply {
    from: String,
    /// The status of the response.
    pub status: u16,
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

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
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
