//! Who may enter, as it was last told: pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rehome_app::tokens::{Grant, Token, TokenHash, kept_grant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;
use rehome_ports::{AccessContents, AccessSession, SecretHash};

use super::Tokens;
use super::caller::{Caller, Credential};

/// How long a session lasts that nobody uses.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(3_600);

/// A token that the control plane keeps.
#[derive(Debug)]
struct Kept {
    id: TokenId,
    name: Arc<str>,
    /// `None`: of a role that this version does not know.
    grant: Option<Arc<Grant>>,
    expires_at: Option<Timestamp>,
    is_revoked: bool,
}

/// Why a credential lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoEntry {
    /// Nobody knows it.
    Unknown,
    /// The token of that name is over, or is worth nothing here.
    Over(Arc<str>, &'static str),
}

/// Who may enter.
#[derive(Debug)]
pub(crate) struct Known {
    may_open: bool,
    pub(super) configured: Arc<Tokens>,
    pub(super) rev: Option<u64>,
    closed: bool,
    kept: Arc<HashMap<SecretHash, Kept>>,
    sessions: Arc<HashMap<SecretHash, AccessSession>>,
}

impl Known {
    /// Nobody. `may_open`: whether the server may answer callers without a token, if the deployment is open.
    pub(super) fn new(may_open: bool) -> Self {
        Self {
            may_open,
            configured: Arc::default(),
            rev: None,
            closed: true,
            kept: Arc::default(),
            sessions: Arc::default(),
        }
    }

    /// The same with other tokens in the configuration.
    pub(super) fn configured(&self, tokens: &[Token]) -> Self {
        Self {
            may_open: self.may_open,
            configured: Arc::new(Tokens::new(tokens)),
            rev: self.rev,
            closed: self.closed,
            kept: Arc::clone(&self.kept),
            sessions: Arc::clone(&self.sessions),
        }
    }

    /// The same with what the control plane tells.
    pub(super) fn told(&self, rev: u64, contents: &AccessContents) -> Self {
        let kept = contents.tokens.iter().map(|token| {
            let kept = Kept {
                id: token.id,
                name: token.name.as_str().into(),
                grant: kept_grant(token).map(Arc::new),
                expires_at: token.expires_at,
                is_revoked: token.revoked.is_some(),
            };
            (token.hash, kept)
        });
        Self {
            may_open: self.may_open,
            configured: Arc::clone(&self.configured),
            rev: Some(rev),
            closed: contents.gate.closed,
            kept: Arc::new(kept.collect()),
            sessions: Arc::new(contents.sessions.iter().map(|one| (one.hash, *one)).collect()),
        }
    }

    /// Whether anybody may enter without a token: there are none, and the gate is open.
    pub(crate) fn is_open(&self) -> bool {
        self.may_open && self.configured.is_empty() && !self.closed
    }

    /// The bearer of a token of the configuration.
    pub(super) fn configured_token(
        &self,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Option<Result<Caller, NoEntry>> {
        let token = self.configured.find(hash)?;
        let name: Arc<str> = token.name.as_str().into();
        if token.expires_at.is_some_and(|end| end <= now) {
            return Some(Err(NoEntry::Over(name, "has expired")));
        }
        Some(Ok(Caller {
            name,
            grant: Arc::new(token.grant.clone()),
            credential: Credential::Configured(hash.kept()),
            session: None,
        }))
    }

    /// The bearer of a token that the control plane keeps.
    pub(super) fn kept_token(
        &self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<(TokenId, Caller), NoEntry> {
        let kept = self.kept.get(hash).ok_or(NoEntry::Unknown)?;
        let over = |why| NoEntry::Over(Arc::clone(&kept.name), why);
        if kept.is_revoked {
            return Err(over("was revoked"));
        }
        if kept.expires_at.is_some_and(|end| end <= now) {
            return Err(over("has expired"));
        }
        let grant = kept.grant.clone();
        let grant = grant.ok_or_else(|| over("is of a role that this version does not know"))?;
        let credential = Credential::Kept(*hash);
        Ok((kept.id, Caller { name: Arc::clone(&kept.name), grant, credential, session: None }))
    }

    /// A session that goes on.
    pub(super) fn session(&self, hash: &SecretHash, now: Timestamp) -> Option<AccessSession> {
        let session = *self.sessions.get(hash)?;
        let idle = i64::try_from(SESSION_IDLE.as_micros()).unwrap_or(i64::MAX);
        let goes_on = now < session.expires_at && now.micros() - session.seen_at.micros() < idle;
        goes_on.then_some(session)
    }
}
