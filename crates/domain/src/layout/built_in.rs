//! The layouts that come with rehome: the tables of libraries, as their own schemas make them.

use super::{Beside, BesideKind, ColumnKind, Heads, Layout, TenantPart};

/// Their names.
pub const BUILT_IN: [&str; 6] =
    ["eventsource-py", "pyeventsourcing", "message-db", "emmett", "marten", "axon"];

/// Which version of a library makes a table, and with which columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The library and its version.
    pub by: &'static str,
    /// All columns.
    pub columns: &'static [&'static str],
}

impl Layout {
    /// Who makes the table of a layout that comes with rehome.
    pub fn made(&self) -> Option<Made> {
        let made = match self.name.as_str() {
            "eventsource-py" => Made {
                by: "eventsource-py 0.8.1",
                columns: &[
                    "global_position",
                    "event_id",
                    "aggregate_id",
                    "aggregate_type",
                    "event_type",
                    "tenant_id",
                    "actor_id",
                    "version",
                    "timestamp",
                    "payload",
                    "created_at",
                    "txid",
                ],
            },
            "pyeventsourcing" => Made {
                by: "eventsourcing 9.5",
                columns: &[
                    "originator_id",
                    "originator_version",
                    "topic",
                    "state",
                    "notification_id",
                ],
            },
            "message-db" => Made {
                by: "Message DB 1.3",
                columns: &[
                    "global_position",
                    "position",
                    "time",
                    "stream_name",
                    "type",
                    "data",
                    "metadata",
                    "id",
                ],
            },
            "emmett" => Made {
                by: "Emmett 0.42",
                columns: &[
                    "stream_position",
                    "global_position",
                    "transaction_id",
                    "created",
                    "is_archived",
                    "message_kind",
                    "stream_id",
                    "partition",
                    "message_schema_version",
                    "message_id",
                    "message_type",
                    "message_data",
                    "message_metadata",
                ],
            },
            _ => return None,
        };
        Some(made)
    }

    /// What PostgreSQL's table of the library has in a column, for libraries that also have a table in SQLite.
    pub fn kind_of(&self, column: &str) -> Option<ColumnKind> {
        if self.name != "eventsource-py" {
            return None;
        }
        match column {
            "event_id" | "aggregate_id" | "tenant_id" => Some(ColumnKind::Uuid),
            "aggregate_type" | "event_type" | "actor_id" => Some(ColumnKind::Text),
            "version" => Some(ColumnKind::Integer),
            "timestamp" | "created_at" => Some(ColumnKind::Time),
            "payload" => Some(ColumnKind::Json),
            _ => None,
        }
    }

    /// The layout of that name that comes with rehome.
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "eventsource-py" => Some(eventsource_py()),
            "pyeventsourcing" => Some(pyeventsourcing()),
            "message-db" => Some(message_db()),
            "emmett" => Some(emmett()),
            "marten" => Some(marten()),
            "axon" => Some(axon()),
            _ => None,
        }
    }
}

fn name(name: &str) -> String {
    name.to_owned()
}

