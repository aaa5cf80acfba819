//! Events of what serialises.

use rehome_domain::event::{EventType, InvalidEventType, NewEvent};
use rehome_domain::ids::EventId;
use rehome_ports::json::{self, JsonError, JsonLimits};
use serde::Serialize;
use uuid::Uuid;

/// Why a value is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The name of its type is not valid.
    #[error(transparent)]
    Type(#[from] InvalidEventType),
    /// The value cannot be written as JSON.
    #[error("the event cannot be written as JSON: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The JSON is too large or too deep.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// An event with a new id (a UUID of version 7), with `data` as JSON and with empty metadata. Make it once, before
/// the first try: a retry is recognised by the id.
pub fn new_event(event_type: &str, data: &impl Serialize) -> Result<NewEvent, EventError> {
    let limits = JsonLimits::default();
    Ok(NewEvent {
        id: EventId::new(Uuid::now_v7()),
        event_type: EventType::new(event_type)?,
        occurred_at: None,
        recorded_at: None,
        data: json::parse(&serde_json::to_string(data)?, limits)?,
        metadata: json::parse("{}", limits)?,
    })
}
