//! Starts: a migration, and the way back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use rehome_api::admin::{MigrationStart, Return};
use rehome_app::AppError;
use rehome_app::idempotency::IdempotencyKey;
use rehome_app::migrations::StartRequest;
use rehome_domain::ids::{MigrationId, TenantId};
use uuid::Uuid;

use super::{acting, may_operate, refused, seen, shown, store_id, within};
use crate::auth::Caller;
use crate::extract::{self, InPath, JsonBody};
use crate::response::{Answer, Problem, Problems};
use crate::state::State as Shared;

/// Most bytes of an idempotency key.
const KEY_BYTES_MAX: usize = 255;

/// Start a migration
///
/// The server works on it from here on, or another server of the deployment does. With an
/// `Idempotency-Key` the same call can be made again, after a lost answer also to another server,
/// and answers the migration that it started the first time.
#[utoipa::path(post, path = "/v1/migrations", tag = "migrations",
    params(("Idempotency-Key" = Option<String>, Header, description = "Chosen by the caller; 1 to 255 bytes.")),
    request_body = MigrationStart,
    responses((status = 201, description = "Started, by this request or an earlier one with the same key.", body = rehome_api::Migration,
        headers(("Location" = String, description = "The path of the migration."),
            ("ETag" = String, description = "The revision of its tenant's route."))), Problems))]
pub(crate) async fn start(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_operate_some()?;
    let key = key(&caller, &headers)?;
    let MigrationStart { tenant_id, target_store, options, reason } = body.document(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?;
    let (tenant, target) = (TenantId::new(tenant_id), store_id(&target_store)?);
    within(&state, &caller, tenant, &target).await?;
    let request = StartRequest { tenant, target, options };
    let started = deployment.start(&request, key.as_ref()).await.map_err(reused)?;
    created(&deployment, started.id).await
}

/// Move a tenant back to where it came from
///
/// Within the rollback window: a migration in the other direction that starts level.
#[utoipa::path(post, path = "/v1/migrations/{migration}/return", tag = "migrations",
    params(
        ("migration" = Uuid, Path, description = "The migration that moved the tenant to its present store."),
        ("Idempotency-Key" = Option<String>, Header, description = "Chosen by the caller; 1 to 255 bytes."),
        ("If-Match" = Option<String>, Header, description = "The ETag of the last response."),
    ),
    request_body(content = Option<Return>),
    responses((status = 201, description = "Started, by this request or an earlier one with the same key.", body = rehome_api::Migration,
        headers(("Location" = String, description = "The path of the migration."),
            ("ETag" = String, description = "The revision of its tenant's route."))), Problems))]
pub(crate) async fn start_return(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    let permit = may_operate(&state, &caller, id).await?;
    let (key, seen) = (key(&caller, &headers)?, seen(&headers)?);
    let Return { options, reason } = body.document_or_default(permit).await?;
    let deployment = acting(&state, &caller, reason.as_deref())?.only_at(seen);
    let started = deployment.start_return(MigrationId::new(id), &options, key.as_ref()).await;
    let started = started.map_err(|error| match error.code() {
        "key_reused" => reused(error),
        _ => refused(error, seen),
    })?;
    created(&deployment, started.id).await
}

async fn created(deployment: &rehome_observe::Observed, id: MigrationId) -> Answer {
    let mut response = shown(deployment, id, StatusCode::CREATED).await?;
    let location = HeaderValue::from_str(&format!("/v1/migrations/{id}"));
    let location = location.map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

pub(super) fn reused(error: AppError) -> Problem {
    if error.code() == "key_reused" {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Problem::new(status, "key_reused", error.to_string());
    }
    error.into()
}

pub(super) fn key(caller: &Caller, headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    Ok(key_text(headers)?.map(|key| IdempotencyKey::new(caller.name(), key)))
}

/// The idempotency key as it was sent.
pub(super) fn key_text(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = extract::text(headers, "idempotency-key")? else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("Idempotency-Key must be 1 to {KEY_BYTES_MAX} bytes");
        return Err(Problem::bad_request("bad_header", detail).limit(KEY_BYTES_MAX as u64));
    }
    Ok(Some(key))
}
