//! The port that applications hold: a tenant's events, no epochs.

use async_trait::async_trait;
use rehome_domain::append::{Append, AppendConflict, Appended};
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::stream::StreamName;

use crate::{BatchLimit, ControlError, StoreError};

/// Why an append was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The writer's own: another version, a reused id, nothing to append. Nothing was written.
    #[error(transparent)]
    Conflict(#[from] AppendConflict),
    /// An event is over a limit. Nothing was written.
    #[error("event {index} of the append: {reason}")]
    Invalid {
        /// Which of the append's events, from 0.
        index: usize,
        /// What is wrong with it.
        reason: crate::json::JsonError,
    },
    /// A cutover did not end within the bound. Nothing was sent: retry with the same ids.
    #[error("writes of tenant {tenant} are paused by a cutover; nothing was written, try again")]
    WritesPaused {
        /// The tenant.
        tenant: TenantId,
    },
    /// A reply was lost and no later response resolved it: retry with the same ids to find out.
    #[error("the outcome of the append for tenant {tenant} is unknown; retry with the same ids")]
    OutcomeUnknown {
        /// The tenant.
        tenant: TenantId,
        /// The last error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another library writes the tenant's events, in its own table.
    #[error("tenant {tenant}: {why}")]
    NotWritten {
        /// The tenant.
        tenant: TenantId,
        /// Who writes them.
        why: String,
    },
    /// The process has the maximum number of waiting appends. Nothing was sent.
    #[error("too many appends are waiting; try again")]
    Busy,
    /// The store failed before anything was written.
    #[error("the append for tenant {tenant} failed: {source}")]
    Unavailable {
        /// The tenant.
        tenant: TenantId,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a read was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such tenant.
    #[error("tenant {0} is unknown")]
    UnknownTenant(TenantId),
    /// The position lies beyond the end: the history has lost events, or the position was never one
    /// of it.
    #[error(transparent)]
    BeyondEnd(#[from] BeyondEnd),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The control plane was needed and failed.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// A reader's position that the authority's history does not reach. Positions are handed out for
/// committed events only and mean the same in every store, so the history behind it was longer once
/// (its store was restored from a backup?), or the position is of something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "position {position} is beyond the end of {} of tenant {tenant}, which is {end}: the store has lost \
     events (restored from a backup?), or the position belongs to another history; compare what was \
     read with the stored events, then continue from a position of at most {end}",
    history(.stream.as_ref())
)]
pub struct BeyondEnd {
    /// The tenant.
    pub tenant: TenantId,
    /// The stream whose version it is; `None`: the position is one in the tenant's history.
    pub stream: Option<StreamName>,
    /// The last event that the reader claims to know.
    pub position: u64,
    /// The last event that there is.
    pub end: u64,
}

fn history(stream: Option<&StreamName>) -> &'static str {
    if stream.is_some() { "the stream" } else { "the history" }
}

impl BeyondEnd {
    /// Checks a position against the end of a tenant's history.
    pub fn check(tenant: TenantId, position: u64, end: u64) -> Result<(), Self> {
        if position <= end { Ok(()) } else { Err(Self { tenant, stream: None, position, end }) }
    }
}

/// A tenant's events. The router implements it over any number of stores; an application never
/// learns which.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends to one stream. Acknowledged means durable in the authoritative store.
    async fn append(&self, tenant: TenantId, append: Append) -> Result<Appended, AppendError>;

    /// A stream from `from_version` (1: the first event; the last version + 1: what comes next).
    /// Further than that is [`ReadError::BeyondEnd`].
    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError>;

    /// The tenant's history after `after_seq`, in the order of `seq`, without gaps. The position
    /// stays valid across a migration. A position that the history does not reach is
    /// [`ReadError::BeyondEnd`], never an empty answer.
    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError>;
}
