//! Verifications on request. A verification takes as long as reading the history.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rehome_api::Verification;
use rehome_api::admin::{Verify, Verifying};
use rehome_app::migrations::{self, VerifyRequest};
use rehome_domain::ids::MigrationId;
use rehome_domain::verification::Level;
use uuid::Uuid;

use super::start::key_text;
use super::{acting, may_operate};
use crate::auth::Caller;
use crate::extract::{InPath, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Verify the two stores of a migration against each other
///
/// Returns the result, or 202 if that takes long: send the same request again to wait.
/// The log has a `verified` entry when it is done. Violations are not an error.
#[utoipa::path(post, path = "/v1/migrations/{migration}/verify", tag = "migrations",
    params(
        ("migration" = Uuid, Path, description = "Which."),
        ("Idempotency-Key" = Option<String>, Header, description = "Chosen by the caller; 1 to 255 bytes."),
    ),
    request_body(content = Option<Verify>),
    responses(
        (status = 200, description = "The result.", body = Verification),
        (status = 202, description = "Not finished; send the same request again to wait.", body = Verifying),
        Problems,
    ))]
pub(crate) async fn verify(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    let permit = may_operate(&state, &caller, id).await?;
    let said: Verify = body.document_or_default(permit).await?;
    let request = request(&said)?;
    let id = MigrationId::new(id);
    let key = key_text(&headers)?.map(|key| format!("{} {key}", caller.name()));
    let deployment = acting(&state, &caller, said.reason.as_deref())?;
    let work =
        || async move { migrations::verify(&deployment, id, request).await.map_err(Problem::from) };
    let asked = (request, key.as_deref());
    if let Some(found) = state.verifications.ask(id, asked, &state.stopping, work).await? {
        return json(StatusCode::OK, &found);
    }
    let running = Verifying { migration_id: id.uuid(), state: "running".to_owned() };
    json(StatusCode::ACCEPTED, &running)
}

fn request(said: &Verify) -> Result<VerifyRequest, Problem> {
    let level = said.level.as_deref().map_or(Some(Level::Full), Level::parse);
    let level = level
        .ok_or_else(|| Problem::bad_request("bad_body", "level must be count, hash or full"))?;
    let sample = said.sample.unwrap_or(1.0);
    if !(sample > 0.0 && sample <= 1.0) {
        return Err(Problem::bad_request("bad_body", "sample must be above 0 and at most 1"));
    }
    let after_seq = said.after_seq.min(i64::MAX as u64);
    Ok(VerifyRequest { level, sample, after_seq, rate_max: said.rate_max })
}
