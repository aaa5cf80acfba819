//! Where a tenant is.

use rehome_app::tenants;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_domain::ids::TenantId;
use uuid::Uuid;

use crate::admin;
use crate::auth::Caller;
use crate::extract::InPath;
use crate::response::{Answer, Problems, json};
use crate::state::State as Shared;

/// Where a tenant is
///
/// A tenant's own token sees no store but the one that it is in, and nothing of how it is moved.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = Uuid, Path, description = "Who.")),
    responses((status = 200, description = "There.", body = rehome_api::Tenant), Problems))]
pub(crate) async fn tenant(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
) -> Answer {
    let tenant = TenantId::new(tenant);
    let is_own = caller.is_tenant(tenant);
    if !is_own {
        admin::may_view_tenant(&state, &caller, tenant).await?;
    }
    let mut found = tenants::show(&state.deployment, tenant).await?;
    if is_own {
        found.migration = None;
        found.stores.clear();
        found.problems.clear();
    }
    json(StatusCode::OK, &found)
}
