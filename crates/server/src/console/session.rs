//! Who looks at the console. A browser carries its token in a cookie that scripts cannot read and that
//! other sites' pages do not send; a form that acts carries a word besides, which only our own pages
//! know (CSRF). The API takes neither: it asks for `Authorization`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use rehome_app::tokens::TokenHash;
use uuid::Uuid;

use super::pages::frame::{self, Viewer};
use crate::auth::Caller;
use crate::state::State;

const COOKIE: &str = "rehome_session";
/// Twelve hours: a shift.
const SECONDS: u32 = 12 * 3_600;

/// Somebody who may look.
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) viewer: Viewer,
}

impl Session {
    fn of(state: &State, headers: &HeaderMap) -> Option<Self> {
        let tokens = Arc::clone(&state.tokens.borrow());
        if tokens.is_empty() {
            let csrf = word(&state.forms.to_string());
            let viewer = Viewer { name: None, operates: true, csrf };
            return Some(Self { caller: Caller::anyone(), viewer });
        }
        let token = cookie(headers)?;
        let caller = Caller::known(&tokens, &token).filter(|caller| caller.may_view().is_ok())?;
        let viewer = Viewer {
            name: Some(caller.name().to_owned()),
            operates: caller.may_operate().is_ok(),
            // The same at every server that knows the token, and known to nobody without it.
            csrf: word(&token),
        };
        Some(Self { caller, viewer })
    }

    /// Whether a form came from one of our own pages.
    pub(super) fn sent(&self, csrf: &str) -> bool {
        TokenHash::of(csrf).matches(&TokenHash::of(&self.viewer.csrf))
    }

    /// The page for one who may not act, or whose form is not ours.
    pub(super) fn check(&self, csrf: &str, back: &str) -> Result<(), Box<Response>> {
        let refused = |title: &str, detail: &str| {
            let page = frame::problem(Some(&self.viewer), title, detail, back);
            Box::new((axum::http::StatusCode::FORBIDDEN, super::html(&page)).into_response())
        };
        if !self.viewer.operates {
            return Err(refused(
                "Not allowed",
                "Your token may look, and not act. Nothing was changed.",
            ));
        }
        if !self.sent(csrf) {
            return Err(refused(
                "The form is too old",
                "Load the page again and say it once more. Nothing was changed.",
            ));
        }
        Ok(())
    }
}

impl FromRequestParts<Arc<State>> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Response> {
        Self::of(state, &parts.headers)
            .ok_or_else(|| Redirect::to("/console/login").into_response())
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

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs =
        cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned()).next()
}

/// Who has a session, if there are tokens.
pub(crate) fn caller(state: &State, headers: &HeaderMap) -> Option<Caller> {
    Session::of(state, headers).map(|session| session.caller)
}

/// Keeps the token in the browser.
pub(super) fn begin(state: &State, token: &str) -> Option<HeaderValue> {
    let tokens = Arc::clone(&state.tokens.borrow());
    let fits = Caller::known(&tokens, token).is_some_and(|caller| caller.may_view().is_ok());
    fits.then(|| set(state, token, SECONDS)).flatten()
}

/// Has the browser forget it.
pub(super) fn end(state: &State) -> Option<HeaderValue> {
    set(state, "", 0)
}

fn set(state: &State, token: &str, seconds: u32) -> Option<HeaderValue> {
    let secure = if state.deployment.config().server.tls.is_some() { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).ok()
}
