//! Who may enter: tokens, sessions and the gate.

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;
use rehome_ports::{
    Access, AccessContents, AccessRegistry, AccessScope, AccessSession, AccessToken, ControlError,
    Gate, Revocation, SESSIONS_PER_TOKEN_MAX, SecretHash,
};
use rusqlite::{Row, Transaction};

use super::SqliteControlPlane;
use super::tables::all;
use crate::error::FileError;
use crate::rows;

type Done<T> = Result<T, FileError>;

const TOKEN: &str = "id, name, role, tenants, stores, read_only, hash, created_at, created_by, \
     expires_at, revoked_at, revoked_by, last_used_at";

fn hash(row: &Row<'_>, column: usize) -> Done<SecretHash> {
    let bytes: Vec<u8> = row.get(column)?;
    SecretHash::from_slice(&bytes)
        .ok_or_else(|| FileError::corrupt("a hash that is not 32 bytes long"))
}

fn time(row: &Row<'_>, column: usize) -> Done<Timestamp> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

fn optional_time(row: &Row<'_>, column: usize) -> Done<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros))
}

fn revocation(row: &Row<'_>, column: usize) -> Done<Option<Revocation>> {
    let by: Option<String> = row.get(column + 1)?;
    Ok(optional_time(row, column)?.zip(by).map(|(at, by)| Revocation { at, by }))
}

fn token(row: &Row<'_>) -> Done<AccessToken> {
    let id: Vec<u8> = row.get(0)?;
    let (tenants, stores): (String, String) = (row.get(3)?, row.get(4)?);
    Ok(AccessToken {
        id: TokenId::from_slice(&id).ok_or_else(|| FileError::corrupt("an invalid token id"))?,
        name: row.get(1)?,
        role: row.get(2)?,
        scope: AccessScope::read(&tenants, &stores, row.get(5)?)
            .map_err(|error| FileError::corrupt(error.to_string()))?,
        hash: hash(row, 6)?,
        created_at: time(row, 7)?,
        created_by: row.get(8)?,
        expires_at: optional_time(row, 9)?,
        revoked: revocation(row, 10)?,
        last_used_at: optional_time(row, 12)?,
    })
}

fn session(row: &Row<'_>) -> Done<AccessSession> {
    Ok(AccessSession {
        hash: hash(row, 0)?,
        token: hash(row, 1)?,
        created_at: time(row, 2)?,
        seen_at: time(row, 3)?,
        expires_at: time(row, 4)?,
    })
}

fn read(tx: &Transaction<'_>, known: Option<u64>, now: Timestamp) -> Done<Access> {
    let gate = "SELECT rev, closed, changed_at, changed_by FROM access WHERE id = 1";
    let gate = all(tx, gate, [], |row| {
        Ok((rows::count(row, 0)?, Gate { closed: row.get(1)?, changed: revocation(row, 2)? }))
    })?;
    let (rev, gate) =
        gate.into_iter().next().ok_or_else(|| FileError::corrupt("its access table is empty"))?;
    if known == Some(rev) {
        return Ok(Access { rev, now, contents: None });
    }
    let tokens = format!("SELECT {TOKEN} FROM tokens ORDER BY token_no");
    let tokens = all(tx, &tokens, [], token)?;
    let sessions = "SELECT hash, token, created_at, seen_at, expires_at FROM sessions \
                    ORDER BY created_at, hash";
    let sessions = all(tx, sessions, [], session)?;
    Ok(Access { rev, now, contents: Some(AccessContents { gate, tokens, sessions }) })
}

fn changed(tx: &Transaction<'_>) -> Done<()> {
    tx.execute("UPDATE access SET rev = rev + 1 WHERE id = 1", [])?;
    Ok(())
}

fn set_gate(tx: &Transaction<'_>, closed: bool, change: &Revocation) -> Done<()> {
    let sql = "UPDATE access SET closed = ?1, changed_at = ?2, changed_by = ?3, rev = rev + 1 \
               WHERE id = 1 AND closed <> ?1";
    tx.execute(sql, (closed, change.at.micros(), &change.by))?;
    Ok(())
}

fn add_token(
    tx: &Transaction<'_>,
    token: &AccessToken,
    replaces: Option<(TokenId, Timestamp)>,
) -> Done<()> {
    if let Some((id, end)) = replaces {
        let sql = "UPDATE tokens SET expires_at = min(coalesce(expires_at, ?2), ?2) WHERE id = ?1";
        tx.execute(sql, (id.as_bytes().as_slice(), end.micros()))?;
    }
    let sql = format!(
        "INSERT INTO tokens ({TOKEN}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    );
    let revoked = token.revoked.as_ref();
    tx.prepare_cached(&sql)?.execute(rusqlite::params![
        token.id.as_bytes().as_slice(),
        token.name,
        token.role,
        token.scope.tenants_text(),
        token.scope.stores_text(),
        token.scope.read_only,
        token.hash.as_bytes().as_slice(),
        token.created_at.micros(),
        token.created_by,
        token.expires_at.map(Timestamp::micros),
        revoked.map(|end| end.at.micros()),
        revoked.map(|end| end.by.as_str()),
        token.last_used_at.map(Timestamp::micros),
    ])?;
    set_gate(tx, true, &Revocation { at: token.created_at, by: token.created_by.clone() })?;
    changed(tx)
}

fn revoke_token(tx: &Transaction<'_>, id: TokenId, end: &Revocation) -> Done<bool> {
    let sql = "UPDATE tokens SET revoked_at = ?2, revoked_by = ?3 \
               WHERE id = ?1 AND revoked_at IS NULL";
    if tx.execute(sql, (id.as_bytes().as_slice(), end.at.micros(), &end.by))? == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM sessions WHERE token = (SELECT hash FROM tokens WHERE id = ?1)";
    tx.execute(sql, [id.as_bytes().as_slice()])?;
    changed(tx)?;
    Ok(true)
}

fn used(tx: &Transaction<'_>, used: &[(TokenId, Timestamp)]) -> Done<()> {
    let sql = "UPDATE tokens SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE id = ?1";
    let mut statement = tx.prepare_cached(sql)?;
    for (id, at) in used {
        statement.execute((id.as_bytes().as_slice(), at.micros()))?;
    }
    Ok(())
}

fn add_session(tx: &Transaction<'_>, session: &AccessSession) -> Done<()> {
    tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [session.created_at.micros()])?;
    let token = session.token.as_bytes().as_slice();
    tx.execute(
        "INSERT INTO sessions (hash, token, created_at, seen_at, expires_at) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            session.hash.as_bytes().as_slice(),
            token,
            session.created_at.micros(),
            session.seen_at.micros(),
            session.expires_at.micros(),
        ),
    )?;
    let kept = i64::try_from(SESSIONS_PER_TOKEN_MAX).unwrap_or(i64::MAX);
    let sql = "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE token = ?1 \
               ORDER BY created_at DESC, hash DESC LIMIT -1 OFFSET ?2)";
    tx.execute(sql, (token, kept))?;
    changed(tx)
}

