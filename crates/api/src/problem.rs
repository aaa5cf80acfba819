//! Errors of the server, as in RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The prefix of every `type`; a stable word follows.
pub const TYPE_PREFIX: &str = "urn:rehome:problem:";

/// A problem document. `type` is stable, for programs; `detail` is for people and may
/// change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of problem, for example `urn:rehome:problem:version_conflict`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to which tenant, and what to do next.
    pub detail: String,
    /// The request id, as in `X-Request-Id` and the server's log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant_id: Option<Uuid>,
    /// The migration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub migration_id: Option<Uuid>,
    /// The state of that migration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// For a version conflict: the stream's version (0: no event).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actual_version: Option<u64>,
    /// For a conflict of ids: the first id that is in use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<Uuid>,
    /// For a position beyond the end of the history: the position.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub position: Option<u64>,
    /// For a position beyond the end of the history: the last position.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<u64>,
    /// For a request that is too large: the maximum.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
}

impl Problem {
    /// The stable word of `type`.
    pub fn code(&self) -> &str {
        self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind)
    }
}
