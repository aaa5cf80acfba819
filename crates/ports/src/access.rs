//! The port of the access list: tokens, sessions of people, and the gate.

use std::fmt;

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId, TokenId};

use crate::ControlError;

/// Maximum number of sessions of one token; a new one ends the oldest.
pub const SESSIONS_PER_TOKEN_MAX: usize = 32;

/// The SHA-256 of a secret of 256 random bits. The secret itself is not stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Wraps 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the 32 bytes back; `None` when there are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<a hash>")
    }
}

/// To what a token is bound. Empty lists bind to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessScope {
    /// Only these tenants.
    pub tenants: Vec<TenantId>,
    /// Only these stores.
    pub stores: Vec<StoreId>,
    /// Changes nothing.
    pub read_only: bool,
}

/// A stored scope is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is bound to what is no list of tenants or stores")]
pub struct BadScope;

impl AccessScope {
    /// The tenants in their stored form: separated by spaces.
    pub fn tenants_text(&self) -> String {
        let all: Vec<_> = self.tenants.iter().map(ToString::to_string).collect();
        all.join(" ")
    }

    /// The stores in their stored form: separated by spaces.
    pub fn stores_text(&self) -> String {
        let all: Vec<_> = self.stores.iter().map(StoreId::as_str).collect();
        all.join(" ")
    }

    /// Reads both back.
    pub fn read(tenants: &str, stores: &str, read_only: bool) -> Result<Self, BadScope> {
        let tenants =
            tenants.split_ascii_whitespace().map(|text| text.parse().map_err(|_| BadScope));
        let stores = stores.split_ascii_whitespace().map(|text| text.parse().map_err(|_| BadScope));
        Ok(Self {
            tenants: tenants.collect::<Result<_, _>>()?,
            stores: stores.collect::<Result<_, _>>()?,
            read_only,
        })
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Its id.
    pub id: TokenId,
    /// Who, in logs. One that replaces another has its name.
    pub name: String,
    /// The role, as an opaque text; the layer that writes it parses it.
    pub role: String,
    /// To what that is bound.
    pub scope: AccessScope,
    /// Its hash.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// From when on it is worth nothing.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, and by whom.
    pub revoked: Option<Revocation>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl AccessToken {
    /// Whether it is worth something at that time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// The end of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The time.
    pub at: Timestamp,
    /// The actor, with the reason if there is one.
    pub by: String,
}

/// A session of a person who logged in with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSession {
    /// Its hash.
    pub hash: SecretHash,
    /// The hash of the token, wherever that is stored: a session is valid as long as its token.
    pub token: SecretHash,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was used last.
    pub seen_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
}

/// Whether requests without a token are allowed, where the configuration of a server has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// They are not: the deployment has, or had, tokens.
    pub closed: bool,
    /// The last change, with time and actor; `None`: never changed.
    pub changed: Option<Revocation>,
}

/// The access list, or that it is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Moves with every change of the gate, of tokens and of sessions, but not with
    /// [`AccessRegistry::used`].
    pub rev: u64,
    /// The time by the control plane's clock.
    pub now: Timestamp,
    /// All of it; `None`: it is as it was at the revision that was named.
    pub contents: Option<AccessContents>,
}

/// The whole access list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessContents {
    /// Whether requests need a token.
    pub gate: Gate,
    /// All tokens, also those that are over, in the order in which they were made.
    pub tokens: Vec<AccessToken>,
    /// All sessions, also those whose time has run out.
    pub sessions: Vec<AccessSession>,
}

/// Who may enter. A part of the control plane, so that every server has the same answer.
#[async_trait]
pub trait AccessRegistry: Send + Sync {
    /// The access list, unless its revision is the caller's `known`.
    async fn access(&self, known: Option<u64>) -> Result<Access, ControlError>;

    /// Stores a new token, and closes the gate. With `replaces`, that token ends at that time, if it
    /// does not end sooner, in the same step.
    async fn add_token(
        &self,
        token: &AccessToken,
        replaces: Option<(TokenId, Timestamp)>,
    ) -> Result<(), ControlError>;

    /// Ends a token, with its sessions; false: there is none of that id, or it was revoked already.
    async fn revoke_token(&self, id: TokenId, end: &Revocation) -> Result<bool, ControlError>;

    /// Notes when tokens were last used; the time never goes back, and the revision does not move.
    async fn used(&self, tokens: &[(TokenId, Timestamp)]) -> Result<(), ControlError>;

    /// Closes or opens the gate. A repeat changes nothing.
    async fn set_gate(&self, closed: bool, change: &Revocation) -> Result<(), ControlError>;

    /// Stores a new session; removes sessions that have expired by then, and the oldest of its
    /// token beyond [`SESSIONS_PER_TOKEN_MAX`].
    async fn add_session(&self, session: &AccessSession) -> Result<(), ControlError>;

    /// Notes that a session was used.
    async fn see_session(&self, hash: &SecretHash, at: Timestamp) -> Result<(), ControlError>;

    /// Ends a session.
    async fn end_session(&self, hash: &SecretHash) -> Result<(), ControlError>;
}
