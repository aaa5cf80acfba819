//! What the engine needs from stores, control plane and clock.
//!
//! Adapters implement [`LedgerStore`] and [`ControlPlane`]; applications hold an [`EventStore`].
//! The kits beside the traits hold every adapter to the same behaviour: `memory` (adapters without
//! a disk), `contract` (one suite per port) and `fault` (decorators that refuse, lose replies or
//! are slow, by script). This room never imports an adapter or the engine.

mod access;
pub mod clock;
#[cfg(feature = "contract")]
pub mod contract;
mod control_plane;
mod error;
mod event_store;
#[cfg(feature = "fault")]
pub mod fault;
pub mod json;
mod lease_watch;
mod ledger_store;
pub mod log_chain;
#[cfg(feature = "memory")]
pub mod memory;
pub mod private;
pub mod record;
mod route_news;
mod tenant_names;

pub use access::{
    Access, AccessContents, AccessRegistry, AccessScope, AccessSession, AccessToken, BadScope,
    Gate, Revocation, SESSIONS_PER_TOKEN_MAX, SecretHash,
};
pub use control_plane::{
    ActiveLease, Beside, Change, Checkpoint, ControlError, ControlPlane, Lease, LeaseRequest,
    LogEntry, Marks, Memo, Migrations, ReadBackMark, Recorded,
};
pub use error::{Class, Fault, FaultKind, StoreError};
pub use event_store::{AppendError, BeyondEnd, EventStore, ReadError};
pub use lease_watch::{LEASE_MS_MAX, LeaseRow, LeaseWatch};
pub use ledger_store::{
    AppendOutcome, BatchLimit, Feed, LedgerStore, StoreReport, StreamSlice, StreamVersion,
    TenantLedger,
};
pub use route_news::{RouteListener, RouteNews, RouteTeller};
pub use tenant_names::TenantNames;
