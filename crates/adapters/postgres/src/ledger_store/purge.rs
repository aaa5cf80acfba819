//! Removing a fenced history from its tail, so that what is left is always an honest prefix.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Ledger;
use tokio_postgres::types::Type;

use super::Answer;
use super::holder::{self, Wait};
use crate::error::ServerError;
use crate::rows;
use crate::server::Server;

const PURGE: &str = "SELECT o_role, o_epoch, o_seq, o_digest FROM {schema}.purge($1, $2, $3, $4)";

/// Most events removed in one transaction.
const CHUNK_MAX: u32 = 10_000;

pub(super) async fn purge(
    server: &Server,
    tenant: TenantId,
    k: Epoch,
    chunk: u32,
) -> Answer<Ledger> {
    let mut wait = Wait::new(tenant);
    let epoch = rows::int(k.0).unwrap_or(i64::MAX);
    let found = loop {
        let mut client = server.client().await?;
        let purged = client
            .write(
                PURGE,
                &[
                    (&tenant.uuid(), Type::UUID),
                    (&holder::LOOK_AFTER_MS, Type::INT4),
                    (&epoch, Type::INT8),
                    (&i64::from(chunk.min(CHUNK_MAX)), Type::INT8),
                ],
            )
            .await;
        drop(client);
        match purged {
            Ok(found) => break found,
            Err(error) if error.is_locked() => wait.or(server, error).await?,
            Err(error) => return Err(error.into()),
        }
    };
    let Some(before) = found.first() else {
        Ledger::ABSENT.check_purge(k)?;
        return Ok(Ledger::ABSENT);
    };
    rows::ledger(before, 0)?.check_purge(k)?;
    let after = found.get(1).ok_or_else(|| ServerError::corrupt("a purge without an answer"))?;
    Ok(rows::ledger(after, 0)?)
}
