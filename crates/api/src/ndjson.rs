//! Events as lines of NDJSON: how they are imported and exported.
//!
//! ```text
//! {"tenant_id":uuid,"stream_type":str,"stream_id":str,"event_id":uuid?,"event_type":str,
//!  "occurred_at":RFC3339?,"data":any JSON,"metadata":object?,"recorded_at":RFC3339?,"version":int?,"seq":int?}
//! ```
//!
//! `data` and `metadata` are carried as texts: duplicate keys, huge numbers, spaces
//! and escapes stay. A message about a bad line names the field and never its value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::fields::{UnknownField, count, object, shape, text, time, uuid};
use crate::time::Time;

pub use crate::fields::{InvalidLine, nearest};

/// One event, as a line.
#[derive(Clone, Debug)]
pub struct EventLine<'a> {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The stream type.
    pub stream_type: Cow<'a, str>,
    /// The stream id.
    pub stream_id: Cow<'a, str>,
    /// Unique within the tenant.
    pub event_id: Uuid,
    /// The event type.
    pub event_type: Cow<'a, str>,
    /// When it happened.
    pub occurred_at: Time,
    /// The event's content, verbatim.
    pub data: &'a RawValue,
    /// The writer's metadata, verbatim; an object.
    pub metadata: &'a RawValue,
    /// When the first store stored it.
    pub recorded_at: Option<Time>,
    /// Position in the stream, from 1.
    pub version: Option<u64>,
    /// Position in the tenant's history, from 1.
    pub seq: Option<u64>,
}

/// One event, as a line to import.
#[derive(Clone, Debug)]
pub struct NewLine<'a> {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The stream type.
    pub stream_type: Cow<'a, str>,
    /// The stream id.
    pub stream_id: Cow<'a, str>,
    /// Unique within the tenant; `None`: derived.
    pub event_id: Option<Uuid>,
    /// The event type.
    pub event_type: Cow<'a, str>,
    /// When it happened; `None`: the time of the import.
    pub occurred_at: Option<Time>,
    /// The event's content, verbatim.
    pub data: &'a RawValue,
    /// The writer's metadata, verbatim; an object. `None`: empty.
    pub metadata: Option<&'a RawValue>,
    /// When the first store stored it; `None`: the time of the import.
    pub recorded_at: Option<Time>,
    /// Position in the stream, from 1, to be checked if present.
    pub version: Option<u64>,
}

/// The fields of a line, in the order in which they are written.
pub const FIELDS: [&str; 11] = [
    "tenant_id",
    "stream_type",
    "stream_id",
    "event_id",
    "event_type",
    "occurred_at",
    "data",
    "metadata",
    "recorded_at",
    "version",
    "seq",
];

/// The required fields.
pub const REQUIRED: [&str; 5] = ["tenant_id", "stream_type", "stream_id", "event_type", "data"];

/// All problems of a line; the text names fields and never their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidEvent(pub Vec<InvalidLine>);

/// The fields of a line, unparsed, and the problems with their names.
struct Fields<'a> {
    found: [Option<&'a RawValue>; FIELDS.len()],
    wrong: Vec<InvalidLine>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields { found: [None; FIELDS.len()], wrong: Vec::new() };
                while let Some(Name(name)) = map.next_key()? {
                    let value: &RawValue = map.next_value()?;
                    match FIELDS.iter().position(|known| *known == name) {
                        None => fields
                            .wrong
                            .push(InvalidLine::Unknown(UnknownField::new(&name, &FIELDS))),
                        Some(place) if fields.found[place].is_some() => {
                            fields.wrong.push(InvalidLine::Twice(FIELDS[place]));
                        }
                        Some(place) => fields.found[place] = Some(value),
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Borrows if there is nothing to unescape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// A field; `null` counts as missing.
    fn get(&self, field: &str) -> Option<&'a RawValue> {
        let place = FIELDS.iter().position(|known| *known == field)?;
        self.found[place].filter(|raw| REQUIRED.contains(&field) || raw.get() != "null")
    }

    /// Reads a field, and records its problem.
    fn read<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&'static str, &'a RawValue) -> Result<T, InvalidLine>,
    ) -> Option<T> {
        let Some(raw) = self.get(field) else {
            if REQUIRED.contains(&field) {
                self.wrong.push(InvalidLine::Missing(field));
            }
            return None;
        };
        read(field, raw).map_err(|wrong| self.wrong.push(wrong)).ok()
    }
}

