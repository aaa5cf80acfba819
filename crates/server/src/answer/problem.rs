//! Problems: what is answered instead, by RFC 9457.

use std::any::Any;
use std::collections::BTreeMap;

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

    /// Something of ours is wrong; the log says what.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an error of the server's own")
    }

    /// The server is about to end.
    pub(crate) fn stopping() -> Self {
        let detail = "the server is stopping; try again, another one may answer";
        Self::retry(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail, 1)
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same with more said.
    pub(crate) fn with(mut self, say: impl FnOnce(&mut Document)) -> Self {
        say(&mut self.0.document);
        self
    }

    /// The same of a limit.
    pub(crate) fn limit(self, limit: u64) -> Self {
        self.with(|document| document.limit = Some(limit))
    }

    /// As it is told inside of an answer.
    pub(crate) fn document(&self) -> &Document {
        &self.0.document
    }

    /// As it is written, with the request's id.
    pub(super) fn write(self, request_id: &str) -> Response {
        let Inner { status, mut document, headers } = *self.0;
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
    /// What a use case says instead.
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
            (400, "The request makes no sense."),
            (401, "There is no token, or nobody knows it."),
            (403, "The token's role does not allow it, or the page may not call."),
            (404, "What it is about does not exist."),
            (405, "Not a method of this path."),
            (409, "Not possible in this state; of an append: a conflict."),
            (412, "It is not as `If-Match` has it."),
            (413, "Too large; `limit` says how much is taken."),
            (415, "The body is not `application/json`."),
            (422, "The idempotency key was used for something else."),
            (429, "Too much at once; try again after `Retry-After` seconds."),
            (500, "An error of the server's own."),
            (503, "It may pass; try again after `Retry-After` seconds."),
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
