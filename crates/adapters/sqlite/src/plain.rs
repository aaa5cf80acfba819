//! Another program, for demonstrations and tests: it writes events into its own table with plain SQL, like
//! eventsource-py, and does not use rehome.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// The events table of eventsource-py 0.8.1 in SQLite, as its own schema makes it.
const EVENTS: &str = include_str!("schema/eventsource_py.sql");
/// As the library waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const INSERT: &str = "\
    INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id, tenant_id, actor_id, version, timestamp, \
        payload, created_at) \
    VALUES (?1, 'OrderChanged', 'Order', ?2, ?3, NULL, ?4, ?5, ?6, ?5)";

/// An event as that program writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainEvent {
    /// Its id.
    pub id: String,
    /// The id of its aggregate.
    pub stream: String,
    /// Its number in there, from 1.
    pub version: i64,
    /// When it happened, in ISO 8601.
    pub at: String,
    /// JSON.
    pub payload: String,
}

/// Why an insert was refused.
#[derive(Debug)]
pub enum PlainError {
    /// The database refused it, in these words.
    Refused(String),
    /// Anything else.
    Sql(rusqlite::Error),
}

impl fmt::Display for PlainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(words) => f.write_str(words),
            Self::Sql(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for PlainError {}

impl From<rusqlite::Error> for PlainError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// A file of that program.
pub struct PlainFile {
    conn: Connection,
    tenant: String,
}

impl PlainFile {
    /// Opens the file, or makes it, for one tenant.
    pub fn open(path: &Path, tenant: &str) -> Result<Self, PlainError> {
        let conn = Connection::open(path)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.execute_batch(EVENTS)?;
        Ok(Self { conn, tenant: tenant.to_owned() })
    }

    /// Appends events in one transaction.
    pub fn append(&mut self, events: &[PlainEvent]) -> Result<(), PlainError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for event in events {
            let PlainEvent { id, stream, version, at, payload } = event;
            let inserted = tx.prepare_cached(INSERT)?.execute((
                id,
                stream,
                &self.tenant,
                version,
                at,
                payload,
            ));
            inserted.map_err(refused)?;
        }
        Ok(tx.commit()?)
    }

    /// All events of the tenant, in the order of their positions.
    pub fn events(&self) -> Result<Vec<PlainEvent>, PlainError> {
        let mut statement = self.conn.prepare(
            "SELECT event_id, aggregate_id, version, timestamp, payload FROM events \
             WHERE tenant_id = ?1 ORDER BY global_position",
        )?;
        let events = statement.query_map([&self.tenant], |row| {
            Ok(PlainEvent {
                id: row.get(0)?,
                stream: row.get(1)?,
                version: row.get(2)?,
                at: row.get(3)?,
                payload: row.get(4)?,
            })
        })?;
        Ok(events.collect::<Result<_, _>>()?)
    }
}

fn refused(error: rusqlite::Error) -> PlainError {
    match &error {
        rusqlite::Error::SqliteFailure(code, Some(words))
            if code.code == ErrorCode::ConstraintViolation =>
        {
            PlainError::Refused(words.clone())
        }
        _ => error.into(),
    }
}
