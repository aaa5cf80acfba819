//! Drains, cordons and pins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::migration::{Options, OptionsPatch};
use crate::time::Time;

/// A target store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainTarget {
    /// The store's id.
    pub store: String,
    /// Its weight among the targets.
    #[serde(default = "one")]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

/// The settings of a drain; missing ones have their default, or stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSettings {
    /// The order of the tenants: `smallest`, `largest` or `idle` first.
    pub order: Option<String>,
    /// How targets are chosen: `weights`, `free_space` or `least_loaded`.
    pub placement: Option<String>,
    /// Maximum number of migrations at the same time.
    pub concurrency: Option<u32>,
    /// Maximum number of those from one source; 0: no limit.
    pub per_source: Option<u32>,
    /// Maximum number of those to one target; 0: no limit.
    pub per_target: Option<u32>,
    /// Maximum number of cutovers that start in one minute; 0: no limit.
    pub cutovers_per_minute: Option<u32>,
    /// Maximum copy rate of all moves together, in events per second; 0: no limit.
    pub copy_rate_max: Option<u32>,
    /// Maximum copy rate of all moves together, in bytes per second; 0: no limit.
    pub copy_bytes_rate_max: Option<u32>,
    /// When cutovers may start, for example `Mon-Fri 01:00-05:00 Europe/Berlin`; `any`: at any time.
    pub window: Option<String>,
    /// Number of attempts for each tenant.
    pub tries: Option<u32>,
    /// How long a tenant that was set aside waits for its next attempt.
    pub retry_after: Option<Millis>,
    /// The drain pauses after this many failures; 0: never.
    pub failures_max: Option<u32>,
    /// A move without progress for this long is aborted.
    pub patience: Option<Millis>,
    /// A move whose cutover was rolled back this many times is aborted.
    pub cutover_tries: Option<u32>,
}

/// A drain to plan or start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// The stores to empty.
    pub from: Vec<String>,
    /// The target stores.
    pub to: Vec<DrainTarget>,
    /// Only these tenants; empty: all.
    #[serde(default)]
    pub tenants: Vec<Uuid>,
    /// Exclude these tenants.
    #[serde(default)]
    pub exclude: Vec<Uuid>,
    /// The settings.
    #[serde(default)]
    pub settings: DrainSettings,
    /// The options of its migrations; missing ones come from the configuration.
    #[serde(default)]
    pub options: OptionsPatch,
}

/// A drain to start: from a request, or from a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainStart {
    /// Its id, chosen by the caller, so that a start can be retried after a lost response.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// The request.
    #[serde(default)]
    pub request: Option<DrainRequest>,
    /// Or a plan.
    #[serde(default)]
    pub plan: Option<DrainPlan>,
    /// The reason, for the drain's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// The plan of a drain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainPlan {
    /// The deployment.
    pub deployment: String,
    /// When it was made.
    pub at: Time,
    /// The stores to empty.
    pub from: Vec<String>,
    /// The target stores.
    pub to: Vec<DrainTarget>,
    /// The settings, complete.
    pub settings: DrainSettings,
    /// The options of its migrations, complete.
    pub options: OptionsPatch,
    /// Number of tenants to move.
    pub moves: u64,
    /// Number of their events.
    pub events: u64,
    /// Number of tenants that stay.
    pub stays: u64,
    /// The estimated duration, in seconds, without waiting for windows.
    pub seconds: f64,
    /// When its window opens, if it is closed now.
    pub opens_at: Option<Time>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// Every tenant, in the order of the moves; those that stay last.
    pub tenants: Vec<DrainTenant>,
}

/// One tenant of a drain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainTenant {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its place in the order.
    pub place: u64,
    /// Its state: `waiting`, `again` (set aside, to be retried), `moving`, `moved`, `set_aside` or
    /// `stays`.
    pub state: String,
    /// Why it stays: `pinned`, `excluded`, `other_drain`, `gone` or `no_target`.
    pub stay: Option<String>,
    /// Its source store.
    pub source_store: String,
    /// Its target store.
    pub target_store: Option<String>,
    /// Events when the drain was planned.
    pub events: u64,
    /// The estimated duration of its move, in seconds, by the plan.
    pub seconds: f64,
    /// The number of attempts.
    pub tries: u32,
    /// Its last migration.
    pub migration_id: Option<Uuid>,
    /// The process that works on it.
    pub worker: Option<String>,
    /// Why it was set aside, or why it stays.
    pub why: Option<String>,
    /// When it entered this state.
    pub since: Time,
}

