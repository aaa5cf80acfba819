//! Following a tenant's feed, across cutovers, from a checkpoint.
//!
//! Event n at the source is event n at the target, so the position means the same before and
//! after a migration, and the checkpoint lives in the control plane and not in a store.

use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_ports::{BatchLimit, ControlError, ReadError};

use crate::{Engine, Follower};

/// A named reader of one tenant's feed. Sees every event once, in order; after a crash of its own
/// it resumes from its checkpoint and may see again what came after it.
pub struct Subscription {
    engine: Engine,
    tenant: TenantId,
    name: String,
    follower: Follower,
}

impl Subscription {
    /// Continues at the subscription's checkpoint.
    pub async fn open(
        engine: &Engine,
        tenant: TenantId,
        name: impl Into<String>,
    ) -> Result<Self, ControlError> {
        let name = name.into();
        let position = engine.control.checkpoint(tenant, &name).await?;
        let follower = Follower::new(engine, tenant, position);
        Ok(Self { engine: engine.clone(), tenant, name, follower })
    }

    /// The last position handed out.
    pub const fn position(&self) -> u64 {
        self.follower.position()
    }

    /// The next events, at least one; waits for them without a limit, also across a cutover
    /// and across transient faults.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Vec<Event>, ReadError> {
        self.follower.next(limit).await
    }

    /// Everything returned so far has been processed. Refused if the history has become shorter than
    /// that: the checkpoint would skip the next appended events.
    pub async fn commit(&self) -> Result<(), ReadError> {
        self.engine.router.set_checkpoint(self.tenant, &self.name, self.position()).await
    }
}
