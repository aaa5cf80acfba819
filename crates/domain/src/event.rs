//! Events, before and after a store has numbered them.

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;
use crate::ids::EventId;
use crate::layout::ForeignRow;
use crate::stream::StreamName;

/// Most bytes of an event type's name.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;

/// Microseconds since the Unix epoch, UTC. The original offset and finer digits are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

/// A JSON text, stored verbatim. The constructor's caller has checked it (`rehome_ports::json`) or read it
/// from a store.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// Wraps a text that is known to be JSON on one line.
    pub fn trusted(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Json {
    /// Payloads are customers' data: only the size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes of JSON>", self.0.len())
    }
}

/// The name of an event's type: 1 to [`EVENT_TYPE_BYTES_MAX`] bytes of UTF-8 without NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Box<str>);

/// The text names no event type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event type is 1 to {EVENT_TYPE_BYTES_MAX} bytes without NUL")]
pub struct InvalidEventType;

impl EventType {
    /// Validates the text.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidEventType> {
        let text = text.into();
        if text.is_empty() || text.len() > EVENT_TYPE_BYTES_MAX || text.contains('\0') {
            return Err(InvalidEventType);
        }
        Ok(Self(text))
    }
}

impl std::ops::Deref for EventType {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// An event as its writer gives it. The id is fixed before the first send and the same on every
/// retry: that is what makes a retry safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique within the tenant.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// When it happened, by the writer's word; `None`: when the store recorded it.
    pub occurred_at: Option<Timestamp>,
    /// When the first store recorded it, preserved on import; `None`: now.
    pub recorded_at: Option<Timestamp>,
    /// The event's content.
    pub data: Json,
    /// The writer's metadata: correlation ids, trace context and the like. rehome never adds to it.
    pub metadata: Json,
}

/// An event as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the tenant's history, from 1, without gaps.
    pub seq: u64,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Position in the stream, from 1, without gaps.
    pub version: u64,
    /// Unique within the tenant.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When the first store stored it; copied with the event.
    pub recorded_at: Timestamp,
    /// The event's content.
    pub data: Json,
    /// The writer's metadata.
    pub metadata: Json,
    /// The chain up to and including this event.
    pub digest: Digest,
    /// The row, for an event in another library's table; all other fields are read from it.
    pub row: Option<Arc<ForeignRow>>,
}

impl Event {
    /// Approximate size of the event in memory and on the wire, in bytes, for batch limits.
    pub fn bytes(&self) -> usize {
        160 + self.stream.stream_type().len()
            + self.stream.stream_id().len()
            + self.event_type.len()
            + self.data.as_str().len()
            + self.metadata.as_str().len()
            + self.row.as_ref().map_or(0, |row| row.bytes())
    }
}