/// Reads one line.
pub fn read(line: &str) -> Result<NewLine<'_>, InvalidEvent> {
    let mut fields: Fields<'_> =
        serde_json::from_str(line).map_err(|error| InvalidEvent(vec![shape(line, &error)]))?;
    let tenant_id = fields.read("tenant_id", uuid);
    let stream_type = fields.read("stream_type", text);
    let stream_id = fields.read("stream_id", text);
    let event_id = fields.read("event_id", uuid);
    let event_type = fields.read("event_type", text);
    let occurred_at = fields.read("occurred_at", time);
    let data = fields.read("data", |_, raw| Ok(raw));
    let metadata = fields.read("metadata", object);
    let recorded_at = fields.read("recorded_at", time);
    let version = fields.read("version", count);
    fields.read("seq", count);
    match (tenant_id, stream_type, stream_id, event_type, data) {
        (Some(tenant_id), Some(stream_type), Some(stream_id), Some(event_type), Some(data))
            if fields.wrong.is_empty() =>
        {
            Ok(NewLine {
                tenant_id,
                stream_type,
                stream_id,
                event_id,
                event_type,
                occurred_at,
                data,
                metadata,
                recorded_at,
                version,
            })
        }
        _ => Err(InvalidEvent(fields.wrong)),
    }
}

