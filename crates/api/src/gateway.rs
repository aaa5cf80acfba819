//! Documents of applications: appends, events, checkpoints.
//!
//! The structures with a schema describe the documents. [`read_append`] and [`EventLine`] read and write
//! events, because `data` and `metadata` pass through byte by byte.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::fields::{InvalidLine, object, shape, text, time, uuid};
use crate::time::Time;

pub use crate::ndjson::EventLine;

/// The expected state of the stream: its version (0: no event yet), `any` or `no_stream`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub enum ExpectedVersionDocument {
    /// The version of the stream's last event.
    Version(u64),
    /// Any state.
    Word(ExpectedWord),
}

/// The words for an expected state.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub enum ExpectedWord {
    /// Append in any state.
    Any,
    /// The stream has no event yet.
    NoStream,
}

/// An event to append.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub struct NewEventDocument {
    /// Unique within the tenant, created by the writer and the same on every retry, which makes
    /// a retry safe. Without an id the server creates one, and a retry is a new event.
    event_id: Option<Uuid>,
    /// The event type; 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256, example = "OrderPlaced")]
    event_type: String,
    /// When it happened; default: when the store stores it.
    occurred_at: Option<Time>,
    /// Any JSON, stored unchanged.
    data: serde_json::Value,
    /// The writer's metadata, stored unchanged; default `{}`.
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Events for one stream, appended atomically.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub struct AppendDocument {
    /// Default `any`.
    expected_version: Option<ExpectedVersionDocument>,
    /// At least one.
    #[schema(min_items = 1)]
    events: Vec<NewEventDocument>,
}

/// The same with the stream's name.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub struct StreamAppendDocument {
    /// The stream type.
    #[schema(min_length = 1, max_length = 1023, example = "order")]
    stream_type: String,
    /// The stream id.
    #[schema(min_length = 1, max_length = 1023, example = "o-1")]
    stream_id: String,
    /// Default `any`.
    expected_version: Option<ExpectedVersionDocument>,
    /// At least one.
    #[schema(min_items = 1)]
    events: Vec<NewEventDocument>,
}

/// The result of an append, the same for the first attempt and for every retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appended {
    /// Version of the first event in its stream.
    pub first_version: u64,
    /// Version of the last event in its stream.
    pub last_version: u64,
    /// Position of the first event in the tenant's history.
    pub first_seq: u64,
    /// Position of the last event in the tenant's history.
    pub last_seq: u64,
}

/// Which part of a stream to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamRead {
    /// The stream type.
    #[schema(min_length = 1, max_length = 1023, example = "order")]
    pub stream_type: String,
    /// The stream id.
    #[schema(min_length = 1, max_length = 1023, example = "o-1")]
    pub stream_id: String,
    /// The first version to read; default 1.
    pub from_version: Option<u64>,
    /// Maximum number of events; default 100, at most 1000.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A stored event.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; EventLine writes it")]
pub struct EventDocument {
    /// The tenant.
    tenant_id: Uuid,
    /// The stream type.
    stream_type: String,
    /// The stream id.
    stream_id: String,
    /// Unique within the tenant.
    event_id: Uuid,
    /// The event type.
    event_type: String,
    /// When it happened.
    occurred_at: Time,
    /// The event's content.
    data: serde_json::Value,
    /// The writer's metadata.
    metadata: serde_json::Map<String, serde_json::Value>,
    /// When the first store stored it.
    recorded_at: Time,
    /// Position in the stream, from 1.
    version: u64,
    /// Position in the tenant's history, from 1.
    seq: u64,
}

/// A page of a stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; the server writes it piece by piece")]
pub struct StreamPage {
    /// The events, in the order of their versions.
    events: Vec<EventDocument>,
    /// The `from_version` of the next page.
    next_from_version: u64,
}

/// A page of a tenant's history.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; the server writes it piece by piece")]
pub struct FeedPage {
    /// The events, in the order of `seq`, without gaps.
    events: Vec<EventDocument>,
    /// The `after_seq` of the next page.
    next_after_seq: u64,
}

/// The checkpoint of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// The subscription.
    pub name: String,
    /// The last processed position; 0 for a new subscription.
    pub seq: u64,
}

