//! Operators: everything that the command can do, by the same use cases.

mod actions;
mod baselines;
mod checklists;
mod drains;
mod estimates;
mod notices;
mod queries;
mod start;
mod stores;
mod tasks;
mod tenants;
mod tokens;
mod verify;
mod watch;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use rehome_app::deployment::{REASON_CHARS_MAX, check_reason};
use rehome_app::migrations;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_observe::Observed;
use uuid::Uuid;

use crate::auth::{Caller, Permit};
use crate::extract;
use crate::response::{Answer, Problem, json};
use crate::state::State;

pub(crate) use actions::{
    __path_abort, __path_acknowledge, __path_cutover, __path_options, __path_pause, __path_repair,
    __path_resume, __path_tune, __path_withdraw, abort, acknowledge, cutover, options, pause,
    repair, resume, tune, withdraw,
};
pub(crate) use baselines::{__path_baseline, __path_take_baseline, baseline, take_baseline};
pub(crate) use checklists::{
    __path_checklist, __path_checklist_of_none, checklist, checklist_of_none,
};
pub(crate) use drains::{
    __path_cancel_drain, __path_drain, __path_drain_tenants, __path_drains, __path_pause_drain,
    __path_plan_drain, __path_resume_drain, __path_retry_drain, __path_start_drain,
    __path_tune_drain, cancel_drain, drain, drain_tenants, drains, pause_drain, plan_drain,
    resume_drain, retry_drain, start_drain, tune_drain,
};
pub(crate) use estimates::{__path_estimate, __path_plan, __path_probe, estimate, plan, probe};
pub(crate) use notices::{
    __path_cordon, __path_pin, __path_tenants, __path_uncordon, __path_unpin, cordon, pin, tenants,
    uncordon, unpin,
};
pub(crate) use queries::is_seen;
pub(crate) use queries::{
    __path_list, __path_log, __path_show, __path_worker, list, log, show, worker,
};
pub(crate) use start::{__path_start, __path_start_return, start, start_return};
pub(crate) use stores::{__path_store, __path_stores, store, stores};
pub(crate) use tasks::Tasks;
pub(crate) use tenants::{
    __path_move_checkpoints, __path_position, __path_purge, __path_recover, __path_remove,
    __path_unguard, move_checkpoints, position, purge, recover, remove, unguard,
};
pub(crate) use tokens::{
    __path_create_token, __path_revoke_token, __path_rotate_token, __path_tokens, create_token,
    revoke_token, rotate_token, tokens,
};
pub(crate) use verify::{__path_verify, verify};
pub(crate) use watch::{__path_watch, WatchLooks, watch};

/// The deployment, acting for the caller.
fn acting(state: &State, caller: &Caller, reason: Option<&str>) -> Result<Observed, Problem> {
    check_reason(reason).map_err(|error| Problem::from(error).limit(REASON_CHARS_MAX as u64))?;
    Ok(state.deployment.acting_as(caller.name(), reason))
}

/// Whether the caller may view this migration.
pub(crate) async fn may_view(state: &State, caller: &Caller, id: Uuid) -> Result<Permit, Problem> {
    let permit = caller.may_view_some()?;
    within_migration(state, caller, id).await?;
    Ok(permit)
}

/// The caller may run this migration.
pub(crate) async fn may_operate(
    state: &State,
    caller: &Caller,
    id: Uuid,
) -> Result<Permit, Problem> {
    let permit = caller.may_operate_some()?;
    within_migration(state, caller, id).await?;
    Ok(permit)
}

async fn within_migration(state: &State, caller: &Caller, id: Uuid) -> Result<(), Problem> {
    if !caller.is_bound() {
        return Ok(());
    }
    let migration = state.deployment.engine().control().migration(MigrationId::new(id)).await;
    let migration = migration.map_err(rehome_app::AppError::from)?;
    caller.within(migration.tenant, [&migration.source, &migration.target])
}

/// The caller's bounds have this tenant, the store that it is in, and the one that it is to go to.
pub(crate) async fn within(
    state: &State,
    caller: &Caller,
    tenant: TenantId,
    target: &StoreId,
) -> Result<(), Problem> {
    caller.within(tenant, [target])?;
    may_view_tenant(state, caller, tenant).await
}

/// Whether the caller may view this tenant.
pub(crate) async fn may_view_tenant(
    state: &State,
    caller: &Caller,
    tenant: TenantId,
) -> Result<(), Problem> {
    caller.may_view_some()?;
    if !caller.is_bound() {
        return Ok(());
    }
    let route = state.deployment.engine().control().route(tenant).await;
    let route = route.map_err(rehome_app::AppError::from)?;
    caller.within(tenant, route.iter().map(|route| &route.store))
}

/// The revision in `If-Match`, if present.
fn seen(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    match extract::text(headers, "if-match")? {
        None | Some("*") => Ok(None),
        Some(tag) => {
            let rev = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let rev = rev.and_then(|rev| rev.parse().ok());
            rev.map(Some).ok_or_else(|| {
                // A tag that was never given matches nothing.
                changed("If-Match is not a valid ETag")
            })
        }
    }
}

fn changed(detail: &str) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", detail)
}

/// The problem for an error of a conditional use case.
fn refused(error: rehome_app::AppError, seen: Option<u64>) -> Problem {
    if seen.is_some() && error.code() == "changed_meanwhile" {
        changed("it has changed since; read it again, then decide")
    } else {
        error.into()
    }
}

/// A migration as it is now, with its revision.
async fn shown(deployment: &Observed, id: MigrationId, status: StatusCode) -> Answer {
    let migration = migrations::show(deployment, id).await?;
    let tenant = TenantId::new(migration.tenant_id);
    let rev = migrations::revision(deployment, tenant).await?;
    tagged(json(status, &migration)?, rev)
}

fn tagged(mut response: Response, rev: u64) -> Answer {
    let tag = HeaderValue::from_str(&format!("\"{rev}\"")).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

fn store_id(text: &str) -> Result<StoreId, Problem> {
    text.parse().map_err(|error| Problem::from(rehome_app::AppError::from(error)))
}
