//! What the engine needs from stores, control plane and clock.
//!
//! Adapters implement [`LedgerStore`] and [`ControlPlane`]; applications hold an [`EventStore`].
//! The kits beside the traits hold every adapter to the same behaviour: `memory` (adapters without
//! a disk), `contract` (one suite per port) and `fault` (decorators that refuse, lose replies or
//! are slow, by script). This room never imports an adapter or the engine.

mod access;
pub mod clock;
mod condition;
#[cfg(feature = "contract")]
pub mod contract;
mod control_plane;
mod error;
mod event_source;
mod event_store;
#[cfg(feature = "fault")]
pub mod fault;
mod fleet;
pub mod fleet_record;
pub mod json;
mod lease_watch;
mod ledger_store;
mod lists;
pub mod log_chain;
#[cfg(feature = "memory")]
pub mod memory;
pub mod private;
pub mod record;
mod room;
mod route_news;
mod tenant_names;

pub use access::{
    Access, AccessContents, AccessRegistry, AccessScope, AccessSession, AccessToken, BadScope,
    Gate, Revocation, SESSIONS_PER_TOKEN_MAX, SecretHash,
};
pub use condition::Condition;
pub use control_plane::{
    ActiveLease, Beside, Change, Checkpoint, ControlError, ControlPlane, Lease, LeaseRequest,
    LogEntry, Marks, Memo, Migrations, ReadBackMark, Recorded,
};
pub use error::{Class, Fault, FaultKind, StoreError};
pub use event_source::{EventSource, Moment, PAGE_ROWS, PARTS, SourcePage, SourceParts, SourceRow};
pub use event_store::{AppendError, BeyondEnd, EventStore, ReadError};
pub use fleet::{
    AttendRequest, Attendance, DrainChange, DrainEntry, DrainTenants, Drains, Fleet, Follow,
    NewDrain,
};
pub use lease_watch::{LEASE_MS_MAX, LeaseRow, LeaseWatch};
pub use ledger_store::{
    AppendOutcome, BatchLimit, CheckpointRow, EVENTS_IN_BULK, Feed, LedgerStore, StoreReport,
    StreamSlice, StreamVersion, TenantLedger,
};
pub use lists::{MigrationFilter, RouteFilter, TenantRange};
pub use room::{End, Room};
pub use route_news::{RouteListener, RouteNews, RouteTeller};
pub use tenant_names::TenantNames;
