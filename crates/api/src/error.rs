//! Errors as documents.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What `--json` prints on stderr when a command fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// The error.
    pub error: ErrorBody,
}

/// One error. `type` is stable and made for programs; `message` is made for people and may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What kind of error it is, for example `unknown_tenant`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, to which tenant, and what to do next.
    pub message: String,
    /// The exit code of the command.
    pub exit_code: u8,
    /// Whose history it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant_id: Option<Uuid>,
    /// Which migration it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub migration_id: Option<Uuid>,
    /// Where that migration stands now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// The line of the input that it is about, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// What an import had done when it stopped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub imported: Option<crate::transfer::ImportReport>,
}
