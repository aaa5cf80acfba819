//! The console: pages rendered on the server, live by server-sent events, usable without a script.
//!
//! ```text
//! request ─▶ session (cookie) ─▶ look (use cases) ─▶ pages (HTML) ─▶ browser
//!                                     ▲                                 │
//!                      live, each second ◀──────── EventSource ─────────┘
//! ```
//!
//! A read-only page is a GET. An action is a form on a confirmation page that describes
//! its effect.

mod actions;
mod chart;
mod format;
mod live;
mod pages;
mod session;
mod shell;
mod view_model;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use maud::Markup;
use rehome_app::{AppError, MigrationsWanted, TenantsWanted};
use rehome_domain::ids::{DrainId, MigrationId, StoreId, TenantId};
use rehome_domain::migration::Phase;
use serde::Deserialize;
use uuid::Uuid;

use crate::admin;
use crate::extract::{Form, InPath, InQuery};
use crate::response::Problem;
use crate::rooms::Requester;
use crate::sse;
use crate::state::State;
use live::About;
use pages::frame;
use pages::lists::Fields;
use session::Session;
use shell::{asset, guard};

pub(crate) use live::Shown;
pub(crate) use pages::start::fields as wish_fields;
pub(crate) use session::secret;
pub(crate) use shell::{is_read_by_a_person, stray};

/// The pages and what they are made of.
pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(overview))
        .route("/migrations", get(migrations))
        .route("/migrations/{id}", get(migration))
        .route("/drains", get(drains))
        .route("/drains/{id}", get(drain))
        .route("/tenants", get(tenants))
        .route("/tenants/{id}", get(tenant))
        .route("/console/live", get(live))
        .route("/console/start", get(actions::start_form).post(actions::start))
        .route("/console/plan", get(actions::plan))
        .route("/console/migrations/{id}/{action}", get(actions::confirm).post(actions::act))
        .route("/console/checklists/{id}", get(checklists))
        .route("/console/runbook", get(runbook))
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

fn html(page: &Markup) -> Html<String> {
    Html(page.clone().into_string())
}

/// The page of an error of a use case.
fn failed(session: &Session, error: &AppError, back: &str) -> Response {
    use rehome_app::Kind;
    let (status, title) = match error.kind() {
        Kind::Usage => (StatusCode::BAD_REQUEST, "Invalid request"),
        Kind::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        Kind::Refused | Kind::Violated => (StatusCode::CONFLICT, "Not possible now"),
        Kind::Failed => (StatusCode::SERVICE_UNAVAILABLE, "The request failed"),
    };
    let page = frame::problem(Some(&session.viewer), title, &error.to_string(), back);
    (status, html(&page)).into_response()
}

/// The page for a request outside of the bounds of the token, or that cannot be checked now.
fn refused(session: &Session, problem: &Problem) -> Response {
    let document = problem.document();
    let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::FORBIDDEN);
    let page =
        frame::problem(Some(&session.viewer), "Not allowed for this token", &document.detail, "/");
    (status, html(&page)).into_response()
}

