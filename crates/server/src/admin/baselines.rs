//! Baselines: how a tenant did before it moved.

use rehome_app::migrations;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rehome_api::Baseline;
use rehome_api::admin::{BaselineRequest, TakingBaseline};
use rehome_domain::ids::MigrationId;
use rehome_observe::baseline_missing;
use uuid::Uuid;

use super::start::key_text;
use super::{acting, may_operate, may_view};
use crate::auth::Caller;
use crate::extract::{InPath, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// The default window.
const WINDOW: Duration = Duration::from_secs(10);

/// Get a migration's baseline
///
/// Each start records one.
#[utoipa::path(get, path = "/v1/migrations/{migration}/baseline", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The recorded baseline.", body = Baseline), Problems))]
pub(crate) async fn baseline(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    let id = MigrationId::new(id);
    migrations::options_of(&state.deployment, id).await?;
    let kept = state.deployment.baseline(id).await?.ok_or_else(|| baseline_missing(id))?;
    json(StatusCode::OK, &kept)
}

/// Record a migration's baseline again
///
/// Returns the measurement, or 202 if the window is long; send the same request again to wait.
#[utoipa::path(post, path = "/v1/migrations/{migration}/baseline", tag = "migrations",
    params(
        ("migration" = Uuid, Path, description = "Which."),
        ("Idempotency-Key" = Option<String>, Header, description = "Chosen by the caller; 1 to 255 bytes."),
    ),
    request_body(content = Option<BaselineRequest>),
    responses(
        (status = 200, description = "The recorded baseline.", body = Baseline),
        (status = 202, description = "Not finished; send the same request again to wait.", body = TakingBaseline),
        Problems,
    ))]
pub(crate) async fn take_baseline(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    let permit = may_operate(&state, &caller, id).await?;
    let said: BaselineRequest = body.document_or_default(permit).await?;
    let window = said.window.map_or(WINDOW, |window| Duration::from_millis(window.0));
    let id = MigrationId::new(id);
    let key = key_text(&headers)?.map(|key| format!("{} {key}", caller.name()));
    let deployment = acting(&state, &caller, None)?;
    let work = || async move { deployment.take_baseline(id, window).await.map_err(Problem::from) };
    let asked = (window, key.as_deref());
    if let Some(taken) = state.baselines.ask(id, asked, &state.stopping, work).await? {
        return json(StatusCode::OK, &taken);
    }
    let running = TakingBaseline { migration_id: id.uuid(), state: "running".to_owned() };
    json(StatusCode::ACCEPTED, &running)
}
