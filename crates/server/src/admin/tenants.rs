//! Requests for admins: removing copies and guards, and choosing an authority. Also the translation of positions
//! between tables.

use rehome_app::{adoption, recover, tenants};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::admin::{MoveCheckpoints, Purge, RecoverRequest, RemoveTenant, Unguard};
use rehome_api::{
    MovedCheckpoints, Recovery, TenantPurge, TenantRemoval, TenantUnguarded, TranslatedPosition,
};
use rehome_domain::ids::TenantId;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{acting, store_id};
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, JsonBody};
use crate::response::{Answer, Problems, json};
use crate::state::State as Shared;

/// Purge the copy that a tenant left behind in a store
///
/// Never purges the authority, nor a copy that a migration or an open rollback window may
/// need. Idempotent, and continues an interrupted purge.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/purge", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "Whose.")),
    request_body = Purge,
    responses((status = 200, description = "The number of removed events.", body = TenantPurge), Problems))]
pub(crate) async fn purge(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let Purge { store, close_window, reason } = body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    let store = store_id(&store)?;
    let purged = tenants::purge(&deployment, TenantId::new(tenant), &store, close_window).await?;
    json(StatusCode::OK, &purged)
}

/// Remove a tenant with its whole history
///
/// Only one without a migration, a rollback window or an old copy, and only if it has as many events as the request
/// says; if events are appended meanwhile, nothing is removed. Afterwards it is unknown, and can be imported again.
/// Idempotent, and continues an interrupted removal.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/remove", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "Whose.")),
    request_body = RemoveTenant,
    responses((status = 200, description = "What was, or would be, removed.", body = TenantRemoval), Problems))]
pub(crate) async fn remove(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let RemoveTenant { events, reason } = body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    json(StatusCode::OK, &tenants::remove(&deployment, TenantId::new(tenant), events).await?)
}

/// End the guarding of a tenant in a table of another library
///
/// Its rows stay, and can be changed and deleted again; its events have no numbers until a migration starts.
/// Refused while a migration of the tenant is under way or its window is open. Can be repeated.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/unguard", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "Whose.")),
    request_body = Unguard,
    responses((status = 200, description = "The tenant is not guarded.", body = TenantUnguarded), Problems))]
pub(crate) async fn unguard(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let Unguard { reason } = body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    json(StatusCode::OK, &adoption::unguard(&deployment, TenantId::new(tenant)).await?)
}

/// Copy a tenant's checkpoints to another store
///
/// Those in tables that the layout lists with a tenant and a position. Each gets
/// a translated position that skips nothing, unless a row that is as far is there. Idempotent.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/checkpoints", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "Whose.")),
    request_body = MoveCheckpoints,
    responses((status = 200, description = "The copied rows, and the tables that stay.", body = MovedCheckpoints),
        Problems))]
pub(crate) async fn move_checkpoints(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let MoveCheckpoints { from, to, reason } = body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    let (from, to) = (store_id(&from)?, store_id(&to)?);
    let moved = adoption::move_checkpoints(&deployment, TenantId::new(tenant), &from, &to).await?;
    json(StatusCode::OK, &moved)
}

/// A position between two tables.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Between {
    /// The position up to which a reader has read everything.
    position: i64,
    /// The store in whose table that is.
    from: String,
    /// The store in whose table the reader continues.
    to: String,
}

/// Translate a reader's position in one store's table to another's
///
/// For checkpoints of an application's own projections, after a move between tables of another library. A
/// reader that continues there skips no event and may read some again.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/position", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "The tenant."), Between),
    responses((status = 200, description = "The position from which the reader continues.", body = TranslatedPosition),
        Problems))]
pub(crate) async fn position(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    InQuery(Between { position, from, to }): InQuery<Between>,
) -> Answer {
    caller.may_view()?;
    let (tenant, from, to) = (TenantId::new(tenant), store_id(&from)?, store_id(&to)?);
    let found =
        adoption::translate_position(&state.deployment, tenant, position, &from, &to).await?;
    json(StatusCode::OK, &found)
}

/// Find tenants whose stores are newer than the control plane, or have lost events
///
/// Changes nothing unless `apply` is true.
#[utoipa::path(post, path = "/v1/recoveries", tag = "tenants", request_body = RecoverRequest,
    responses((status = 200, description = "The findings, and whether they were repaired.",
        body = Vec<Recovery>), Problems))]
pub(crate) async fn recover(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let RecoverRequest { tenant_id, store, apply, accept_loss, reason } =
        body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    let request = rehome_app::RecoverRequest {
        tenant: tenant_id.map(TenantId::new),
        store: store.as_deref().map(store_id).transpose()?,
        apply,
        accept_loss,
    };
    json(StatusCode::OK, &recover::recover(&deployment, &request).await?)
}
