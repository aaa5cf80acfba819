//! The logs of the control plane, for auditors.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Time;

/// The result of verifying all logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Whether every entry is as it was recorded.
    pub ok: bool,
    /// Number of logs read: one for each migration.
    pub logs_checked: u64,
    /// Number of entries read.
    pub entries_checked: u64,
    /// Entries that route rows and stores have seen, and that were compared with the logs.
    #[serde(default)]
    pub anchors_checked: u64,
    /// Why stores could not be asked which entries they have seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors_unread: Vec<String>,
    /// Logs of drains that were read.
    #[serde(default)]
    pub drains_checked: u64,
    /// The first drains whose logs are broken, newest first, each with its first bad entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken_drains: Vec<BrokenDrain>,
    /// Number of broken logs, those of drains included.
    pub broken_total: u64,
    /// The first broken logs, newest migration first, each with its first bad entry.
    pub broken: Vec<BrokenLog>,
}

/// A broken log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenLog {
    /// The migration.
    pub migration_id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The first entry that is not as it was recorded.
    pub index: u64,
    /// What is wrong.
    pub detail: String,
}

/// A drain's log that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenDrain {
    /// Of which drain.
    pub drain_id: Uuid,
    /// The first entry that is not as it was recorded.
    pub index: u64,
    /// How.
    pub detail: String,
}

/// One entry of a log for export to another system: a line of JSON.
///
/// `hash` is the SHA-256 of `previous_hash`, the index as a big-endian u64, `at` as a big-endian i64 of
/// microseconds since 1970, and `actor` and `fact`, each after its length in bytes as a big-endian u32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// The migration.
    pub migration_id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The source store.
    pub source_store: String,
    /// The target store.
    pub target_store: String,
    /// The entry's number, from 1, without gaps.
    pub index: u64,
    /// When it was recorded.
    pub at: Time,
    /// The name of the fact. `anchor`: not an entry, but a report that a place outside of the log has seen this entry and
    /// that the log does not contain it any more; `actor` is the place, and `chain_broken` has the details.
    pub event: String,
    /// The actor, with the reason after `: `, as covered by the hash.
    pub actor: String,
    /// The fact as stored, as covered by the hash: JSON.
    pub fact: String,
    /// The hash of the entry before; zeros before the first.
    pub previous_hash: String,
    /// The hash up to and including this entry.
    pub hash: String,
    /// How the entry differs from what was recorded; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_broken: Option<String>,
    /// HMAC-SHA256, with the configured key, of the migration's id (16 bytes), the index (big-endian u64) and the
    /// hash (32 bytes); absent without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// One entry of a drain's log for export, as [`AuditLine`]; the signature covers the drain's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditDrainLine {
    /// The drain.
    pub drain_id: Uuid,
    /// The entry's number, from 1, without gaps.
    pub index: u64,
    /// When it was recorded.
    pub at: Time,
    /// The name of the fact. `anchor`: not an entry, but a report that the row of the drain counts this many entries and
    /// that the log does not contain them any more.
    pub event: String,
    /// The actor, with the reason after `: `, as covered by the hash.
    pub actor: String,
    /// The fact as stored, as covered by the hash: JSON.
    pub fact: String,
    /// The hash of the entry before; zeros before the first.
    pub previous_hash: String,
    /// The hash up to and including this entry.
    pub hash: String,
    /// How the entry differs from what was recorded; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_broken: Option<String>,
    /// HMAC-SHA256, as that of [`AuditLine`]; absent without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AuditRecord {
    /// Of a migration's log: it has a `migration_id`.
    Migration(AuditLine),
    /// Of a drain's log: it has a `drain_id`.
    Drain(AuditDrainLine),
}
