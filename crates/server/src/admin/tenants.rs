//! What only an admin does: removes copies, and says where an authority is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::admin::{Purge, RecoverRequest};
use rehome_api::{Recovery, TenantPurge};
use rehome_domain::ids::TenantId;
use uuid::Uuid;

use super::{acting, store_id};
use crate::answer::{Answer, Problems, json};
use crate::auth::Caller;
use crate::state::State as Shared;
use crate::take::{InPath, JsonBody};

/// Remove the copy that a tenant left behind in a store
///
/// Never from the store that has the authority, nor what a migration or an open rollback window may
/// need. Can be repeated, and goes on where it was cut off.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/purge", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "Whose.")),
    request_body = Purge,
    responses((status = 200, description = "What was removed.", body = TenantPurge), Problems))]
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
    let purged = deployment.purge_tenant(TenantId::new(tenant), &store, close_window).await?;
    json(StatusCode::OK, &purged)
}

/// Find tenants whose stores are ahead of a control plane that lost time
///
/// Changes nothing unless `apply` is said.
#[utoipa::path(post, path = "/v1/recoveries", tag = "tenants", request_body = RecoverRequest,
    responses((status = 200, description = "What was found, and whether it was recovered.",
        body = Vec<Recovery>), Problems))]
pub(crate) async fn recover(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let RecoverRequest { tenant_id, store, apply, reason } = body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    let request = rehome_app::RecoverRequest {
        tenant: tenant_id.map(TenantId::new),
        store: store.as_deref().map(store_id).transpose()?,
        apply,
    };
    json(StatusCode::OK, &deployment.recover(&request).await?)
}
