//! Tokens, as administrators see them: never the secret or its hash.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::time::Time;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its name in logs. A rotated token keeps the name.
    pub name: String,
    /// `admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`.
    pub role: String,
    /// The tenants that it is bound to; empty: not bound.
    pub tenants: Vec<Uuid>,
    /// The stores that it is bound to; empty: not bound.
    pub stores: Vec<String>,
    /// Where it is stored: `control_plane`, for all servers, or `configuration`, for the servers that have it.
    pub kept_in: String,
    /// `good`, `expired` or `revoked`; `unknown` if its role is one of a later version.
    pub state: String,
    /// When it was created; `null` for a token of the configuration.
    pub created_at: Option<Time>,
    /// Who created it.
    pub created_by: Option<String>,
    /// When it expires.
    pub expires_at: Option<Time>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// All tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Whether every request needs a token, also where no server has one in its configuration.
    pub closed: bool,
    /// The tokens, those of the configuration first, then in the order of their creation.
    pub tokens: Vec<Token>,
}

/// A token to store. The caller creates the secret, keeps it, and sends its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// Its name in logs: 1 to 64 letters, digits and `. _ - @`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// `admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`.
    pub role: String,
    /// The tenants that it is bound to.
    #[serde(default)]
    pub tenants: Vec<Uuid>,
    /// The stores that it is bound to.
    #[serde(default)]
    pub stores: Vec<String>,
    /// Its lifetime; `null`: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
    /// The SHA-256 of the secret, in hexadecimal. The secret must be 256 random bits or equivalent.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub sha256: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A token that replaces another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRotate {
    /// The SHA-256 of the new secret, in hexadecimal.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub sha256: String,
    /// How long the old one stays valid; `null`: it ends at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old_for: Option<Millis>,
    /// The lifetime of the new one; `null`: the original lifetime of the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}
