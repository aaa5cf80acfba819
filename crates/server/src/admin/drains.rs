//! Drains: stores that are emptied. Each action is a fact in the drain's log; workers act on it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rehome_api::admin::Reason;
use rehome_api::drain::{
    Drain, DrainPage, DrainPlan, DrainRequest, DrainRetry, DrainStart, DrainTenantPage, DrainTuning,
};
use rehome_app::{AppError, drains};
use rehome_domain::ids::DrainId;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::acting;
use super::start::{key, reused};
use crate::auth::{Caller, Permit};
use crate::extract::{InPath, InQuery, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Maximum and default number of rows of a page.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 50;

/// A drain concerns whole stores: who is bound to some tenants or stores has no part in it.
fn may_drain(caller: &Caller) -> Result<Permit, Problem> {
    caller.may_view()?;
    caller.may_operate_some()
}

pub(super) fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit as usize);
    }
    let detail = format!("limit must be 1 to {LIMIT_MAX}");
    Err(Problem::bad_request("bad_query", detail).limit(LIMIT_MAX.into()))
}

/// Which drains.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichDrains {
    /// Only those that are not over.
    open: Option<bool>,
    /// Those that come after: `next_cursor` of the part before.
    cursor: Option<Uuid>,
    /// Most drains of a part; 50 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// List drains
///
/// Newest first.
#[utoipa::path(get, path = "/v1/drains", tag = "drains", params(WhichDrains),
    responses((status = 200, description = "A page.", body = DrainPage), Problems))]
pub(crate) async fn drains(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InQuery(which): InQuery<WhichDrains>,
) -> Answer {
    caller.may_view()?;
    let limit = limit(which.limit)?;
    let (open, before) = (which.open.unwrap_or(false), which.cursor.map(DrainId::new));
    let drains = state.deployment.drains(open, before, limit).await?;
    let next_cursor = drains.last().filter(|_| drains.len() == limit).map(|last| last.id);
    json(StatusCode::OK, &DrainPage { drains, next_cursor })
}

/// Plan a drain
///
/// Lists every tenant with its size, its target and the estimated duration, and every tenant that stays, with the
/// reason. Changes nothing.
#[utoipa::path(post, path = "/v1/drains/plan", tag = "drains", request_body = DrainRequest,
    responses((status = 200, description = "The plan.", body = DrainPlan), Problems))]
pub(crate) async fn plan_drain(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_view()?;
    let request: DrainRequest = body.text(permit).await?.document()?;
    json(StatusCode::OK, &drains::plan(&state.deployment, &request).await?)
}

/// Start a drain
///
/// From a request, or from a plan; an outdated plan is refused. The
/// servers of the deployment work on it. With an `Idempotency-Key` (or an `id` of the caller's choice) the request can be
/// repeated, to any server.
#[utoipa::path(post, path = "/v1/drains", tag = "drains", request_body = DrainStart,
    params(("Idempotency-Key" = Option<String>, Header, description = "Chosen by the caller; 1 to 255 bytes.")),
    responses((status = 201, description = "Started, by this request or an earlier one with the same key.", body = Drain), Problems))]
pub(crate) async fn start_drain(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    let permit = may_drain(&caller)?;
    let key = key(&caller, &headers)?;
    let start: DrainStart = body.text(permit).await?.document()?;
    let deployment = acting(&state, &caller, start.reason.as_deref())?;
    let id = drains::start(&deployment, &start, key.as_ref()).await.map_err(reused)?;
    json(StatusCode::CREATED, &deployment.drain(id).await?)
}

/// Get a drain
///
/// Its progress, what an operator has to do, and, if it has ended, its summary.
#[utoipa::path(get, path = "/v1/drains/{drain}", tag = "drains",
    params(("drain" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The current state.", body = Drain), Problems))]
pub(crate) async fn drain(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    caller.may_view()?;
    json(StatusCode::OK, &state.deployment.drain(DrainId::new(id)).await?)
}

/// Which tenants of a drain.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichTenants {
    /// Only those in this state.
    #[param(pattern = "^(waiting|again|moving|moved|set_aside|stays)$")]
    state: Option<String>,
    /// Those after this place: `next_after` of the part before.
    after: Option<u64>,
    /// Most tenants of a part; 50 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// List the tenants of a drain
///
/// In their order.
#[utoipa::path(get, path = "/v1/drains/{drain}/tenants", tag = "drains",
    params(("drain" = Uuid, Path, description = "Which."), WhichTenants),
    responses((status = 200, description = "A page.", body = DrainTenantPage), Problems))]
pub(crate) async fn drain_tenants(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    InQuery(which): InQuery<WhichTenants>,
) -> Answer {
    caller.may_view()?;
    let (limit, after) = (limit(which.limit)?, which.after.unwrap_or(0).min(i64::MAX as u64));
    let (id, wanted) = (DrainId::new(id), which.state.as_deref());
    json(StatusCode::OK, &state.deployment.drain_tenants(id, wanted, after, limit).await?)
}

macro_rules! action {
    ($(#[$doc:meta])* $path:literal $name:ident($deployment:ident, $id:ident, $said:ident: $body:ty) $done:expr) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "drains",
            params(("drain" = Uuid, Path, description = "Which.")),
            request_body(content = Option<$body>),
            responses((status = 200, description = "The new state.", body = Drain), Problems))]
        pub(crate) async fn $name(
            State(state): State<Arc<Shared>>,
            caller: Caller,
            InPath(id): InPath<Uuid>,
            body: JsonBody,
        ) -> Answer {
            let permit = may_drain(&caller)?;
            let $said: $body = body.document_or_default(permit).await?;
            let ($deployment, $id) = (acting(&state, &caller, $said.reason.as_deref())?, DrainId::new(id));
            let done: Result<_, AppError> = $done.await;
            done?;
            json(StatusCode::OK, &$deployment.drain($id).await?)
        }
    };
}

action! {
    /// Pause a drain
    ///
    /// Starts no move and no cutover; running moves continue.
    "/v1/drains/{drain}/pause"
    pause_drain(deployment, id, said: Reason) drains::pause(&deployment, id)
}

action! {
    /// Resume a paused drain
    "/v1/drains/{drain}/resume"
    resume_drain(deployment, id, said: Reason) drains::resume(&deployment, id)
}

action! {
    /// Cancel a drain
    ///
    /// Starts no further move, and aborts running ones; a cutover that has started ends first.
    "/v1/drains/{drain}/cancel"
    cancel_drain(deployment, id, said: Reason) drains::cancel(&deployment, id)
}

action! {
    /// Try tenants again that were set aside
    "/v1/drains/{drain}/retry"
    retry_drain(deployment, id, said: DrainRetry) drains::retry(&deployment, id, &said.tenants)
}

/// Change the settings of a drain
///
/// Missing settings stay.
#[utoipa::path(patch, path = "/v1/drains/{drain}/settings", tag = "drains",
    params(("drain" = Uuid, Path, description = "Which.")), request_body = DrainTuning,
    responses((status = 200, description = "The new state.", body = Drain), Problems))]
pub(crate) async fn tune_drain(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    let permit = may_drain(&caller)?;
    let tuning: DrainTuning = body.document(permit).await?;
    let deployment = acting(&state, &caller, tuning.reason.as_deref())?;
    let id = DrainId::new(id);
    drains::tune(&deployment, id, &tuning).await?;
    json(StatusCode::OK, &deployment.drain(id).await?)
}
