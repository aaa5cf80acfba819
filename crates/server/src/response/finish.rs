//! Headers of every response.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use super::Problem;
use crate::console;
use crate::state::State as Shared;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// For a year, browsers come back with TLS only. Source: RFC 6797.
const HSTS: &str = "max-age=31536000";
/// Most bytes of an id that a client gives.
const ID_BYTES_MAX: usize = 128;

/// The request's id.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, or a new one.
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).filter(|id| {
            let bytes = id.as_bytes();
            (1..=ID_BYTES_MAX).contains(&bytes.len())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        });
        Self(given.cloned().unwrap_or_else(|| {
            HeaderValue::from_str(&Uuid::new_v4().to_string())
                .unwrap_or(HeaderValue::from_static("none"))
        }))
    }

    /// As it is answered.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives the request an id, bounds its time, and writes what a problem became.
pub(crate) async fn finish(
    State(state): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (id, began) = (RequestId::of(&request), Instant::now());
    let method = request.method().clone();
    let is_encrypted = state.is_encrypted(&request);
    let is_read = console::is_read_by_a_person(&request);
    request.extensions_mut().insert(id.clone());
    // The pattern and not the path: ids of streams are the customer's.
    let path = request.extensions().get::<MatchedPath>().cloned();
    let answered = tokio::time::timeout(state.request_within, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        let detail =
            "the request timed out, and its outcome is unknown; read the state, or send the same request again";
        Problem::retry(StatusCode::SERVICE_UNAVAILABLE, "timed_out", detail, 1).into_response()
    });
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // What a layer in between added, as for other origins, stays.
        let added = std::mem::take(response.headers_mut());
        response = problem.write(id.as_str(), is_read);
        for (name, value) in &added {
            if !response.headers().contains_key(name) && name != header::CONTENT_LENGTH {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    tracing::debug!(
        request_id = id.as_str(),
        %method,
        route = path.as_ref().map_or("none", MatchedPath::as_str),
        status = response.status().as_u16(),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.0);
    if is_encrypted {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