/// A page of a drain's tenants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainTenantPage {
    /// The tenants, in order.
    pub tenants: Vec<DrainTenant>,
    /// The `after` of the next page; `null` on the last page.
    pub next_after: Option<u64>,
}

/// A drain and its progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// Its id.
    pub id: Uuid,
    /// Its state: `running`, `paused`, `budget_spent`, `cancelling`, `cancelled` or `finished`.
    pub state: String,
    /// The sources.
    pub from: Vec<String>,
    /// The targets.
    pub to: Vec<DrainTarget>,
    /// The settings, complete.
    pub settings: DrainSettings,
    /// The options of its migrations.
    pub options: Options,
    /// Number of tenants to move.
    pub tenants: u64,
    /// Number of those that have not started.
    pub waiting: u64,
    /// Number of those that are moving.
    pub moving: u64,
    /// Number of those that have moved.
    pub moved: u64,
    /// Number of those that were set aside and will be retried.
    pub again: u64,
    /// Number of those that have no attempts left.
    pub set_aside: u64,
    /// Number of tenants that stay.
    pub stays: u64,
    /// Number of events of the tenants to move.
    pub events: u64,
    /// Number of events of the tenants that have moved.
    pub events_moved: u64,
    /// Number of failures since the last start or resume.
    pub failures: u32,
    /// Tenants moved per second, since it started; `null` before the first.
    pub tenants_per_second: Option<f64>,
    /// Estimated seconds until it ends, at that rate; `null` if nothing moves.
    pub eta_seconds: Option<f64>,
    /// Whether cutovers may start now.
    pub window_open: bool,
    /// When they may, if not now.
    pub window_opens_at: Option<Time>,
    /// The processes that work on it.
    pub workers: Vec<String>,
    /// What an operator has to do, a sentence each.
    pub needs: Vec<String>,
    /// When it was started.
    pub created_at: Time,
    /// Who started it, and why.
    pub created_by: String,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// The summary of a drain that has ended.
    pub statement: Option<DrainStatement>,
    /// `null`: this is how it is. Otherwise the control plane does not answer, and this is how it was then.
    #[serde(default)]
    pub last_seen_at: Option<Time>,
}

/// The summary of a drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainStatement {
    /// Number of tenants at their targets, each compared with its source before its switch.
    pub moved: u64,
    /// Number of tenants that were set aside.
    pub set_aside: u64,
    /// Number of tenants that stay, by reason.
    pub stays: u64,
    /// Number of tenants that were not started.
    pub not_begun: u64,
    /// Number of tenants in the stores now, including later arrivals.
    pub tenants_left: u64,
    /// Number of rollback windows that need the stores.
    pub windows_open: u64,
    /// Whether the stores can be switched off.
    pub can_be_switched_off: bool,
    /// Why not, a sentence each.
    pub why_not: Vec<String>,
}

/// A page of drains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrainPage {
    /// The drains, newest first.
    pub drains: Vec<Drain>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<Uuid>,
}

/// Settings of a drain to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainTuning {
    /// The new targets, complete; missing: unchanged.
    #[serde(default)]
    pub to: Option<Vec<DrainTarget>>,
    /// The settings; missing ones stay.
    #[serde(default)]
    pub settings: DrainSettings,
    /// The options of migrations that start from now on.
    #[serde(default)]
    pub options: OptionsPatch,
    /// The reason, for the drain's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Tenants to retry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRetry {
    /// These tenants; empty: all that were set aside.
    #[serde(default)]
    pub tenants: Vec<Uuid>,
    /// The reason, for the drain's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A cordon of a store, or a pin of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// The store or the tenant.
    pub what: String,
    /// Whether it is set.
    pub there: bool,
    /// Who set it.
    pub by: Option<String>,
    /// The reason.
    pub why: Option<String>,
    /// When it was set.
    pub since: Option<Time>,
}

/// A tenant in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantRow {
    /// The tenant.
    pub tenant_id: Uuid,
    /// What a table of another library calls it, as far as this process has seen.
    #[serde(default)]
    pub name: Option<String>,
    /// The store that has the authority.
    pub store: String,
    /// The phase of its last migration.
    pub state: Option<String>,
    /// Its last migration.
    pub migration_id: Option<Uuid>,
    /// Whether it can return.
    pub rollback_window_open: bool,
    /// Why it is pinned; `null` if it is not.
    pub pinned: Option<String>,
    /// The number of events whose removal was requested, while that is not complete: the tenant has neither readers
    /// nor writers; `null` otherwise.
    #[serde(default)]
    pub removing: Option<u64>,
}

/// A page of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantPage {
    /// In the order of their ids.
    pub tenants: Vec<TenantRow>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<Uuid>,
}
