//! The removal of a tenant by an operator: its history goes, and its epochs stay.
//!
//! ```text
//!   route        ── Begin ──▶ removing@k ── Finish ──▶ removed@k ── reborn ──▶ new, at ++n
//!                               │    (fence, then purge)
//!                               └─ Cancel ──▶ the tenant as it was, at ++n
//! ```
//!
//! A removal is requested for a history of a certain length: what the operator has seen. It draws an epoch `k`,
//! fences the store at it, and only then compares the final head with that length. If the history has grown, an
//! append was acknowledged meanwhile whose removal was not requested: the removal ends, and the tenant continues.
//! Otherwise the history is purged. Both decisions follow from the fenced head, which is final, so every process
//! that continues a removal decides the same.
//!
//! While it runs, the row keeps the epoch that the fence ends: a late activation by that row finds its own effect
//! before the fence, and is refused after it. A removed tenant keeps its row, because the counter of its epochs must
//! never begin again: the store's tombstone, and sleepers, know epochs up to `k`.

use crate::ids::{Epoch, StoreId};
use crate::ledger::{Activation, Ledger, Role};
use crate::migration::{Phase, Refusal};
use crate::route::Route;

/// What is recorded of a removal in the route row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// It is under way: no migration starts, and nothing is written to the tenant once the fence is up.
    Running {
        /// The epoch of the fence and of the purge.
        k: Epoch,
        /// The length of the history whose removal the operator requested.
        events: u64,
    },
    /// The tenant is removed; the next creation gives it a new life.
    Done,
}

/// A change of the route row by a removal. Each is a compare-and-set on `rev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// The removal of a history of this many events is requested.
    Begin {
        /// What the operator has seen.
        events: u64,
    },
    /// The fenced history is longer: the tenant continues as it was.
    Cancel,
    /// The history is gone.
    Finish,
}

/// The next step of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Activate the store under the route: an earlier activation did not get that far.
    Activate(Activation),
    /// Fence the store.
    Fence {
        /// The epoch that ends.
        from: Epoch,
        /// The epoch of the removal.
        to: Epoch,
    },
    /// Purge the history at this epoch.
    Purge(Epoch),
    /// Record this turn.
    Record(Turn),
    /// The ledger has an epoch that the removal cannot meet: the control plane is older than the store.
    Contradiction,
}

/// The route after `turn`, or why it cannot follow. The control plane calls this inside its transaction, on the row
/// that it has just read and compared; it removes the tenant's checkpoints with [`Turn::Finish`].
pub fn apply(route: &Route, turn: Turn) -> Result<Route, Refusal> {
    let mut after = route.clone();
    after.rev += 1;
    match (turn, route.removal) {
        (Turn::Begin { .. }, Some(Removal::Running { .. })) => return Err(Refusal::BeingRemoved),
        (Turn::Begin { .. }, Some(Removal::Done)) => return Err(Refusal::NotCreated),
        (Turn::Begin { events }, None) => {
            let unfinished = |phase: &Phase| !matches!(phase, Phase::Migrated | Phase::RolledBack);
            if let Some((id, phase)) = route.migration.filter(|(_, phase)| unfinished(phase)) {
                return Err(Refusal::AnotherMigration { id, phase });
            }
            if route.window {
                return Err(Refusal::WindowOpen);
            }
            if !route.created {
                return Err(Refusal::NotCreated);
            }
            after.removal = Some(Removal::Running { k: after.next_epoch(), events });
        }
        (Turn::Cancel, Some(Removal::Running { .. })) => {
            after.epoch = after.next_epoch();
            after.removal = None;
        }
        (Turn::Finish, Some(Removal::Running { k, .. })) => {
            // Of the old life only the counters stay: what is left would be evidence against the new one.
            after.epoch = k;
            after.base = 0;
            after.created = false;
            after.migration = None;
            after.removal = Some(Removal::Done);
        }
        _ => return Err(Refusal::NotBeingRemoved),
    }
    Ok(after)
}

/// The row of a removed tenant that is created again in `store`; `None` if this one is not removed.
pub fn reborn(route: &Route, store: &StoreId) -> Option<Route> {
    (route.removal == Some(Removal::Done)).then(|| {
        let mut new = Route { store: store.clone(), removal: None, ..route.clone() };
        new.rev += 1;
        new.epoch = new.next_epoch();
        new.prev_epoch = Epoch::ZERO;
        new.created = false;
        new
    })
}

/// What comes next, by the ledger of the store that the route names, read after the route; `None` if no removal is
/// under way.
pub fn next(route: &Route, ledger: &Ledger) -> Option<Step> {
    let Some(Removal::Running { k, events }) = route.removal else { return None };
    Some(match ledger.role {
        Role::Absent if ledger.epoch <= k => Step::Record(Turn::Finish),
        Role::Fenced if ledger.epoch == k && ledger.head.seq > events => Step::Record(Turn::Cancel),
        Role::Fenced if ledger.epoch == k => Step::Purge(k),
        Role::Active if ledger.epoch == route.epoch => Step::Fence { from: route.epoch, to: k },
        _ if ledger.epoch < route.epoch => Step::Activate(Activation {
            epoch: route.epoch,
            base: route.base,
            created: route.created,
        }),
        _ => Step::Contradiction,
    })
}
