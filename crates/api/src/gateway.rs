//! What applications send and get: appends, events, checkpoints.
//!
//! The structures with a schema say how the documents look. Events are read and written by
//! [`read_append`] and [`EventLine`], because `data` and `metadata` go through byte by byte.

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

/// What a writer believes about the stream: its version (0: no event yet), `any` or `no_stream`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub enum ExpectedVersionDocument {
    /// The version of the stream's last event.
    Version(u64),
    /// Whatever is there, or nothing.
    Word(ExpectedWord),
}

/// The words for what a writer believes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub enum ExpectedWord {
    /// Append whatever is there.
    Any,
    /// The stream has no event yet.
    NoStream,
}

/// An event to be appended.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub struct NewEventDocument {
    /// Unique within the tenant, made by the writer and the same on every retry: that is what makes
    /// a retry safe. Without one the server makes one, and a retry is a new event.
    event_id: Option<Uuid>,
    /// What happened; 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256, example = "OrderPlaced")]
    event_type: String,
    /// When it happened; without it: when the store takes it.
    occurred_at: Option<Time>,
    /// Any JSON, kept as it is.
    data: serde_json::Value,
    /// The writer's own, kept as it is; `{}` if it is not given.
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Events for one stream, to be appended together or not at all.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub struct AppendDocument {
    /// `any` if it is not given.
    expected_version: Option<ExpectedVersionDocument>,
    /// At least one.
    #[schema(min_items = 1)]
    events: Vec<NewEventDocument>,
}

/// The same with the stream's name.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; read_append reads it")]
pub struct StreamAppendDocument {
    /// The kind of thing the stream is about.
    #[schema(min_length = 1, max_length = 1023, example = "order")]
    stream_type: String,
    /// Which one of that kind.
    #[schema(min_length = 1, max_length = 1023, example = "o-1")]
    stream_id: String,
    /// `any` if it is not given.
    expected_version: Option<ExpectedVersionDocument>,
    /// At least one.
    #[schema(min_items = 1)]
    events: Vec<NewEventDocument>,
}

/// What an append did, the same for the first time and for every retry.
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
    /// The kind of thing the stream is about.
    #[schema(min_length = 1, max_length = 1023, example = "order")]
    pub stream_type: String,
    /// Which one of that kind.
    #[schema(min_length = 1, max_length = 1023, example = "o-1")]
    pub stream_id: String,
    /// From this version; 1, the first event, if it is not given.
    pub from_version: Option<u64>,
    /// Most events; 100 if it is not given, 1000 at most.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// An event as it is stored.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; EventLine writes it")]
pub struct EventDocument {
    /// Whose.
    tenant_id: Uuid,
    /// The kind of thing the stream is about.
    stream_type: String,
    /// Which one of that kind.
    stream_id: String,
    /// Unique within the tenant.
    event_id: Uuid,
    /// What happened.
    event_type: String,
    /// When it happened.
    occurred_at: Time,
    /// The event's content.
    data: serde_json::Value,
    /// The writer's metadata.
    metadata: serde_json::Map<String, serde_json::Value>,
    /// When the first store took it.
    recorded_at: Time,
    /// Position in the stream, from 1.
    version: u64,
    /// Position in the tenant's history, from 1.
    seq: u64,
}

/// A part of a stream.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; the server writes it piece by piece")]
pub struct StreamPage {
    /// In the order of their versions.
    events: Vec<EventDocument>,
    /// What to give as `from_version` for what comes next.
    next_from_version: u64,
}

/// A part of a tenant's history.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a document; the server writes it piece by piece")]
pub struct FeedPage {
    /// In the order of `seq`, without gaps.
    events: Vec<EventDocument>,
    /// What to give as `after_seq` for what comes next.
    next_after_seq: u64,
}

/// How far a subscription is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// The subscription.
    pub name: String,
    /// The last position that it has dealt with; 0 if it is new.
    pub seq: u64,
}

/// Where to move a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointMove {
    /// The last position that was dealt with.
    #[schema(maximum = 9_223_372_036_854_775_807_u64)]
    pub seq: u64,
}

/// What a writer believes about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Append whatever is there.
    Any,
    /// The stream has no event yet.
    NoStream,
    /// The stream's last event has exactly this version (0: no event yet).
    Version(u64),
}

/// An append, as a request holds it.
#[derive(Clone, Debug)]
pub struct AppendBody<'a> {
    /// Type and id of the stream, where the body has to name it.
    pub stream: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// What the writer believes.
    pub expected: Expected,
    /// To be appended together.
    pub events: Vec<NewEventLine<'a>>,
}

/// An event of an append.
#[derive(Clone, Debug)]
pub struct NewEventLine<'a> {
    /// See [`NewEventDocument`].
    pub event_id: Option<Uuid>,
    /// What happened.
    pub event_type: Cow<'a, str>,
    /// When it happened.
    pub occurred_at: Option<Time>,
    /// The event's content, verbatim.
    pub data: &'a RawValue,
    /// The writer's metadata, verbatim; an object.
    pub metadata: Option<&'a RawValue>,
}

/// Why a body is no append.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAppend {
    /// The body as a whole.
    #[error(transparent)]
    Body(#[from] InvalidLine),
    /// One of its events.
    #[error("events[{index}]: {reason}")]
    Event {
        /// Which, from 0.
        index: usize,
        /// Why.
        reason: InvalidLine,
    },
    /// More events than are taken at once.
    #[error("more than {max} events; append them in parts")]
    TooMany {
        /// How many are taken.
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

/// Reads the body of an append of at most `events_max` events; `names_stream` when the stream is
/// named in it.
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

/// The elements of an array; no more of them are looked at than are taken.
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
    // It is JSON, and an array: only their number can be wrong.
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
