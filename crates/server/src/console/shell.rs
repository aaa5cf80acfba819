//! What pages have besides their content: headers, assets, and a page for requests that came to none.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use rehome_api::problem::Problem as Document;

use super::pages::frame;
use crate::accept;

/// The content security policy: only this server, and no script or style but its files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Paths of programs: their errors are documents for the program that requests them.
const OF_PROGRAMS: [&str; 4] = ["/v1/", "/health/", "/metrics", "/openapi.json"];

/// Headers that every page has.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    protect(response.headers_mut());
    response
}

fn protect(headers: &mut HeaderMap) {
    let set = [
        ("content-security-policy", POLICY),
        ("x-frame-options", "DENY"),
        // With less than this, browsers send `Origin: null` with our own forms.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ];
    for (name, value) in set {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

pub(super) fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = HeaderValue::from_static(kind);
    let cache = HeaderValue::from_static("no-cache");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], text).into_response()
}

/// Whether a person reads the answer: a browser asks for pages, and not for a path of programs.
pub(crate) fn is_read_by_a_person(request: &Request) -> bool {
    let path = request.uri().path();
    accept::names(request.headers(), "text/html")
        && !OF_PROGRAMS.iter().any(|start| path.starts_with(start))
}

/// A problem as a page.
pub(crate) fn stray(problem: &Document, request_id: &str) -> Response {
    let (title, detail) = match problem.status {
        404 => ("There is no such page", "Nothing is at this address."),
        _ => (problem.title.as_str(), problem.detail.as_str()),
    };
    let mut response = Html(frame::stray(title, detail, request_id).into_string()).into_response();
    protect(response.headers_mut());
    response
}
