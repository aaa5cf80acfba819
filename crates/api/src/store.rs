//! Stores and the tenants in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::migration::Migration;
use crate::time::Time;

/// What a look at the stores found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreCheckReport {
    /// Whether every store that was looked at is fit for use.
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
    /// Whether the guard is there now.
    pub installed: bool,
    /// Whether this call changed anything.
    pub changed: bool,
    /// What was done, or would be, a sentence each.
    pub steps: Vec<String>,
}

/// A position of one table, as another table with the tenant's events has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TranslatedPosition {
    /// Whose events.
    pub tenant_id: Uuid,
    /// Where the position was taken.
    pub from: String,
    /// The position there, up to which everything was read.
    pub position: i64,
    /// Where the reader goes on.
    pub to: String,
    /// The position there from which it goes on. Nothing is skipped; some may be read again.
    pub translated: i64,
    /// How many of the tenant's events the reader is taken to have read.
    pub events: u64,
}

/// What a store says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreCheck {
    /// Its name in the configuration.
    pub id: String,
    /// Where it is, without any secret.
    pub url: String,
    /// Whether new tenants go there.
    pub default: bool,
    /// Whether it is fit for use.
    pub ok: bool,
    /// Whether it answers.
    pub reachable: bool,
    /// Since when it does not answer; `null`: it answers. What else is said of it is then as last known.
    #[serde(default)]
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
    /// The identity it was given when it was made.
    pub identity: Option<String>,
    /// How durable a commit is.
    pub durability: Option<String>,
    /// Whether a commit survives the loss of power.
    pub durable: Option<bool>,
    /// Its clock minus ours, in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// How many tenants it has a ledger of.
    pub tenants_total: Option<u64>,
    /// The first of those tenants.
    pub tenants: Vec<TenantInStore>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// A tenant's ledger in one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantInStore {
    /// Whose.
    pub tenant_id: Uuid,
    /// The store.
    pub store: String,
    /// `active`, `replica`, `fenced` or `absent`.
    pub role: String,
    /// The ledger's fencing token.
    pub epoch: u64,
    /// Events of the tenant there.
    pub seq: u64,
    /// The hash chain up to the last of them.
    pub digest: String,
    /// Whether the route points here.
    pub authority: bool,
    /// When the ledger was read; older than the answer where the store does not answer, `null` where it was
    /// read for this answer.
    #[serde(default)]
    pub last_seen_at: Option<Time>,
}

/// One tenant: where it is, and what every store holds of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// Who.
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
    /// Whether it can return to where it came from.
    pub rollback_window_open: bool,
    /// Its last migration.
    pub migration: Option<Migration>,
    /// What each store holds of it.
    pub stores: Vec<TenantInStore>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// What a purge removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantPurge {
    /// Whose events.
    pub tenant_id: Uuid,
    /// The store that held them.
    pub store: String,
    /// How many were removed.
    pub events_purged: u64,
}

/// A tenant whose stores are ahead of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recovery {
    /// Who.
    pub tenant_id: Uuid,
    /// The highest epoch that the control plane knows of; 0 if it does not know the tenant.
    pub route_epoch: u64,
    /// The store that the control plane names.
    pub route_store: Option<String>,
    /// What the stores hold.
    pub stores: Vec<TenantInStore>,
    /// The store that would have, or now has, the authority; `null` when an operator has to say.
    pub store: Option<String>,
    /// Why none was chosen.
    pub undecided: Option<String>,
    /// Whether the control plane was changed.
    pub recovered: bool,
    /// What shows that the store with the authority has lost events, a sentence each. A recovery does
    /// not change it.
    #[serde(default)]
    pub losses: Vec<String>,
    /// The subscriptions whose checkpoint the history does not reach.
    #[serde(default)]
    pub checkpoints: Vec<CheckpointBeyondEnd>,
}

/// A subscription's checkpoint that the history does not reach: the store has lost events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointBeyondEnd {
    /// The subscription.
    pub name: String,
    /// Its checkpoint.
    pub checkpoint: u64,
    /// The last event that there is.
    pub end: u64,
}
