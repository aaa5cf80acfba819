//! Values with their storage classes, and the text that each kind of column has for them.
//!
//! A column of a table in SQLite has the kind that the library's table in PostgreSQL has there, or that its declaration and
//! its part of an event suggest. So a value has the text that PostgreSQL would write, if there is one.

use rehome_domain::layout::value::{self, NotKept, json};
use rehome_domain::layout::{ColumnKind, Layout};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::shape::{Affinity, Column};

/// A value with its storage class. As a letter: `n`, `i`, `r`, `t`, `b`; `x` is a text that is not UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// A text whose bytes are not UTF-8.
    Bytes(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    pub(super) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Bytes(bytes.to_vec()),
            },
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    pub(super) const fn class(&self) -> char {
        match self {
            Self::Null => 'n',
            Self::Integer(_) => 'i',
            Self::Real(_) => 'r',
            Self::Text(_) => 't',
            Self::Bytes(_) => 'x',
            Self::Blob(_) => 'b',
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Integer(number) => number.to_string(),
            // The shortest digits that give the number back.
            Self::Real(number) => format!("{number:?}"),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) | Self::Blob(bytes) => hex(bytes),
        })
    }

    pub(super) fn read(class: char, text: Option<String>) -> Option<Self> {
        let Some(text) = text else { return (class == 'n').then_some(Self::Null) };
        Some(match class {
            'i' => Self::Integer(text.parse().ok()?),
            'r' => Self::Real(text.parse().ok()?),
            't' => Self::Text(text),
            'x' => Self::Bytes(unhex(&text)?),
            'b' => Self::Blob(unhex(&text)?),
            _ => return None,
        })
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The class that needs no letter.
pub(super) const fn natural(affinity: Affinity) -> char {
    match affinity {
        Affinity::Integer | Affinity::Numeric => 'i',
        Affinity::Text => 't',
        Affinity::Real => 'r',
        Affinity::Blob => 'b',
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    "\\x".chars().chain(digits).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

/// What the values of a column are.
pub(super) fn kind_of(column: &Column, layout: &Layout) -> ColumnKind {
    if let Some(kind) = layout.kind_of(&column.name) {
        return kind;
    }
    let is = |part: &Option<String>| part.as_ref() == Some(&column.name);
    match column.affinity {
        Affinity::Text if is(&layout.event_id) => ColumnKind::Uuid,
        Affinity::Text if is(&layout.occurred_at) || is(&layout.recorded_at) => ColumnKind::Time,
        Affinity::Text => ColumnKind::Text,
        Affinity::Integer => ColumnKind::Integer,
        // PostgreSQL's `bytea` as a content is read as another JSON than a BLOB.
        Affinity::Blob if column.name != layout.data && !is(&layout.metadata) => ColumnKind::Bytes,
        Affinity::Blob | Affinity::Real | Affinity::Numeric => {
            ColumnKind::Other(column.declared.to_lowercase())
        }
    }
}

/// The text of a value that is not NULL; the same for equal values.
pub(super) fn text_of(
    cell: &Cell,
    kind: &ColumnKind,
    affinity: Affinity,
) -> Result<String, NotKept> {
    let own = |text: &str| text.to_owned();
    match (kind, cell) {
        (ColumnKind::Uuid, Cell::Text(text)) => value::uuid(text).map(own),
        (ColumnKind::Text, Cell::Text(text)) => value::text(text).map(own),
        (ColumnKind::Time, Cell::Text(text)) => value::time(text),
        (ColumnKind::Json, Cell::Text(text)) => json::jsonb(text),
        (ColumnKind::Integer, Cell::Integer(number)) => Ok(number.to_string()),
        (ColumnKind::Bytes, Cell::Blob(bytes)) => Ok(hex(bytes)),
        (ColumnKind::Other(_), cell) if cell.class() == natural(affinity) => {
            cell.text().ok_or(NotKept::Class)
        }
        _ => Err(NotKept::Class),
    }
}

/// The value of a text, as the library would write it to SQLite. `None`: SQLite has no such value in this kind of column.
pub(super) fn cell_of(text: String, kind: &ColumnKind, affinity: Affinity) -> Option<Cell> {
    Some(match kind {
        ColumnKind::Uuid | ColumnKind::Text => Cell::Text(text),
        ColumnKind::Time => Cell::Text(value::time_in_python(&text)?),
        ColumnKind::Json => Cell::Text(json::compact(&text).ok()?),
        ColumnKind::Integer => Cell::Integer(text.parse().ok()?),
        ColumnKind::Bytes => Cell::Blob(unhex(&text)?),
        ColumnKind::Other(_) => return Cell::read(natural(affinity), Some(text)),
    })
}