#[async_trait]
impl AccessRegistry for SqliteControlPlane {
    async fn access(&self, known: Option<u64>) -> Result<Access, ControlError> {
        let now = self.clock.now();
        self.read(move |tx| Ok(read(tx, known, now)?)).await
    }

    async fn add_token(
        &self,
        token: &AccessToken,
        replaces: Option<(TokenId, Timestamp)>,
    ) -> Result<(), ControlError> {
        let token = token.clone();
        self.write(move |tx| Ok(add_token(tx, &token, replaces)?)).await
    }

    async fn revoke_token(&self, id: TokenId, end: &Revocation) -> Result<bool, ControlError> {
        let end = end.clone();
        self.write(move |tx| Ok(revoke_token(tx, id, &end)?)).await
    }

    async fn used(&self, tokens: &[(TokenId, Timestamp)]) -> Result<(), ControlError> {
        let tokens = tokens.to_vec();
        self.write(move |tx| Ok(used(tx, &tokens)?)).await
    }

    async fn set_gate(&self, closed: bool, change: &Revocation) -> Result<(), ControlError> {
        let change = change.clone();
        self.write(move |tx| Ok(set_gate(tx, closed, &change)?)).await
    }

    async fn add_session(&self, session: &AccessSession) -> Result<(), ControlError> {
        let session = *session;
        self.write(move |tx| Ok(add_session(tx, &session)?)).await
    }

    async fn see_session(&self, hash: &SecretHash, at: Timestamp) -> Result<(), ControlError> {
        let hash = *hash;
        self.write(move |tx| {
            let sql = "UPDATE sessions SET seen_at = max(seen_at, ?2) WHERE hash = ?1";
            let params = (hash.as_bytes().as_slice(), at.micros());
            tx.execute(sql, params).map_err(FileError::from)?;
            Ok(changed(tx)?)
        })
        .await
    }

    async fn end_session(&self, hash: &SecretHash) -> Result<(), ControlError> {
        let hash = *hash;
        self.write(move |tx| {
            let sql = "DELETE FROM sessions WHERE hash = ?1";
            tx.execute(sql, [hash.as_bytes().as_slice()]).map_err(FileError::from)?;
            Ok(changed(tx)?)
        })
        .await
    }
}
