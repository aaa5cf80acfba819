//! Baselines: how a tenant did before it moved.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rehome_api::Baseline;
use rehome_api::admin::{BaselineRequest, TakingBaseline};
use rehome_app::baseline_missing;
use rehome_domain::ids::MigrationId;
use uuid::Uuid;

use super::start::key_text;
use super::{acting, may_operate, may_view};
use crate::answer::{Answer, Problem, Problems, json};
use crate::auth::Caller;
use crate::state::State as Shared;
use crate::take::{InPath, JsonBody};

/// The window when the request does not say.
const WINDOW: Duration = Duration::from_secs(10);

/// A migration's baseline
///
/// One is taken at each start.
#[utoipa::path(get, path = "/v1/migrations/{migration}/baseline", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The one that was kept.", body = Baseline), Problems))]
pub(crate) async fn baseline(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    let id = MigrationId::new(id);
    state.deployment.migration_options(id).await?;
    let kept = state.deployment.baseline(id).await?.ok_or_else(|| baseline_missing(id))?;
    json(StatusCode::OK, &kept)
}

/// Take a migration's baseline, or take it again
///
/// Answers what was seen, or, if the window is long, that it goes on: the same call again waits on.
#[utoipa::path(post, path = "/v1/migrations/{migration}/baseline", tag = "migrations",
    params(
        ("migration" = Uuid, Path, description = "Which."),
        ("Idempotency-Key" = Option<String>, Header, description = "Made up by the caller; 1 to 255 bytes."),
    ),
    request_body(content = Option<BaselineRequest>),
    responses(
        (status = 200, description = "What was seen, and is kept.", body = Baseline),
        (status = 202, description = "It goes on.", body = TakingBaseline),
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
