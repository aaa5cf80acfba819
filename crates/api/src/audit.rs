//! The logs of the control plane, as an auditor reads them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Time;

/// What a check of all logs found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Whether every entry is as it was recorded.
    pub ok: bool,
    /// Logs that were read: one for each migration.
    pub logs_checked: u64,
    /// Entries that were read.
    pub entries_checked: u64,
    /// Logs that are broken.
    pub broken_total: u64,
    /// The first of them, newest migration first, each with its first bad entry.
    pub broken: Vec<BrokenLog>,
}

/// A log that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenLog {
    /// Of which migration.
    pub migration_id: Uuid,
    /// Of which tenant.
    pub tenant_id: Uuid,
    /// The first entry that is not as it was recorded.
    pub index: u64,
    /// How.
    pub detail: String,
}

/// One entry of a log on its way to another system: a line of JSON.
///
/// `hash` is the SHA-256 of `previous_hash`, the index as a big-endian u64, `at` as a big-endian i64 of
/// microseconds since 1970, and `actor` and `fact`, each after its length in bytes as a big-endian u32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Of which migration.
    pub migration_id: Uuid,
    /// Of which tenant.
    pub tenant_id: Uuid,
    /// From.
    pub source_store: String,
    /// To.
    pub target_store: String,
    /// From 1, without gaps.
    pub index: u64,
    /// When it was recorded.
    pub at: Time,
    /// What happened.
    pub event: String,
    /// Who said so, with the reason after `: `, as the hash covers it.
    pub actor: String,
    /// The fact as it is kept, as the hash covers it: JSON.
    pub fact: String,
    /// The hash of the entry before; zeros before the first.
    pub previous_hash: String,
    /// The chain up to and including this entry.
    pub hash: String,
    /// How the entry is not as it was recorded; not there where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_broken: Option<String>,
    /// HMAC-SHA256, by the configured key, of the migration's id (16 bytes), the index (big-endian u64) and the
    /// hash (32 bytes); not there without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}
