//! Rows of a table of another library: complete, for copies, and as events.
//!
//! A row is copied as a record of its columns' texts (see [`ForeignRow`]): those that PostgreSQL would write for the same
//! values, so that the table can be in PostgreSQL at the other end. If PostgreSQL has no text for some value, the record has
//! one more, a letter for each column: `v` for a value as PostgreSQL writes it, else the storage class with the value as
//! SQLite has it. Such a row goes to a file only. Where SQLite has more of a row than the values, as the blanks in a JSON
//! text, the row has that beside it, and a file gets it as it is.
//!
//! Files that an earlier rehome adopted have the texts of SQLite alone, and letters where a value is not of the class of its
//! column's declaration. That record is also what a row has beside it.

use std::sync::Arc;

use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, EventType, Json, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::layout::value::NotKept;
use rehome_domain::layout::{
    ColumnKind, ForeignRow, Layout, RowForm, RowOrder, Texts, event_id_of,
};
use rehome_domain::stream::StreamName;
use rehome_ports::json::{self, JsonLimits};
use rusqlite::Row;

use super::cell::{Cell, cell_of, hex, natural, text_of};
use super::shape::{Affinity, Shape, not_set_up, quoted};
use super::time;
use crate::error::FileError;

type Read<T> = Result<T, FileError>;

/// The columns that travel, and which part of an event each is.
#[derive(Debug)]
pub(super) struct RowReader {
    columns: Vec<(String, Affinity)>,
    /// What their values are; `None`: the texts are those of SQLite.
    kinds: Option<Vec<ColumnKind>>,
    form: Arc<RowForm>,
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

impl RowReader {
    /// Of a table that can be guarded. `kinds`: of the copied columns, where texts are those of PostgreSQL.
    pub(super) fn new(
        shape: &Shape,
        layout: &Layout,
        kinds: Option<Vec<ColumnKind>>,
    ) -> Read<Self> {
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
        let form = form(layout, &columns, kinds.as_deref());
        Ok(Self {
            form: Arc::new(form),
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
            kinds,
        })
    }

    /// In which texts the rows are.
    pub(super) fn form(&self) -> &Arc<RowForm> {
        &self.form
    }

    /// The form of rows that are digested in this order.
    pub(super) fn form_in(&self, order: Option<&RowOrder>) -> Read<Arc<RowForm>> {
        self.check(order)?;
        let own = || Arc::clone(&self.form);
        Ok(order.map_or_else(own, |order| Arc::new(self.form.in_order(order))))
    }

