//! Reports of import and export.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Number of written events.
    pub events_imported: u64,
    /// Number of events that were already present with the same content.
    pub events_already_there: u64,
    /// All lines up to this one are in the stores.
    pub lines_complete: u64,
    /// The results per tenant, in the order of the file.
    pub tenants: Vec<TenantImport>,
    /// The first refused line of each tenant, in the order of the lines. Later lines
    /// of that tenant were not imported.
    #[serde(default)]
    pub refused: Vec<RefusedLine>,
    /// The comparison with the source, after an import from a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedImport>,
}

/// The result of comparing an import with its source: both are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedImport {
    /// Number of tenants of the source.
    pub tenants: u64,
    /// Number of rows of the source, each of which is one event in a store, with the same content.
    pub events: u64,
}

/// The result of a dry run of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLook {
    /// Number of events that could be imported.
    pub events: u64,
    /// Number of tenants with at least one.
    pub tenants: u64,
    /// The first line of each tenant that would be refused.
    pub refused: Vec<RefusedLine>,
}

/// A refused line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// Its number.
    pub line: u64,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The reason.
    pub why: String,
}

/// The result of an import for one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantImport {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its store.
    pub store: String,
    /// Number of written events.
    pub events_imported: u64,
    /// Number of events that were already present.
    pub events_already_there: u64,
}

/// The result of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The requested store; `null` if the authority was read.
    pub store: Option<String>,
    /// The tenant's role in that store: `active`, `replica` or `fenced`.
    pub role: String,
    /// Number of written events.
    pub events: u64,
    /// The file, unless it was the standard output.
    pub file: Option<String>,
}
