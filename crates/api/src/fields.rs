//! Fields of documents that come from outside, read one by one so that a message names the field and
//! never what it holds: a payload must not end in a log.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::time::{InvalidTime, Time};

/// Why a line is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// It is not one JSON object, or its fields are not those of an event.
    #[error("{0}")]
    Shape(String),
    /// A field is of another type.
    #[error("{field} must be {must_be}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
    /// A field holds no time.
    #[error("{field}: {reason}")]
    Time {
        /// Which.
        field: &'static str,
        /// Why not.
        reason: InvalidTime,
    },
}

/// What is wrong with the line as a whole. The parser's words for a value of the wrong type would
/// repeat the value; there is only one such case here, a line that is no object.
pub(crate) fn shape(line: &str, error: &serde_json::Error) -> InvalidLine {
    let starts = line.trim_start_matches([' ', '\t', '\r']);
    if !starts.starts_with('{') {
        return InvalidLine::Shape("not a JSON object".to_owned());
    }
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    match error.classify() {
        serde_json::error::Category::Data => {
            // An unknown name could be anything, also very long.
            let words = words.strip_prefix("unknown field").map_or(words.to_owned(), |rest| {
                let name: String =
                    rest.trim_start_matches([' ', '`']).chars().take_while(|c| *c != '`').collect();
                let short: String = name.chars().take(64).collect();
                format!("unknown field {short:?}")
            });
            InvalidLine::Shape(words)
        }
        _ => InvalidLine::Shape(format!("not JSON: {words} at column {}", error.column())),
    }
}

pub(crate) fn text<'a>(
    field: &'static str,
    raw: &'a RawValue,
) -> Result<Cow<'a, str>, InvalidLine> {
    /// Borrows where there is nothing to unescape.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str::<Text<'a>>(raw.get()).map(|text| text.0).map_err(|_| {
        let must_be = if raw.get().starts_with('"') {
            "a string of Unicode text (it holds half of a surrogate pair)"
        } else {
            "a string"
        };
        InvalidLine::Field { field, must_be }
    })
}

pub(crate) fn uuid(field: &'static str, raw: &RawValue) -> Result<Uuid, InvalidLine> {
    let parsed = text(field, raw).ok().and_then(|text| Uuid::try_parse(&text).ok());
    parsed.ok_or(InvalidLine::Field { field, must_be: "a UUID" })
}

pub(crate) fn time(field: &'static str, raw: &RawValue) -> Result<Time, InvalidLine> {
    text(field, raw)?.parse().map_err(|reason| InvalidLine::Time { field, reason })
}

pub(crate) fn count(field: &'static str, raw: &RawValue) -> Result<u64, InvalidLine> {
    let parsed = serde_json::from_str(raw.get()).ok().filter(|count| *count > 0);
    parsed.ok_or(InvalidLine::Field { field, must_be: "a whole number of at least 1" })
}

pub(crate) fn object<'a>(
    field: &'static str,
    raw: &'a RawValue,
) -> Result<&'a RawValue, InvalidLine> {
    if raw.get().starts_with('{') {
        Ok(raw)
    } else {
        Err(InvalidLine::Field { field, must_be: "an object" })
    }
}
