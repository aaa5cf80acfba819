//! Which column of somebody else's table is what.
//!
//! A store that is *adopted* has its events in a table of another library. A [`Layout`] says where in
//! that table the parts of an event are; [`ForeignRow`] is such a row as it travels: every column,
//! as its database writes it.

use std::fmt;

use crate::digest::{Digest, sha256};
use crate::ids::{EventId, TenantId};
use crate::stream::StreamName;

/// The parts of an event in a table that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The column that says when it happened; `None`: when it was recorded.
    pub occurred_at: Option<String>,
    /// The column that says when it was recorded; `None`: when it happened.
    pub recorded_at: Option<String>,
    /// The column with the content.
    pub data: String,
    /// The column with the metadata.
    pub metadata: Option<String>,
    /// Columns that the target gives anew: they belong to the database, such as transaction ids.
    pub anew: Vec<String>,
    /// Tables that go with the events.
    pub beside: Vec<Beside>,
}

/// Where a row says whose it is.
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

/// A table that goes with the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// What it holds.
    pub kind: BesideKind,
    /// Its name, in the schema of the events.
    pub table: String,
    /// Its column with the tenant, if its rows belong to one.
    pub tenant: Option<String>,
    /// Its column with a position of the events' table.
    pub position: Option<String>,
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

/// The layouts that come with rehome.
pub const BUILT_IN: [&str; 1] = ["eventsource-py"];

impl Layout {
    /// The layout of that name that comes with rehome.
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "eventsource-py" => Some(eventsource_py()),
            _ => None,
        }
    }
}

/// The events table of eventsource-py, as its own schema makes it.
fn eventsource_py() -> Layout {
    let column = |name: &str| Some(name.to_owned());
    let beside = |kind, table: &str, tenant: Option<&str>, position: Option<&str>| Beside {
        kind,
        table: table.to_owned(),
        tenant: tenant.map(str::to_owned),
        position: position.map(str::to_owned),
    };
    Layout {
        name: "eventsource-py".to_owned(),
        schema: "public".to_owned(),
        table: "events".to_owned(),
        tenant: TenantPart::Column("tenant_id".to_owned()),
        stream_type: column("aggregate_type"),
        stream_id: vec!["aggregate_id".to_owned()],
        version: "version".to_owned(),
        first_version: 1,
        position: column("global_position"),
        event_id: column("event_id"),
        event_type: "event_type".to_owned(),
        occurred_at: column("timestamp"),
        recorded_at: column("created_at"),
        data: "payload".to_owned(),
        metadata: None,
        anew: vec!["txid".to_owned()],
        beside: vec![
            beside(
                BesideKind::Checkpoints,
                "projection_checkpoints",
                None,
                Some("global_position"),
            ),
            beside(BesideKind::Snapshots, "snapshots", None, None),
            beside(BesideKind::Outbox, "event_outbox", Some("tenant_id"), None),
        ],
    }
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

/// A row of somebody else's table, whole, as its database writes it: the texts of all columns but the
/// position and those that a database gives anew, in the order of the columns' names, as one record
/// (PostgreSQL 15, chapter 8.16.6: nothing for NULL, quoted where it has to be).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ForeignRow(Box<str>);

/// The text is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row that is not written as a record")]
pub struct InvalidRow;

impl ForeignRow {
    /// Takes the text of a record.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Writes the texts of columns as a record, as PostgreSQL does; `None` is NULL.
    pub fn of<'a>(columns: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut record = String::from("(");
        for (n, column) in columns.into_iter().enumerate() {
            if n > 0 {
                record.push(',');
            }
            let Some(text) = column else { continue };
            let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',' | ' ' | '\t'..='\r');
            if !text.is_empty() && !text.contains(special) {
                record.push_str(text);
                continue;
            }
            record.push('"');
            for c in text.chars() {
                if matches!(c, '"' | '\\') {
                    record.push(c);
                }
                record.push(c);
            }
            record.push('"');
        }
        record.push(')');
        Self(record.into())
    }

    /// The text of the record.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text. The guard in the database computes the same.
    pub fn digest(&self) -> Digest {
        sha256(&[self.0.as_bytes()])
    }

    /// The columns' texts; `None` is NULL.
    pub fn columns(&self) -> Result<Vec<Option<String>>, InvalidRow> {
        let inner = self.0.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let mut rest = inner.ok_or(InvalidRow)?.chars().peekable();
        let mut columns = Vec::new();
        loop {
            let mut text = String::new();
            let (mut given, mut quoted) = (false, false);
            let more = loop {
                match rest.next() {
                    None if quoted => return Err(InvalidRow),
                    None => break false,
                    Some(',') if !quoted => break true,
                    Some('"') if quoted && rest.peek() == Some(&'"') => {
                        text.extend(rest.next());
                    }
                    Some('"') => (given, quoted) = (true, !quoted),
                    Some('\\') => text.push(rest.next().ok_or(InvalidRow)?),
                    Some(other) => text.push(other),
                }
            };
            columns.push((given || !text.is_empty()).then_some(text));
            if !more {
                return Ok(columns);
            }
        }
    }
}

impl fmt::Debug for ForeignRow {
    /// Payloads are customers' data: only the size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<a row of {} bytes>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_its_uuid_or_one_derived_from_its_name() {
        let uuid = "0190a5de-6f6b-7c3d-8a55-000000000001";
        assert_eq!(tenant_of(uuid).to_string(), uuid);
        // Another spelling is another text in the table, so another tenant.
        assert_ne!(tenant_of(&uuid.to_uppercase()), tenant_of(uuid));
        assert_eq!(tenant_of("acme"), tenant_of("acme"));
        assert_ne!(tenant_of("acme"), tenant_of("acme "));
    }

    #[test]
    fn a_record_is_read_as_postgresql_writes_it() {
        let columns = |text: &str| ForeignRow::new(text).columns();
        let texts =
            |texts: &[Option<&str>]| Ok(texts.iter().map(|t| t.map(str::to_owned)).collect());
        assert_eq!(columns("(a,,\"\",b c)"), texts(&[Some("a"), None, Some(""), Some("b c")]));
        // What `SELECT ROW('say "hi"', 'a\b', 'x,y', '(z)', E'l\n')::text` gives.
        let written = "(\"say \"\"hi\"\"\",\"a\\\\b\",\"x,y\",\"(z)\",\"l\n\")";
        let expected = [Some("say \"hi\""), Some("a\\b"), Some("x,y"), Some("(z)"), Some("l\n")];
        assert_eq!(columns(written), texts(&expected));
        assert_eq!(ForeignRow::of(expected).as_str(), written);
        let plain = [Some("a"), None, Some(""), Some("é\0"), Some("b c"), Some("\t\u{b}\r")];
        assert_eq!(ForeignRow::of(plain).as_str(), "(a,,\"\",é\0,\"b c\",\"\t\u{b}\r\")");
        assert_eq!(ForeignRow::of(plain).columns(), texts(&plain));
        assert_eq!(columns("()"), texts(&[None]));
        for bad in ["", "a", "(\"a)", "(a\\)", "(a"] {
            assert_eq!(columns(bad), Err(InvalidRow), "{bad}");
        }
    }
}