async fn overview(Shared(state): Shared<Arc<State>>, session: Session) -> Response {
    match view_model::overview(&state.deployment, &session.caller).await {
        Ok(seen) => html(&pages::overview::page(&seen, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/"),
    }
}

async fn migration(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath(id): InPath<Uuid>,
) -> Response {
    if let Err(problem) = admin::may_view(&state, &session.caller, id).await {
        return refused(&session, &problem);
    }
    match view_model::migration(&state.deployment, MigrationId::new(id)).await {
        Ok(seen) => html(&pages::migration::page(&seen, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/"),
    }
}

/// Drains on their page.
const DRAINS: usize = 100;
/// Tenants on a page.
const TENANTS: usize = 100;

async fn drains(Shared(state): Shared<Arc<State>>, session: Session) -> Response {
    // A drain is of a whole store.
    if let Err(problem) = session.caller.may_view() {
        return refused(&session, &problem);
    }
    match state.deployment.drains(false, None, DRAINS).await {
        Ok(drains) => html(&pages::drains::list(&drains, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/"),
    }
}

async fn drain(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath(id): InPath<Uuid>,
) -> Response {
    // A drain is of a whole store.
    if let Err(problem) = session.caller.may_view() {
        return refused(&session, &problem);
    }
    match view_model::drain(&state.deployment, DrainId::new(id)).await {
        Ok(view) => html(&pages::drains::page(&view, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/drains"),
    }
}

#[derive(Deserialize)]
struct Searched {
    #[serde(default)]
    search: String,
    #[serde(default)]
    store: String,
    #[serde(default)]
    state: String,
    cursor: Option<Uuid>,
}

/// What a field says, if anything.
fn said(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

impl Searched {
    fn phase(&self) -> Result<Option<Phase>, AppError> {
        let unknown =
            || AppError::new(rehome_app::Kind::Usage, "bad_query", "there is no such state");
        said(&self.state).map(|state| Phase::parse(state).ok_or_else(unknown)).transpose()
    }

    fn store(&self) -> Result<Option<StoreId>, AppError> {
        Ok(said(&self.store).map(str::parse).transpose()?)
    }

    fn fields(&self) -> Fields<'_> {
        Fields { search: &self.search, store: &self.store, state: &self.state }
    }
}

async fn migrations(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InQuery(searched): InQuery<Searched>,
) -> Response {
    if let Err(problem) = session.caller.may_view_some() {
        return refused(&session, &problem);
    }
    let (deployment, caller) = (&state.deployment, &session.caller);
    let found = async {
        let wanted = MigrationsWanted {
            search: said(&searched.search).map(str::to_owned),
            phase: searched.phase()?,
            store: searched.store()?,
            before: searched.cursor.map(MigrationId::new),
            ..MigrationsWanted::default()
        };
        // On the first page those that need an operator come first.
        let needs_you = MigrationsWanted { needs_you: true, ..wanted.clone() };
        let needing = match wanted.before {
            None => view_model::found(deployment, caller, needs_you).await?,
            Some(_) => Vec::new(),
        };
        Ok::<_, AppError>((needing, view_model::found(deployment, caller, wanted).await?))
    };
    match tokio::time::timeout(view_model::LIST_WITHIN, found).await {
        Ok(Ok(found)) => {
            html(&pages::lists::migrations(found, &searched.fields(), &session.viewer))
                .into_response()
        }
        Ok(Err(error)) => failed(&session, &error, "/migrations"),
        Err(_) => {
            let silent = "the control plane does not answer; try again";
            failed(&session, &AppError::failed("control_plane_silent", silent), "/migrations")
        }
    }
}

async fn tenants(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InQuery(searched): InQuery<Searched>,
) -> Response {
    // All tenants of the deployment.
    if let Err(problem) = session.caller.may_view() {
        return refused(&session, &problem);
    }
    let found = async {
        let wanted = TenantsWanted {
            after: searched.cursor.map(TenantId::new),
            store: searched.store()?,
            phase: searched.phase()?,
            search: said(&searched.search).map(str::to_owned),
            pinned: false,
            limit: TENANTS,
        };
        state.deployment.tenants(&wanted).await
    };
    match found.await {
        Ok(found) => html(&pages::lists::tenants(&found, &searched.fields(), &session.viewer))
            .into_response(),
        Err(error) => failed(&session, &error, "/tenants"),
    }
}

async fn tenant(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath(id): InPath<Uuid>,
) -> Response {
    let id = TenantId::new(id);
    if let Err(problem) = admin::may_view_tenant(&state, &session.caller, id).await {
        return refused(&session, &problem);
    }
    match view_model::tenant(&state.deployment, &session.caller, id).await {
        Ok(view) => html(&pages::tenant::page(&view, &session.viewer)).into_response(),
        Err(error) => failed(&session, &error, "/tenants"),
    }
}

async fn checklists(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath(id): InPath<Uuid>,
) -> Response {
    if let Err(problem) = admin::may_view(&state, &session.caller, id).await {
        return refused(&session, &problem);
    }
    match view_model::checklists(&state.deployment, MigrationId::new(id)).await {
        Ok(lists) => {
            let page = pages::checklists::page(&session.viewer, &id.to_string(), &lists);
            html(&page).into_response()
        }
        Err(error) => failed(&session, &error, "/"),
    }
}

async fn runbook(session: Session) -> Response {
    html(&pages::runbook::page(&session.viewer)).into_response()
}

#[derive(Deserialize)]
struct Looked {
    migration: Option<Uuid>,
    drain: Option<Uuid>,
    tenant: Option<Uuid>,
}

async fn live(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    requester: Requester,
    InQuery(looked): InQuery<Looked>,
) -> Response {
    if looked.drain.is_some()
        && let Err(problem) = session.caller.may_view()
    {
        return problem.into_response();
    }
    if let Some(id) = looked.migration
        && let Err(problem) = admin::may_view(&state, &session.caller, id).await
    {
        return problem.into_response();
    }
    if let Some(id) = looked.tenant
        && let Err(problem) =
            admin::may_view_tenant(&state, &session.caller, TenantId::new(id)).await
    {
        return problem.into_response();
    }
    let room = match sse::room(&state, requester) {
        Ok(room) => room,
        Err(problem) => return problem.into_response(),
    };
    let page = live::Page {
        state: Arc::clone(&state),
        viewer: session.viewer,
        caller: session.caller.clone(),
        about: match (looked.drain, looked.migration, looked.tenant) {
            (Some(id), ..) => About::Drain(DrainId::new(id)),
            (None, Some(id), _) => About::Migration(MigrationId::new(id)),
            (None, None, Some(id)) => About::Tenant(TenantId::new(id)),
            (None, None, None) => About::Overview,
        },
        told: std::collections::HashMap::new(),
        first: true,
        ticked: None,
    };
    sse::answer(&state, session.caller, room, page)
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
    let why = "This token is unknown, expired or revoked, or has no access to the console, which needs a viewer, \
               operator or admin token. For a token of an issuer, use a proxy that adds it to each request.";
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
