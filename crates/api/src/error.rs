//! Errors as documents.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The document that `--json` prints on stderr when a command fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// The error.
    pub error: ErrorBody,
}

/// One error. `type` is stable, for programs; `message` is for people and may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The kind of error, for example `unknown_tenant`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, to which tenant, and what to do next.
    pub message: String,
    /// The exit code of the command.
    pub exit_code: u8,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant_id: Option<Uuid>,
    /// The migration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub migration_id: Option<Uuid>,
    /// The state of that migration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// The line of the input, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// What an import had done before the error.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub imported: Option<crate::transfer::ImportReport>,
}
