//! Rows of a table of another library: complete, for copies, and as events.
//!
//! A row is copied as a record of its columns' texts (see [`ForeignRow`]). A value of the storage class of its column's
//! declaration is its text alone, so that the row reads as in PostgreSQL. If any value has another
//! class, the record has one more text, a letter for each column, so that classes are never confused.

use std::sync::Arc;

use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, EventType, Json, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::layout::{ForeignRow, Layout, event_id_of};
use rehome_domain::stream::StreamName;
use rehome_ports::json::{self, JsonLimits};
use rusqlite::Row;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::shape::{Affinity, Shape, not_set_up, quoted};
use super::time;
use crate::error::FileError;

type Read<T> = Result<T, FileError>;

/// The columns that travel, and which part of an event each is.
#[derive(Debug)]
pub(super) struct RowReader {
    columns: Vec<(String, Affinity)>,
    stream_type: Option<usize>,
    stream_id: Vec<usize>,
    version: usize,
    first_version: u8,
    event_id: Option<usize>,
    event_type: usize,
    occurred_at: Option<usize>,
    recorded_at: Option<usize>,
    data: usize,
    metadata: Option<usize>,
}

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
    fn of(value: ValueRef<'_>) -> Self {
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

    const fn class(&self) -> char {
        match self {
            Self::Null => 'n',
            Self::Integer(_) => 'i',
            Self::Real(_) => 'r',
            Self::Text(_) => 't',
            Self::Bytes(_) => 'x',
            Self::Blob(_) => 'b',
        }
    }

    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Integer(number) => number.to_string(),
            // The shortest digits that give the number back.
            Self::Real(number) => format!("{number:?}"),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) | Self::Blob(bytes) => hex(bytes),
        })
    }

    fn read(class: char, text: Option<String>) -> Option<Self> {
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
const fn natural(affinity: Affinity) -> char {
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

impl RowReader {
    /// Of a table that can be guarded.
    pub(super) fn new(shape: &Shape, layout: &Layout) -> Read<Self> {
        let columns: Vec<(String, Affinity)> = shape
            .row_columns(layout)
            .into_iter()
            .map(|column| (column.name.clone(), column.affinity))
            .collect();
        let place = |name: &str| {
            let found = columns.iter().position(|(column, _)| column == name);
            found.ok_or_else(|| not_set_up(format!("its table has no column \"{name}\"")))
        };
        let optional = |name: &Option<String>| name.as_deref().map(place).transpose();
        Ok(Self {
            stream_type: optional(&layout.stream_type)?,
            stream_id: layout.stream_id.iter().map(|name| place(name)).collect::<Read<_>>()?,
            version: place(&layout.version)?,
            first_version: layout.first_version,
            event_id: optional(&layout.event_id)?,
            event_type: place(&layout.event_type)?,
            occurred_at: optional(&layout.occurred_at)?,
            recorded_at: optional(&layout.recorded_at)?,
            data: place(&layout.data)?,
            metadata: optional(&layout.metadata)?,
            columns,
        })
    }

    /// The columns' names in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// The selected columns of a row called `alias`.
    pub(super) fn select(&self, alias: &str) -> String {
        self.names().map(|name| format!("{alias}.{}", quoted(name))).collect::<Vec<_>>().join(", ")
    }

    fn cells(&self, row: &Row<'_>, first: usize) -> Read<Vec<Cell>> {
        let cells = (first..first + self.columns.len()).map(|n| Ok(Cell::of(row.get_ref(n)?)));
        cells.collect()
    }

    /// The row whose columns begin at `first`.
    pub(super) fn whole(&self, row: &Row<'_>, first: usize) -> Read<ForeignRow> {
        Ok(self.record(&self.cells(row, first)?))
    }

    fn record(&self, cells: &[Cell]) -> ForeignRow {
        let is_natural = |(cell, (_, affinity)): (&Cell, &(String, Affinity))| {
            matches!(cell, Cell::Null) || cell.class() == natural(*affinity)
        };
        let mut texts: Vec<Option<String>> = cells.iter().map(Cell::text).collect();
        if !cells.iter().zip(&self.columns).all(is_natural) {
            texts.push(Some(cells.iter().map(Cell::class).collect()));
        }
        ForeignRow::of(texts.iter().map(Option::as_deref))
    }

    /// The values of an event that comes from another table of this layout.
    pub(super) fn values(&self, event: &Event) -> Read<Vec<Cell>> {
        let row = event.row.as_ref().ok_or_else(|| {
            not_set_up(format!(
                "event {} comes from a store of another layout; both stores of a move must have the same layout",
                event.seq
            ))
        })?;
        let mut texts = row.columns().map_err(|error| FileError::corrupt(error.to_string()))?;
        let classes = match texts.len().checked_sub(self.columns.len()) {
            Some(0) => None,
            Some(1) => texts.pop().flatten(),
            _ => {
                return Err(not_set_up(format!(
                    "rows of the source have {} columns, its table expects {}; give both tables the same columns",
                    texts.len(),
                    self.columns.len()
                )));
            }
        };
        let letters: Vec<char> = match classes {
            Some(classes) => classes.chars().collect(),
            None => texts
                .iter()
                .zip(&self.columns)
                .map(|(text, (_, affinity))| if text.is_some() { natural(*affinity) } else { 'n' })
                .collect(),
        };
        let unfit =
            || not_set_up(format!("row {} of the source does not fit its columns", event.seq));
        if letters.len() != texts.len() {
            return Err(unfit());
        }
        let cells = letters.into_iter().zip(texts).map(|(class, text)| Cell::read(class, text));
        cells.collect::<Option<_>>().ok_or_else(unfit)
    }

    /// The event in the row whose columns begin at `first`.
    pub(super) fn event(
        &self,
        tenant: TenantId,
        seq: u64,
        digest: Digest,
        row: &Row<'_>,
        first: usize,
    ) -> Read<Event> {
        let cells = self.cells(row, first)?;
        let bad = |why: String| FileError::corrupt(format!("row {seq}: {why}"));
        let text = |place: usize| cells[place].text().unwrap_or_default();
        let stream_type = self.stream_type.map_or_else(|| "stream".to_owned(), text);
        let ids: Vec<String> = self.stream_id.iter().map(|place| text(*place)).collect();
        let stream =
            StreamName::new(stream_type, ids.join("/")).map_err(|error| bad(error.to_string()))?;
        let version = match cells[self.version] {
            Cell::Integer(version) => version + 1 - i64::from(self.first_version),
            _ => return Err(bad("its version is not a whole number".to_owned())),
        };
        let version = u64::try_from(version)
            .ok()
            .filter(|version| *version > 0)
            .ok_or_else(|| bad(format!("its version is {version}")))?;
        let given = self.event_id.and_then(|place| match &cells[place] {
            Cell::Text(text) => uuid::Uuid::try_parse(text).ok().map(EventId::new),
            _ => None,
        });
        let at = |place: Option<usize>| match place.map(|place| &cells[place]) {
            Some(Cell::Text(text)) => time::micros(text),
            _ => None,
        };
        let (occurred, recorded) = (at(self.occurred_at), at(self.recorded_at));
        let time = |first: Option<i64>, second: Option<i64>| {
            Timestamp::from_micros(first.or(second).unwrap_or_default())
        };
        Ok(Event {
            seq,
            id: given.unwrap_or_else(|| event_id_of(tenant, &stream, version)),
            stream,
            version,
            event_type: EventType::new(text(self.event_type))
                .map_err(|error| bad(error.to_string()))?,
            occurred_at: time(occurred, recorded),
            recorded_at: time(recorded, occurred),
            data: payload(&cells[self.data]),
            metadata: self
                .metadata
                .map_or_else(|| Json::trusted("{}"), |place| payload(&cells[place])),
            digest,
            row: Some(Arc::new(self.record(&cells))),
        })
    }
}

/// JSON as it is, on one line; any other text as a string of JSON.
fn payload(cell: &Cell) -> Json {
    let text = match cell {
        // Many keep JSON as bytes.
        Cell::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => hex(bytes),
        },
        cell => cell.text().unwrap_or_default(),
    };
    let limits = JsonLimits { bytes_max: usize::MAX, depth_max: 512 };
    let line = text.replace(['\n', '\r'], "");
    json::parse(&line, limits).unwrap_or_else(|_| json::string(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(affinities: &[Affinity]) -> RowReader {
        let name = |(n, affinity): (usize, &Affinity)| (format!("c{n}"), *affinity);
        RowReader {
            columns: affinities.iter().enumerate().map(name).collect(),
            stream_type: None,
            stream_id: vec![0],
            version: 0,
            first_version: 1,
            event_id: None,
            event_type: 0,
            occurred_at: None,
            recorded_at: None,
            data: 0,
            metadata: None,
        }
    }

    fn event(row: ForeignRow) -> Event {
        Event {
            seq: 1,
            stream: StreamName::new("a", "b").unwrap(),
            version: 1,
            id: EventId::new(uuid::Uuid::nil()),
            event_type: EventType::new("c").unwrap(),
            occurred_at: Timestamp::default(),
            recorded_at: Timestamp::default(),
            data: Json::trusted("{}"),
            metadata: Json::trusted("{}"),
            digest: Digest::EMPTY,
            row: Some(Arc::new(row)),
        }
    }

    #[test]
    fn every_value_of_every_class_comes_back() {
        let some = [
            Cell::Null,
            Cell::Integer(i64::MIN),
            Cell::Integer(5),
            Cell::Real(5.0),
            Cell::Real(-0.1),
            Cell::Real(1e300),
            Cell::Real(f64::INFINITY),
            Cell::Text("5".to_owned()),
            Cell::Text(String::new()),
            Cell::Text("\\x00".to_owned()),
            Cell::Text("a\0b\n(,)\"".to_owned()),
            Cell::Bytes(vec![0x80, 0xff]),
            Cell::Blob(vec![0]),
            Cell::Blob(Vec::new()),
        ];
        let all =
            [Affinity::Integer, Affinity::Text, Affinity::Blob, Affinity::Real, Affinity::Numeric];
        for affinity in all {
            let reader = reader(&[affinity, Affinity::Text]);
            let mut written = std::collections::HashSet::new();
            for cell in &some {
                let cells = vec![cell.clone(), Cell::Text("z".to_owned())];
                let row = reader.record(&cells);
                assert_eq!(reader.values(&event(row.clone())).unwrap(), cells, "{affinity:?}");
                assert!(written.insert(row), "{cell:?} is written as another is: {affinity:?}");
            }
        }
    }

    #[test]
    fn a_row_as_its_columns_are_declared_is_written_as_in_postgresql() {
        let reader = reader(&[Affinity::Text, Affinity::Integer, Affinity::Text]);
        let cells = [Cell::Text("a b".to_owned()), Cell::Integer(7), Cell::Null];
        assert_eq!(reader.record(&cells).as_str(), "(\"a b\",7,)");
        let cells = [Cell::Text("a".to_owned()), Cell::Text("7".to_owned()), Cell::Null];
        assert_eq!(reader.record(&cells).as_str(), "(a,7,,ttn)");
    }
}
