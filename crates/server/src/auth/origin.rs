//! Pages of other sites: a browser that is on this machine, or that holds a session with a proxy in
//! front, must not be made to act for them.
//!
//! Two rules. A request that a browser says comes from another origin, and that is not a mere look,
//! is refused unless the origin is configured. And a server without tokens answers only to names of
//! this machine, so that a name that a page made to point here (DNS rebinding) is no way in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rehome_app::config::ServerConfig;

use crate::answer::Problem;

/// Which origins and hosts are taken.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    allowed: Arc<[String]>,
    only_local_names: bool,
}

impl Origins {
    pub(crate) fn new(config: &ServerConfig, has_tokens: bool) -> Self {
        let only_local_names = !has_tokens && crate::is_loopback(config.bind.ip());
        Self { allowed: config.cors.as_slice().into(), only_local_names }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let headers = request.headers();
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or_else(|| text(headers, header::HOST));
        if self.only_local_names && !host.is_some_and(is_local) {
            let detail =
                "a server without tokens is called by an address of this machine, or localhost";
            return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_host", detail));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let origin = origin.to_str().unwrap_or_default();
        let own = origin.split_once("://").map(|(_, host)| host);
        if own.is_some() && own == host || self.allowed.iter().any(|allowed| allowed == origin) {
            return Ok(());
        }
        let detail = "pages of that origin may not call; server.cors lists those that may";
        Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail))
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a host is a name of this machine that nobody else can make.
fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok_and(crate::is_loopback)
}

/// Refuses what another site's page sends.
pub(crate) async fn check_origin(
    State(origins): State<Origins>,
    request: Request,
    next: Next,
) -> Response {
    match origins.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(origins: &Origins, method: Method, host: &str, origin: Option<&str>) -> bool {
        let mut request = Request::builder().method(method).header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        origins.check(&request.body(Body::empty()).unwrap()).is_ok()
    }

    #[test]
    fn a_page_of_another_site_may_look_and_not_act() {
        let config =
            ServerConfig { cors: vec!["https://ops.example".into()], ..ServerConfig::default() };
        let origins = Origins::new(&config, true);
        let host = "rehome.example:7411";
        for (origin, allowed) in [
            (None, true),
            (Some("https://rehome.example:7411"), true),
            (Some("https://ops.example"), true),
            (Some("https://evil.example"), false),
            (Some("https://rehome.example:7411.evil.example"), false),
            (Some("null"), false),
        ] {
            assert_eq!(asked(&origins, Method::POST, host, origin), allowed, "{origin:?}");
            assert!(asked(&origins, Method::GET, host, origin), "{origin:?}");
        }
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_taken() {
        let origins = Origins::new(&ServerConfig::default(), false);
        for (host, local) in [
            ("localhost", true),
            ("LocalHost:7411", true),
            ("127.0.0.1:7411", true),
            ("[::1]:7411", true),
            ("evil.example", false),
            ("localhost.evil.example:7411", false),
            ("127.0.0.1.evil.example", false),
            ("192.0.2.1", false),
            ("", false),
        ] {
            assert_eq!(asked(&origins, Method::GET, host, None), local, "{host}");
        }
        let with_tokens = Origins::new(&ServerConfig::default(), true);
        assert!(asked(&with_tokens, Method::GET, "rehome.example", None));
    }
}
