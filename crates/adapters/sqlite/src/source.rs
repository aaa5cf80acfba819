//! Rows of a table or a query in another program's SQLite file, for an import. Nothing is written there.
//!
//! SQLite has one writer at a time, and a position is drawn under its lock: no row comes in behind others that
//! can be seen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rehome_domain::layout::{Layout, TenantPart};
use rehome_ports::{
    EventSource, Fault, FaultKind, Moment, PAGE_ROWS, PARTS, SourcePage, SourceParts, SourceRow,
    json,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use uuid::Uuid;

use crate::adopted::{hex, not_set_up, parse_time, quoted, text_literal};
use crate::error::FileError;

type Read<T> = Result<T, FileError>;

/// How long to wait for a lock of another process.
const BUSY: Duration = Duration::from_secs(10);

/// The source.
pub struct SqliteSource {
    name: String,
    path: PathBuf,
    parts: SourceParts,
    /// Rows after ?1 up to ?2, ?3 of them.
    rows: Arc<str>,
    conn: Arc<Mutex<Connection>>,
    /// A snapshot of the file, and the last position that was read in it.
    all: Option<(Arc<Mutex<Connection>>, i64)>,
}

impl SqliteSource {
    /// Opens the file and checks the columns of a query.
    pub async fn of_query(path: &Path, sql: &str) -> Result<Self, Fault> {
        let sql = sql.trim().trim_end_matches(';').to_owned();
        Self::open(path, format!("the query on {}", path.display()), move |conn| {
            let statement = conn.prepare(&sql).map_err(|error| not_set_up(error.to_string()))?;
            if !statement.readonly() {
                return Err(not_set_up("the statement is not a query: it would change the file"));
            }
            let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let parts = SourceParts::of_query(&columns).map_err(not_set_up)?;
            let one = |name: &str| {
                if columns.iter().any(|column| column == name) {
                    format!("q.{name}")
                } else {
                    "NULL".to_owned()
                }
            };
            // A comment at the end of the query ends with its line.
            Ok((parts, select(one, &format!("FROM ({sql}\n) AS q"))))
        })
        .await
    }

    /// Opens the file and checks the table of a layout.
    pub async fn of_table(path: &Path, layout: &Layout) -> Result<Self, Fault> {
        let layout = layout.clone();
        let name = format!("table \"{}\" of {}", layout.table, path.display());
        Self::open(path, name, move |conn| {
            let Some(position) = &layout.position else {
                return Err(not_set_up(format!(
                    "layout {} has no position; in SQLite name the primary key, or use a query that returns rowid AS \
                     position",
                    layout.name
                )));
            };
            let column = |name: &str| format!("t.{}", quoted(name));
            let optional = |name: &Option<String>| name.as_deref().map_or("NULL".to_owned(), column);
            let streams: Vec<String> =
                layout.stream_id.iter().map(|name| format!("CAST({} AS TEXT)", column(name))).collect();
            let first = 1 - i64::from(layout.first_version);
            let tenant = match &layout.tenant {
                TenantPart::Column(name) => column(name),
                TenantPart::Json { column: name, key } => {
                    format!("json_extract({}, {})", column(name), text_literal(&format!("$.{}", quoted(key))))
                }
                TenantPart::Prefix { separator } => {
                    let stream = streams.first().cloned().unwrap_or_default();
                    let separator = text_literal(separator);
                    format!(
                        "CASE WHEN instr({stream}, {separator}) > 0 \
                         THEN substr({stream}, 1, instr({stream}, {separator}) - 1) END"
                    )
                }
            };
            let one = |name: &str| match name {
                "position" => column(position),
                "tenant_id" => tenant.clone(),
                "stream_type" => optional(&layout.stream_type),
                "stream_id" => streams.join(" || '/' || "),
                "event_id" => optional(&layout.event_id),
                "event_type" => column(&layout.event_type),
                "version" => format!("{} + {first}", column(&layout.version)),
                "occurred_at" => optional(&layout.occurred_at),
                "recorded_at" => optional(&layout.recorded_at),
                "data" => column(&layout.data),
                _ => optional(&layout.metadata),
            };
            let rows = select(one, &format!("FROM {} AS t", quoted(&layout.table)));
            // Names that are not there are texts to SQLite, unless they have a table before them.
            conn.prepare(&rows).map_err(|error| not_set_up(error.to_string()))?;
            let parts = SourceParts {
                tenant: true,
                event_id: layout.event_id.is_some(),
                version: true,
                time: layout.occurred_at.is_some() || layout.recorded_at.is_some(),
                position: true,
                texts: true,
            };
            Ok((parts, rows))
        })
        .await
    }

    async fn open(
        path: &Path,
        name: String,
        look: impl FnOnce(&Connection) -> Read<(SourceParts, String)> + Send + 'static,
    ) -> Result<Self, Fault> {
        let path = path.to_owned();
        let place = path.clone();
        let opened = blocking(move || {
            let conn = connect(&place)?;
            let (parts, rows) = look(&conn)?;
            let conn = Arc::new(Mutex::new(conn));
            // What cannot be read is refused before anything is imported.
            page(&conn, &rows, i64::MIN)?;
            Ok((conn, parts, rows))
        });
        let (conn, parts, rows) = opened.await.map_err(|error| error.fault(&name))?;
        Ok(Self { name, path, parts, rows: rows.into(), conn, all: None })
    }
}

#[async_trait]
impl EventSource for SqliteSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn parts(&self) -> SourceParts {
        self.parts
    }

    async fn page(&mut self, after: i64) -> Result<SourcePage, Fault> {
        let (conn, rows) = (Arc::clone(&self.conn), Arc::clone(&self.rows));
        let rows = blocking(move || page(&conn, &rows, after)).await;
        let rows = rows.map_err(|error| error.fault(&self.name))?;
        let read_to = rows.last().map_or(after, |row| row.position);
        Ok(SourcePage { rows, read_to, waits_for: None })
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        let path = self.path.clone();
        let begun = blocking(move || {
            let conn = connect(&path)?;
            conn.execute_batch("BEGIN")?;
            Ok(conn)
        });
        let conn = begun.await.map_err(|error| error.fault(&self.name))?;
        self.all = Some((Arc::new(Mutex::new(conn)), i64::MIN));
        Ok(())
    }

    async fn next(&mut self) -> Result<Vec<SourceRow>, Fault> {
        let Some((conn, after)) = &mut self.all else { return Ok(Vec::new()) };
        let (lent, rows, from) = (Arc::clone(conn), Arc::clone(&self.rows), *after);
        let rows = blocking(move || page(&lent, &rows, from)).await;
        let rows = rows.map_err(|error| error.fault(&self.name))?;
        match rows.last() {
            Some(last) => *after = last.position,
            None => self.all = None,
        }
        Ok(rows)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Read<T> + Send + 'static) -> Read<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(FileError::Lost))
}

fn connect(path: &Path) -> Read<Connection> {
    if !path.is_file() {
        return Err(FileError::Kind(FaultKind::Missing(path.display().to_string())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    // An absolute path never begins with `file:`, so SQLite never reads one as a URI.
    let path = std::path::absolute(path).map_err(FileError::no_thread)?;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    Ok(conn)
}

/// The statement: all parts in their order, and the position first of all.
fn select(one: impl Fn(&str) -> String, from: &str) -> String {
    let parts: Vec<String> = PARTS.iter().map(|name| format!("{} AS {name}", one(name))).collect();
    format!(
        "SELECT {} FROM (SELECT {} {from}) AS s WHERE s.position > ?1 ORDER BY s.position LIMIT ?2",
        PARTS.map(|name| format!("s.{name}")).join(", "),
        parts.join(", ")
    )
}

fn page(conn: &Mutex<Connection>, sql: &str, after: i64) -> Read<Vec<SourceRow>> {
    let conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
    let mut statement = conn.prepare_cached(sql)?;
    let limit = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
    let mut found = statement.query((after, limit))?;
    let mut rows: Vec<SourceRow> = Vec::new();
    while let Some(row) = found.next()? {
        let row = source_row(row)?;
        if row.position < 0 {
            return Err(not_set_up(format!(
                "its position {} is negative; positions are whole numbers from 0",
                row.position
            )));
        }
        if rows.last().is_some_and(|last| last.position == row.position) {
            return Err(not_set_up(format!(
                "two of its rows have the position {}; positions must be unique",
                row.position
            )));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// A row as [`select`] writes it.
fn source_row(row: &Row<'_>) -> Read<SourceRow> {
    let value = |name: &str| row.get_ref(name);
    let text = |name: &str| Ok::<_, FileError>(text(value(name)?));
    let number = |name: &str| match value(name)? {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number)),
        _ => Err(not_set_up(format!("its column {name} has values that are not whole numbers"))),
    };
    let moment = |name: &str| {
        let found = self::text(value(name)?);
        Ok::<_, FileError>(
            found.map(|text| parse_time(&text).map_or(Moment::Text(text), Moment::Micros)),
        )
    };
    Ok(SourceRow {
        position: number("position")?
            .ok_or_else(|| not_set_up("its column position contains NULL".to_owned()))?,
        tenant: text("tenant_id")?,
        stream_type: text("stream_type")?,
        stream_id: text("stream_id")?,
        event_id: id(value("event_id")?),
        event_type: text("event_type")?,
        version: number("version")?,
        occurred_at: moment("occurred_at")?,
        recorded_at: moment("recorded_at")?,
        data: payload(value("data")?),
        metadata: payload(value("metadata")?),
    })
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

/// An id as a text, also if it is stored as sixteen bytes.
fn id(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Blob(bytes) if bytes.len() == 16 => {
            Uuid::from_slice(bytes).ok().map(|id| id.to_string())
        }
        other => text(other),
    }
}

/// A content as it is; bytes that are no text become a string of their hexadecimal digits.
fn payload(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(
            std::str::from_utf8(bytes)
                .map_or_else(|_| json::string(&hex(bytes)).as_str().to_owned(), str::to_owned),
        ),
        other => text(other),
    }
}
