//! The drafted layout, with the reasons.

use rehome_domain::layout::{Layout, TenantPart};
use rehome_postgres::catalog::Kind;

use super::columns::{Columns, Guess};

/// What could be the layout, and why.
pub(super) struct Draft {
    /// Where a part that a layout needs was not guessed, a name that begins with `?`.
    pub(super) layout: Layout,
    /// Of a key, why it has its value.
    pub(super) why: Vec<(&'static str, String)>,
    /// The parts that could not be guessed.
    pub(super) open: Vec<String>,
    /// Whether every key that a layout needs was guessed.
    pub(super) complete: bool,
}

#[derive(Default)]
struct Notes {
    why: Vec<(&'static str, String)>,
    open: Vec<String>,
}

impl Notes {
    /// An optional part; `without` describes the effect of omitting it.
    fn maybe(&mut self, key: &'static str, guess: Guess, without: &str) -> Option<String> {
        let Some((name, reason)) = guess else {
            if !without.is_empty() {
                self.open.push(without.to_owned());
            }
            return None;
        };
        self.why.push((key, reason));
        Some(name)
    }

    /// A part that a layout needs.
    fn needed(&mut self, key: &'static str, guess: Guess, without: &str) -> String {
        self.maybe(key, guess, without).unwrap_or_else(|| {
            self.why.push((key, "NOT GUESSED".to_owned()));
            format!("?{}", key.rsplit('.').next().unwrap_or(key))
        })
    }
}

/// The drafted layout.
pub(super) fn draft(columns: Columns<'_>) -> Draft {
    let mut notes = Notes::default();
    let tenant = notes.needed(
        "columns.tenant",
        columns.tenant,
        "tenant: no column has a likely name. If it is a key of a JSON column: { column = \"...\", key = \
         \"...\" }; if it is before a separator in the stream's name: { prefix = \"-\" }",
    );
    let stream_id = if columns.streams.is_empty() {
        let without = "stream_id: no unique key contains it, and no column has a likely name";
        vec![notes.needed("columns.stream_id", None, without)]
    } else {
        notes.why.push(("columns.stream_id", columns.stream_why));
        columns.streams
    };
    let version = notes.needed(
        "columns.version",
        columns.version,
        "version: no unique key of two columns or more contains a whole number, and no column has a likely name",
    );
    let without = "event_type: no column has a likely name";
    let event_type = notes.needed("columns.event_type", columns.event_type, without);
    let without = "data: no column has a likely name, or is json, jsonb or bytea";
    let data = notes.needed("columns.data", columns.data, without);
    let complete = notes.open.is_empty();
    let position = notes.maybe(
        "columns.position",
        columns.position,
        "position: no column draws whole numbers from a sequence; without it the table has none",
    );
    let event_id = notes.maybe(
        "columns.event_id",
        columns.event_id,
        "event_id: no uuid is unique; without it ids are derived from stream and version",
    );
    let stream_type = notes.maybe(
        "columns.stream_type",
        columns.stream_type,
        "stream_type: no column has a likely name; without it all streams are of one type",
    );
    let occurred_at = notes.maybe("columns.occurred_at", columns.occurred, "");
    let recorded_at = notes.maybe("columns.recorded_at", columns.recorded, "");
    let metadata = notes.maybe("columns.metadata", columns.metadata, "");
    if occurred_at.is_none() && recorded_at.is_none() {
        let open = "occurred_at, recorded_at: no column is a time, or several could be it";
        notes.open.push(open.to_owned());
    }
    let (first_version, reason) = columns.first;
    notes.why.push(("first_version", reason));
    let anew = "their values are valid in this database only".to_owned();
    notes.why.push(("columns.anew", anew));
    let table = columns.table;
    if table.kind == Kind::Partitioned {
        let by = table.partition_columns.join(", ");
        notes.why.push(("table", format!("partitioned by {by}")));
    }
    let layout = Layout {
        name: layout_name(&table.name),
        schema: table.schema.clone(),
        table: table.name.clone(),
        tenant: TenantPart::Column(tenant),
        stream_type,
        stream_id,
        version,
        first_version,
        position,
        event_id,
        event_type,
        occurred_at,
        recorded_at,
        data,
        metadata,
        anew: columns.anew,
        beside: Vec::new(),
        locks_table: false,
    };
    Draft { layout, why: notes.why, open: notes.open, complete }
}

/// A name for the layout: the table's, in small letters with dashes.
fn layout_name(table: &str) -> String {
    let small = table.to_lowercase();
    let parts = small.split(|letter: char| !letter.is_alphanumeric());
    let name = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if name.is_empty() || Layout::built_in(&name).is_some() || name.len() > 63 {
        return "theirs".to_owned();
    }
    name
}
