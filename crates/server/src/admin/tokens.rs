//! Tokens in the control plane, for all servers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::admin::Reason;
use rehome_api::{Token, TokenCreate, TokenRotate, Tokens};
use rehome_app::token_registry::{self, NewToken};
use rehome_app::tokens::{Grant, Role, TokenHash};
use rehome_domain::ids::TenantId;

use super::{acting, store_id};
use crate::auth::Caller;
use crate::extract::{InPath, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// List tokens
///
/// Those of this server's configuration, and those of the control plane for all servers, including
/// expired and revoked ones.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens",
    responses((status = 200, description = "All tokens.", body = Tokens), Problems))]
pub(crate) async fn tokens(State(state): State<Arc<Shared>>, caller: Caller) -> Answer {
    caller.may_administer()?;
    json(StatusCode::OK, &token_registry::list(&state.deployment).await?)
}

/// Create a token
///
/// For all servers, within a second. The caller creates and keeps the secret and never sends it: the request has
/// only its hash. Idempotent.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenCreate,
    responses((status = 201, description = "Stored, by this request or an earlier one.", body = Token), Problems))]
pub(crate) async fn create_token(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let said: TokenCreate = body.document(permit).await?;
    let deployment = acting(&state, &caller, said.reason.as_deref())?;
    let stores = said.stores.iter().map(|id| store_id(id)).collect::<Result<_, _>>()?;
    let tenants = said.tenants.into_iter().map(TenantId::new).collect();
    let grant = Role::parse(&said.role).and_then(|role| Grant::new(role, tenants, stores));
    let grant = grant.map_err(|problem| Problem::bad_request("bad_role", problem))?;
    let hash = hash(&said.sha256)?;
    let new = NewToken { name: said.name, grant, hash, expires_in: said.expires_in };
    let kept = token_registry::create(&deployment, &new).await?;
    state.roll.look().await?;
    json(StatusCode::CREATED, &kept)
}

/// Put a token in the place of another
///
/// The new one has the name, the role and the bounds of the old one, which ends, at once or after
/// `keep_old_for`.
#[utoipa::path(post, path = "/v1/tokens/{name}/rotate", tag = "tokens",
    params(("name" = String, Path, description = "Which.")),
    request_body = TokenRotate,
    responses((status = 201, description = "The new token.", body = Token), Problems))]
pub(crate) async fn rotate_token(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(name): InPath<String>,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let said: TokenRotate = body.document(permit).await?;
    let deployment = acting(&state, &caller, said.reason.as_deref())?;
    let hash = hash(&said.sha256)?;
    let kept = token_registry::rotate(&deployment, &name, hash, said.keep_old_for, said.expires_in)
        .await?;
    state.roll.look().await?;
    json(StatusCode::CREATED, &kept)
}

/// Revoke a token
///
/// All of that name, with the sessions that began with them; every server knows it within a second. What they
/// follow ends.
#[utoipa::path(post, path = "/v1/tokens/{name}/revoke", tag = "tokens",
    params(("name" = String, Path, description = "Which.")),
    request_body(content = Option<Reason>),
    responses((status = 200, description = "The tokens after the change.", body = Vec<Token>), Problems))]
pub(crate) async fn revoke_token(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(name): InPath<String>,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_administer()?;
    let said: Reason = body.document_or_default(permit).await?;
    let deployment = acting(&state, &caller, said.reason.as_deref())?;
    let revoked = token_registry::revoke(&deployment, &name).await?;
    state.roll.look().await?;
    json(StatusCode::OK, &revoked)
}

fn hash(text: &str) -> Result<TokenHash, Problem> {
    text.parse().map_err(|()| {
        Problem::bad_request("bad_body", "sha256 must be the 64 hexadecimal digits of a hash")
    })
}
