//! After an abort, in this order: drop the replica, then purge it if that was asked for.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Role;
use rehome_domain::migration::{Cleanup, Fact, State};
use rehome_ports::{Class, LedgerStore, StoreError};

use super::{Context, StepError};

/// Events removed in one transaction.
const CHUNK: u32 = 500;

impl Context {
    /// One stage of the clean-up of an aborted migration's target.
    pub(crate) async fn clean_up(&self) -> Result<(), StepError> {
        let (tenant, m) = (self.tenant(), self.migration.m);
        match self.migration.state {
            State::RolledBack(Cleanup::Drop { .. }) => {
                tolerate_later(self.target.drop_replica(tenant, m).await)?;
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

/// Removes a fenced history from the tail, chunk by chunk; answers how many events went.
pub(crate) async fn purge(
    store: &dyn LedgerStore,
    tenant: rehome_domain::ids::TenantId,
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

/// The ledger may have moved on (never adopted, or taken by a later migration): then there is
/// nothing of ours to clean up.
fn tolerate_later<T>(outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.class() == Class::Fenced => Ok(None),
        Err(error) => Err(error),
    }
}
