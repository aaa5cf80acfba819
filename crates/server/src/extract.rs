//! Extractors: bodies within their limits, paths, queries. Invalid input is
//! a problem.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::auth::Permit;
use crate::response::Problem;
use crate::rooms::{Held, Holder, Requester};
use crate::state::State;

/// Most bytes of a document that holds nothing of a customer's.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// What a body counts with before it has come.
const BODY_BYTES_MIN: usize = 1 << 10;
/// How long a body may be slow, before it has to come at the least rate.
const SLOW_WITHIN: Duration = Duration::from_secs(5);

/// A JSON body that has not been read yet. It is read only for an authorised caller.
pub(crate) struct JsonBody {
    state: Arc<State>,
    holder: Holder,
    is_json: bool,
    body: Body,
}

impl JsonBody {
    /// The text of an append.
    pub(crate) async fn text(self, permit: Permit) -> Result<Text, Problem> {
        let max = self.state.limits.body_bytes_max as usize;
        self.read(permit, max).await
    }

    /// A document that holds nothing of a customer's.
    pub(crate) async fn document<T: DeserializeOwned>(self, permit: Permit) -> Result<T, Problem> {
        self.small(permit).await?.document()
    }

    /// The same; the default where nothing was sent.
    pub(crate) async fn document_or_default<T: DeserializeOwned + Default>(
        self,
        permit: Permit,
    ) -> Result<T, Problem> {
        let text = self.small(permit).await?;
        if text.as_str().is_empty() {
            return Ok(T::default());
        }
        // `null` is nothing too.
        text.document::<Option<T>>().map(Option::unwrap_or_default)
    }

    async fn small(self, permit: Permit) -> Result<Text, Problem> {
        let max = DOCUMENT_BYTES_MAX.min(self.state.limits.body_bytes_max as usize);
        self.read(permit, max).await
    }

    async fn read(self, _: Permit, max: usize) -> Result<Text, Problem> {
        let is_empty = http_body::Body::size_hint(&self.body).exact() == Some(0);
        if !is_empty && !self.is_json {
            let detail = "the body must be JSON, with `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
        }
        let (bytes, room) = read(self.body, max, &self.holder, &self.state).await?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Problem::bad_request("bad_body", "the body is not UTF-8"))?;
        Ok(Text { text, _room: room })
    }
}

impl FromRequest<Arc<State>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Problem> {
        let holder = holder(&request)?;
        let is_json = is_json(request.headers());
        Ok(Self { state: Arc::clone(state), holder, is_json, body: request.into_body() })
    }
}

fn holder(request: &Request) -> Result<Holder, Problem> {
    let requester = request.extensions().get::<Requester>();
    requester.map(|requester| requester.holder.clone()).ok_or_else(Problem::internal)
}

/// A body that was read. It has room in the server for as long as this lives.
pub(crate) struct Text {
    text: String,
    _room: Held,
}

impl Text {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The document that it is.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // An array would be parsed as the fields of the document, in their order.
        if self.text.trim_start().starts_with('[') {
            return Err(Problem::bad_request("bad_body", "the body must be an object, not a list"));
        }
        serde_json::from_str(&self.text)
            .map_err(|error| Problem::bad_request("bad_body", format!("the body: {error}")))
    }
}

/// The W3C `traceparent` of the request, as it came.
pub(crate) struct Traceparent(pub(crate) Option<String>);

impl FromRequestParts<Arc<State>> for Traceparent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<Self, Problem> {
        let given = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        Ok(Self(given.map(str::to_owned)))
    }
}

/// Reads a body to its end. Room is reserved for received bytes, and a client that is too slow is disconnected.
async fn read(
    mut body: Body,
    max: usize,
    holder: &Holder,
    state: &State,
) -> Result<(Vec<u8>, Held), Problem> {
    let announced = http_body::Body::size_hint(&body).exact();
    let announced = announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(too_large(max));
    }
    let most = announced.unwrap_or(max);
    let mut room = state.rooms.bodies.take(holder, BODY_BYTES_MIN as u64)?;
    let mut bytes = Vec::new();
    let began = Instant::now();
    loop {
        let until = began + time_for(bytes.len(), state);
        let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await else {
            state.bodies_too_slow.fetch_add(1, Ordering::Relaxed);
            let detail = "the body did not arrive in time, or too slowly \
                          (server.client_timeout_ms, server.client_bytes_per_second_min)";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail));
        };
        match frame {
            None => return Ok((bytes, room)),
            Some(Err(_)) => {
                return Err(Problem::bad_request("bad_body", "the body is incomplete"));
            }
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { continue };
                keep(&mut bytes, data, most, &mut room)?;
            }
        }
    }
}

/// Maximum time for this much of a body.
fn time_for(bytes: usize, state: &State) -> Duration {
    let at_least_rate = bytes as f64 / f64::from(state.limits.client_bytes_per_second_min.max(1));
    state.limits.client_timeout.min(SLOW_WITHIN + Duration::from_secs_f64(at_least_rate))
}

/// Adds to what has come. The room grows with the memory, and that by doubling, up to `most`.
fn keep(bytes: &mut Vec<u8>, data: &[u8], most: usize, room: &mut Held) -> Result<(), Problem> {
    let length = bytes.len() + data.len();
    if length > most {
        return Err(too_large(most));
    }
    if length > bytes.capacity() {
        let capacity = (bytes.capacity() * 2).max(BODY_BYTES_MIN).min(most).max(length);
        room.resize(capacity.max(BODY_BYTES_MIN) as u64)?;
        bytes.reserve_exact(capacity - bytes.len());
    }
    bytes.extend_from_slice(data);
    Ok(())
}

fn too_large(max: usize) -> Problem {
    let detail = format!("a body may have at most {max} bytes here (server.body_bytes_max)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).limit(max as u64)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// What the path names.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<State>> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, &())
            .await
            .map_err(|error| Problem::bad_request("bad_path", error.body_text()))?;
        Ok(Self(value))
    }
}

/// The query.
pub(crate) struct InQuery<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<State>> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, &())
            .await
            .map_err(|error| Problem::bad_request("bad_query", error.body_text()))?;
        Ok(Self(value))
    }
}

/// A header as text, if it is there.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map(str::trim);
    text.map(Some).map_err(|_| Problem::bad_request("bad_header", format!("{name} is not ASCII")))
}

/// A form of the console: small, and sent by the console's own page.
pub(crate) struct Form<T>(pub(crate) T);

/// Most bytes of a form.
const FORM_BYTES_MAX: usize = 16 << 10;

impl<T: DeserializeOwned> FromRequest<Arc<State>> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Problem> {
        let holder = holder(&request)?;
        let (bytes, _room) = read(request.into_body(), FORM_BYTES_MAX, &holder, state).await?;
        serde_urlencoded::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| Problem::bad_request("bad_body", format!("the form: {error}")))
    }
}
