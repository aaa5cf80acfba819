//! Authentication of a request from its head.
//!
//! Programs use a token (`Authorization`) or a certificate; cookies do not authenticate them. Browsers use the
//! cookie of a session, which only the console accepts; or a certificate, or the token of an issuer that a proxy
//! in front of the console has added.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use rehome_app::oidc::Refused;

use super::caller::Caller;
use super::known::NoEntry;
use super::roll::Roll;
use crate::response::Problem;

/// The cookie that holds the secret of a session.
pub(crate) const COOKIE: &str = "rehome_session";

/// Who a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The bearer of its token, or why there is none.
    pub(super) bearer: Result<Caller, Problem>,
    /// Who has the session of its cookie.
    session: Result<Option<Caller>, Problem>,
    /// Whose token it shows that is worth nothing any more.
    pub(super) former: Option<Arc<str>>,
}

impl Identity {
    /// Authenticates the request. Public paths need no identity.
    /// `certificate`: the client's, in DER, which the TLS handshake has verified.
    pub(crate) async fn find(
        roll: &Roll,
        path: &str,
        headers: &HeaderMap,
        certificate: Option<&[u8]>,
    ) -> Self {
        if is_public(path) {
            return Self::of(Err(unauthorized("this path needs no token")), None);
        }
        if roll.known().is_open() {
            // A token may be the first one, created a moment ago; it closes the deployment.
            let shown = token(headers).ok().filter(|_| is_of_programs(path));
            if let Some(text) = shown
                && let Ok(Ok(caller)) = roll.bearer(text).await
            {
                return Self::of(Ok(caller), None);
            }
            if roll.known().is_open() {
                let anyone = Caller::anyone();
                return Self { session: Ok(Some(anyone.clone())), ..Self::of(Ok(anyone), None) };
            }
        }
        if is_of_programs(path) {
            return match certificate {
                Some(der) if !headers.contains_key(header::AUTHORIZATION) => {
                    let caller = roll.known().certified(der);
                    Self::of(caller.ok_or_else(without_a_role), None)
                }
                _ => Self::of_bearer(roll, headers).await,
            };
        }
        let nobody =
            Self::of(Err(unauthorized("a browser must send the cookie of a session")), None);
        let Some(secret) = cookie(headers) else {
            let issued = token(headers).ok().filter(|text| roll.known().issuers.is_theirs(text));
            let session = match (issued, certificate) {
                (Some(text), _) => roll.known_bearer(text).await,
                (None, Some(der)) => Ok(roll.known().certified(der)),
                (None, None) => Ok(None),
            };
            return Self { session, ..nobody };
        };
        let session = roll.session(secret, path == "/console/live").await;
        Self { session: session.map_err(Problem::from), ..nobody }
    }

    fn of(bearer: Result<Caller, Problem>, former: Option<Arc<str>>) -> Self {
        Self { bearer, session: Ok(None), former }
    }

    async fn of_bearer(roll: &Roll, headers: &HeaderMap) -> Self {
        let text = match token(headers) {
            Ok(text) => text,
            Err(problem) => return Self::of(Err(problem), None),
        };
        match roll.bearer(text).await {
            Ok(Ok(caller)) => Self::of(Ok(caller), None),
            Ok(Err(NoEntry::Unknown)) => Self::of(Err(unauthorized("this token is unknown")), None),
            Ok(Err(NoEntry::Over(name, why))) => {
                let problem = unauthorized(&format!("the token \"{name}\" {why}"));
                Self::of(Err(problem), Some(name))
            }
            Ok(Err(NoEntry::Theirs(refused))) => {
                let why = refused.to_string();
                let problem = match refused {
                    Refused::Token(_) => unauthorized(&why),
                    Refused::Nothing(_) => Problem::new(StatusCode::FORBIDDEN, "no_role", &why),
                    Refused::NotNow(_) => {
                        Problem::retry(StatusCode::SERVICE_UNAVAILABLE, "keys_unknown", &why, 10)
                    }
                };
                Self::of(Err(problem), None)
            }
            Err(not_told) => Self::of(Err(not_told.into()), None),
        }
    }

    /// Who it is, whichever way that is known.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        let session = self.session.as_ref().ok().and_then(Option::as_ref);
        self.bearer.as_ref().ok().or(session)
    }

    /// The user of the console.
    pub(crate) fn session(&self) -> Result<Option<&Caller>, Problem> {
        self.session.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

/// Paths that every client may request without limits.
fn is_public(path: &str) -> bool {
    matches!(path, "/health/live" | "/health/ready" | "/openapi.json")
        || path.starts_with("/assets/")
}

/// Paths for programs, which need a token.
fn is_of_programs(path: &str) -> bool {
    path.starts_with("/v1/") || path.starts_with("/health/") || path == "/metrics"
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn without_a_role() -> Problem {
    let detail = "the certificate is valid, but none of its names has a role here; ask an administrator to add it to \
                  [[auth.certificates]]";
    Problem::new(StatusCode::FORBIDDEN, "no_role", detail)
}

fn token(headers: &HeaderMap) -> Result<&str, Problem> {
    let given = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| unauthorized("a token is needed, as `Authorization: Bearer TOKEN`"))?;
    let given = given.to_str().ok().and_then(|text| text.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, text) = given.ok_or_else(|| unauthorized("Authorization must be `Bearer TOKEN`"))?;
    Ok(text.trim())
}

/// The secret of a session, if the browser shows one.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs =
        cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).next()
}
