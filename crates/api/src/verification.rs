//! The results of verifications.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The report of a verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// The migration whose two stores were compared.
    pub migration_id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The store that has the authority.
    pub authority: String,
    /// The store that must have a prefix of it.
    pub copy: String,
    /// The level: `count`, `hash` or `full`.
    pub level: String,
    /// The compared fraction of the history, from 0 to 1.
    pub sample: f64,
    /// Whether there are no differences.
    pub ok: bool,
    /// Number of events compared, in each of the two stores.
    pub events_checked: u64,
    /// The position up to which the copy was compared.
    pub upto_seq: u64,
    /// Number of violations.
    pub violations_total: u64,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// The open violations of the migration after this verification, and what to do: they block the
    /// cutover. They stay open after a verification that is less deep than the one that found them.
    #[serde(default)]
    pub open_violation: Option<String>,
}

/// The report of verifying one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreVerification {
    /// The store.
    pub store: String,
    /// The level: `count`, `hash` or `full`.
    pub level: String,
    /// Whether no damage was found.
    pub ok: bool,
    /// Whether the verification is complete.
    pub complete: bool,
    /// Number of completely verified tenants.
    pub tenants_checked: u64,
    /// Number of verified events.
    pub events_checked: u64,
    /// Number of tenants with damage.
    pub damaged_total: u64,
    /// The first of them, each with its first damage.
    pub damaged: Vec<DamagedTenant>,
    /// The `--after` to continue with, if it is not complete.
    pub next: Option<String>,
}

/// A tenant with damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedTenant {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The damage.
    #[serde(flatten)]
    pub damage: Violation,
}

/// One difference between the actual and the expected state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// `missing`, `unexpected`, `content`, `order`, `version` or `ledger`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The position.
    pub seq: Option<u64>,
    /// The stream type.
    pub stream_type: Option<String>,
    /// The stream id.
    pub stream_id: Option<String>,
    /// What differs, without any payload.
    pub detail: String,
}
