//! The access list as it was last read: pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rehome_app::certificates::{CertificateRule, rule_for};
use rehome_app::oidc::{Issuers, Refused};
use rehome_app::token_registry::kept_grant;
use rehome_app::tokens::{Grant, Token, TokenHash};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;
use rehome_ports::{AccessContents, AccessSession, SecretHash};

use super::Tokens;
use super::caller::{Caller, Credential};
use super::roll::SESSION;

/// How long an unused session lasts.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(3_600);

/// A token of the control plane.
#[derive(Debug)]
struct Kept {
    id: TokenId,
    name: Arc<str>,
    /// `None`: of a role that this version does not know.
    grant: Option<Arc<Grant>>,
    expires_at: Option<Timestamp>,
    is_revoked: bool,
}

/// Why a credential is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoEntry {
    /// Unknown.
    Unknown,
    /// The token of that name is over, or is worth nothing here.
    Over(Arc<str>, &'static str),
    /// It is a token of an issuer, and does not do.
    Theirs(Refused),
}

/// Who may enter.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    may_open: bool,
    pub(super) configured: Arc<Tokens>,
    pub(super) issuers: Issuers,
    certificates: Arc<[CertificateRule]>,
    pub(super) rev: Option<u64>,
    closed: bool,
    kept: Arc<HashMap<SecretHash, Kept>>,
    sessions: Arc<HashMap<SecretHash, AccessSession>>,
}

impl Known {
    /// An empty list. `may_open`: whether the server may answer callers without a token, if the deployment is open.
    pub(super) fn new(may_open: bool) -> Self {
        Self {
            may_open,
            configured: Arc::default(),
            issuers: Issuers::default(),
            certificates: Arc::default(),
            rev: None,
            closed: true,
            kept: Arc::default(),
            sessions: Arc::default(),
        }
    }

    /// The same with other tokens in the configuration.
    pub(super) fn configured(&self, tokens: &[Token]) -> Self {
        Self { configured: Arc::new(Tokens::new(tokens)), ..self.clone() }
    }

    /// The same with others who are believed by the configuration.
    pub(super) fn others(&self, issuers: Issuers, certificates: &[CertificateRule]) -> Self {
        Self { issuers, certificates: certificates.into(), ..self.clone() }
    }

    /// The same with the control plane's list.
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
            rev: Some(rev),
            closed: contents.gate.closed,
            kept: Arc::new(kept.collect()),
            sessions: Arc::new(contents.sessions.iter().map(|one| (one.hash, *one)).collect()),
            ..self.clone()
        }
    }

    /// Whether requests without a token are allowed: there are no tokens, and the gate is open.
    pub(crate) fn is_open(&self) -> bool {
        let nobody =
            self.configured.is_empty() && self.issuers.is_empty() && self.certificates.is_empty();
        self.may_open && nobody && !self.closed
    }

    /// Who shows this certificate, if it has a role.
    pub(super) fn certified(&self, der: &[u8]) -> Option<Caller> {
        let rule = rule_for(&self.certificates, der)?;
        Some(Caller {
            name: rule.name.as_str().into(),
            grant: Arc::new(rule.grant.clone()),
            credential: Credential::Certificate,
            session: None,
        })
    }

    /// Whether a caller with a certificate would still be accepted, with the same identity.
    pub(super) fn still_certified(&self, caller: &Caller) -> bool {
        let mut rules = self.certificates.iter();
        rules.any(|rule| *rule.name == *caller.name && rule.grant == *caller.grant)
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

    /// The bearer of a token of the control plane.
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
        let grant = grant.ok_or_else(|| over("has a role that this version does not know"))?;
        let credential = Credential::Kept(*hash);
        Ok((kept.id, Caller { name: Arc::clone(&kept.name), grant, credential, session: None }))
    }

    /// A valid session. A clock that was wrong does not prolong one: its last use is not far in the future, and what
    /// is left of it is no longer than a whole one.
    pub(super) fn session(&self, hash: &SecretHash, now: Timestamp) -> Option<AccessSession> {
        let session = *self.sessions.get(hash)?;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let idle = micros(SESSION_IDLE);
        let left = u64::try_from(session.expires_at.micros().saturating_sub(now.micros())).ok()?;
        let since_use = now.micros().abs_diff(session.seen_at.micros());
        let goes_on = left > 0 && left <= micros(SESSION) + idle && since_use < idle;
        goes_on.then_some(session)
    }
}
