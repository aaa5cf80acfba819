//! Events as lines of NDJSON: how they are imported and exported.
//!
//! ```text
//! {"tenant_id":uuid,"stream_type":str,"stream_id":str,"event_id":uuid,"event_type":str,
//!  "occurred_at":RFC3339,"data":any JSON,"metadata":object,"recorded_at":RFC3339?,"version":int?,"seq":int?}
//! ```
//!
//! `data` and `metadata` are carried as the texts they are: duplicate keys, huge numbers, spaces
//! and escapes stay. A message about a bad line names the field and never what the line holds.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::fields::{count, object, shape, text, time, uuid};
use crate::time::Time;

pub use crate::fields::InvalidLine;

/// One event, as a line holds it.
#[derive(Clone, Debug)]
pub struct EventLine<'a> {
    /// Whose.
    pub tenant_id: Uuid,
    /// The kind of thing the stream is about.
    pub stream_type: Cow<'a, str>,
    /// Which one of that kind.
    pub stream_id: Cow<'a, str>,
    /// Unique within the tenant.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: Cow<'a, str>,
    /// When it happened.
    pub occurred_at: Time,
    /// The event's content, verbatim.
    pub data: &'a RawValue,
    /// The writer's metadata, verbatim; an object.
    pub metadata: &'a RawValue,
    /// When the first store took it.
    pub recorded_at: Option<Time>,
    /// Position in the stream, from 1.
    pub version: Option<u64>,
    /// Position in the tenant's history, from 1.
    pub seq: Option<u64>,
}

/// The fields of a line, none of them looked into yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    tenant_id: &'a RawValue,
    #[serde(borrow)]
    stream_type: &'a RawValue,
    #[serde(borrow)]
    stream_id: &'a RawValue,
    #[serde(borrow)]
    event_id: &'a RawValue,
    #[serde(borrow)]
    event_type: &'a RawValue,
    #[serde(borrow)]
    occurred_at: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow, default)]
    recorded_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    seq: Option<&'a RawValue>,
}

/// Reads one line.
pub fn read(line: &str) -> Result<EventLine<'_>, InvalidLine> {
    let fields: Fields<'_> = serde_json::from_str(line).map_err(|error| shape(line, &error))?;
    Ok(EventLine {
        tenant_id: uuid("tenant_id", fields.tenant_id)?,
        stream_type: text("stream_type", fields.stream_type)?,
        stream_id: text("stream_id", fields.stream_id)?,
        event_id: uuid("event_id", fields.event_id)?,
        event_type: text("event_type", fields.event_type)?,
        occurred_at: time("occurred_at", fields.occurred_at)?,
        data: fields.data,
        metadata: object("metadata", fields.metadata)?,
        recorded_at: fields.recorded_at.map(|raw| time("recorded_at", raw)).transpose()?,
        version: fields.version.map(|raw| count("version", raw)).transpose()?,
        seq: fields.seq.map(|raw| count("seq", raw)).transpose()?,
    })
}

impl EventLine<'_> {
    /// Appends the event as one line, with its end.
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
            event.write(&mut out).unwrap();
            let written = String::from_utf8(out).unwrap();
            assert!(written.ends_with('\n') && !written[..written.len() - 1].contains('\n'));
            let again = read(written.trim_end()).unwrap();
            assert_eq!(again.data.get(), event.data.get());
            assert_eq!(again.metadata.get(), metadata);
            assert_eq!((again.version, again.seq), (Some(3), Some(9)));
            assert_eq!(again.occurred_at.to_string(), "2016-03-21T10:08:52.000000Z");
        }
    }

    #[test]
    fn null_stands_for_an_optional_field_that_is_not_given() {
        let text = line("1", "{}", r#","version":null,"seq":null,"recorded_at":null"#);
        let event = read(&text).unwrap();
        assert_eq!((event.version, event.seq, event.recorded_at), (None, None, None));
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
