//! The mapping of columns in another library's table.
//!
//! An *adopted* store has its events in a table of another library. A [`Layout`] maps the columns of
//! that table to the parts of an event; [`ForeignRow`] is such a row as it is copied: every column,
//! in its database's text format. A [`RowForm`] says which texts these are, so that two stores are compared only where
//! equal rows have equal texts; [`value`] has the texts of PostgreSQL.

mod built_in;
mod counterpart;
mod kept;
mod order;
mod part;
mod row;
mod row_form;
pub mod value;

use std::fmt;

use crate::ids::{EventId, TenantId};
use crate::stream::StreamName;

pub use built_in::{BUILT_IN, Made};
pub use counterpart::{losses, renamed};
pub use kept::{KeptRows, RowsRefused};
pub use order::{InvalidOrder, RowOrder};
pub use part::Part;
pub use row::{ForeignRow, InvalidRow};
pub use row_form::{ColumnKind, FormColumn, RowForm, Texts};

/// The parts of an event in another library's table.
#[derive(Clone, PartialEq, Eq)]
pub struct Layout {
    /// What it is called.
    pub name: String,
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Whose a row is.
    pub tenant: TenantPart,
    /// The column with the type of the stream; `None`: all streams are of the type `stream`.
    pub stream_type: Option<String>,
    /// The columns that name the stream, joined by `/` where there are several.
    pub stream_id: Vec<String>,
    /// The column with the version in the stream.
    pub version: String,
    /// The version of a stream's first event, 0 or 1.
    pub first_version: u8,
    /// The column with the position in the table; `None`: the table has none.
    pub position: Option<String>,
    /// The column with the event's id; `None`: it is derived from stream and version.
    pub event_id: Option<String>,
    /// The column with the event's type.
    pub event_type: String,
    /// The column with the time when it happened; `None`: when it was recorded.
    pub occurred_at: Option<String>,
    /// The column with the time when it was recorded; `None`: when it happened.
    pub recorded_at: Option<String>,
    /// The column with the content.
    pub data: String,
    /// The column with the metadata.
    pub metadata: Option<String>,
    /// Columns that the target gives anew: they belong to the database, such as transaction ids.
    pub anew: Vec<String>,
    /// Tables that go with the events.
    pub beside: Vec<Beside>,
    /// Whether its writers lock the whole table before they draw a position, so that its readers find positions in
    /// the order of the commits. Then a copy does so too.
    pub locks_table: bool,
}

impl fmt::Debug for Layout {
    /// Adopted stores keep this text of the layout that they were adopted by: a part that came later is in it only
    /// where it is not what it was before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Layout");
        all.field("name", &self.name)
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("tenant", &self.tenant)
            .field("stream_type", &self.stream_type)
            .field("stream_id", &self.stream_id)
            .field("version", &self.version)
            .field("first_version", &self.first_version)
            .field("position", &self.position)
            .field("event_id", &self.event_id)
            .field("event_type", &self.event_type)
            .field("occurred_at", &self.occurred_at)
            .field("recorded_at", &self.recorded_at)
            .field("data", &self.data)
            .field("metadata", &self.metadata)
            .field("anew", &self.anew)
            .field("beside", &self.beside);
        if self.locks_table {
            all.field("locks_table", &self.locks_table);
        }
        all.finish()
    }
}

/// Where a row has its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantPart {
    /// In a column.
    Column(String),
    /// Under a key of a column with a JSON object.
    Json {
        /// The column.
        column: String,
        /// The key.
        key: String,
    },
    /// Before a separator in the name of the stream.
    Prefix {
        /// The separator.
        separator: String,
    },
}

impl Layout {
    /// The table of streams' heads whose rows go with the events.
    pub fn heads(&self) -> Option<(&Beside, &Heads)> {
        self.beside.iter().find_map(|beside| Some((beside, beside.heads.as_ref()?)))
    }