fn beside(kind: BesideKind, table: &str) -> Beside {
    Beside { kind, table: table.to_owned(), tenant: None, position: None, heads: None }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn prefix(separator: &str) -> TenantPart {
    TenantPart::Prefix { separator: separator.to_owned() }
}

/// The events table of eventsource-py.
fn eventsource_py() -> Layout {
    Layout {
        name: "eventsource-py".to_owned(),
        schema: "public".to_owned(),
        table: "events".to_owned(),
        tenant: TenantPart::Column("tenant_id".to_owned()),
        stream_type: Some(name("aggregate_type")),
        stream_id: vec!["aggregate_id".to_owned()],
        version: "version".to_owned(),
        first_version: 1,
        position: Some(name("global_position")),
        event_id: Some(name("event_id")),
        event_type: "event_type".to_owned(),
        occurred_at: Some(name("timestamp")),
        recorded_at: Some(name("created_at")),
        data: "payload".to_owned(),
        metadata: None,
        anew: vec!["txid".to_owned()],
        beside: vec![
            Beside {
                position: Some(name("global_position")),
                ..beside(BesideKind::Checkpoints, "projection_checkpoints")
            },
            beside(BesideKind::Snapshots, "snapshots"),
            Beside {
                tenant: Some(name("tenant_id")),
                ..beside(BesideKind::Outbox, "event_outbox")
            },
        ],
        locks_table: false,
    }
}

/// The table of the recorder of Python's `eventsourcing` for an application without a name, where ids of aggregates
/// are texts that begin with the tenant. The library itself knows no tenants.
fn pyeventsourcing() -> Layout {
    Layout {
        name: "pyeventsourcing".to_owned(),
        schema: "public".to_owned(),
        table: "stored_events".to_owned(),
        tenant: prefix("/"),
        stream_type: None,
        stream_id: vec!["originator_id".to_owned()],
        version: "originator_version".to_owned(),
        first_version: 1,
        position: Some(name("notification_id")),
        event_id: None,
        event_type: "topic".to_owned(),
        occurred_at: None,
        recorded_at: None,
        data: "state".to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: vec![
            Beside {
                position: Some(name("notification_id")),
                ..beside(BesideKind::Checkpoints, "notification_tracking")
            },
            beside(BesideKind::Snapshots, "stored_snapshots"),
        ],
        locks_table: true,
    }
}

/// The table of Message DB, where names of streams begin with the tenant.
fn message_db() -> Layout {
    Layout {
        name: "message-db".to_owned(),
        schema: "message_store".to_owned(),
        table: "messages".to_owned(),
        tenant: prefix("/"),
        stream_type: None,
        stream_id: vec!["stream_name".to_owned()],
        version: "position".to_owned(),
        first_version: 0,
        position: Some(name("global_position")),
        event_id: Some(name("id")),
        event_type: "type".to_owned(),
        occurred_at: None,
        recorded_at: Some(name("time")),
        data: "data".to_owned(),
        metadata: Some(name("metadata")),
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
    }
}

/// The tables of Emmett, where names of streams begin with the tenant. Its readers follow transactions, so there is no
/// position.
fn emmett() -> Layout {
    Layout {
        name: "emmett".to_owned(),
        schema: "public".to_owned(),
        table: "emt_messages".to_owned(),
        tenant: prefix("/"),
        stream_type: None,
        stream_id: vec!["stream_id".to_owned()],
        version: "stream_position".to_owned(),
        first_version: 1,
        position: None,
        event_id: Some(name("message_id")),
        event_type: "message_type".to_owned(),
        occurred_at: None,
        recorded_at: Some(name("created")),
        data: "message_data".to_owned(),
        metadata: Some(name("message_metadata")),
        anew: names(&["global_position", "transaction_id"]),
        beside: vec![
            Beside {
                heads: Some(Heads {
                    stream_id: names(&["stream_id"]),
                    version: "stream_position".to_owned(),
                    same: names(&["partition", "is_archived"]),
                    travels: names(&["stream_type", "stream_metadata"]),
                }),
                ..beside(BesideKind::Streams, "emt_streams")
            },
            beside(BesideKind::Checkpoints, "emt_processors"),
        ],
        locks_table: false,
    }
}

/// The tables of Marten where its tenants are in one database (`TenancyStyle.Conjoined`).
fn marten() -> Layout {
    Layout {
        name: "marten".to_owned(),
        schema: "public".to_owned(),
        table: "mt_events".to_owned(),
        tenant: TenantPart::Column("tenant_id".to_owned()),
        stream_type: None,
        stream_id: names(&["stream_id"]),
        version: "version".to_owned(),
        first_version: 1,
        position: Some(name("seq_id")),
        event_id: Some(name("id")),
        event_type: "type".to_owned(),
        occurred_at: None,
        recorded_at: Some(name("timestamp")),
        data: "data".to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: vec![
            Beside {
                heads: Some(Heads {
                    stream_id: names(&["id"]),
                    version: "version".to_owned(),
                    same: names(&["tenant_id"]),
                    travels: names(&["type", "created", "is_archived"]),
                }),
                ..beside(BesideKind::Streams, "mt_streams")
            },
            Beside {
                position: Some(name("last_seq_id")),
                ..beside(BesideKind::Checkpoints, "mt_event_progression")
            },
        ],
        locks_table: false,
    }
}

/// The table of Axon's JDBC event storage on PostgreSQL, where identifiers of aggregates begin with the tenant.
fn axon() -> Layout {
    Layout {
        name: "axon".to_owned(),
        schema: "public".to_owned(),
        table: "domainevententry".to_owned(),
        tenant: prefix("/"),
        stream_type: None,
        stream_id: names(&["aggregateidentifier"]),
        version: "sequencenumber".to_owned(),
        first_version: 0,
        position: Some(name("globalindex")),
        event_id: Some(name("eventidentifier")),
        event_type: "payloadtype".to_owned(),
        occurred_at: Some(name("timestamp")),
        recorded_at: None,
        data: "payload".to_owned(),
        metadata: Some(name("metadata")),
        anew: Vec::new(),
        beside: vec![
            beside(BesideKind::Snapshots, "snapshotevententry"),
            beside(BesideKind::Checkpoints, "tokenentry"),
        ],
        locks_table: false,
    }
}
