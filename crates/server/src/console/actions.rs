//! Actions of the console: a confirmation page that describes the effect, then the action.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Redirect, Response};
use rehome_api::{Options, OptionsPatch};
use rehome_app::AppError;
use rehome_app::migrations::{self, StartRequest, VerifyRequest};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::verification::Level;
use rehome_observe::Observed;
use serde::Deserialize;
use uuid::Uuid;

use super::pages::confirm::{self, Action};
use super::pages::options::Chosen;
use super::pages::start::{self, Wish};
use super::session::Session;
use super::{failed, html, refused};
use crate::admin;
use crate::extract::{Form, InPath, InQuery};
use crate::state::State;

const START: &str = "/console/start";

pub(super) async fn start_form(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InQuery(wish): InQuery<Wish>,
) -> Response {
    form_again(&state, &session, &wish, None)
}

fn form_again(state: &State, session: &Session, wish: &Wish, why: Option<&str>) -> Response {
    match configured(&state.deployment, &OptionsPatch::default()) {
        Ok(configured) => {
            let stores = stores(state, session);
            html(&start::form(&session.viewer, &stores, wish, &configured, why)).into_response()
        }
        Err(error) => failed(session, &error, "/"),
    }
}

/// The options of a migration that is started with this patch.
fn configured(deployment: &Observed, patch: &OptionsPatch) -> Result<Options, AppError> {
    Ok(rehome_app::options::document(&migrations::options(deployment, patch)?))
}

pub(super) async fn plan(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InQuery(wish): InQuery<Wish>,
) -> Response {
    let planned = async {
        let (tenant, target, options) = wanted(&wish)?;
        if let Err(problem) = admin::within(&state, &session.caller, tenant, &target).await {
            return Ok(Err(problem));
        }
        let effective = configured(&state.deployment, &options)?;
        let plan = migrations::plan(&state.deployment, tenant, &target).await?;
        Ok::<_, AppError>(Ok((plan, effective)))
    };
    match planned.await {
        Ok(Err(problem)) => refused(&session, &problem),
        Ok(Ok((plan, effective))) => {
            html(&start::plan(&session.viewer, &wish, &plan, &effective)).into_response()
        }
        Err(error) => form_again(&state, &session, &wish, Some(&error.to_string())),
    }
}

/// The fields of a form, with its CSRF token.
#[derive(Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    reason: String,
    #[serde(flatten)]
    wish: Wish,
}

pub(super) async fn start(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    Form(form): Form<Start>,
) -> Response {
    if let Err(refused) = session.check(&form.csrf, START) {
        return *refused;
    }
    let deployment = state.deployment.acting_as(session.caller.name(), Some(&form.reason));
    let started = async {
        let (tenant, target, options) = wanted(&form.wish)?;
        if let Err(problem) = admin::within(&state, &session.caller, tenant, &target).await {
            return Ok(Err(problem));
        }
        deployment.start(&StartRequest { tenant, target, options }, None).await.map(Ok)
    };
    match started.await {
        Ok(Err(problem)) => refused(&session, &problem),
        Ok(Ok(migration)) => Redirect::to(&page(migration.id)).into_response(),
        Err(error) => failed(&session, &error, START),
    }
}

fn page(id: MigrationId) -> String {
    format!("/migrations/{id}")
}

/// Those that the viewer sees.
fn stores(state: &State, session: &Session) -> Vec<String> {
    let all = state.deployment.config().stores.iter().map(|store| &store.id);
    all.filter(|id| session.caller.sees_store(id)).map(ToString::to_string).collect()
}

fn wanted(wish: &Wish) -> Result<(TenantId, StoreId, OptionsPatch), AppError> {
    let usage = |problem: String| AppError::new(rehome_app::Kind::Usage, "bad_request", problem);
    let tenant: TenantId = wish
        .tenant
        .trim()
        .parse()
        .map_err(|_| usage("the tenant's id must be a UUID".to_owned()))?;
    let target: StoreId =
        wish.to.parse().map_err(|problem| usage(format!("the store: {problem}")))?;
    Ok((tenant, target, wish.chosen.patch(None)?))
}

pub(super) async fn confirm(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath((id, action)): InPath<(Uuid, String)>,
) -> Response {
    let id = MigrationId::new(id);
    let Some(action) = Action::parse(&action) else {
        return Redirect::to(&page(id)).into_response();
    };
    if let Err(problem) = admin::may_view(&state, &session.caller, id.uuid()).await {
        return refused(&session, &problem);
    }
    let asked = async {
        let migration = migrations::show(&state.deployment, id).await?;
        Ok((migration, migrations::options_of(&state.deployment, id).await?))
    };
    match asked.await {
        Ok((migration, options)) => {
            html(&confirm::page(&session.viewer, action, &migration, &options)).into_response()
        }
        Err(error) => failed(&session, &error, "/"),
    }
}

/// What comes with an action.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    csrf: String,
    reason: String,
    purge: String,
    level: String,
    #[serde(flatten)]
    chosen: Chosen,
}

pub(super) async fn act(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InPath((id, action)): InPath<(Uuid, String)>,
    Form(said): Form<Said>,
) -> Response {
    let id = MigrationId::new(id);
    let back = page(id);
    if let Err(refused) = session.check(&said.csrf, &back) {
        return *refused;
    }
    if let Err(problem) = admin::may_operate(&state, &session.caller, id.uuid()).await {
        return refused(&session, &problem);
    }
    let Some(action) = Action::parse(&action) else { return Redirect::to(&back).into_response() };
    let deployment = state.deployment.acting_as(session.caller.name(), Some(&said.reason));
    match done(&deployment, id, action, &said).await {
        Ok(next) => Redirect::to(&page(next)).into_response(),
        Err(error) => failed(&session, &error, &back),
    }
}

/// Carries it out; returns the migration to show next.
async fn done(
    deployment: &Observed,
    id: MigrationId,
    action: Action,
    said: &Said,
) -> Result<MigrationId, AppError> {
    match action {
        Action::Pause => drop(migrations::pause(deployment, id).await?),
        // A server continues it.
        Action::Resume => drop(migrations::resume(deployment, id, false).await?),
        Action::CutOver => drop(migrations::request_cutover(deployment, id).await?),
        Action::Withdraw => drop(migrations::withdraw_cutover(deployment, id).await?),
        Action::Abort => drop(migrations::abort(deployment, id, said.purge == "yes").await?),
        Action::Repair => drop(migrations::repair(deployment, id).await?),
        Action::Acknowledge => drop(migrations::acknowledge(deployment, id).await?),
        Action::Return => {
            return Ok(deployment.start_return(id, &OptionsPatch::default(), None).await?.id);
        }
        Action::Verify => {
            let level = Level::parse(&said.level).unwrap_or(Level::Hash);
            let request = VerifyRequest { level, sample: 1.0, after_seq: 0, rate_max: 0 };
            migrations::verify(deployment, id, request).await?;
        }
        Action::Tune => {
            let now = migrations::options_of(deployment, id).await?;
            let patch = said.chosen.patch(Some(&now))?;
            migrations::tune(deployment, id, &patch).await?;
        }
    }
    Ok(id)
}
