//! Removing a fenced history from its tail, so that the rest is always a valid prefix.

use rehome_domain::digest::Digest;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Ledger};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Answer;
use super::lock_holder::{self, Wait};
use crate::error::ServerError;
use crate::rows;
use crate::server::{Param, Server};

const PURGE: &str = "SELECT o_role, o_epoch, o_seq, o_digest FROM {schema}.purge($1, $2, $3, $4)";

/// Most events removed in one transaction.
const CHUNK_MAX: u32 = 10_000;

pub(super) async fn purge(
    server: &Server,
    tenant: TenantId,
    k: Epoch,
    chunk: u32,
) -> Answer<Ledger> {
    let epoch = rows::int(k.0).unwrap_or(i64::MAX);
    let found = write(
        server,
        tenant,
        PURGE,
        &[
            (&tenant.uuid(), Type::UUID),
            (&lock_holder::LOOK_AFTER_MS, Type::INT4),
            (&epoch, Type::INT8),
            (&i64::from(chunk.min(CHUNK_MAX)), Type::INT8),
        ],
    )
    .await?;
    let Some(before) = found.first() else {
        Ledger::ABSENT.check_purge(k)?;
        return Ok(Ledger::ABSENT);
    };
    rows::ledger(before, 0)?.check_purge(k)?;
    let after = found.get(1).ok_or_else(|| ServerError::corrupt("a purge without an answer"))?;
    Ok(rows::ledger(after, 0)?)
}

const CUT_BACK: &str = "SELECT o_role, o_epoch, o_seq, o_digest, o_there \
     FROM {schema}.cut_back($1, $2, $3, $4, $5, $6)";

pub(super) async fn cut_back(
    server: &Server,
    tenant: TenantId,
    k: Epoch,
    to: Head,
    chunk: u32,
) -> Answer<Ledger> {
    let number = |value| rows::int(value).unwrap_or(i64::MAX);
    let found = write(
        server,
        tenant,
        CUT_BACK,
        &[
            (&tenant.uuid(), Type::UUID),
            (&lock_holder::LOOK_AFTER_MS, Type::INT4),
            (&number(k.0), Type::INT8),
            (&number(to.seq), Type::INT8),
            (&to.digest.as_bytes().as_slice(), Type::BYTEA),
            (&i64::from(chunk.min(CHUNK_MAX)), Type::INT8),
        ],
    )
    .await?;
    let Some(before) = found.first() else {
        Ledger::ABSENT.check_cut_back(k, to, None)?;
        return Ok(Ledger::ABSENT);
    };
    let there: Option<&[u8]> = rows::get(before, 4)?;
    rows::ledger(before, 0)?.check_cut_back(k, to, there.and_then(Digest::from_slice))?;
    let after = found.get(1).ok_or_else(|| ServerError::corrupt("a cut without an answer"))?;
    Ok(rows::ledger(after, 0)?)
}

/// Calls the function, again and again while another holds the row.
async fn write(
    server: &Server,
    tenant: TenantId,
    sql: &str,
    params: &[Param<'_>],
) -> Answer<Vec<Row>> {
    let mut wait = Wait::new(tenant);
    loop {
        let mut client = server.client().await?;
        let written = client.write(sql, params).await;
        drop(client);
        match written {
            Ok(found) => return Ok(found),
            Err(error) if error.is_locked() => wait.or(server, error).await?,
            Err(error) => return Err(error.into()),
        }
    }
}
