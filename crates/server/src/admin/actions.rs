//! Requests about a running migration. Each is a fact in its log; its driver acts on it, which
//! may be another process.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rehome_api::admin::{Abort, Reason, Resume, Tuning};
use rehome_app::{AppError, migrations};
use rehome_domain::ids::MigrationId;
use rehome_observe::Observed;
use uuid::Uuid;

use super::{acting, may_operate, may_view, refused, seen, shown};
use crate::auth::Caller;
use crate::extract::{InPath, JsonBody};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// A request about a migration, conditional on a revision.
struct Asked {
    deployment: Observed,
    id: MigrationId,
    seen: Option<u64>,
}

impl Asked {
    fn new(
        state: &Shared,
        caller: &Caller,
        id: Uuid,
        headers: &HeaderMap,
        reason: Option<&str>,
    ) -> Result<Self, Problem> {
        let seen = seen(headers)?;
        let deployment = acting(state, caller, reason)?.only_at(seen);
        Ok(Self { deployment, id: MigrationId::new(id), seen })
    }

    async fn answer<T>(self, done: Result<T, AppError>) -> Answer {
        done.map_err(|error| refused(error, self.seen))?;
        shown(&self.deployment, self.id, StatusCode::OK).await
    }
}

macro_rules! action {
    ($(#[$doc:meta])* $path:literal $name:ident($asked:ident, $said:ident: $body:ty) $done:expr) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "migrations",
            params(
                ("migration" = Uuid, Path, description = "Which."),
                ("If-Match" = Option<String>, Header, description = "The ETag of the last response."),
            ),
            request_body(content = Option<$body>),
            responses((status = 200, description = "The new state.", body = rehome_api::Migration,
                headers(("ETag" = String, description = "The revision of its tenant's route."))), Problems))]
        pub(crate) async fn $name(
            State(state): State<Arc<Shared>>,
            caller: Caller,
            InPath(id): InPath<Uuid>,
            headers: HeaderMap,
            body: JsonBody,
        ) -> Answer {
            let permit = may_operate(&state, &caller, id).await?;
            let $said: $body = body.document_or_default(permit).await?;
            let $asked = Asked::new(&state, &caller, id, &headers, $said.reason.as_deref())?;
            let done = $done.await;
            $asked.answer(done).await
        }
    };
}

action! {
    /// Pause a migration
    ///
    /// Writes continue at the source until it is resumed.
    "/v1/migrations/{migration}/pause"
    pause(asked, said: Reason) migrations::pause(&asked.deployment, asked.id)
}

action! {
    /// Resume a paused migration
    ///
    /// Or one whose process has died: this server starts to drive it within a moment.
    "/v1/migrations/{migration}/resume"
    resume(asked, said: Resume) migrations::resume(&asked.deployment, asked.id, said.keep_window)
}

action! {
    /// Request the cutover
    ///
    /// Returns once it is requested; `watch` reports the progress.
    "/v1/migrations/{migration}/cutover"
    cutover(asked, said: Reason) migrations::request_cutover(&asked.deployment, asked.id)
}

action! {
    /// Withdraw the cutover before it begins
    ///
    /// A requested or automatic cutover then begins only after a new request: `cutover` becomes `manual`. Refused with 409 once the cutover has begun.
    "/v1/migrations/{migration}/withdraw"
    withdraw(asked, said: Reason) migrations::withdraw_cutover(&asked.deployment, asked.id)
}

action! {
    /// Abort a migration before its cutover
    ///
    /// The tenant stays where it is. A running cutover ends first. The driver of the migration cleans up
    /// the target.
    "/v1/migrations/{migration}/abort"
    abort(asked, said: Abort) migrations::abort(&asked.deployment, asked.id, said.purge_target)
}

action! {
    /// Repair the copy after violations were found
    ///
    /// Returns once it is requested; `watch` with `until=repaired` reports the progress. The copy is cut back
    /// to before the damage, copied again and verified. Refused if no violation is open, or if the damage is
    /// in the source itself.
    "/v1/migrations/{migration}/repair"
    repair(asked, said: Reason) migrations::repair(&asked.deployment, asked.id)
}

action! {
    /// Acknowledge a failure
    "/v1/migrations/{migration}/acknowledge"
    acknowledge(asked, said: Reason) migrations::acknowledge(&asked.deployment, asked.id)
}

/// What a migration runs with
#[utoipa::path(get, path = "/v1/migrations/{migration}/options", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The complete document.", body = rehome_api::Options), Problems))]
pub(crate) async fn options(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    let options = migrations::options_of(&state.deployment, MigrationId::new(id)).await?;
    json(StatusCode::OK, &options)
}

/// Change options while a migration runs
///
/// Missing options stay.
#[utoipa::path(patch, path = "/v1/migrations/{migration}/options", tag = "migrations",
    params(
        ("migration" = Uuid, Path, description = "Which."),
        ("If-Match" = Option<String>, Header, description = "The ETag of the last response."),
    ),
    request_body = Tuning,
    responses((status = 200, description = "All options after the change.", body = rehome_api::Options), Problems))]
pub(crate) async fn tune(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    let permit = may_operate(&state, &caller, id).await?;
    let Tuning { options, reason } = body.document(permit).await?;
    let asked = Asked::new(&state, &caller, id, &headers, reason.as_deref())?;
    if options.is_empty() {
        return Err(Problem::bad_request("bad_body", "no option to change was given"));
    }
    let tuned = migrations::tune(&asked.deployment, asked.id, &options).await;
    json(StatusCode::OK, &tuned.map_err(|error| refused(error, asked.seen))?)
}
