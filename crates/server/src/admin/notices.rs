//! Cordons around stores, pins of tenants, and the list of tenants.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::admin::Reason;
use rehome_api::drain::{Notice, TenantPage};
use rehome_app::{TenantsWanted, drains};
use rehome_domain::ids::TenantId;
use rehome_observe::Observed;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::drains::limit;
use super::queries::phase;
use super::{acting, store_id};
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Which tenants.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only those of this store.
    store: Option<String>,
    /// Only those whose last migration is in this state.
    #[param(
        pattern = "^(pending|bulk_copy|dual_write|cutover_paused|migrated|failed|rolled_back|paused)$"
    )]
    state: Option<String>,
    /// Only those whose ids begin so, or whose name this is.
    search: Option<String>,
    /// Only those that are pinned.
    pinned: Option<bool>,
    /// Those that come after: `next_cursor` of the part before.
    cursor: Option<Uuid>,
    /// Most tenants of a part; 50 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// List tenants
///
/// In the order of their ids.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", params(Wanted),
    responses((status = 200, description = "A page.", body = TenantPage), Problems))]
pub(crate) async fn tenants(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InQuery(wanted): InQuery<Wanted>,
) -> Answer {
    caller.may_view()?;
    let wanted = TenantsWanted {
        after: wanted.cursor.map(TenantId::new),
        store: wanted.store.as_deref().map(store_id).transpose()?,
        phase: wanted.state.as_deref().map(phase).transpose()?,
        search: wanted.search,
        pinned: wanted.pinned.unwrap_or(false),
        limit: limit(wanted.limit)?,
    };
    json(StatusCode::OK, &state.deployment.tenants(&wanted).await?)
}

/// The deployment, acting for a caller who may set or remove a notice, and the reason in the body.
async fn asked(
    state: &Shared,
    caller: &Caller,
    body: JsonBody,
) -> Result<(Observed, Option<String>), Problem> {
    caller.may_view()?;
    let permit = caller.may_operate_some()?;
    let Reason { reason } = body.document_or_default(permit).await?;
    Ok((acting(state, caller, reason.as_deref())?, reason))
}

macro_rules! of_store {
    ($(#[$doc:meta])* $path:literal $name:ident($why:ident) $notice:expr) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "stores",
            params(("store" = String, Path, description = "The store's id in the configuration.")),
            request_body(content = Option<Reason>),
            responses((status = 200, description = "The new state.", body = Notice), Problems))]
        pub(crate) async fn $name(
            State(state): State<Arc<Shared>>,
            caller: Caller,
            InPath(store): InPath<String>,
            body: JsonBody,
        ) -> Answer {
            let (deployment, reason) = asked(&state, &caller, body).await?;
            let $why = reason.as_deref();
            json(StatusCode::OK, &drains::cordon(&deployment, &store_id(&store)?, $notice).await?)
        }
    };
}

of_store! {
    /// Cordon a store: keep new tenants and arrivals out
    ///
    /// The store continues to serve its tenants; migrations to it that have started continue.
    "/v1/stores/{store}/cordon"
    cordon(why) Some(why.unwrap_or_default())
}

of_store! {
    /// Let tenants into a store again
    "/v1/stores/{store}/uncordon"
    uncordon(_why) None
}

macro_rules! of_tenant {
    ($(#[$doc:meta])* $path:literal $name:ident($why:ident) $notice:expr) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "tenants",
            params(("tenant" = Uuid, Path, description = "Which.")),
            request_body(content = Option<Reason>),
            responses((status = 200, description = "The new state.", body = Notice), Problems))]
        pub(crate) async fn $name(
            State(state): State<Arc<Shared>>,
            caller: Caller,
            InPath(tenant): InPath<Uuid>,
            body: JsonBody,
        ) -> Answer {
            let (deployment, reason) = asked(&state, &caller, body).await?;
            let $why = reason.as_deref();
            json(StatusCode::OK, &drains::pin(&deployment, TenantId::new(tenant), $notice).await?)
        }
    };
}

of_tenant! {
    /// Keep a tenant where it is
    ///
    /// No drain moves it. An operator still may.
    "/v1/tenants/{tenant}/pin"
    pin(why) Some(why.unwrap_or_default())
}

of_tenant! {
    /// Let drains move a tenant again
    "/v1/tenants/{tenant}/unpin"
    unpin(_why) None
}
