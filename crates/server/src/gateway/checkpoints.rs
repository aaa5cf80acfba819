//! Checkpoints of subscriptions. They belong to the tenant and live in the control plane.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::gateway::{Checkpoint, CheckpointMove};
use rehome_app::AppError;
use rehome_domain::ids::TenantId;
use rehome_ports::ReadError;
use uuid::Uuid;

use crate::auth::Caller;
use crate::extract::{InPath, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Most bytes of a subscription's name.
const NAME_BYTES_MAX: usize = 256;

/// How far a subscription is
#[utoipa::path(get, path = "/v1/tenants/{tenant}/subscriptions/{name}", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        ("name" = String, Path, description = "The subscription, percent-encoded.",
            min_length = 1, max_length = 256),
    ),
    responses((status = 200, description = "So far.", body = Checkpoint), Problems))]
pub(crate) async fn checkpoint(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath((tenant, name)): InPath<(Uuid, String)>,
) -> Answer {
    let tenant = TenantId::new(tenant);
    caller.may_read(tenant)?;
    check(&state, tenant, &name).await?;
    let control = state.deployment.engine().control();
    let seq = control.checkpoint(tenant, &name).await.map_err(AppError::from)?;
    json(StatusCode::OK, &Checkpoint { name, seq })
}

/// Set a subscription's checkpoint
///
/// It may go back, to see events again. A position beyond the end of the history is refused: events
/// appended up to it would never be seen.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/subscriptions/{name}", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        ("name" = String, Path, description = "The subscription, percent-encoded.",
            min_length = 1, max_length = 256),
    ),
    request_body = CheckpointMove,
    responses((status = 200, description = "So far.", body = Checkpoint), Problems))]
pub(crate) async fn move_checkpoint(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath((tenant, name)): InPath<(Uuid, String)>,
    body: JsonBody,
) -> Answer {
    let tenant = TenantId::new(tenant);
    let permit = caller.may_append(tenant)?;
    check(&state, tenant, &name).await?;
    let CheckpointMove { seq } = body.document(permit).await?;
    if i64::try_from(seq).is_err() {
        return Err(Problem::bad_request("bad_body", "seq is too large"));
    }
    let router = state.deployment.engine().router();
    router.set_checkpoint(tenant, &name, seq).await?;
    json(StatusCode::OK, &Checkpoint { name, seq })
}

async fn check(state: &Shared, tenant: TenantId, name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        let detail = format!("a subscription's name is 1 to {NAME_BYTES_MAX} bytes without NUL");
        return Err(Problem::bad_request("bad_name", detail).limit(NAME_BYTES_MAX as u64));
    }
    let route = state.deployment.engine().control().route(tenant).await.map_err(AppError::from)?;
    route
        .filter(|route| !route.is_removed())
        .map(drop)
        .ok_or_else(|| ReadError::UnknownTenant(tenant).into())
}
