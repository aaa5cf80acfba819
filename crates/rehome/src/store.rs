//! What an application holds.

use async_trait::async_trait;
use rehome_domain::append::{Append, Appended};
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::stream::StreamName;
use rehome_engine::{Engine, Subscription};
use rehome_ports::{AppendError, BatchLimit, ControlError, EventStore, ReadError};

use crate::builder::Builder;

/// The events of all tenants, in whichever stores they are. Cheap to clone.
#[derive(Clone)]
pub struct Rehome {
    engine: Engine,
}

impl Rehome {
    /// Begins with no control plane and no store.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) const fn over(engine: Engine) -> Self {
        Self { engine }
    }

    /// A stream from its first event to its last; empty where there is none.
    pub async fn load(
        &self,
        tenant: TenantId,
        stream: &StreamName,
    ) -> Result<Vec<Event>, ReadError> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let next = events.last().map_or(1, |event| event.version + 1);
            let page = match self.read_stream(tenant, stream, next, BatchLimit::PAGE).await {
                // Its first append makes the tenant.
                Err(ReadError::UnknownTenant(_)) => Vec::new(),
                page => page?,
            };
            if page.is_empty() {
                return Ok(events);
            }
            events.extend(page);
        }
    }

    /// Follows a tenant's feed from where the subscription of this name was last committed.
    pub async fn subscribe(
        &self,
        tenant: TenantId,
        name: impl Into<String>,
    ) -> Result<Subscription, ControlError> {
        Subscription::open(&self.engine, tenant, name).await
    }

    /// The number of events in a tenant's history.
    pub async fn head(&self, tenant: TenantId) -> Result<u64, ReadError> {
        self.engine.router().head(tenant).await
    }

    /// What this is built on: for those who run migrations in their own process.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Accepts no more appends, and waits for the accepted ones.
    pub async fn close(self) {
        self.engine.shutdown().await;
    }
}

#[async_trait]
impl EventStore for Rehome {
    async fn append(&self, tenant: TenantId, append: Append) -> Result<Appended, AppendError> {
        self.engine.router().append(tenant, append).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError> {
        self.engine.router().read_stream(tenant, stream, from_version, limit).await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError> {
        self.engine.router().read_feed(tenant, after_seq, limit).await
    }
}
