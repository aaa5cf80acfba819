//! Stores.

use rehome_app::stores;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::StoreCheckReport;

use super::store_id;
use crate::auth::Caller;
use crate::extract::InPath;
use crate::response::{Answer, Problems, json};
use crate::state::State as Shared;

/// Check all stores
///
/// Reachability, format, durability, clock, and tenants. A store that is not usable has
/// the reason in its document.
#[utoipa::path(get, path = "/v1/stores", tag = "stores",
    responses((status = 200, description = "The result.", body = StoreCheckReport), Problems))]
pub(crate) async fn stores(State(state): State<Arc<Shared>>, caller: Caller) -> Answer {
    caller.may_view()?;
    json(StatusCode::OK, &stores::check(&state.deployment, None).await?)
}

/// Check a store
#[utoipa::path(get, path = "/v1/stores/{store}", tag = "stores",
    params(("store" = String, Path, description = "The store's id in the configuration.")),
    responses((status = 200, description = "The result.", body = StoreCheckReport), Problems))]
pub(crate) async fn store(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Answer {
    caller.may_view_some()?;
    let id = store_id(&id)?;
    caller.within_store(&id)?;
    json(StatusCode::OK, &stores::check(&state.deployment, Some(&id)).await?)
}
