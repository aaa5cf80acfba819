//! Tokens, as those who look after a deployment see them: never the secret, nor what tells it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::time::Time;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Who, in logs. One that was rotated has the name of the one that it replaced.
    pub name: String,
    /// `admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`.
    pub role: String,
    /// Only these tenants; empty: bound to none.
    pub tenants: Vec<Uuid>,
    /// Only these stores; empty: bound to none.
    pub stores: Vec<String>,
    /// `control_plane`, for all servers, or `configuration`, for those that have it.
    pub kept_in: String,
    /// `good`, `expired` or `revoked`; `unknown` where its role is one of a later version.
    pub state: String,
    /// When it was made; `null` of the configuration's, which say nothing of it.
    pub created_at: Option<Time>,
    /// Who made it.
    pub created_by: Option<String>,
    /// From when on it is worth nothing.
    pub expires_at: Option<Time>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// All tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Whether it takes a token to enter, also where no server has one in its configuration.
    pub closed: bool,
    /// Those of the configuration first, then in the order in which they were made.
    pub tokens: Vec<Token>,
}

/// A token to be kept. Whoever makes it keeps the secret, and sends what tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// Who, in logs: 1 to 64 letters, digits and `. _ - @`.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// `admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`.
    pub role: String,
    /// Only these tenants.
    #[serde(default)]
    pub tenants: Vec<Uuid>,
    /// Only these stores.
    #[serde(default)]
    pub stores: Vec<String>,
    /// How long it is good; `null`: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
    /// The SHA-256 of the secret, in hexadecimal. The secret has to be 256 random bits or as good.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub sha256: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A token to take the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRotate {
    /// The SHA-256 of the new secret, in hexadecimal.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub sha256: String,
    /// How long the old one stays good; `null`: it ends at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old_for: Option<Millis>,
    /// How long the new one is good; `null`: as long as the old one was when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}
