//! Migrations as they are.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::admin::{LogPage, MigrationPage, Worker};
use rehome_app::{MigrationsWanted, migrations};
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::Phase;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{may_view, shown, store_id};
use crate::auth::Caller;
use crate::extract::{InPath, InQuery};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Default number of migrations of a page.
const LIMIT_DEFAULT: u32 = 50;
/// Maximum number of migrations of a page: each needs queries to its stores.
const LIMIT_MAX: u32 = 200;

/// Which migrations.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those in this state.
    #[param(
        pattern = "^(pending|bulk_copy|dual_write|cutover_paused|migrated|failed|rolled_back|paused)$"
    )]
    state: Option<String>,
    /// Only those of this tenant.
    tenant: Option<Uuid>,
    /// Only those of tenants whose ids begin so, or whose name this is.
    search: Option<String>,
    /// Only those from or to this store.
    store: Option<String>,
    /// Only those that need an operator: `needs` says for what.
    needs_you: Option<bool>,
    /// Those that come after: `next_cursor` of the part before.
    cursor: Option<Uuid>,
    /// Most migrations of a part; 50 if it is not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// List migrations
///
/// Newest first.
#[utoipa::path(get, path = "/v1/migrations", tag = "migrations", params(Which),
    responses((status = 200, description = "A page.", body = MigrationPage), Problems))]
pub(crate) async fn list(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InQuery(which): InQuery<Which>,
) -> Answer {
    caller.may_view_some()?;
    let phase = which.state.as_deref().map(phase).transpose()?;
    let limit = which.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit must be 1 to {LIMIT_MAX}");
        return Err(Problem::bad_request("bad_query", detail).limit(LIMIT_MAX.into()));
    }
    let limit = limit as usize;
    let wanted = MigrationsWanted {
        tenant: which.tenant.map(TenantId::new),
        search: which.search,
        phase,
        store: which.store.as_deref().map(store_id).transpose()?,
        needs_you: which.needs_you.unwrap_or(false),
        before: which.cursor.map(MigrationId::new),
        // One more shows whether there are more.
        limit: limit + 1,
    };
    let mut migrations = migrations::list(&state.deployment, &wanted).await?;
    let more = migrations.len() > limit;
    migrations.truncate(limit);
    let next_cursor = migrations.last().map(|last| last.id).filter(|_| more);
    migrations.retain(|migration| is_seen(&caller, migration));
    json(StatusCode::OK, &MigrationPage { migrations, next_cursor })
}

/// Whether it is within the caller's bounds.
pub(crate) fn is_seen(caller: &Caller, migration: &rehome_api::Migration) -> bool {
    let stores = [&migration.source_store, &migration.target_store].map(|id| id.parse());
    let [Ok(source), Ok(target)] = stores else { return !caller.is_bound() };
    caller.covers(TenantId::new(migration.tenant_id), [&source, &target])
}

pub(super) fn phase(text: &str) -> Result<Phase, Problem> {
    Phase::parse(text).ok_or_else(|| {
        let all: Vec<_> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
        Problem::bad_request("bad_query", format!("the states are {}", all.join(", ")))
    })
}

/// Get a migration
///
/// Send its `ETag` as `If-Match` with an action to act only on this state.
#[utoipa::path(get, path = "/v1/migrations/{migration}", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The current state.", body = rehome_api::Migration,
        headers(("ETag" = String, description = "The revision of its tenant's route."))), Problems))]
pub(crate) async fn show(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    shown(&state.deployment, MigrationId::new(id), StatusCode::OK).await
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// After this entry; 0, before the first, if it is not given.
    after: Option<u64>,
}

/// Get a migration's log
///
/// Each entry has what happened, the actor, and the reason. Hash-chained: each entry's `hash` covers those before it.
#[utoipa::path(get, path = "/v1/migrations/{migration}/log", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which."), After),
    responses((status = 200, description = "A page.", body = LogPage), Problems))]
pub(crate) async fn log(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    InQuery(part): InQuery<After>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    // No log is longer, and not every control plane can count further.
    let after = part.after.unwrap_or(0).min(i64::MAX as u64);
    let entries = migrations::log(&state.deployment, MigrationId::new(id), after).await?;
    let next_after = entries.last().map_or(after, |last| last.index);
    json(StatusCode::OK, &LogPage { entries, next_after })
}

/// Who works on a migration
///
/// By its lease, which the process that works on it renews.
#[utoipa::path(get, path = "/v1/migrations/{migration}/worker", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The process, if any.", body = Worker), Problems))]
pub(crate) async fn worker(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    let id = MigrationId::new(id);
    // An unknown migration is an error; one without a lease has no holder.
    migrations::options_of(&state.deployment, id).await?;
    json(StatusCode::OK, &Worker { holder: migrations::lease(&state.deployment, id).await? })
}
