//! What is asked of migrations from the console: a page that says what will happen, then the deed.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Redirect, Response};
use rehome_api::OptionsPatch;
use rehome_app::migrations::{StartRequest, VerifyRequest};
use rehome_app::{AppError, Deployment};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::verification::Level;
use serde::Deserialize;
use uuid::Uuid;

use super::pages::confirm::{self, Action};
use super::pages::start::{self, Wish};
use super::session::Session;
use super::{failed, html};
use crate::state::State;
use crate::take::{Form, InPath, InQuery};

const START: &str = "/console/start";

pub(super) async fn start_form(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InQuery(wish): InQuery<Wish>,
) -> Response {
    html(&start::form(&session.viewer, &stores(&state.deployment), &wish, None)).into_response()
}

pub(super) async fn plan(
    Shared(state): Shared<Arc<State>>,
    session: Session,
    InQuery(wish): InQuery<Wish>,
) -> Response {
    let planned = async {
        let (tenant, target, options) = wanted(&wish)?;
        state.deployment.options(&options)?;
        state.deployment.plan(tenant, &target).await
    };
    match planned.await {
        Ok(plan) => html(&start::plan(&session.viewer, &wish, &plan)).into_response(),
        Err(error) => {
            let (stores, why) = (stores(&state.deployment), error.to_string());
            html(&start::form(&session.viewer, &stores, &wish, Some(&why))).into_response()
        }
    }
}

/// A wish, and the word that says so.
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
        deployment.start(&StartRequest { tenant, target, options }, None).await
    };
    match started.await {
        Ok(migration) => Redirect::to(&page(migration.id)).into_response(),
        Err(error) => failed(&session, &error, START),
    }
}

fn page(id: MigrationId) -> String {
    format!("/migrations/{id}")
}

fn stores(deployment: &Deployment) -> Vec<String> {
    deployment.config().stores.iter().map(|store| store.id.to_string()).collect()
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
    let rate = wish.rate.trim();
    let rate = match rate {
        "" => None,
        rate => {
            Some(rate.parse().map_err(|_| usage("the rate must be a whole number".to_owned()))?)
        }
    };
    let window = match wish.window.trim() {
        "" => None,
        window => Some(
            window.parse().map_err(|problem| usage(format!("the time to return is {problem}")))?,
        ),
    };
    let cutover = if wish.cutover == "auto" { "auto" } else { "manual" };
    let options = OptionsPatch {
        cutover: Some(cutover.to_owned()),
        copy_rate_max: rate,
        rollback_window: window,
        ..OptionsPatch::default()
    };
    Ok((tenant, target, options))
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
    let asked = async {
        let migration = state.deployment.migration(id).await?;
        Ok((migration, state.deployment.migration_options(id).await?))
    };
    match asked.await {
        Ok((migration, options)) => {
            let rate = Some(options.copy_rate_max);
            html(&confirm::page(&session.viewer, action, &migration, rate)).into_response()
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
    rate: String,
    level: String,
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
    let Some(action) = Action::parse(&action) else { return Redirect::to(&back).into_response() };
    let deployment = state.deployment.acting_as(session.caller.name(), Some(&said.reason));
    match done(&deployment, id, action, &said).await {
        Ok(next) => Redirect::to(&page(next)).into_response(),
        Err(error) => failed(&session, &error, &back),
    }
}

/// Does it; answers the migration to look at next.
async fn done(
    deployment: &Deployment,
    id: MigrationId,
    action: Action,
    said: &Said,
) -> Result<MigrationId, AppError> {
    match action {
        Action::Pause => drop(deployment.pause(id).await?),
        // Whoever serves goes on with it by itself.
        Action::Resume => drop(deployment.resume(id, false).await?),
        Action::CutOver => drop(deployment.request_cutover(id).await?),
        Action::Abort => drop(deployment.abort(id, said.purge == "yes").await?),
        Action::Repair => drop(deployment.repair(id).await?),
        Action::Acknowledge => drop(deployment.acknowledge(id).await?),
        Action::Return => {
            return Ok(deployment.start_return(id, &OptionsPatch::default(), None).await?.id);
        }
        Action::Verify => {
            let level = Level::parse(&said.level).unwrap_or(Level::Hash);
            let request = VerifyRequest { level, sample: 1.0, after_seq: 0, rate_max: 0 };
            deployment.verify(id, request).await?;
        }
        Action::Tune => {
            let rate = said.rate.trim().parse().map_err(|_| {
                let problem = "the rate must be a whole number, 0 for no limit";
                AppError::new(rehome_app::Kind::Usage, "bad_request", problem)
            })?;
            let patch = OptionsPatch { copy_rate_max: Some(rate), ..OptionsPatch::default() };
            deployment.tune(id, &patch).await?;
        }
    }
    Ok(id)
}
