//! Adapters without a disk, for tests and simulation: [`MemoryStore`], [`MemoryControlPlane`] and a
//! clock that is set by hand.
//!
//! They hold rows behind one mutex and no rule of their own: what may happen is decided by
//! [`rehome_domain::ledger`], [`rehome_domain::append`] and [`rehome_domain::migration`], exactly
//! as in the adapters with a disk. The mutex is the transaction, and it is never held across an
//! `await`. Nothing here survives the process.

mod access;
mod clock;
mod control_plane;
mod fleet;
mod store;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use clock::ManualClock;
pub use control_plane::{MemoryControlPlane, Snapshot};
pub use store::{MemoryStore, TenantRows};

/// Locks; rows are replaced whole after a decision, so that a panic elsewhere leaves none half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
