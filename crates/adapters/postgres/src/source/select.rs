//! The statement that returns the parts of events: of a query's columns, or of a layout's.

use rehome_domain::layout::Layout;
use rehome_ports::{FaultKind, SourceParts};
use tokio_postgres::types::Type;

use crate::adopted::parts::{self, Shape};
use crate::error::ServerError;
use crate::rows::{Read, get};
use crate::schema::names::quoted;
use crate::server::Client;

/// The query, in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Select {
    /// Which parts there are.
    pub(super) parts: SourceParts,
    /// All rows: position, tenant, type and id of the stream, id and type of the event, version, then two times, each as microseconds
    /// and as a text, data, metadata.
    pub(super) rows: String,
    /// Their positions alone.
    pub(super) positions: String,
    /// The order in which rows without positions are read, of the columns of `rows`.
    pub(super) order: Option<String>,
    /// Why a session may draw a lower position than others have drawn before it.
    pub(super) cache: Option<String>,
}

/// How many values a session draws from a sequence at once.
const CACHE: &str = "SELECT s.seqcache FROM pg_sequence AS s WHERE s.seqrelid = to_regclass($1)";

impl Select {
    /// Of a query, by the names of its columns.
    pub(super) async fn of_query(client: &mut Client, sql: &str) -> Read<Self> {
        let sql = sql.trim().trim_end_matches(';');
        let not_set_up = |why: String| ServerError::new(FaultKind::NotSetUp(why));
        // A comment at the end of the query ends with its line.
        let from = format!("FROM ({sql}\n) AS q");
        let columns = client.describe(&format!("SELECT q.* {from}")).await?;
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let parts = SourceParts::of_query(&names).map_err(not_set_up)?;
        let mut wrong = Vec::new();
        let find = |name: &str| columns.iter().find(|(column, _)| column == name);
        let text = |name: &str| {
            find(name).map_or("NULL::text".to_owned(), |_| format!("q.{}::text", quoted(name)))
        };
        let mut number = |name: &str| match find(name) {
            None => "NULL::bigint".to_owned(),
            Some((_, kind)) => {
                if ![Type::INT2, Type::INT4, Type::INT8].contains(kind) {
                    wrong.push(format!(
                        "its column {name} is {kind}, and must be a whole number: {name}::bigint"
                    ));
                }
                format!("q.{}::bigint", quoted(name))
            }
        };
        let (position, version) = (number("position"), number("version"));
        let mut time = |name: &str| match find(name) {
            None => "NULL::bigint, NULL::text".to_owned(),
            Some((_, kind)) if [Type::TIMESTAMPTZ, Type::TIMESTAMP, Type::DATE].contains(kind) => {
                format!("(extract(epoch FROM q.{}) * 1000000)::bigint, NULL::text", quoted(name))
            }
            Some((_, kind)) => {
                if ![Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::UNKNOWN].contains(kind) {
                    wrong.push(format!(
                        "its column {name} is {kind}, and must be a time, or a text as in RFC 3339; a number of \
                         seconds is converted by to_timestamp({name})"
                    ));
                }
                format!("NULL::bigint, q.{}::text", quoted(name))
            }
        };
        let (occurred, recorded) = (time("occurred_at"), time("recorded_at"));
        let payload = |name: &str| match find(name) {
            Some((_, kind)) if *kind == Type::BYTEA => {
                parts::base64(&format!("q.{}", quoted(name)))
            }
            _ => text(name),
        };
        if !wrong.is_empty() {
            return Err(not_set_up(wrong.join("; ")));
        }
        Ok(Self {
            parts,
            rows: format!(
                "SELECT {position} AS position, {}, {}, {}, {}, {}, {version}, {occurred}, {recorded}, {}, {} {from}",
                text("tenant_id"),
                text("stream_type"),
                text("stream_id"),
                text("event_id"),
                text("event_type"),
                payload("data"),
                payload("metadata"),
            ),
            positions: format!("SELECT {position} AS position {from}"),
            order: None,
            cache: None,
        })
    }

    /// Of the table of a layout.
    pub(super) async fn of_table(client: &mut Client, layout: &Layout) -> Read<Self> {
        let shape = Shape::of(client, layout).await?;
        let tenant = parts::tenant(&shape, layout, "t")?;
        let version = parts::version(layout);
        let event = parts::event(&shape, layout, &version)?;
        let position = match &layout.position {
            Some(name) => format!("t.{}::bigint", quoted(&shape.column(name)?.name)),
            None => "NULL::bigint".to_owned(),
        };
        let sequence = match &layout.position {
            Some(name) => shape.column(name)?.sequence.clone(),
            None => None,
        };
        let mut cache = None;
        if let Some(sequence) = sequence {
            let found = client.read(CACHE, &[(&sequence, Type::TEXT)]).await?;
            let size = found.first().map_or(Ok(1_i64), |row| get(row, 0))?;
            cache = (size > 1).then(|| {
                format!(
                    "each session caches {size} values of sequence {sequence} and uses them later: ALTER SEQUENCE \
                     {sequence} CACHE 1"
                )
            });
        }
        let from = format!("FROM {} AS t", shape.quoted());
        Ok(Self {
            parts: SourceParts {
                tenant: true,
                event_id: layout.event_id.is_some(),
                version: true,
                time: layout.occurred_at.is_some() || layout.recorded_at.is_some(),
                position: layout.position.is_some(),
                texts: true,
            },
            rows: format!(
                "SELECT x.position, x.tenant, x.stream_type, x.stream_id, x.event_id::text, x.event_type, x.version, \
                 x.occurred_at, NULL::text, x.recorded_at, NULL::text, x.data, x.metadata \
                 FROM (SELECT {position} AS position, {tenant} AS tenant, {event} {from}) AS x"
            ),
            positions: format!("SELECT {position} AS position {from}"),
            order: layout.position.is_none().then(|| {
                "s.recorded_at, s.occurred_at, s.stream_type, s.stream_id, s.version".to_owned()
            }),
            cache,
        })
    }
}
