//! The rows of SQLite files, by SQL of our own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row as SqlRow};

use super::Id;
use super::control::{Entry, Migration, Route};
use super::history::{History, Ledger, Row};

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// A number that is never negative; one that is would be found as far too high.
fn count(row: &SqlRow<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get(index).map(i64::cast_unsigned)
}

/// Reads all of one tenant, in one transaction.
pub(super) fn history(path: &Path, tenant: Id) -> Result<History> {
    let mut connection = open(path)?;
    let tx = connection.transaction()?;
    let ledger = tx
        .query_row(
            "SELECT tenant_no, role, epoch, seq, digest FROM ledger WHERE tenant = ?1",
            [tenant.as_slice()],
            |row| {
                let ledger = Ledger {
                    role: row.get(1)?,
                    epoch: count(row, 2)?,
                    seq: count(row, 3)?,
                    digest: row.get(4)?,
                };
                Ok((row.get::<_, i64>(0)?, ledger))
            },
        )
        .optional()?;
    let Some((number, ledger)) = ledger else { return Ok(History::absent()) };
    // An event without its stream's row would be lost in a plain join.
    let mut events = tx.prepare(
        "SELECT e.position - ?1 * 1099511627776, coalesce(s.stream_type, ''),
                coalesce(s.stream_id, ''), e.version, e.event_id, e.event_type, e.occurred_at,
                e.recorded_at, e.data, e.metadata, e.digest
         FROM events e LEFT JOIN streams s ON s.stream_no = e.stream_no AND s.tenant_no = ?1
         WHERE e.position >= ?1 * 1099511627776 AND e.position < (?1 + 1) * 1099511627776
         ORDER BY e.position",
    )?;
    let rows: Vec<Row> = events
        .query_map([number], |row| {
            Ok(Row {
                seq: count(row, 0)?,
                stream: (row.get(1)?, row.get(2)?),
                version: count(row, 3)?,
                id: row.get(4)?,
                event_type: row.get(5)?,
                occurred_at: row.get(6)?,
                recorded_at: row.get(7)?,
                data: row.get(8)?,
                metadata: row.get(9)?,
                digest: row.get(10)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut streams =
        tx.prepare("SELECT stream_type, stream_id, version FROM streams WHERE tenant_no = ?1")?;
    let streams = streams
        .query_map([number], |row| Ok(((row.get(0)?, row.get(1)?), count(row, 2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(History::new(ledger, rows, Some(streams)))
}

/// The tenant's route, if there is one.
pub(super) fn route(control: &Path, tenant: Id) -> Result<Option<Route>> {
    let read = |row: &SqlRow<'_>| {
        Ok(Route {
            rev: count(row, 0)?,
            store: row.get(1)?,
            epoch: count(row, 2)?,
            n: count(row, 3)?,
            base: count(row, 4)?,
            phase: row.get(5)?,
            window: row.get(6)?,
        })
    };
    let sql = "SELECT rev, store, epoch, n, base, phase, rollback_window FROM routes
               WHERE tenant = ?1";
    Ok(open(control)?.query_row(sql, [tenant.as_slice()], read).optional()?)
}

/// The tenant's migrations, oldest first.
pub(super) fn migrations(control: &Path, tenant: Id) -> Result<Vec<Migration>> {
    let connection = open(control)?;
    let mut rows = connection.prepare(
        "SELECT id, phase, state, cutover_attempts,
                (SELECT coalesce(max(entry), 0) FROM log WHERE migration = id)
         FROM migrations WHERE tenant = ?1 ORDER BY created_at, id",
    )?;
    let found = rows.query_map([tenant.as_slice()], |row| {
        Ok(Migration {
            id: row.get(0)?,
            phase: row.get(1)?,
            state: row.get(2)?,
            cutover_attempts: count(row, 3)?,
            log_entries: count(row, 4)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// A migration's log, in its order.
pub(super) fn log(control: &Path, migration: Id) -> Result<Vec<Entry>> {
    let connection = open(control)?;
    let mut rows = connection
        .prepare("SELECT entry, at, actor, fact, hash FROM log WHERE migration = ?1 ORDER BY 1")?;
    let entries = rows.query_map([migration.as_slice()], |row| {
        let number = count(row, 0)?;
        let (at, actor, fact, hash) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Entry { number, at, actor, fact, hash })
    })?;
    Ok(entries.collect::<rusqlite::Result<_>>()?)
}
