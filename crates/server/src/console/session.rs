//! Users of the console. A browser has the secret of a session in a cookie that scripts cannot read and
//! that other sites' pages do not send; it does not keep the token itself. A form that acts carries a second token,
//! which only the server's own pages have (CSRF). The API accepts neither: it requires `Authorization`.
//!
//! The control plane stores sessions, for all servers. One ends when its browser logs out, with its
//! token, after an hour without use, and after twelve hours in any case.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Redirect, Response};
use rehome_app::tokens::TokenHash;
use uuid::Uuid;

use super::pages::frame::{self, Viewer};
use crate::auth::{COOKIE, Caller, Identity, SESSION, cookie};
use crate::response::Problem;
use crate::state::{State, says_https};

/// A logged-in user.
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) viewer: Viewer,
}

impl Session {
    fn of(
        state: &State,
        identity: &Identity,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Problem> {
        let Some(caller) = identity.session()? else { return Ok(None) };
        if caller.may_view_some().is_err() {
            return Ok(None);
        }
        let secret = match cookie(headers) {
            Some(secret) if caller.has_token() => secret.to_owned(),
            _ => state.forms.to_string(),
        };
        let viewer = Viewer {
            name: caller.has_token().then(|| caller.name().to_owned()),
            operates: caller.may_operate_some().is_ok(),
            // The same at every server, and unknown without the session.
            csrf: word(&secret),
        };
        Ok(Some(Self { caller: caller.clone(), viewer }))
    }

    /// Whether a form came from one of our own pages.
    pub(super) fn sent(&self, csrf: &str) -> bool {
        TokenHash::of(csrf).matches(&TokenHash::of(&self.viewer.csrf))
    }

    /// The error page for a read-only user, or for a form that the server did not send.
    pub(super) fn check(&self, csrf: &str, back: &str) -> Result<(), Box<Response>> {
        let refused = |title: &str, detail: &str| {
            let page = frame::problem(Some(&self.viewer), title, detail, back);
            Box::new((axum::http::StatusCode::FORBIDDEN, super::html(&page)).into_response())
        };
        if !self.viewer.operates {
            return Err(refused("Not allowed", "Your token is read-only. Nothing was changed."));
        }
        if !self.sent(csrf) {
            return Err(refused(
                "The form is too old",
                "Reload the page and submit the form again. Nothing was changed.",
            ));
        }
        Ok(())
    }
}

impl FromRequestParts<Arc<State>> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Response> {
        // Every request passes the admission, which puts it there.
        let identity = parts.extensions.get::<Identity>();
        let identity = identity.ok_or_else(|| Problem::internal().into_response())?;
        match Self::of(state, identity, &parts.headers) {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(Redirect::to("/console/login").into_response()),
            Err(problem) => Err(problem.into_response()),
        }
    }
}

/// The word that the forms of a session carry.
fn word(secret: &str) -> String {
    TokenHash::of(&format!("rehome console form {secret}")).to_string()
}

/// A word of this process, for forms where there are no tokens.
pub(crate) fn secret() -> Uuid {
    Uuid::new_v4()
}

/// A session of the bearer of this token: the cookie, and who it is; `None` if the console is not for them.
pub(super) async fn begin(
    state: &State,
    token: &str,
    encrypted: bool,
) -> Result<Option<(HeaderValue, Caller)>, Problem> {
    let Some(caller) = state.roll.known_bearer(token).await? else { return Ok(None) };
    if caller.may_view_some().is_err() {
        return Ok(None);
    }
    let Some(secret) = state.roll.begin_session(&caller).await? else { return Ok(None) };
    let cookie = set(&secret, SESSION.as_secs(), encrypted).ok_or_else(Problem::internal)?;
    Ok(Some((cookie, caller)))
}

/// Ends it, and has the browser forget it.
pub(super) async fn end(
    state: &State,
    session: &Session,
    encrypted: bool,
) -> Result<Option<HeaderValue>, Problem> {
    state.roll.end_session(&session.caller).await?;
    Ok(set("", 0, encrypted))
}

/// `Secure` if any header reports that the browser came with TLS: this only restricts the cookie, and a cookie without it
/// would travel unencrypted.
pub(super) fn is_encrypted(state: &State, headers: &HeaderMap) -> bool {
    state.deployment.config().server.tls.is_some() || says_https(headers)
}

fn set(secret: &str, seconds: u64, encrypted: bool) -> Option<HeaderValue> {
    let secure = if encrypted { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).ok()
}
