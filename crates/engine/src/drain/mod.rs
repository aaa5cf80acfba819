//! Drains: stores are emptied, tenant by tenant, by any number of processes.
//!
//! ```text
//!   drain row, tenants ──▶ worker (one per process and drain): look, decide, record
//!          ▲                  │ orders              ▲ looks, ends
//!          │ facts            ▼                     │
//!          └──────────── mover (one per tenant): start, drive, give up ──▶ an ordinary migration
//! ```
//!
//! A worker queries only the control plane, so that a store that hangs delays only the movers of
//! the tenants that need it. A worker acts on what it has just read: when it dies, any other one
//! finds the moving tenants without a process, and continues their migrations.

mod calendar;
mod mover;
mod operations;
mod plan;
mod targets;
mod worker;
mod workers;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rehome_domain::ids::MigrationId;

pub use calendar::{Calendar, WindowError};
pub use operations::{DrainError, Drains};
pub use plan::{DrainPlan, DrainRequest, tenant_seconds};
pub(crate) use targets::room;
pub use workers::Workers;

/// The migrations that this process moves for a drain. Others of the process leave them alone; those of
/// other processes see the lease.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<MigrationId>>>);

/// A claim, until it is dropped.
pub(crate) struct Claim(Claims, MigrationId);

impl Claims {
    /// Claims a migration.
    pub(crate) fn claim(&self, id: MigrationId) -> Claim {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Claim(self.clone(), id)
    }

    /// Whether it is claimed.
    pub(crate) fn has(&self, id: MigrationId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