/// The new checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointMove {
    /// The last processed position.
    #[schema(maximum = 9_223_372_036_854_775_807_u64)]
    pub seq: u64,
}

/// The expected state of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Append in any state.
    Any,
    /// The stream has no event yet.
    NoStream,
    /// The stream's last event has exactly this version (0: no event yet).
    Version(u64),
}

/// An append, as in a request.
#[derive(Clone, Debug)]
pub struct AppendBody<'a> {
    /// Stream type and id, if the body contains them.
    pub stream: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// The expected state of the stream.
    pub expected: Expected,
    /// The events.
    pub events: Vec<NewEventLine<'a>>,
}

/// An event of an append.
#[derive(Clone, Debug)]
pub struct NewEventLine<'a> {
    /// See [`NewEventDocument`].
    pub event_id: Option<Uuid>,
    /// The event type.
    pub event_type: Cow<'a, str>,
    /// When it happened.
    pub occurred_at: Option<Time>,
    /// The event's content, verbatim.
    pub data: &'a RawValue,
    /// The writer's metadata, verbatim; an object.
    pub metadata: Option<&'a RawValue>,
}

/// Why a body is not an append.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAppend {
    /// A problem with the body as a whole.
    #[error(transparent)]
    Body(#[from] InvalidLine),
    /// A problem with one of its events.
    #[error("events[{index}]: {reason}")]
    Event {
        /// The index of the event, from 0.
        index: usize,
        /// The problem.
        reason: InvalidLine,
    },
    /// Too many events.
    #[error("more than {max} events; append them in parts")]
    TooMany {
        /// The maximum.
        max: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InPath<'a> {
    #[serde(borrow, default)]
    expected_version: Option<&'a RawValue>,
    #[serde(borrow)]
    events: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InBody<'a> {
    #[serde(borrow)]
    stream_type: &'a RawValue,
    #[serde(borrow)]
    stream_id: &'a RawValue,
    #[serde(borrow, default)]
    expected_version: Option<&'a RawValue>,
    #[serde(borrow)]
    events: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFields<'a> {
    #[serde(borrow, default)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: &'a RawValue,
    #[serde(borrow, default)]
    occurred_at: Option<&'a RawValue>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

/// Reads the body of an append of at most `events_max` events; `names_stream` if the body contains
/// the stream.
pub fn read_append(
    body: &str,
    names_stream: bool,
    events_max: usize,
) -> Result<AppendBody<'_>, InvalidAppend> {
    let (stream, expected, events) = if names_stream {
        let fields: InBody<'_> = serde_json::from_str(body).map_err(|e| shape(body, &e))?;
        let stream =
            (text("stream_type", fields.stream_type)?, text("stream_id", fields.stream_id)?);
        (Some(stream), fields.expected_version, fields.events)
    } else {
        let fields: InPath<'_> = serde_json::from_str(body).map_err(|e| shape(body, &e))?;
        (None, fields.expected_version, fields.events)
    };
    let expected = expected.map_or(Ok(Expected::Any), expected_version)?;
    let events = split(events, events_max)?;
    let mut read = Vec::with_capacity(events.len());
    for (index, raw) in events.into_iter().enumerate() {
        read.push(event(raw).map_err(|reason| InvalidAppend::Event { index, reason })?);
    }
    Ok(AppendBody { stream, expected, events: read })
}

fn expected_version(raw: &RawValue) -> Result<Expected, InvalidLine> {
    let must_be = "a version (0: no event yet), \"any\" or \"no_stream\"";
    let invalid = InvalidLine::Field { field: "expected_version", must_be };
    if let Ok(version) = serde_json::from_str(raw.get()) {
        return Ok(Expected::Version(version));
    }
    match text("expected_version", raw).as_deref() {
        Ok("any") => Ok(Expected::Any),
        Ok("no_stream") => Ok(Expected::NoStream),
        _ => Err(invalid),
    }
}

fn event(raw: &RawValue) -> Result<NewEventLine<'_>, InvalidLine> {
    let fields: EventFields<'_> =
        serde_json::from_str(raw.get()).map_err(|error| shape(raw.get(), &error))?;
    Ok(NewEventLine {
        event_id: fields.event_id.map(|raw| uuid("event_id", raw)).transpose()?,
        event_type: text("event_type", fields.event_type)?,
        occurred_at: fields.occurred_at.map(|raw| time("occurred_at", raw)).transpose()?,
        data: fields.data,
        metadata: fields.metadata.map(|raw| object("metadata", raw)).transpose()?,
    })
}

