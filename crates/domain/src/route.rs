//! The route: one row per tenant that names the store with the authority, and its epoch.
//!
//! Every change goes through [`crate::migration::apply`], a compare-and-set on `rev` made in one
//! transaction with the fact that it appends to the migration's log; those of a removal, which belongs to no migration, go
//! through [`crate::removal::apply`].

use crate::ids::{Epoch, MigrationId, StoreId, TenantId};
use crate::ledger::Activation;
use crate::migration::Phase;
use crate::removal::Removal;

/// A tenant's route row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The tenant.
    pub tenant: TenantId,
    /// Moves with every change of routing, and with nothing else.
    pub rev: u64,
    /// The store that has the authority.
    pub store: StoreId,
    /// The epoch under which that store is, or is to be, active.
    pub epoch: Epoch,
    /// In `cutover_paused`: the epoch that the fence ends.
    pub prev_epoch: Epoch,
    /// The tenant's epoch counter: every epoch ever handed out is `++n`.
    pub n: Epoch,
    /// The epoch of the current migration, or of its rollback window.
    pub m: Epoch,
    /// The length of history that the routed store must hold: evidence for `activate`.
    pub base: u64,
    /// The tenant's last migration and its phase; `None` before the first.
    pub migration: Option<(MigrationId, Phase)>,
    /// In `cutover_paused`: how long, in milliseconds, from when an observer first saw this `rev`,
    /// until anyone rolls the cutover back.
    pub deadline_ms: u64,
    /// Whether the tenant's creation is complete: set before the first append is acknowledged.
    pub created: bool,
    /// Whether a rollback window is open.
    pub window: bool,
    /// The tenant's removal: under way, or complete; `None` for a tenant that lives.
    pub removal: Option<Removal>,
}

impl Route {
    /// The row of a tenant that is new: at the default store, epoch 1, nothing there yet.
    pub fn create(tenant: TenantId, store: StoreId) -> Self {
        Self {
            tenant,
            rev: 1,
            store,
            epoch: Epoch(1),
            prev_epoch: Epoch::ZERO,
            n: Epoch(1),
            m: Epoch::ZERO,
            base: 0,
            migration: None,
            deadline_ms: 0,
            created: false,
            window: false,
            removal: None,
        }
    }

    /// The phase of the tenant's last migration.
    pub fn phase(&self) -> Option<Phase> {
        self.migration.map(|(_, phase)| phase)
    }

    /// Writes wait, and no process may activate a store.
    pub fn is_cutover_paused(&self) -> bool {
        self.phase() == Some(Phase::CutoverPaused)
    }

    /// The tenant was removed: it has no history anywhere.
    pub fn is_removed(&self) -> bool {
        self.removal == Some(Removal::Done)
    }

    /// The number of events whose removal was requested, while that is not complete.
    pub fn removing(&self) -> Option<u64> {
        match self.removal {
            Some(Removal::Running { events, .. }) => Some(events),
            _ => None,
        }
    }

    /// The arguments to activate the routed store; `None` in a cutover's pause, when activation is not allowed, and
    /// of a tenant that is removed, or being removed.
    pub fn activation(&self) -> Option<Activation> {
        (!self.is_cutover_paused() && self.removal.is_none()).then_some(Activation {
            epoch: self.epoch,
            base: self.base,
            created: self.created,
        })
    }

    /// Hands out the tenant's next epoch.
    pub(crate) fn next_epoch(&mut self) -> Epoch {
        self.n = self.n.next();
        self.n
    }
}
