//! Pages of other sites: they must not make a browser act that is on this machine, or that has a session
//! with a proxy in front.
//!
//! Two rules. A request that a browser marks as coming from another origin or site is refused unless the
//! origin is configured, or the user follows a link. And a server without tokens answers only to
//! names of this machine and to configured names, which prevents
//! DNS rebinding.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rehome_app::config::ServerConfig;

use crate::response::Problem;
use crate::state::State as Shared;

/// The accepted origins and hosts.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    allowed: Arc<[String]>,
    hosts: Arc<[String]>,
    only_loopback: bool,
}

impl Origins {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        Self {
            allowed: config.cors.as_slice().into(),
            hosts: config.hosts.as_slice().into(),
            only_loopback: crate::is_loopback(config.bind.ip()),
        }
    }

    /// Whether the server answers to this name, of which a page can make no other.
    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            // Not a name, so not subject to DNS rebinding.
            Ok(address) => !self.only_loopback || crate::is_loopback(address),
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|host| name.eq_ignore_ascii_case(host))
            }
        }
    }

    /// Refuses requests of other sites' pages; `is_open`: no token is required.
    fn check(&self, request: &Request, is_open: bool) -> Result<(), Problem> {
        let headers = request.headers();
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or_else(|| text(headers, header::HOST));
        let any_host = !is_open && self.hosts.is_empty();
        if !any_host && !host.is_some_and(|host| self.is_ours(host)) {
            let detail = "call the server by an address of its machine, by localhost, or by a \
                          name in server.hosts";
            return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_host", detail));
        }
        let origin = headers.get(header::ORIGIN);
        let looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if is_of_another_site(headers) {
            let origin = origin.and_then(|origin| origin.to_str().ok());
            let is_allowed = origin.is_some_and(|origin| self.allows(origin));
            if is_allowed || looks && is_link(headers) {
                return Ok(());
            }
            return Err(foreign());
        }
        let Some(origin) = origin.filter(|_| !looks) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let own = origin.split_once("://").map(|(_, host)| host);
        if own.is_some() && own == host || self.allows(origin) {
            return Ok(());
        }
        Err(foreign())
    }

    fn allows(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == origin)
    }
}

fn foreign() -> Problem {
    let detail = "requests from that origin are not allowed; see server.cors";
    Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail)
}

/// Whether a browser marks it as sent by another site's page. Source: W3C Fetch Metadata.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether the user navigates to the page, outside of a frame.
fn is_link(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &[u8]| headers.get(name).is_some_and(|v| v.as_bytes() == value);
    says("sec-fetch-mode", b"navigate") && says("sec-fetch-dest", b"document")
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Refuses what another site's page sends.
pub(crate) async fn check_origin(
    State((origins, state)): State<(Origins, Arc<Shared>)>,
    request: Request,
    next: Next,
) -> Response {
    match origins.check(&request, state.roll.known().is_open()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(
        (origins, has_tokens): (&Origins, bool),
        method: Method,
        host: &str,
        origin: Option<&str>,
    ) -> bool {
        let mut request = Request::builder().method(method).header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        origins.check(&request.body(Body::empty()).unwrap(), !has_tokens).is_ok()
    }

    #[test]
    fn a_page_of_another_site_may_look_and_not_act() {
        let config =
            ServerConfig { cors: vec!["https://ops.example".into()], ..ServerConfig::default() };
        let origins = (&Origins::new(&config), true);
        let host = "rehome.example:7411";
        for (origin, allowed) in [
            (None, true),
            (Some("https://rehome.example:7411"), true),
            (Some("https://ops.example"), true),
            (Some("https://evil.example"), false),
            (Some("https://rehome.example:7411.evil.example"), false),
            (Some("null"), false),
        ] {
            assert_eq!(asked(origins, Method::POST, host, origin), allowed, "{origin:?}");
            assert!(asked(origins, Method::GET, host, origin), "{origin:?}");
        }
    }

    fn from_site(method: Method, site: &str, mode: &str, dest: &str, origin: &str) -> bool {
        let config =
            ServerConfig { cors: vec!["https://ops.example".into()], ..ServerConfig::default() };
        let request = Request::builder()
            .method(method)
            .header(header::HOST, "rehome.example")
            .header("sec-fetch-site", site)
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", dest);
        let request = match origin {
            "" => request,
            origin => request.header(header::ORIGIN, origin),
        };
        Origins::new(&config).check(&request.body(Body::empty()).unwrap(), false).is_ok()
    }

    #[test]
    fn a_page_of_another_site_reads_nothing_and_may_link_here() {
        for site in ["same-origin", "none"] {
            assert!(from_site(Method::GET, site, "cors", "empty", ""), "{site}");
        }
        for site in ["cross-site", "same-site"] {
            assert!(from_site(Method::GET, site, "navigate", "document", ""), "{site}");
            for (mode, dest) in
                [("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe"), ("navigate", "")]
            {
                assert!(!from_site(Method::GET, site, mode, dest, ""), "{site} {mode} {dest}");
            }
            assert!(!from_site(Method::POST, site, "navigate", "document", ""));
            assert!(from_site(Method::POST, site, "cors", "empty", "https://ops.example"));
            assert!(!from_site(Method::POST, site, "cors", "empty", "https://evil.example"));
        }
    }

    #[test]
    fn configured_names_are_taken_and_nothing_else_that_a_page_could_name() {
        let hosts = vec!["rehome.internal".to_owned()];
        let everywhere = "0.0.0.0:7411".parse().unwrap();
        let config = ServerConfig { hosts, bind: everywhere, ..ServerConfig::default() };
        for has_tokens in [false, true] {
            let origins = (&Origins::new(&config), has_tokens);
            for (host, taken) in [
                ("rehome.internal:7411", true),
                ("Rehome.Internal", true),
                ("localhost", true),
                ("192.0.2.1:7411", true),
                ("[2001:db8::1]", true),
                ("evil.example", false),
                ("x.rehome.internal", false),
                ("rehome.internal.evil.example", false),
            ] {
                assert_eq!(asked(origins, Method::GET, host, None), taken, "{host}");
            }
        }
        let unnamed = ServerConfig { bind: everywhere, ..ServerConfig::default() };
        let origins = (&Origins::new(&unnamed), false);
        assert!(!asked(origins, Method::GET, "rehome.internal", None));
        assert!(asked(origins, Method::GET, "192.0.2.1", None));
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_taken() {
        let origins = (&Origins::new(&ServerConfig::default()), false);
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
            assert_eq!(asked(origins, Method::GET, host, None), local, "{host}");
        }
        let with_tokens = (&Origins::new(&ServerConfig::default()), true);
        assert!(asked(with_tokens, Method::GET, "rehome.example", None));
    }
}
