//! The console: pages that are made here, live by server-sent events, and that work without a script.
//!
//! ```text
//! request ─▶ session (cookie) ─▶ look (use cases) ─▶ pages (HTML) ─▶ browser
//!                                     ▲                                 │
//!                      live, each second ◀──────── EventSource ─────────┘
//! ```
//!
//! A page that only looks is a GET. What acts is asked for on a page that says what will happen, and
//! sent from there as a form.

mod act;
mod chart;
mod live;
mod look;
mod pages;
mod session;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use maud::Markup;
use rehome_app::AppError;
use rehome_domain::ids::MigrationId;
use serde::Deserialize;
use uuid::Uuid;

use crate::follow;
use crate::rooms::Requester;
use crate::state::State;
use crate::take::{Form, InPath, InQuery};
use pages::frame;
use session::Session;

pub(crate) use live::Shown;
pub(crate) use session::secret;

/// What a page may load and whom it may talk to: this server, and no script or style but our files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages and what they are made of.
pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(overview))
        .route("/migrations/{id}", get(migration))
        .route("/console/live", get(live))
        .route("/console/start", get(act::start_form).post(act::start))
        .route("/console/plan", get(act::plan))
        .route("/console/migrations/{id}/{action}", get(act::confirm).post(act::act))
        .route("/console/checklists/{id}", get(checklists))
        .route("/console/login", get(login_form).post(login))
        .route("/console/logout", post(logout))
        .route(
            "/assets/console.css",
            get(|| async { asset("text/css", include_str!("assets/console.css")) }),
        )
        .route(
            "/assets/console.js",
            get(|| async { asset("text/javascript", include_str!("assets/console.js")) }),
        )
        .route(
            "/assets/icon.svg",
            get(|| async { asset("image/svg+xml", include_str!("assets/icon.svg")) }),
        )
        .layer(middleware::from_fn(guard))
}

/// Headers that every page has.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
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
    response
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = HeaderValue::from_static(kind);
    let cache = HeaderValue::from_static("no-cache");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], text).into_response()
}

fn html(page: &Markup) -> Html<String> {
    Html(page.clone().into_string())
}

/// The page of an error of a use case.
fn failed(session: &Session, error: &AppError, back: &str) -> Response {
    use rehome_app::Kind;
    let (status, title) = match error.kind() {
        Kind::Usage => (StatusCode::BAD_REQUEST, "That cannot be"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "Not there"),
        Kind::Refused | Kind::Violated => (StatusCode::CONFLICT, "Not possible now"),
        Kind::Failed => (StatusCode::SERVICE_UNAVAILABLE, "It did not work"),
    };
    let page = frame::problem(Some(&session.viewer), title, &error.to_string(), back);
    (status, html(&page)).into_response()
}

async fn overview(Shared(state): Shared<Arc<State>>, session: Session) -> Response {
    match look::overview(&state.deployment).await {
        Ok(seen) => html(&pages::overview::page(&seen, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/"),
    }
}

async fn migration(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath(id): InPath<Uuid>,
) -> Response {
    match look::migration(&state.deployment, MigrationId::new(id)).await {
        Ok(seen) => html(&pages::migration::page(&seen, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/"),
    }
}

async fn checklists(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath(id): InPath<Uuid>,
) -> Response {
    match look::checklists(&state.deployment, MigrationId::new(id)).await {
        Ok(lists) => {
            let page = pages::checklists::page(&session.viewer, &id.to_string(), &lists);
            html(&page).into_response()
        }
        Err(error) => failed(&session, &error, "/"),
    }
}

#[derive(Deserialize)]
struct Looked {
    migration: Option<Uuid>,
}

async fn live(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    requester: Requester,
    InQuery(looked): InQuery<Looked>,
) -> Response {
    let room = match follow::room(&state, requester) {
        Ok(room) => room,
        Err(problem) => return problem.into_response(),
    };
    let page = live::Page {
        state: Arc::clone(&state),
        viewer: session.viewer,
        migration: looked.migration.map(MigrationId::new),
        told: std::collections::HashMap::new(),
        first: true,
        ticked: None,
    };
    follow::answer(&state, session.caller, room, page)
}

async fn login_form() -> Response {
    html(&frame::login(None)).into_response()
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    token: String,
}

async fn login(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Response {
    let encrypted = session::is_encrypted(&state, &headers);
    match session::begin(&state, login.token.trim(), encrypted).await {
        Ok(Some((cookie, caller))) => {
            let mut response = ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response();
            // For the access log.
            response.extensions_mut().insert(caller);
            return response;
        }
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    let why = "Nobody knows this token, it is over, or it is one that sees no console: a tenant's, one for \
               metrics, or one that is bound to tenants or stores.";
    (StatusCode::UNAUTHORIZED, html(&frame::login(Some(why)))).into_response()
}

#[derive(Deserialize)]
struct Word {
    #[serde(default)]
    csrf: String,
}

async fn logout(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    headers: HeaderMap,
    Form(word): Form<Word>,
) -> Response {
    if !session.sent(&word.csrf) {
        return Redirect::to("/").into_response();
    }
    let encrypted = session::is_encrypted(&state, &headers);
    let cookie = match session::end(&state, &session, encrypted).await {
        Ok(cookie) => cookie.map(|cookie| [(header::SET_COOKIE, cookie)]),
        Err(problem) => return problem.into_response(),
    };
    (cookie, Redirect::to("/console/login")).into_response()
}
