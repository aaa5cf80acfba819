//! The registry of a control plane in memory.

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;

use super::control_plane::MemoryControlPlane;
use super::lock;
use crate::{
    Access, AccessContents, AccessRegistry, AccessSession, AccessToken, ControlError, Gate,
    Revocation, SESSIONS_PER_TOKEN_MAX, SecretHash,
};

/// The access list, and its revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    rev: u64,
    contents: AccessContents,
}

impl Rows {
    fn close(&mut self, change: &Revocation) {
        if !self.contents.gate.closed {
            self.contents.gate = Gate { closed: true, changed: Some(change.clone()) };
        }
    }
}

#[async_trait]
impl AccessRegistry for MemoryControlPlane {
    async fn access(&self, known: Option<u64>) -> Result<Access, ControlError> {
        let rows = lock(&self.access);
        let contents = (known != Some(rows.rev)).then(|| rows.contents.clone());
        Ok(Access { rev: rows.rev, now: self.clock.now(), contents })
    }

    async fn add_token(
        &self,
        token: &AccessToken,
        replaces: Option<(TokenId, Timestamp)>,
    ) -> Result<(), ControlError> {
        let mut rows = lock(&self.access);
        if let Some((id, end)) = replaces {
            let old = rows.contents.tokens.iter_mut().find(|old| old.id == id);
            if let Some(old) = old {
                old.expires_at = Some(old.expires_at.map_or(end, |before| before.min(end)));
            }
        }
        rows.contents.tokens.push(token.clone());
        rows.close(&Revocation { at: token.created_at, by: token.created_by.clone() });
        rows.rev += 1;
        Ok(())
    }

    async fn revoke_token(&self, id: TokenId, end: &Revocation) -> Result<bool, ControlError> {
        let mut rows = lock(&self.access);
        let tokens = &mut rows.contents.tokens;
        let Some(token) = tokens.iter_mut().find(|t| t.id == id && t.revoked.is_none()) else {
            return Ok(false);
        };
        token.revoked = Some(end.clone());
        let hash = token.hash;
        rows.contents.sessions.retain(|session| session.token != hash);
        rows.rev += 1;
        Ok(true)
    }

    async fn used(&self, used: &[(TokenId, Timestamp)]) -> Result<(), ControlError> {
        let mut rows = lock(&self.access);
        for (id, at) in used {
            if let Some(token) = rows.contents.tokens.iter_mut().find(|token| token.id == *id) {
                token.last_used_at = token.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    async fn set_gate(&self, closed: bool, change: &Revocation) -> Result<(), ControlError> {
        let mut rows = lock(&self.access);
        if rows.contents.gate.closed != closed {
            rows.contents.gate = Gate { closed, changed: Some(change.clone()) };
            rows.rev += 1;
        }
        Ok(())
    }

    async fn add_session(&self, session: &AccessSession) -> Result<(), ControlError> {
        let mut rows = lock(&self.access);
        let sessions = &mut rows.contents.sessions;
        sessions.retain(|old| old.expires_at > session.created_at);
        sessions.push(*session);
        sessions.sort_by_key(|session| (session.created_at, *session.hash.as_bytes()));
        let of_token = sessions.iter().filter(|old| old.token == session.token).count();
        let mut beyond = of_token.saturating_sub(SESSIONS_PER_TOKEN_MAX);
        sessions.retain(|old| {
            let goes = beyond > 0 && old.token == session.token;
            beyond -= usize::from(goes);
            !goes
        });
        rows.rev += 1;
        Ok(())
    }

    async fn see_session(&self, hash: &SecretHash, at: Timestamp) -> Result<(), ControlError> {
        let mut rows = lock(&self.access);
        let sessions = &mut rows.contents.sessions;
        if let Some(session) = sessions.iter_mut().find(|session| session.hash == *hash) {
            session.seen_at = session.seen_at.max(at);
            rows.rev += 1;
        }
        Ok(())
    }

    async fn end_session(&self, hash: &SecretHash) -> Result<(), ControlError> {
        let mut rows = lock(&self.access);
        rows.contents.sessions.retain(|session| session.hash != *hash);
        rows.rev += 1;
        Ok(())
    }
}
