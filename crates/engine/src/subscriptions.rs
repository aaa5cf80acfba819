//! Following a tenant's feed, across cutovers, from a checkpoint.
//!
//! Event n at the source is event n at the target, so the position means the same before and
//! after a migration, and the checkpoint lives in the control plane and not in a store.

use std::time::Duration;

use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_ports::{BatchLimit, Class, ControlError, EventStore, ReadError};

use crate::{Engine, TenantRouter};

/// A named reader of one tenant's feed. Sees every event once, in order; after a crash of its own
/// it resumes from its checkpoint and may see again what came after it.
pub struct Subscription {
    engine: Engine,
    tenant: TenantId,
    name: String,
    position: u64,
}

impl Subscription {
    /// Goes on at the subscription's checkpoint.
    pub async fn open(
        engine: &Engine,
        tenant: TenantId,
        name: impl Into<String>,
    ) -> Result<Self, ControlError> {
        let name = name.into();
        let position = engine.control.checkpoint(tenant, &name).await?;
        Ok(Self { engine: engine.clone(), tenant, name, position })
    }

    /// The last position handed out.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next events, at least one; waits for them as long as it takes, also across a cutover
    /// and across faults that pass by themselves.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Vec<Event>, ReadError> {
        let events =
            follow(&self.engine.router, self.tenant, self.position, limit, &self.engine.config)
                .await?;
        self.position = events.last().map_or(self.position, |event| event.seq);
        Ok(events)
    }

    /// Everything handed out has been dealt with.
    pub async fn commit(&self) -> Result<(), ControlError> {
        self.engine.control.set_checkpoint(self.tenant, &self.name, self.position).await
    }
}

async fn follow(
    router: &TenantRouter,
    tenant: TenantId,
    after_seq: u64,
    limit: BatchLimit,
    config: &crate::EngineConfig,
) -> Result<Vec<Event>, ReadError> {
    let mut backoff = crate::config::Backoff::new(config);
    let mut idle = Duration::from_millis(1);
    loop {
        let appended = router.appended(tenant);
        match router.read_feed(tenant, after_seq, limit).await {
            Ok(events) if !events.is_empty() => return Ok(events),
            Ok(_) => {
                // Writers of this process wake us; others are found by looking.
                let _ = tokio::time::timeout(idle, appended).await;
                idle = (idle * 2).min(Duration::from_millis(50));
            }
            Err(error) if is_retryable(&error) => tokio::time::sleep(backoff.next()).await,
            Err(error) => return Err(error),
        }
    }
}

fn is_retryable(error: &ReadError) -> bool {
    let class = match error {
        ReadError::UnknownTenant(_) => return false,
        ReadError::Store(error) => error.class(),
        ReadError::Control(error) => error.class(),
    };
    class != Class::Fatal
}
