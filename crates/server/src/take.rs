//! What a request holds, taken out of it: bodies within their bounds, paths, queries. What is not
//! as it must be is a problem.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::Problem;
use crate::state::{PIECE_BYTES, State};

/// Most that is taken in of a body that is too large, and for how long.
const DRAIN_BYTES: usize = 32 << 20;
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

/// A body of JSON that has room in the server for as long as this lives.
pub(crate) struct JsonBody {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl JsonBody {
    /// The text.
    pub(crate) fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.bytes)
            .map_err(|_| Problem::bad_request("bad_body", "the body is not UTF-8"))
    }

    /// A document that holds nothing of a customer's.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = self.text()?;
        // A list would be taken for the fields of the document, in their order.
        if text.trim_start().starts_with('[') {
            return Err(Problem::bad_request("bad_body", "the body: an object, and not a list"));
        }
        serde_json::from_str(text)
            .map_err(|error| Problem::bad_request("bad_body", format!("the body: {error}")))
    }

    /// The same; the default where nothing was sent.
    pub(crate) fn document_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.bytes.is_empty() {
            return Ok(T::default());
        }
        // `null` is nothing too.
        self.document::<Option<T>>().map(Option::unwrap_or_default)
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

impl FromRequest<Arc<State>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Problem> {
        let max = state.limits.body_bytes_max as usize;
        let (headers, body) = (request.headers(), request.body());
        let announced = http_body::Body::size_hint(body).exact();
        let empty = announced == Some(0);
        if !empty && !is_json(headers) {
            let detail = "the body must be JSON, with `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
        }
        let announced = announced.map_or(max, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced > max {
            drain(request.into_body()).await;
            return Err(too_large(max));
        }
        let pieces = u32::try_from(announced.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&state.bodies).try_acquire_many_owned(pieces).map_err(|_| {
            let detail = "too many requests are under way; try again";
            Problem::retry(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail, 1)
        })?;
        let bytes = read(request.into_body(), max, state).await?;
        Ok(Self { bytes, _room: room })
    }
}

/// Takes in some of what is not wanted: a client that is still sending when the connection is closed
/// would never see why.
async fn drain(mut body: Body) {
    let drained = async {
        let mut bytes = 0;
        while bytes < DRAIN_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever sends more, or nothing, is answered all the same.
    let _ = tokio::time::timeout(DRAIN_WITHIN, drained).await;
}

async fn read(body: Body, max: usize, state: &State) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, max).collect();
    match tokio::time::timeout(state.limits.client_timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(max)),
        Ok(Err(_)) => Err(Problem::bad_request("bad_body", "the body ended before its end")),
        Err(_) => {
            let detail = "the body did not come in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        }
    }
}

fn too_large(max: usize) -> Problem {
    let detail = format!("a body has at most {max} bytes here (server.body_bytes_max)");
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

/// What the query says.
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

/// A form of the console: small, and sent by a page of ours.
pub(crate) struct Form<T>(pub(crate) T);

/// Most bytes of a form.
const FORM_BYTES_MAX: usize = 16 << 10;

impl<T: DeserializeOwned> FromRequest<Arc<State>> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Problem> {
        let bytes = read(request.into_body(), FORM_BYTES_MAX, state).await?;
        serde_urlencoded::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| Problem::bad_request("bad_body", format!("the form: {error}")))
    }
}