    /// Where a row of that table has its tenant; `None`: none of its copied columns says so.
    pub fn tenant_of_heads(&self) -> Option<TenantPart> {
        let (beside, heads) = self.heads()?;
        if let Some(column) = &beside.tenant {
            let travels = heads
                .stream_id
                .iter()
                .chain(&heads.same)
                .chain(&heads.travels)
                .any(|it| it == column);
            return travels.then(|| TenantPart::Column(column.clone()));
        }
        match &self.tenant {
            TenantPart::Column(name) => {
                let of_stream = self.stream_id.iter().position(|column| column == name);
                let named = of_stream.and_then(|place| heads.stream_id.get(place));
                let column = named.or_else(|| heads.same.iter().find(|column| *column == name))?;
                Some(TenantPart::Column(column.clone()))
            }
            TenantPart::Prefix { separator } => {
                Some(TenantPart::Prefix { separator: separator.clone() })
            }
            TenantPart::Json { .. } => None,
        }
    }
}

/// A table that goes with the events.
#[derive(Clone, PartialEq, Eq)]
pub struct Beside {
    /// What it holds.
    pub kind: BesideKind,
    /// Its name, in the schema of the events.
    pub table: String,
    /// Its column with the tenant, if its rows belong to one.
    pub tenant: Option<String>,
    /// Its column with a position of the events' table.
    pub position: Option<String>,
    /// How its rows follow the events, where it holds the streams' heads.
    pub heads: Option<Heads>,
}

/// Which column of a table of streams' heads is what. A row of it is written with the events that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Its columns that name the stream, in the order of the layout's.
    pub stream_id: Vec<String>,
    /// Its column with the version of the stream's last event.
    pub version: String,
    /// Columns that the events' table has under the same name, and with the same value: the rest of its key.
    pub same: Vec<String>,
    /// Columns that travel with the events of the stream. All others are what the table gives.
    pub travels: Vec<String>,
}

impl fmt::Debug for Beside {
    /// As for [`Layout`]: what adopted stores keep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Beside");
        all.field("kind", &self.kind)
            .field("table", &self.table)
            .field("tenant", &self.tenant)
            .field("position", &self.position);
        if let Some(heads) = &self.heads {
            all.field("heads", heads);
        }
        all.finish()
    }
}

/// What a table beside the events holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BesideKind {
    /// How far readers have read.
    Checkpoints,
    /// Folded streams, which readers can make again.
    Snapshots,
    /// Messages that wait to be sent.
    Outbox,
    /// The streams' heads.
    Streams,
}

impl Beside {
    /// Whether its rows of a tenant can go where the tenant goes, with their positions translated.
    pub fn moves(&self) -> bool {
        self.kind == BesideKind::Checkpoints && self.tenant.is_some() && self.position.is_some()
    }

    /// Whether a move would break the tenant for its library.
    pub fn stands_in_the_way(&self) -> bool {
        self.kind == BesideKind::Streams && self.heads.is_none()
    }

    /// What happens to the table's rows when a tenant moves, and what to do, as a sentence. `rows`: the tenant's rows if
    /// the table has a tenant column, else all; `None`: unknown.
    pub fn on_a_move(&self, rows: Option<u64>) -> String {
        let what = match (self.kind, &self.tenant) {
            (BesideKind::Checkpoints, Some(_)) if self.moves() => {
                "they are not moved at the switch; `rehome tenant checkpoints` copies them, translated"
            }
            (BesideKind::Checkpoints, Some(_)) => {
                "none of their columns is a position of the events, so they stay; restart their readers from the beginning, or \
                 name the column as `position`"
            }
            (BesideKind::Checkpoints, None) => {
                "a row belongs to all tenants, so none moves; continue a reader from the position that `rehome tenant \
                 position` prints, or from the beginning"
            }
            (BesideKind::Snapshots, _) => "they stay; rebuild them from the events",
            (BesideKind::Outbox, _) => {
                "its rows stay, and copied events create none; run its sender at the source until it is empty"
            }
            (BesideKind::Streams, _) if self.heads.is_some() => {
                "those of the tenant go with its events"
            }
            (BesideKind::Streams, _) => {
                "the layout does not map their columns, so they cannot move with the events, and writers would find \
                 none at the target; name `stream_id` and `version` of the table"
            }
        };
        self.with_rows(rows, what)
    }

