//! Who may enter: tokens, sessions and the gate. Each change is one statement, which moves the revision.

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;
use rehome_ports::{
    Access, AccessContents, AccessRegistry, AccessScope, AccessSession, AccessToken, ControlError,
    Gate, Revocation, SESSIONS_PER_TOKEN_MAX, SecretHash,
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::{Columns, at_most};
use super::tables::{all, first};
use super::{Answer, PgControlPlane, text};
use crate::error::ServerError;
use crate::server::{Client, Param};

type Done<T> = Result<T, ServerError>;

const TOKEN: &str = "id, name, role, tenants, stores, read_only, hash, created_at, created_by, \
     expires_at, revoked_at, revoked_by, last_used_at";

fn hash(columns: &mut Columns<'_>) -> Done<SecretHash> {
    SecretHash::from_slice(columns.next()?)
        .ok_or_else(|| ServerError::corrupt("a hash that is not 32 bytes long"))
}

fn time(columns: &mut Columns<'_>) -> Done<Timestamp> {
    Ok(Timestamp::from_micros(columns.next()?))
}

fn revocation(columns: &mut Columns<'_>) -> Done<Option<Revocation>> {
    let (at, by) = (columns.optional_time()?, columns.next::<Option<String>>()?);
    Ok(at.zip(by).map(|(at, by)| Revocation { at, by }))
}

fn token(columns: &mut Columns<'_>) -> Done<AccessToken> {
    let id = TokenId::new(columns.next()?);
    let (name, role) = (columns.next()?, columns.next()?);
    let (tenants, stores): (&str, &str) = (columns.next()?, columns.next()?);
    let scope = AccessScope::read(tenants, stores, columns.next()?)
        .map_err(|error| ServerError::corrupt(error.to_string()))?;
    Ok(AccessToken {
        id,
        name,
        role,
        scope,
        hash: hash(columns)?,
        created_at: time(columns)?,
        created_by: columns.next()?,
        expires_at: columns.optional_time()?,
        revoked: revocation(columns)?,
        last_used_at: columns.optional_time()?,
    })
}

fn session(columns: &mut Columns<'_>) -> Done<AccessSession> {
    Ok(AccessSession {
        hash: hash(columns)?,
        token: hash(columns)?,
        created_at: time(columns)?,
        seen_at: time(columns)?,
        expires_at: time(columns)?,
    })
}

/// The revision first: later reads are as new or newer, and the next poll sees that.
async fn read(client: &mut Client, known: Option<u64>, told: Option<Timestamp>) -> Answer<Access> {
    let sql = "SELECT rev, coalesce($1, {schema}.now_us()), closed, changed_at, changed_by \
               FROM {schema}.access WHERE id = 1";
    let found = client.read(sql, &[(&told.map(Timestamp::micros), Type::INT8)]).await?;
    let found = first(&found, |columns| {
        let (rev, now) = (columns.count()?, time(columns)?);
        Ok((rev, now, Gate { closed: columns.next()?, changed: revocation(columns)? }))
    })?;
    let (rev, now, gate) =
        found.ok_or_else(|| ServerError::corrupt("its access table is empty"))?;
    if known == Some(rev) {
        return Ok(Access { rev, now, contents: None });
    }
    let tokens = format!("SELECT {TOKEN} FROM {{schema}}.tokens ORDER BY token_no");
    let tokens = all(&client.read(&tokens, &[]).await?, token)?;
    let sessions = "SELECT hash, token, created_at, seen_at, expires_at FROM {schema}.sessions \
                    ORDER BY created_at, hash";
    let sessions = all(&client.read(sessions, &[]).await?, session)?;
    Ok(Access { rev, now, contents: Some(AccessContents { gate, tokens, sessions }) })
}

async fn add_token(
    client: &mut Client,
    token: &AccessToken,
    replaces: Option<(TokenId, Timestamp)>,
) -> Answer<()> {
    let sql = format!(
        "WITH replaced AS (UPDATE {{schema}}.tokens \
             SET expires_at = least(coalesce(expires_at, $15), $15) WHERE id = $14), \
         closed AS (UPDATE {{schema}}.access SET rev = rev + 1, closed = true, \
             changed_at = CASE WHEN closed THEN changed_at ELSE $8 END, \
             changed_by = CASE WHEN closed THEN changed_by ELSE $9 END WHERE id = 1) \
         INSERT INTO {{schema}}.tokens ({TOKEN}) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    );
    let (old, end) = replaces.unzip();
    let revoked = token.revoked.as_ref();
    let params: [Param<'_>; 15] = [
        (&token.id.uuid(), Type::UUID),
        (&text(&token.name), Type::TEXT),
        (&text(&token.role), Type::TEXT),
        (&token.scope.tenants_text(), Type::TEXT),
        (&token.scope.stores_text(), Type::TEXT),
        (&token.scope.read_only, Type::BOOL),
        (&token.hash.as_bytes().as_slice(), Type::BYTEA),
        (&token.created_at.micros(), Type::INT8),
        (&text(&token.created_by), Type::TEXT),
        (&token.expires_at.map(Timestamp::micros), Type::INT8),
        (&revoked.map(|end| end.at.micros()), Type::INT8),
        (&revoked.map(|end| text(&end.by)), Type::TEXT),
        (&token.last_used_at.map(Timestamp::micros), Type::INT8),
        (&old.map(TokenId::uuid), Type::UUID),
        (&end.map(Timestamp::micros), Type::INT8),
    ];
    client.write(&sql, &params).await?;
    Ok(())
}

async fn revoke_token(client: &mut Client, id: TokenId, end: &Revocation) -> Answer<bool> {
    let sql = "WITH revoked AS (UPDATE {schema}.tokens SET revoked_at = $2, revoked_by = $3 \
                   WHERE id = $1 AND revoked_at IS NULL RETURNING hash), \
               ended AS (DELETE FROM {schema}.sessions WHERE token IN (SELECT hash FROM revoked)), \
               moved AS (UPDATE {schema}.access SET rev = rev + 1 \
                   WHERE id = 1 AND EXISTS (SELECT FROM revoked)) \
               SELECT true FROM revoked";
    let params: [Param<'_>; 3] =
        [(&id.uuid(), Type::UUID), (&end.at.micros(), Type::INT8), (&text(&end.by), Type::TEXT)];
    Ok(!client.write(sql, &params).await?.is_empty())
}

async fn used(client: &mut Client, used: &[(TokenId, Timestamp)]) -> Answer<()> {
    let (ids, times): (Vec<Uuid>, Vec<i64>) =
        used.iter().map(|(id, at)| (id.uuid(), at.micros())).unzip();
    let sql = "UPDATE {schema}.tokens AS t SET last_used_at = greatest(t.last_used_at, u.at) \
               FROM (SELECT id, max(at) AS at FROM unnest($1, $2) AS g (id, at) GROUP BY id) AS u \
               WHERE t.id = u.id";
    client.write(sql, &[(&ids, Type::UUID_ARRAY), (&times, Type::INT8_ARRAY)]).await?;
    Ok(())
}

async fn set_gate(client: &mut Client, closed: bool, change: &Revocation) -> Answer<()> {
    let sql = "UPDATE {schema}.access \
               SET closed = $1, changed_at = $2, changed_by = $3, rev = rev + 1 \
               WHERE id = 1 AND closed <> $1";
    let params: [Param<'_>; 3] =
        [(&closed, Type::BOOL), (&change.at.micros(), Type::INT8), (&text(&change.by), Type::TEXT)];
    client.write(sql, &params).await?;
    Ok(())
}

async fn add_session(client: &mut Client, session: &AccessSession) -> Answer<()> {
    // The new one is not seen by the others of its statement.
    let sql = "WITH moved AS (UPDATE {schema}.access SET rev = rev + 1 WHERE id = 1), \
               removed AS (DELETE FROM {schema}.sessions WHERE expires_at <= $3 \
                   OR hash IN (SELECT hash FROM {schema}.sessions \
                       WHERE token = $2 AND expires_at > $3 \
                       ORDER BY created_at DESC, hash DESC OFFSET $6)) \
               INSERT INTO {schema}.sessions (hash, token, created_at, seen_at, expires_at) \
               VALUES ($1, $2, $3, $4, $5)";
    let params: [Param<'_>; 6] = [
        (&session.hash.as_bytes().as_slice(), Type::BYTEA),
        (&session.token.as_bytes().as_slice(), Type::BYTEA),
        (&session.created_at.micros(), Type::INT8),
        (&session.seen_at.micros(), Type::INT8),
        (&session.expires_at.micros(), Type::INT8),
        (&at_most(SESSIONS_PER_TOKEN_MAX - 1), Type::INT8),
    ];
    client.write(sql, &params).await?;
    Ok(())
}

async fn see_session(client: &mut Client, hash: &SecretHash, at: Timestamp) -> Answer<()> {
    let sql = "WITH moved AS (UPDATE {schema}.access SET rev = rev + 1 WHERE id = 1) \
               UPDATE {schema}.sessions SET seen_at = greatest(seen_at, $2) WHERE hash = $1";
    let params: [Param<'_>; 2] =
        [(&hash.as_bytes().as_slice(), Type::BYTEA), (&at.micros(), Type::INT8)];
    client.write(sql, &params).await?;
    Ok(())
}

async fn end_session(client: &mut Client, hash: &SecretHash) -> Answer<()> {
    let sql = "WITH moved AS (UPDATE {schema}.access SET rev = rev + 1 WHERE id = 1) \
               DELETE FROM {schema}.sessions WHERE hash = $1";
    client.write(sql, &[(&hash.as_bytes().as_slice(), Type::BYTEA)]).await?;
    Ok(())
}

/// Lends a connection to one operation, and answers as the port does.
macro_rules! ask {
    ($plane:ident, $operation:ident($($argument:expr),*)) => {{
        let answer = match $plane.client().await {
            Ok(mut client) => $operation(&mut client, $($argument),*).await,
            Err(failure) => Err(failure),
        };
        $plane.answer(answer)
    }};
}

#[async_trait]
impl AccessRegistry for PgControlPlane {
    async fn access(&self, known: Option<u64>) -> Result<Access, ControlError> {
        ask!(self, read(known, self.told()))
    }

    async fn add_token(
        &self,
        token: &AccessToken,
        replaces: Option<(TokenId, Timestamp)>,
    ) -> Result<(), ControlError> {
        ask!(self, add_token(token, replaces))
    }

    async fn revoke_token(&self, id: TokenId, end: &Revocation) -> Result<bool, ControlError> {
        ask!(self, revoke_token(id, end))
    }

    async fn used(&self, tokens: &[(TokenId, Timestamp)]) -> Result<(), ControlError> {
        ask!(self, used(tokens))
    }

    async fn set_gate(&self, closed: bool, change: &Revocation) -> Result<(), ControlError> {
        ask!(self, set_gate(closed, change))
    }

    async fn add_session(&self, session: &AccessSession) -> Result<(), ControlError> {
        ask!(self, add_session(session))
    }

    async fn see_session(&self, hash: &SecretHash, at: Timestamp) -> Result<(), ControlError> {
        ask!(self, see_session(hash, at))
    }

    async fn end_session(&self, hash: &SecretHash) -> Result<(), ControlError> {
        ask!(self, end_session(hash))
    }
}
