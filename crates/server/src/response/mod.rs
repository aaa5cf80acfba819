//! Responses: documents, problems, and common headers.

mod finish;
mod pieces;
mod problem;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

pub(crate) use finish::{RequestId, finish};
pub(crate) use pieces::{as_made, in_pieces};
pub(crate) use problem::{Problem, Problems, panicked};

/// What a handler answers.
pub(crate) type Answer = Result<Response, Problem>;

/// A document.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(document).map_err(|error| {
        tracing::error!(%error, "a response could not be written");
        Problem::internal()
    })?;
    Ok(json_bytes(status, body))
}

/// A document that is written already.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
