//! After an abort, in this order: drop the replica, then purge it if requested.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Role;
use rehome_domain::migration::{Cleanup, Fact, State};
use rehome_ports::{Class, LedgerStore, StoreError};

use super::prepare::is_prefix;
use super::{Context, StepError};

/// Events removed in one transaction.
pub(super) const CHUNK: u32 = 500;

impl Context {
    /// One stage of the clean-up of an aborted migration's target.
    pub(crate) async fn clean_up(&self) -> Result<(), StepError> {
        let (tenant, m) = (self.tenant(), self.migration.m);
        match self.migration.state {
            State::RolledBack(Cleanup::Drop { .. }) => {
                retire(&*self.target, &*self.source, tenant, m).await?;
                crate::failpoint::hit("abort.dropped");
                self.note(Fact::ReplicaDropped).await?;
            }
            State::RolledBack(Cleanup::Purge) => {
                let events = tolerate_later(purge(&*self.target, tenant, m).await)?.unwrap_or(0);
                self.note(Fact::Purged { events }).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Ends the replica of epoch `m` in `store`, so that no sleeper can adopt it again: one that
/// was never adopted is adopted first. A ledger at a later epoch, or with
/// another history, does not belong to this migration.
pub(crate) async fn retire(
    store: &dyn LedgerStore,
    authority: &dyn LedgerStore,
    tenant: TenantId,
    m: Epoch,
) -> Result<(), StoreError> {
    let ledger = store.ledger(tenant).await?;
    if ledger.epoch < m && is_prefix(ledger.head, authority, tenant).await? {
        tolerate_later(store.adopt(tenant, m, ledger.head).await)?;
    }
    tolerate_later(store.drop_replica(tenant, m).await)?;
    Ok(())
}

/// Removes a fenced history from the tail, chunk by chunk; answers how many events went.
pub(crate) async fn purge(
    store: &dyn LedgerStore,
    tenant: TenantId,
    k: Epoch,
) -> Result<u64, StoreError> {
    let before = store.ledger(tenant).await?.head.seq;
    loop {
        let ledger = store.purge(tenant, k, CHUNK).await?;
        crate::failpoint::hit("purge.chunk");
        if ledger.role == Role::Absent {
            return Ok(before);
        }
    }
}

/// The ledger may have changed (never adopted, or taken by a later migration): then there is
/// nothing to clean up.
fn tolerate_later<T>(outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.class() == Class::Fenced => Ok(None),
        Err(error) => Err(error),
    }
}