    /// Refuses an order of other columns.
    fn check(&self, order: Option<&RowOrder>) -> Read<()> {
        if order.is_none_or(|order| order.columns() == self.columns.len()) {
            return Ok(());
        }
        Err(FileError::corrupt("an order of columns that does not fit its table"))
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

    /// The row whose columns begin at `first`, by its values alone, as it is digested.
    pub(super) fn whole(
        &self,
        row: &Row<'_>,
        first: usize,
        order: Option<&RowOrder>,
    ) -> Read<ForeignRow> {
        self.check(order)?;
        Ok(self.record(&self.cells(row, first)?, order))
    }

    fn record(&self, cells: &[Cell], order: Option<&RowOrder>) -> ForeignRow {
        match &self.kinds {
            Some(kinds) => record_of(self.texts(cells, kinds), order),
            None => self.own_record(cells, order),
        }
    }

    /// The texts of values, and if PostgreSQL has none for some, the letters.
    fn texts(&self, cells: &[Cell], kinds: &[ColumnKind]) -> Texted {
        let mut is_odd = false;
        let (mut texts, mut letters) = (Vec::with_capacity(cells.len()), Vec::new());
        for ((cell, kind), (_, affinity)) in cells.iter().zip(kinds).zip(&self.columns) {
            let text = match cell {
                Cell::Null => Err(NotKept::Class),
                cell => text_of(cell, kind, *affinity),
            };
            letters.push(if text.is_ok() { AS_POSTGRESQL } else { cell.class() });
            is_odd |= text.is_err() && *cell != Cell::Null;
            texts.push(text.ok().or_else(|| cell.text()));
        }
        (texts, is_odd.then_some(letters))
    }

    /// The record of SQLite's own texts.
    fn own_record(&self, cells: &[Cell], order: Option<&RowOrder>) -> ForeignRow {
        let is_natural = |(cell, (_, affinity)): (&Cell, &(String, Affinity))| {
            matches!(cell, Cell::Null) || cell.class() == natural(*affinity)
        };
        let is_odd = !cells.iter().zip(&self.columns).all(is_natural);
        let letters = is_odd.then(|| cells.iter().map(Cell::class).collect());
        record_of((cells.iter().map(Cell::text).collect(), letters), order)
    }

    /// The first value of a row that PostgreSQL would not keep: its column, and why.
    pub(super) fn not_kept(&self, row: &Row<'_>, first: usize) -> Read<Option<(&str, NotKept)>> {
        let cells = self.cells(row, first)?;
        let kinds = self.kinds.iter().flatten();
        let mut columns = cells.iter().zip(kinds).zip(&self.columns);
        Ok(columns.find_map(|((cell, kind), (name, affinity))| {
            let why = text_of(cell, kind, *affinity).err().filter(|_| *cell != Cell::Null)?;
            Some((name.as_str(), why))
        }))
    }

    /// How many of `events`, from the first on, come from rows of one form; and in which order their rows are digested here.
    pub(super) fn of_one_form(&self, events: &[Event]) -> Read<(usize, Option<RowOrder>)> {
        let Some(first) = events.first() else { return Ok((0, None)) };
        let of_first = form_of(first)?;
        let same = |event: &Event| {
            form_of(event).is_ok_and(|it| Arc::ptr_eq(it, of_first) || it == of_first)
        };
        let count = events.iter().take_while(|event| same(event)).count();
        let order = of_first.order_at(&self.form).map_err(|why| {
            not_set_up(format!("event {} of the source is not kept: {}", first.seq, why.join("; ")))
        })?;
        Ok((count, order))
    }

    /// The values of an event that comes from another table, whose rows are digested in this order.
    pub(super) fn values(&self, event: &Event, order: Option<&RowOrder>) -> Read<Vec<Cell>> {
        let row =
            event.row.as_ref().ok_or_else(|| FileError::corrupt("an event without its row"))?;
        let seq = event.seq;
        let cells = match &self.kinds {
            None => self.read_own(row, seq, order)?,
            Some(kinds) => match row.own() {
                Some(own) => self.read_own(&own, seq, order)?,
                None => self.read(row, seq, order, |text, n, affinity| {
                    cell_of(text, &kinds[n], affinity)
                })?,
            },
        };
        // What is written is what is read back.
        let is_known = self.kinds.is_some() || row.own().is_none();
        if is_known && self.record(&cells, order).as_str() == row.as_str() {
            return Ok(cells);
        }
        Err(self.unfit(row, &cells, seq, order))
    }

    /// The values of a record of SQLite's own texts.
    fn read_own(&self, row: &ForeignRow, seq: u64, order: Option<&RowOrder>) -> Read<Vec<Cell>> {
        self.read(row, seq, order, |text, _, affinity| Cell::read(natural(affinity), Some(text)))
    }

    /// The values of a record; `plain` reads a text without a letter, or with that for a value as PostgreSQL writes it,
    /// of a column by its place.
    fn read(
        &self,
        row: &ForeignRow,
        seq: u64,
        order: Option<&RowOrder>,
        plain: impl Fn(String, usize, Affinity) -> Option<Cell>,
    ) -> Read<Vec<Cell>> {
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
            None => vec![AS_POSTGRESQL; texts.len()],
        };
        if letters.len() != texts.len() {
            return Err(not_set_up(format!("row {seq} of the source does not fit its columns")));
        }
        let places = self.places(order);
        let mut cells = Vec::with_capacity(texts.len());
        for (at, (letter, text)) in letters.into_iter().zip(texts).enumerate() {
            let place = places[at];
            let cell = match text {
                None => Some(Cell::Null),
                Some(text) if letter == AS_POSTGRESQL => plain(text, place, self.columns[place].1),
                text => Cell::read(letter, text),
            };
            cells.push(cell.ok_or_else(|| cannot_keep(seq, self.name(row, at, place)))?);
        }
        Ok(match order {
            Some(order) => order.own(cells),
            None => cells,
        })
    }

    /// For each place of a digested row, the place of its column here.
    fn places(&self, order: Option<&RowOrder>) -> Vec<usize> {
        let own: Vec<usize> = (0..self.columns.len()).collect();
        order.map_or_else(|| own.clone(), |order| order.digested(&own))
    }

