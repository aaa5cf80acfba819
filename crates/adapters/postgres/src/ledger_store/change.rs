//! Changes of the ledger row alone: read, decide, compare-and-set. No lock outlives a statement, so
//! a process that stops in between blocks no other.

use rehome_domain::ids::TenantId;
use rehome_domain::ledger::{Ledger, Refused, Role};
use tokio_postgres::types::Type;

use super::lock_holder::{self, Wait};
use super::{Answer, read};
use crate::error::ServerError;
use crate::rows;
use crate::server::Server;

const CHANGE: &str = "SELECT o_role, o_epoch, o_seq, o_digest \
     FROM {schema}.change($1, $2, $3, $4, $5, $6, $7, $8)";

/// Maximum number of times that another process is first; each time the ledger is in another role or epoch, or a purge
/// has removed another chunk.
const TRIES_MAX: usize = 100;

pub(super) async fn change(
    server: &Server,
    tenant: TenantId,
    rule: impl Fn(Ledger) -> Result<Ledger, Refused>,
) -> Answer<Ledger> {
    let mut wait = Wait::new(tenant);
    for _ in 0..TRIES_MAX {
        let found = read::ledger_row(server, tenant).await?;
        let ledger = found.unwrap_or(Ledger::ABSENT);
        let changed = rule(ledger)?;
        if found == Some(changed) {
            return Ok(changed);
        }
        match set(server, tenant, found, changed).await {
            Ok(Some(written)) => return Ok(written),
            Ok(None) => {}
            Err(error) if error.is_locked() => wait.or(server, error).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ServerError::locked().into())
}

/// Writes role and epoch of `changed` if the row is still `found`. The head may have grown since, if
/// the rule holds for the new head: while role and epoch stay, histories of an active ledger and of a replica
/// only grow. Not so for a replica that becomes another migration's: the proof is for that
/// head and for no longer one. `None`: the row has changed.
async fn set(
    server: &Server,
    tenant: TenantId,
    found: Option<Ledger>,
    changed: Ledger,
) -> Result<Option<Ledger>, ServerError> {
    let grows = |ledger: &Ledger| match ledger.role {
        Role::Active => true,
        Role::Replica => changed.role != Role::Replica,
        Role::Fenced | Role::Absent => false,
    };
    let head = found.filter(|ledger| !grows(ledger)).map(|ledger| ledger.head);
    let seq = head.map(|head| rows::int(head.seq)).transpose()?;
    let epoch = found.map(|ledger| rows::int(ledger.epoch.0)).transpose()?;
    let mut client = server.client().await?;
    let written = client
        .write(
            CHANGE,
            &[
                (&tenant.uuid(), Type::UUID),
                (&lock_holder::LOOK_AFTER_MS, Type::INT4),
                (&found.map(|ledger| ledger.role.as_str()), Type::TEXT),
                (&epoch, Type::INT8),
                (&seq, Type::INT8),
                (&head.as_ref().map(|head| head.digest.as_bytes().as_slice()), Type::BYTEA),
                (&changed.role.as_str(), Type::TEXT),
                (&rows::int(changed.epoch.0)?, Type::INT8),
            ],
        )
        .await?;
    written.first().map(|row| rows::ledger(row, 0)).transpose()
}