/// The elements of an array; stops after the maximum.
fn split(raw: &RawValue, max: usize) -> Result<Vec<&RawValue>, InvalidAppend> {
    struct Elements(usize);

    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                if all.len() == self.0 {
                    return Err(A::Error::custom("too many"));
                }
                all.push(one);
            }
            Ok(all)
        }
    }

    impl<'de> DeserializeSeed<'de> for Elements {
        type Value = Vec<&'de RawValue>;

        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
            from.deserialize_seq(self)
        }
    }

    if !raw.get().starts_with('[') {
        return Err(InvalidLine::Field { field: "events", must_be: "an array" }.into());
    }
    let mut from = serde_json::Deserializer::from_str(raw.get());
    // It is a JSON array: only the number of elements can be wrong.
    Elements(max).deserialize(&mut from).map_err(|_| InvalidAppend::TooMany { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        read_append(body, false, 3).unwrap_err().to_string()
    }

    #[test]
    fn an_append_is_read_and_its_payload_goes_through_byte_by_byte() {
        let data = r#"{ "a" : 1,"a":1e400 }"#;
        let body = format!(
            r#"{{"expected_version":"no_stream","events":[{{"event_type":"A","data":{data}}},
               {{"event_type":"B","data":null,"metadata":{{"x":  1}},
                 "event_id":"824a8fcf-0c14-513f-bd3a-4c35d1078706",
                 "occurred_at":"2024-06-15T10:30:00Z"}}]}}"#
        );
        let append = read_append(&body, false, 3).unwrap();
        assert_eq!(append.expected, Expected::NoStream);
        assert_eq!(append.events[0].data.get(), data);
        assert!(append.events[0].event_id.is_none() && append.events[0].metadata.is_none());
        assert_eq!(append.events[1].metadata.unwrap().get(), r#"{"x":  1}"#);
        assert!(append.events[1].event_id.is_some() && append.events[1].occurred_at.is_some());
        let named =
            r#"{"stream_type":"a/b","stream_id":"\u00e9","expected_version":7,"events":[]}"#;
        let append = read_append(named, true, 3).unwrap();
        assert_eq!(append.stream.unwrap(), ("a/b".into(), "é".into()));
        assert_eq!(append.expected, Expected::Version(7));
    }

    #[test]
    fn what_is_no_append_is_refused_by_its_field_and_never_shown() {
        let secret = "4111111111111111";
        for (body, words) in [
            ("[]".to_owned(), "not a JSON object"),
            ("{".to_owned(), "not JSON"),
            ("{}".to_owned(), "missing field `events`"),
            (format!(r#"{{"events":"{secret}"}}"#), "events must be an array"),
            (format!(r#"{{"events":["{secret}"]}}"#), "events[0]: not a JSON object"),
            (r#"{"events":[{"data":1}]}"#.to_owned(), "events[0]: missing field `event_type`"),
            (
                format!(r#"{{"events":[{{"event_type":{secret},"data":1}}]}}"#),
                "events[0]: event_type must be a string",
            ),
            (
                format!(r#"{{"events":[{{"event_type":"a","data":1,"metadata":[{secret}]}}]}}"#),
                "events[0]: metadata must be an object",
            ),
            (
                format!(r#"{{"expected_version":"{secret}","events":[]}}"#),
                "expected_version must be a version",
            ),
            (r#"{"expected_version":-1,"events":[]}"#.to_owned(), "expected_version must be"),
            (r#"{"stream_type":"a","events":[]}"#.to_owned(), "unknown field \"stream_type\""),
            (r#"{"events":[1,2,3,4]}"#.to_owned(), "more than 3 events"),
        ] {
            let found = refused(&body);
            assert!(found.contains(words) && !found.contains(secret), "{found}");
        }
    }
}