    /// What the source calls a column of a row.
    fn name<'a>(&'a self, row: &'a ForeignRow, at: usize, place: usize) -> &'a str {
        let theirs = row.form().and_then(|form| form.columns.get(at));
        theirs.map_or(&self.columns[place].0, |column| &column.name)
    }

    /// Names the column whose value would not be read back as it is in `row`.
    fn unfit(
        &self,
        row: &ForeignRow,
        cells: &[Cell],
        seq: u64,
        order: Option<&RowOrder>,
    ) -> FileError {
        let (theirs, ours) = (row.columns().unwrap_or_default(), self.record(cells, order));
        let ours = ours.columns().unwrap_or_default();
        let differs = theirs.iter().zip(&ours).position(|(a, b)| a != b);
        let differs = differs.filter(|at| *at < self.columns.len());
        cannot_keep(seq, differs.map_or("", |at| self.name(row, at, self.places(order)[at])))
    }

    /// The event in the row whose columns begin at `first`.
    pub(super) fn event(
        &self,
        tenant: TenantId,
        (seq, digest): (u64, Digest),
        row: &Row<'_>,
        first: usize,
        (order, form): (Option<&RowOrder>, &Arc<RowForm>),
    ) -> Read<Event> {
        let cells = self.cells(row, first)?;
        let texts = self.kinds.as_ref().map(|kinds| self.texts(&cells, kinds));
        // JSON that PostgreSQL has as such is shown as it is there.
        let content = |place: usize| match (&cells[place], &self.kinds, &texts) {
            (Cell::Text(_), Some(kinds), Some((texts, _))) if kinds[place] == ColumnKind::Json => {
                json_of(texts[place].as_deref().unwrap_or_default())
            }
            (cell, ..) => payload(cell),
        };
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
        let data = content(self.data);
        let metadata = self.metadata.map_or_else(|| Json::trusted("{}"), content);
        let own = self.own_record(&cells, order);
        let row = match texts {
            Some(texts) => with_own(record_of(texts, order), &own),
            None => own,
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
            data,
            metadata,
            digest,
            row: Some(Arc::new(row.with_form(form))),
        })
    }
}

/// The texts of values, in the order of columns, and letters where some need them.
type Texted = (Vec<Option<String>>, Option<Vec<char>>);

/// The record of values, as it is digested.
fn record_of((mut texts, mut letters): Texted, order: Option<&RowOrder>) -> ForeignRow {
    if let Some(order) = order {
        texts = order.digested(&texts);
        letters = letters.map(|letters| order.digested(&letters));
    }
    texts.extend(letters.map(|letters| Some(letters.into_iter().collect())));
    ForeignRow::of(texts.iter().map(Option::as_deref))
}

fn form(layout: &Layout, columns: &[(String, Affinity)], kinds: Option<&[ColumnKind]>) -> RowForm {
    let names = columns.iter().map(|(name, _)| name.clone());
    match kinds {
        Some(kinds) => RowForm::of(Texts::AsPostgresql, layout, names.zip(kinds.iter().cloned())),
        None => RowForm::of(Texts::Sqlite, layout, names.map(|name| (name, ColumnKind::Text))),
    }
}

fn form_of(event: &Event) -> Read<&Arc<RowForm>> {
    event.row.as_ref().and_then(|row| row.form()).ok_or_else(|| {
        not_set_up(format!(
            "event {} does not come from a table of another library; both stores of a move must be adopted",
            event.seq
        ))
    })
}

/// The row with all that SQLite has of it.
fn with_own(row: ForeignRow, own: &ForeignRow) -> ForeignRow {
    if *own == row { row } else { row.with_own(own) }
}

/// The letter of a value that is as PostgreSQL writes it.
const AS_POSTGRESQL: char = 'v';

fn cannot_keep(seq: u64, column: &str) -> FileError {
    not_set_up(format!(
        "event {seq} of the source has a value in column \"{column}\" that its table cannot keep as it is; change it at the \
         source while no migration of the tenant is running"
    ))
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
    json_of(&text)
}

fn json_of(text: &str) -> Json {
    let limits = JsonLimits { bytes_max: usize::MAX, depth_max: 512 };
    let line = text.replace(['\n', '\r'], "");
    json::parse(&line, limits).unwrap_or_else(|_| json::string(text))
}

#[cfg(test)]
mod tests;
