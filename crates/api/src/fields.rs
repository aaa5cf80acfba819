//! Fields of external documents, read one by one so that a message names the field and
//! never its value: a payload must not end in a log.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::time::{InvalidTime, Time};

/// Why a line is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// It is not one JSON object, or its fields are not those of an event.
    #[error("{0}")]
    Shape(String),
    /// An event has no such field.
    #[error("{0}")]
    Unknown(UnknownField),
    /// A field appears twice.
    #[error("duplicate field `{0}`")]
    Twice(&'static str),
    /// A required field is missing.
    #[error("missing field `{0}`")]
    Missing(&'static str),
    /// A field has another type.
    #[error("{field} must be {must_be}")]
    Field {
        /// The field.
        field: &'static str,
        /// The expected type.
        must_be: &'static str,
    },
    /// A field is not a time.
    #[error("{field}: {reason}")]
    Time {
        /// The field.
        field: &'static str,
        /// The reason.
        reason: InvalidTime,
    },
}

/// An unknown name, shortened, and the closest known one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    short: String,
    nearest: Option<&'static str>,
}

impl UnknownField {
    /// An unknown name can be any text of any length.
    pub(crate) fn new(name: &str, known: &[&'static str]) -> Self {
        let short: String = name.chars().take(64).collect();
        let nearest = nearest(&short, known.iter().copied());
        Self { short, nearest }
    }
}

impl std::fmt::Display for UnknownField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown field {:?}", self.short)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, ", perhaps {nearest}"))
    }
}

/// Maximum edit distance of a misspelt name.
const TYPOS_MAX: usize = 2;

/// The most likely intended name of a misspelt one.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| {
        if other.starts_with(name) && !name.is_empty() {
            1
        } else {
            strsim::levenshtein(name, other)
        }
    };
    let closest = known.map(|other| (distance(other), other)).min()?;
    (closest.0 <= TYPOS_MAX && closest.0 < closest.1.len()).then_some(closest.1)
}

/// The problem with the line as a whole. The parser's message for a value of the wrong type would
/// repeat the value; the only such case here is a line that is not an object.
pub(crate) fn shape(line: &str, error: &serde_json::Error) -> InvalidLine {
    let starts = line.trim_start_matches([' ', '\t', '\r']);
    if !starts.starts_with('{') {
        return InvalidLine::Shape("not a JSON object".to_owned());
    }
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    match error.classify() {
        serde_json::error::Category::Data => {
            // An unknown name can be any text of any length.
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
    /// Borrows if there is nothing to unescape.
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
