//! Requests to a server: what each says, and how long it may take.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use rehome_app::AppError;
use rehome_app::config::ClientConfig;
use rehome_app::http::{self, Begun, HttpUrl, Lost, Tls, Whole, tls_client};
use serde::Serialize;

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

/// The way to a server.
pub(super) struct Http {
    url: HttpUrl,
    authorization: Option<HeaderValue>,
    tls: Option<Tls>,
}

impl Http {
    pub(super) fn new(url: &HttpUrl, config: &ClientConfig) -> Result<Self, AppError> {
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
        let tls = if url.is_secure() { trusted(config)? } else { None };
        Ok(Self { url: url.clone(), authorization, tls })
    }

    /// Sends it, and returns when the response begins.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Begun, Lost> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(self.url.path(&ask.path))
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
            .body(ask.body.clone().unwrap_or_default())
            .map_err(|error| Lost::ForGood(error.to_string()))?;
        let limits = (CONNECT_WITHIN, ANSWER_WITHIN);
        http::send(&self.url, self.tls.as_ref(), request, limits).await
    }
}

/// The whole of a response.
pub(super) async fn whole(begun: Begun) -> Result<Whole, Lost> {
    let whole = tokio::time::timeout(ANSWER_WITHIN, begun.whole(ANSWER_MAX)).await;
    whole.unwrap_or_else(|_| Err(Lost::Unknown("the response is incomplete".to_owned())))
}

/// The authorities of `client.ca_file`, if it is set.
fn trusted(config: &ClientConfig) -> Result<Option<Tls>, AppError> {
    let Some(path) = &config.ca_file else { return Ok(None) };
    let read = std::fs::read(path).map_err(|error| error.to_string());
    read.and_then(|pem| tls_client(Some(&pem), None)).map(Some).map_err(|why| {
        let message = format!("client.ca_file {} {why}", path.display());
        AppError::failed("unusable_certificate", message)
    })
}
