//! Reports of import and export.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Events that were written.
    pub events_imported: u64,
    /// Events that were there already, with the same content.
    pub events_already_there: u64,
    /// All lines up to this one are in the stores.
    pub lines_complete: u64,
    /// Per tenant, in the order in which the file first names them.
    pub tenants: Vec<TenantImport>,
    /// The first line of each tenant that was not taken, in the order of the lines. Nothing that comes
    /// after it was imported for that tenant.
    #[serde(default)]
    pub refused: Vec<RefusedLine>,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// Its number.
    pub line: u64,
    /// The tenant whose history ends before it.
    pub tenant_id: Uuid,
    /// Why it was not taken.
    pub why: String,
}

/// What an import did for one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantImport {
    /// Whose history.
    pub tenant_id: Uuid,
    /// Where it is.
    pub store: String,
    /// Events that were written.
    pub events_imported: u64,
    /// Events that were there already.
    pub events_already_there: u64,
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// Whose history.
    pub tenant_id: Uuid,
    /// The store that was read; `null` when it was whichever has the authority.
    pub store: Option<String>,
    /// What that store is for the tenant: `active`, `replica` or `fenced`.
    pub role: String,
    /// Events written.
    pub events: u64,
    /// The file, if it was not the standard output.
    pub file: Option<String>,
}