impl EventLine<'_> {
    /// Appends the event as one line, with a line end.
    pub fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        /// In the order of the format's description.
        #[derive(Serialize)]
        struct Line<'a> {
            tenant_id: Uuid,
            stream_type: &'a str,
            stream_id: &'a str,
            event_id: Uuid,
            event_type: &'a str,
            occurred_at: Time,
            data: &'a RawValue,
            metadata: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            recorded_at: Option<Time>,
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq: Option<u64>,
        }

        let line = Line {
            tenant_id: self.tenant_id,
            stream_type: &self.stream_type,
            stream_id: &self.stream_id,
            event_id: self.event_id,
            event_type: &self.event_type,
            occurred_at: self.occurred_at,
            data: self.data,
            metadata: self.metadata,
            recorded_at: self.recorded_at,
            version: self.version,
            seq: self.seq,
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "824a8fcf-0c14-513f-bd3a-4c35d1078706";
    const EVENT: &str = "c2c013fe-d2ae-5acd-8630-cc358ad564e5";

    fn line(data: &str, metadata: &str, more: &str) -> String {
        format!(
            r#"{{"tenant_id":"{TENANT}","stream_type":"file","stream_id":"a\"\n\u00e9","event_id":"{EVENT}","event_type":"Added","occurred_at":"2016-03-21T11:08:52+01:00","data":{data},"metadata":{metadata}{more}}}"#
        )
    }

    /// The same event as a store has it.
    fn written<'a>(line: &NewLine<'a>) -> EventLine<'a> {
        EventLine {
            tenant_id: line.tenant_id,
            stream_type: line.stream_type.clone(),
            stream_id: line.stream_id.clone(),
            event_id: line.event_id.unwrap(),
            event_type: line.event_type.clone(),
            occurred_at: line.occurred_at.unwrap(),
            data: line.data,
            metadata: line.metadata.unwrap(),
            recorded_at: line.recorded_at,
            version: line.version,
            seq: Some(9),
        }
    }

    #[test]
    fn data_and_metadata_go_through_byte_by_byte() {
        for data in [
            r#"{ "a" : 1,"a":2 , "b":[ ] }"#,
            "123456789012345678901234567890.000e-400000",
            r#""\u0000 \ud800 \/ é""#,
            "null",
            "\t[1,\t2]",
        ] {
            let metadata = r#"{"x":  1E5}"#;
            let text = line(data, metadata, r#","version":3,"seq":9"#);
            let event = read(&text).unwrap();
            assert_eq!(event.data.get(), data.trim());
            assert_eq!(event.stream_id, "a\"\né");
            let mut out = Vec::new();
            written(&event).write(&mut out).unwrap();
            let written = String::from_utf8(out).unwrap();
            assert!(written.ends_with('\n') && !written[..written.len() - 1].contains('\n'));
            let again = read(written.trim_end()).unwrap();
            assert_eq!(again.data.get(), event.data.get());
            assert_eq!(again.metadata.unwrap().get(), metadata);
            assert_eq!(again.version, Some(3));
            assert_eq!(again.occurred_at.unwrap().to_string(), "2016-03-21T10:08:52.000000Z");
        }
    }

    #[test]
    fn null_stands_for_an_optional_field_that_is_not_given() {
        let text = line("1", "{}", r#","version":null,"seq":null,"recorded_at":null"#);
        let event = read(&text).unwrap();
        assert_eq!((event.version, event.recorded_at), (None, None));
    }

    #[test]
    fn id_time_and_metadata_may_be_left_out_as_over_http() {
        let text = format!(
            r#"{{"tenant_id":"{TENANT}","stream_type":"s","stream_id":"1","event_type":"E","data":null}}"#
        );
        let event = read(&text).unwrap();
        assert_eq!((event.event_id, event.occurred_at), (None, None));
        assert!(event.metadata.is_none());
        assert_eq!(event.data.get(), "null");
    }

    #[test]
    fn a_line_with_several_mistakes_names_them_all_with_the_nearest_known_field() {
        let text = r#"{"tenant_id":7,"stream_typ":"s","stream_id":"1","data":1,"data":2,"version":0,"card":1}"#;
        assert_eq!(
            read(text).unwrap_err().to_string(),
            "unknown field \"stream_typ\", perhaps stream_type; duplicate field `data`; unknown field \"card\"; \
             tenant_id must be a UUID; missing field `stream_type`; missing field `event_type`; \
             version must be a whole number of at least 1"
        );
    }

    #[test]
    fn a_bad_line_is_named_by_its_field() {
        let refused = |text: &str| read(text).unwrap_err().to_string();
        let good = line("1", "{}", "");
        let without = |from: &str, to: &str| refused(&good.replacen(from, to, 1));
        assert_eq!(refused(""), "not a JSON object");
        assert_eq!(refused("[1]"), "not a JSON object");
        assert!(refused("{\"tenant_id\":").starts_with("not JSON: EOF"), "{}", refused("{\"t"));
        assert!(refused(&format!("{good}x")).contains("trailing characters at column"));
        assert_eq!(without(TENANT, "nobody"), "tenant_id must be a UUID");
        assert_eq!(without(&format!("\"{EVENT}\""), "7"), "event_id must be a UUID");
        assert_eq!(without("\"file\"", "{}"), "stream_type must be a string");
        assert_eq!(without("\"Added\"", "null"), "event_type must be a string");
        assert!(without("\"file\"", r#""\ud800""#).contains("surrogate"));
        assert!(without("2016-03-21T", "2016-03-21 ").starts_with("occurred_at: not a time"));
        assert_eq!(refused(&line("1", "[]", "")), "metadata must be an object");
        assert_eq!(
            refused(&line("1", "{}", r#","version":-1"#)),
            "version must be a whole number of at least 1"
        );
        assert_eq!(
            refused(&line("1", "{}", r#","seq":"1""#)),
            "seq must be a whole number of at least 1"
        );
        assert_eq!(without(r#""data":1,"#, ""), "missing field `data`");
        assert_eq!(refused(&line("1", "{}", r#","data":2"#)), "duplicate field `data`");
        assert_eq!(refused(&line("1", "{}", r#","card":"4111""#)), "unknown field \"card\"");
    }

    #[test]
    fn what_a_line_holds_is_never_in_the_message() {
        let secret = "4111111111111111";
        for field in ["tenant_id", "event_id", "occurred_at", "version", "stream_type"] {
            let mut object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&line("1", "{}", "")).unwrap();
            let value =
                if field == "stream_type" { secret.parse().unwrap() } else { secret.into() };
            object.insert(field.to_owned(), value);
            let text = serde_json::to_string(&object).unwrap();
            let refused = read(&text).unwrap_err().to_string();
            assert!(!refused.contains(secret) && refused.contains(field), "{refused}");
        }
    }
}
