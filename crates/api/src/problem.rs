//! Errors of the server, as RFC 9457 has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What every `type` begins with; behind it is a word that is stable.
pub const TYPE_PREFIX: &str = "urn:rehome:problem:";

/// A problem document. `type` is stable and made for programs; `detail` is made for people and may
/// change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is, for example `urn:rehome:problem:version_conflict`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What happened, to which tenant, and what to do next.
    pub detail: String,
    /// The request, as `X-Request-Id` and the server's log name it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<String>,
    /// Whose history it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant_id: Option<Uuid>,
    /// Which migration it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub migration_id: Option<Uuid>,
    /// Where that migration stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// Of a version conflict: the stream's version (0: no event).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actual_version: Option<u64>,
    /// Of a conflict of ids: the first that is in use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<Uuid>,
    /// Of a position beyond the end of the history: the position.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub position: Option<u64>,
    /// Of a position beyond the end of the history: the last one that there is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<u64>,
    /// Of what is too large: how much is taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
}

impl Problem {
    /// The stable word of `type`.
    pub fn code(&self) -> &str {
        self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind)
    }
}