    /// The same when the tenant moves into rehome's own tables, which have no such table.
    pub fn on_a_move_into_own(&self, rows: Option<u64>) -> String {
        let what = match self.kind {
            BesideKind::Checkpoints => {
                "they stay; a reader continues from the number of an event, which `rehome tenant position` prints for a position \
                 of the table"
            }
            BesideKind::Snapshots => "they stay; rebuild them from the events",
            BesideKind::Outbox => "its rows stay; run its sender at the source until it is empty",
            BesideKind::Streams => "they stay; rehome has the versions of streams",
        };
        self.with_rows(rows, what)
    }

    fn with_rows(&self, rows: Option<u64>, what: &str) -> String {
        let kind = match self.kind {
            BesideKind::Checkpoints => "checkpoints",
            BesideKind::Snapshots => "snapshots",
            BesideKind::Outbox => "outbox",
            BesideKind::Streams => "streams' heads",
        };
        let whose = if self.tenant.is_some() { "of the tenant" } else { "of all tenants" };
        let rows = match rows {
            Some(rows) if rows > Self::COUNTED => {
                format!("more than {} rows {whose}", Self::COUNTED)
            }
            Some(1) => format!("1 row {whose}"),
            Some(rows) => format!("{rows} rows {whose}"),
            None => "an unknown number of rows (missing, or without SELECT)".to_owned(),
        };
        format!("{} ({kind}) has {rows}: {what}", self.table)
    }

    /// Rows are counted up to so many.
    pub const COUNTED: u64 = 10_000;
}

/// The id of a tenant whose name is a text: the text itself if it is a UUID, else a UUIDv5 of it.
pub fn tenant_of(key: &str) -> TenantId {
    let parsed =
        uuid::Uuid::try_parse(key).ok().filter(|uuid| uuid.hyphenated().to_string() == key);
    TenantId::new(parsed.unwrap_or_else(|| uuid::Uuid::new_v5(&TENANTS, key.as_bytes())))
}

/// The id of an event whose table has none: the same wherever the row is.
pub fn event_id_of(tenant: TenantId, stream: &StreamName, version: u64) -> EventId {
    let name = format!("{}\0{}\0{version}", stream.stream_type(), stream.stream_id());
    EventId::new(uuid::Uuid::new_v5(&tenant.uuid(), name.as_bytes()))
}

/// The namespace of tenants' ids that are derived from their names.
const TENANTS: uuid::Uuid = uuid::uuid!("6f2a1f0a-31a5-4f0c-9a39-0d9a3b1f7c11");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_adopted_before_knows_its_layout_again() {
        let kept = "Layout { name: \"eventsource-py\", schema: \"public\", table: \"events\", \
            tenant: Column(\"tenant_id\"), stream_type: Some(\"aggregate_type\"), stream_id: [\"aggregate_id\"], \
            version: \"version\", first_version: 1, position: Some(\"global_position\"), \
            event_id: Some(\"event_id\"), event_type: \"event_type\", occurred_at: Some(\"timestamp\"), \
            recorded_at: Some(\"created_at\"), data: \"payload\", metadata: None, anew: [\"txid\"], beside: [\
            Beside { kind: Checkpoints, table: \"projection_checkpoints\", tenant: None, \
            position: Some(\"global_position\") }, \
            Beside { kind: Snapshots, table: \"snapshots\", tenant: None, position: None }, \
            Beside { kind: Outbox, table: \"event_outbox\", tenant: Some(\"tenant_id\"), position: None }] }";
        let layout = Layout::built_in("eventsource-py");
        assert_eq!(layout.map(|layout| format!("{layout:?}")).as_deref(), Some(kept));
    }

    #[test]
    fn a_tenant_is_its_uuid_or_one_derived_from_its_name() {
        let uuid = "0190a5de-6f6b-7c3d-8a55-000000000001";
        assert_eq!(tenant_of(uuid).to_string(), uuid);
        // Another spelling is another text in the table, so another tenant.
        assert_ne!(tenant_of(&uuid.to_uppercase()), tenant_of(uuid));
        assert_eq!(tenant_of("acme"), tenant_of("acme"));
        assert_ne!(tenant_of("acme"), tenant_of("acme "));
    }
}
