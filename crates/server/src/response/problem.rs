//! Problem documents, by RFC 9457.

use std::any::Any;
use std::collections::BTreeMap;

use crate::console;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rehome_api::ErrorBody;
use rehome_api::problem::{Problem as Document, TYPE_PREFIX};
use rehome_app::{AppError, Kind};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// A problem, not written yet: [`super::finish`] adds the request's id and writes it.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    document: Document,
    headers: HeaderMap,
}

impl Problem {
    /// A problem with its stable word, and its sentence for people.
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let document = Document {
            kind: format!("{TYPE_PREFIX}{code}"),
            title: code.replace('_', " "),
            status: status.as_u16(),
            detail: detail.into(),
            ..Document::default()
        };
        Self(Box::new(Inner { status, document, headers: HeaderMap::new() }))
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// It may pass: try again after so many seconds.
    pub(crate) fn retry(
        status: StatusCode,
        code: &str,
        detail: impl Into<String>,
        seconds: u16,
    ) -> Self {
        Self::new(status, code, detail).header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// An internal error; the log has the cause.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error of the server")
    }

    /// The server is about to end.
    pub(crate) fn stopping() -> Self {
        let detail = "the server is stopping; try again, another server may answer";
        Self::retry(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail, 1)
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same with more fields.
    pub(crate) fn with(mut self, say: impl FnOnce(&mut Document)) -> Self {
        say(&mut self.0.document);
        self
    }

    /// The same of a limit.
    pub(crate) fn limit(self, limit: u64) -> Self {
        self.with(|document| document.limit = Some(limit))
    }

    /// The document, for use inside a response.
    pub(crate) fn document(&self) -> &Document {
        &self.0.document
    }

    /// As it is written, with the request's id: a document, or a page for a person.
    pub(super) fn write(self, request_id: &str, for_a_person: bool) -> Response {
        let Inner { status, mut document, headers } = *self.0;
        if for_a_person {
            return (status, headers, console::stray(&document, request_id)).into_response();
        }
        document.request_id = Some(request_id.to_owned());
        // Texts and numbers: writing them cannot fail.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, headers, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    /// The problem for an error of a use case.
    pub(crate) fn of(error: &AppError) -> Self {
        let ErrorBody { message, tenant_id, migration_id, state, .. } = error.body();
        let status = status(error.kind(), error.code());
        let problem = if status == StatusCode::SERVICE_UNAVAILABLE {
            Self::retry(status, error.code(), message, 1)
        } else {
            Self::new(status, error.code(), message)
        };
        problem.with(|document| {
            document.tenant_id = tenant_id;
            document.migration_id = migration_id;
            document.state = state;
        })
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        if status(error.kind(), error.code()).is_server_error() {
            tracing::warn!(code = error.code(), %error, "a request failed");
        }
        Self::of(&error)
    }
}

/// The status for an error of a use case.
fn status(kind: Kind, code: &str) -> StatusCode {
    match (kind, code) {
        (Kind::Usage, _) => StatusCode::BAD_REQUEST,
        (Kind::NotFound, _) => StatusCode::NOT_FOUND,
        (Kind::Refused | Kind::Violated, _) => StatusCode::CONFLICT,
        (
            Kind::Failed,
            "unreachable" | "locked" | "waits_for_others" | "disk_full" | "read_only" | "failing",
        ) => StatusCode::SERVICE_UNAVAILABLE,
        (Kind::Failed, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a handler that panicked answers.
#[allow(clippy::needless_pass_by_value, reason = "the layer gives it away")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let what = panic.downcast_ref::<&str>().copied();
    let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = what.unwrap_or("of an unknown kind"), "a handler panicked");
    Problem::internal().into_response()
}

/// The problems that any route may answer, for the OpenAPI document.
pub(crate) struct Problems;

impl utoipa::IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let all = [
            (400, "The request is invalid."),
            (401, "The token is missing or unknown."),
            (403, "The token's role does not allow it, or the page's origin is not allowed."),
            (404, "Not found."),
            (405, "The path does not support this method."),
            (406, "`Accept` excludes what the path answers with."),
            (408, "The body did not arrive in time, or too slowly."),
            (409, "Not possible in this state; for an append: a conflict."),
            (412, "The state differs from `If-Match`."),
            (413, "Too large; `limit` is the maximum."),
            (415, "The body is not `application/json`."),
            (422, "The idempotency key was used for another request."),
            (429, "Over a limit; try again after `Retry-After` seconds."),
            (500, "An internal error of the server."),
            (503, "Temporarily unavailable; try again after `Retry-After` seconds."),
        ];
        let response = |text| {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new()
                .description(text)
                .content("application/problem+json", content)
                .build();
            RefOr::T(response)
        };
        all.into_iter().map(|(status, text)| (status.to_string(), response(text))).collect()
    }
}
