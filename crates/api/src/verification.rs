//! What a verification found.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The report of a verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// The migration whose two stores were compared.
    pub migration_id: Uuid,
    /// Whose history.
    pub tenant_id: Uuid,
    /// The store that has the authority.
    pub authority: String,
    /// The store that must hold a prefix of it.
    pub copy: String,
    /// How deep it looked: `count`, `hash` or `full`.
    pub level: String,
    /// The part of the history that was looked at, from 0 to 1.
    pub sample: f64,
    /// Whether nothing differs.
    pub ok: bool,
    /// Events looked at, in each of the two stores.
    pub events_checked: u64,
    /// The position up to which the copy was compared.
    pub upto_seq: u64,
    /// How many violations there are.
    pub violations_total: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
    /// What is open for the migration once this was recorded, and what to do about it: no cutover is
    /// possible with it. It stays open after a verification that looked at less than the one that found it.
    #[serde(default)]
    pub open_violation: Option<String>,
}

/// The report of a look at one store by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreVerification {
    /// Which store.
    pub store: String,
    /// How deep it looked: `count`, `hash` or `full`.
    pub level: String,
    /// Whether no damage was found.
    pub ok: bool,
    /// Whether all that was asked for was looked at.
    pub complete: bool,
    /// Tenants that were looked at to their end.
    pub tenants_checked: u64,
    /// Events that were looked at.
    pub events_checked: u64,
    /// Tenants with damage.
    pub damaged_total: u64,
    /// The first of them, each with its first damage.
    pub damaged: Vec<DamagedTenant>,
    /// What to give as `--after` to go on, where it did not come to its end.
    pub next: Option<String>,
}

/// A tenant with damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedTenant {
    /// Which.
    pub tenant_id: Uuid,
    /// The damage.
    #[serde(flatten)]
    pub damage: Violation,
}

/// One difference between what is and what must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// `missing`, `unexpected`, `content`, `order`, `version` or `ledger`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The position it is about.
    pub seq: Option<u64>,
    /// The type of the stream it is about.
    pub stream_type: Option<String>,
    /// The id of the stream it is about.
    pub stream_id: Option<String>,
    /// What differs, without any payload.
    pub detail: String,
}
