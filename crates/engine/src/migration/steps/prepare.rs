//! pending -> bulk_copy: the target becomes the migration's replica.

use rehome_domain::ids::TenantId;
use rehome_domain::ledger::{Head, Role};
use rehome_domain::migration::Fact;
use rehome_ports::LedgerStore;

use super::{Context, StepError};

impl Context {
    /// Proves that what the target holds is a prefix of the source, adopts it, begins.
    pub(crate) async fn prepare(&self) -> Result<(), StepError> {
        let route = self.route().await?;
        if let Some(activation) = route.activation()
            && self.source.layout().await?.is_some()
        {
            // The tenant's guard may have been removed just now, or may be about to be.
            self.source.activate(self.tenant(), activation).await?;
        }
        let ledger = self.target.ledger(self.tenant()).await?;
        let ours = ledger.role == Role::Replica && ledger.epoch == self.migration.m;
        if !ours {
            if !is_prefix(ledger.head, &*self.source, self.tenant()).await? {
                return Err(StepError::Violated(format!(
                    "store {:?} already has {} other events of tenant {}; purge them there first",
                    self.target.id().as_str(),
                    ledger.head.seq,
                    self.tenant()
                )));
            }
            self.target.adopt(self.tenant(), self.migration.m, ledger.head).await?;
        }
        crate::failpoint::hit("prepare.adopted");
        self.record(route.rev, Fact::CopyStarted).await?;
        Ok(())
    }
}

/// Whether a history that ends at `head` is a prefix of the tenant's history in `source`.
pub(crate) async fn is_prefix(
    head: Head,
    source: &dyn LedgerStore,
    tenant: TenantId,
) -> Result<bool, rehome_ports::StoreError> {
    Ok(head.seq == 0 || source.digest_at(tenant, head.seq).await? == Some(head.digest))
}
