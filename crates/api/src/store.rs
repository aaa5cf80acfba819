//! Stores and the tenants in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::migration::Migration;
use crate::time::Time;

/// The result of checking the stores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreCheckReport {
    /// Whether every checked store is usable.
    pub ok: bool,
    /// One document per store.
    pub stores: Vec<StoreCheck>,
}

/// The guard beside a table of another library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreAdoption {
    /// The store.
    pub store: String,
    /// The layout of its table.
    pub layout: String,
    /// Whether the guard is installed now.
    pub installed: bool,
    /// Whether this call changed anything.
    pub changed: bool,
    /// The steps that were or would be carried out, a sentence each.
    pub steps: Vec<String>,
}

/// A position of one table, translated to another table with the tenant's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TranslatedPosition {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store of the position.
    pub from: String,
    /// The position there, up to which everything was read.
    pub position: i64,
    /// The store to continue in.
    pub to: String,
    /// The position to continue from. It skips nothing and may repeat some events.
    pub translated: i64,
    /// How many of the tenant's events the reader has read, by the position.
    pub events: u64,
}

/// A tenant's checkpoints, copied from one store to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MovedCheckpoints {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The old store.
    pub from: String,
    /// The new store.
    pub to: String,
    /// The checkpoints.
    pub moved: Vec<MovedCheckpoint>,
    /// The tables of the layout that stay, a sentence each, with what to do.
    pub left: Vec<String>,
}

/// A checkpoint of one table, as written in the other store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MovedCheckpoint {
    /// Its table.
    pub table: String,
    /// The row's other columns, as texts.
    pub row: BTreeMap<String, Option<String>>,
    /// The position up to which everything was read.
    pub position: i64,
    /// The position in the other store. It skips nothing and may repeat some events.
    pub translated: i64,
    /// Whether it was written; otherwise a row that is as far was already there.
    pub written: bool,
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreCheck {
    /// Its id in the configuration.
    pub id: String,
    /// Its address, without any secret.
    pub url: String,
    /// Whether new tenants are created here.
    pub default: bool,
    /// Whether it is usable.
    pub ok: bool,
    /// Whether it answers.
    pub reachable: bool,
    /// Since when it has not answered; `null`: it answers. Its other values are then the last known
    /// ones.
    pub unanswered_since: Option<Time>,
    /// When it last answered; `null`: never.
    #[serde(default)]
    pub last_seen_at: Option<Time>,
    /// The engine and its version.
    pub engine: Option<String>,
    /// The format of its tables.
    pub format: Option<u32>,
    /// The deployment it belongs to.
    pub deployment: Option<String>,
    /// The identity that it got at its creation.
    pub identity: Option<String>,
    /// How durable a commit is.
    pub durability: Option<String>,
    /// Whether a commit survives the loss of power.
    pub durable: Option<bool>,
    /// Its clock minus the process's, in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// Number of tenants with a ledger.
    pub tenants_total: Option<u64>,
    /// The first of those tenants.
    pub tenants: Vec<TenantInStore>,
    /// The problems.
    pub problems: Vec<String>,
}

/// A tenant's ledger in one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantInStore {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store.
    pub store: String,
    /// `active`, `replica`, `fenced` or `absent`.
    pub role: String,
    /// The ledger's fencing token.
    pub epoch: u64,
    /// Number of the tenant's events there.
    pub seq: u64,
    /// The hash chain up to the last of them.
    pub digest: String,
    /// Whether the route names this store.
    pub authority: bool,
    /// When the ledger was read; in the past if the store does not answer, `null` if it was
    /// read for this response.
    #[serde(default)]
    pub last_seen_at: Option<Time>,
}

/// One tenant: where it is, and what every store has of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store that has the authority.
    pub store: String,
    /// The state of its last migration; `null` before the first.
    pub state: Option<String>,
    /// The route's epoch.
    pub epoch: u64,
    /// Events in the store that has the authority; `null` when it does not answer.
    pub seq: Option<u64>,
    /// The hash chain up to the last of them.
    pub digest: Option<String>,
    /// Whether it can return to its previous store.
    pub rollback_window_open: bool,
    /// Its last migration.
    pub migration: Option<Migration>,
    /// What each store has of it.
    pub stores: Vec<TenantInStore>,
    /// The problems.
    pub problems: Vec<String>,
}

/// The result of a purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantPurge {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store.
    pub store: String,
    /// Number of removed events.
    pub events_purged: u64,
}

/// A tenant that was removed, or can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantRemoval {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store.
    pub store: String,
    /// Number of events that were, or would be, removed; 0 if the tenant was removed before.
    pub events: u64,
    /// Whether it is removed now.
    pub removed: bool,
}

/// A tenant that is no longer guarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantUnguarded {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store.
    pub store: String,
    /// Whether this call changed anything.
    pub changed: bool,
}

/// A tenant whose stores are ahead of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recovery {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The highest epoch in the control plane; 0 if it does not know the tenant.
    pub route_epoch: u64,
    /// The store that the control plane names.
    pub route_store: Option<String>,
    /// What the stores have.
    pub stores: Vec<TenantInStore>,
    /// The store that would have, or now has, the authority; `null` if an operator has to decide.
    pub store: Option<String>,
    /// Why none was chosen.
    pub undecided: Option<String>,
    /// Whether the control plane was changed.
    pub recovered: bool,
    /// The evidence that the store with the authority has lost events, a sentence each. A recovery does
    /// not repair it.
    #[serde(default)]
    pub losses: Vec<String>,
    /// The subscriptions whose checkpoint is beyond the end of the history.
    #[serde(default)]
    pub checkpoints: Vec<CheckpointBeyondEnd>,
    /// How the logs of the tenant's migrations are not those that its stores have seen, a sentence each. After a
    /// recovery the stores take the logs for what they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed_logs: Vec<String>,
}

/// A subscription whose checkpoint is beyond the end of the history: the store has lost events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointBeyondEnd {
    /// The subscription.
    pub name: String,
    /// Its checkpoint.
    pub checkpoint: u64,
    /// The last event.
    pub end: u64,
}
