#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! * [`Rehome::builder`] opens the control plane and the stores by URL.
//! * [`EventStore`] appends to streams, with an [`ExpectedVersion`], and reads streams and feeds.
//! * [`Rehome::load`] reads a whole stream; [`Rehome::subscribe`] follows a tenant's feed from a checkpoint.
//! * [`new_event`] creates an event from any serialisable value.
//!
//! The `examples` folder has an aggregate with optimistic concurrency, a projection with a checkpoint, and a
//! service with axum.
//!
//! # Guarantees
//!
//! * An acknowledged append is durable, and keeps its position across every move of its tenant.
//! * A retry with the same event ids has no second effect, also if the tenant has moved in between. Create the events
//!   before the first attempt, and send the same ones again after [`AppendError::OutcomeUnknown`],
//!   [`AppendError::WritesPaused`] and [`AppendError::Busy`].
//! * Positions in a feed, and versions in a stream, mean the same in every store.
//!
//! # Features
//!
//! `sqlite` (default) and `postgres` enable the adapters. From 0.1 on, a breaking change raises the
//! minor version (`cargo semver-checks`).

mod builder;
mod event;
mod store;

pub use builder::{Builder, OpenError};
pub use event::{EventError, new_event};
pub use rehome_domain::append::{Append, AppendConflict, Appended};
pub use rehome_domain::digest::Digest;
pub use rehome_domain::event::{Event, EventType, InvalidEventType, Json, NewEvent, Timestamp};
pub use rehome_domain::ids::{EventId, InvalidStoreId, StoreId, TenantId};
pub use rehome_domain::layout::ForeignRow;
pub use rehome_domain::stream::{ExpectedVersion, InvalidStreamName, StreamName};
pub use rehome_engine::{Engine, Subscription, TenantRouter};
pub use rehome_ports::json::{JsonError, JsonLimits};
pub use rehome_ports::{
    AppendError, BatchLimit, BeyondEnd, ControlError, EventStore, Fault, FaultKind, ReadError,
    StoreError,
};
pub use store::Rehome;
