//! The checklists of the monitoring contract, with the result of each item.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::{Checklist, ChecklistPhase};
use rehome_domain::ids::MigrationId;
use uuid::Uuid;

use super::may_view;
use crate::auth::Caller;
use crate::extract::InPath;
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Evaluate a checklist of a migration
///
/// Each item passes, fails or is unknown, with the reason.
#[utoipa::path(get, path = "/v1/migrations/{migration}/checklists/{phase}", tag = "migrations",
    params(
        ("migration" = Uuid, Path, description = "Which."),
        ("phase" = ChecklistPhase, Path, description = "`before`, `during`, `cutover` or `after`."),
    ),
    responses((status = 200, description = "The result.", body = Checklist), Problems))]
pub(crate) async fn checklist(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath((id, phase)): InPath<(Uuid, String)>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    evaluated(&state, &phase, Some(MigrationId::new(id))).await
}

/// A checklist before a migration was started
///
/// Of the deployment alone; only `before` is of no migration.
#[utoipa::path(get, path = "/v1/checklists/{phase}", tag = "migrations",
    params(("phase" = ChecklistPhase, Path, description = "`before`.")),
    responses((status = 200, description = "The result.", body = Checklist), Problems))]
pub(crate) async fn checklist_of_none(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(phase): InPath<String>,
) -> Answer {
    caller.may_view()?;
    evaluated(&state, &phase, None).await
}

async fn evaluated(state: &Shared, phase: &str, id: Option<MigrationId>) -> Answer {
    let phase = ChecklistPhase::parse(phase).ok_or_else(|| {
        Problem::bad_request("bad_path", "the checklists are before, during, cutover and after")
    })?;
    json(StatusCode::OK, &Box::pin(state.deployment.checklist(phase, id)).await?)
}
