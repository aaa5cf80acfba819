//! The rows of PostgreSQL databases, by SQL of our own.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, NoTls, Row as SqlRow};

use super::control::{Entry, Migration, Route};
use super::history::{History, Ledger, Row};
use super::{Id, hex};

/// Longest wait for a response; only a server that hangs takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a database through a separate connection, in one snapshot. `{schema}` in a statement is
/// the schema's name.
fn look<T>(url: &str, schema: &str, read: impl AsyncFnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let look = async {
        let (client, connection) =
            tokio_postgres::connect(url, NoTls).await.context("the checker cannot connect")?;
        let connection = tokio::spawn(connection);
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let schema = format!("\"{}\"", schema.replace('"', "\"\""));
        let seen = read(&Reader { client: &client, schema }).await;
        drop(client);
        // The result is complete; how the connection ends does not matter.
        let _ = connection.await;
        seen
    };
    runtime.block_on(async {
        let looked = tokio::time::timeout(PATIENCE, look).await;
        looked.context("the checker had no response in time")?
    })
}

struct Reader<'a> {
    client: &'a Client,
    schema: String,
}

impl Reader<'_> {
    /// Rows about a tenant or a migration, `$1`.
    async fn of(&self, id: Id, sql: &str) -> Result<Vec<SqlRow>> {
        let sql = sql.replace("{schema}", &self.schema);
        Ok(self.client.query(&sql, &[&hex(&id)]).await?)
    }

    /// The number that identifies a tenant's rows.
    async fn numbered(&self, number: i64, sql: &str) -> Result<Vec<SqlRow>> {
        let sql = sql.replace("{schema}", &self.schema);
        Ok(self.client.query(&sql, &[&number]).await?)
    }
}

/// A number that is never negative; one that is would be found as far too high.
fn count(row: &SqlRow, index: usize) -> Result<u64> {
    Ok(row.try_get::<_, i64>(index)?.cast_unsigned())
}

fn id(row: &SqlRow, index: usize) -> Result<Id> {
    let bytes: Vec<u8> = row.try_get(index)?;
    bytes.as_slice().try_into().context("a UUID has 16 bytes")
}

pub(super) fn history(url: &str, schema: &str, tenant: Id) -> Result<History> {
    look(url, schema, async |reader| {
        let ledger = reader
            .of(
                tenant,
                "SELECT tenant_no, role, epoch, seq, digest FROM {schema}.ledger
                 WHERE tenant = $1::text::uuid",
            )
            .await?;
        let Some(row) = ledger.first() else { return Ok(History::absent()) };
        let number: i32 = row.try_get(0)?;
        let ledger = Ledger {
            role: row.try_get(1)?,
            epoch: count(row, 2)?,
            seq: count(row, 3)?,
            digest: row.try_get(4)?,
        };
        // An event without its stream's row would be lost in a plain join.
        let rows = reader
            .numbered(
                i64::from(number),
                "SELECT e.position - $1 * 1099511627776, coalesce(s.stream_type, ''),
                        coalesce(s.stream_id, ''), e.version, uuid_send(e.event_id), e.event_type,
                        e.occurred_at, e.recorded_at, e.data::text, e.metadata::text, e.digest
                 FROM {schema}.events e
                 LEFT JOIN {schema}.streams s
                     ON s.stream_no = e.stream_no AND s.tenant_no = e.tenant_no
                 WHERE e.tenant_no = $1
                 ORDER BY e.position",
            )
            .await?;
        let rows: Vec<Row> = rows.iter().map(event).collect::<Result<_>>()?;
        Ok(History::new(ledger, rows, None))
    })
}

fn event(row: &SqlRow) -> Result<Row> {
    Ok(Row {
        seq: count(row, 0)?,
        stream: (row.try_get(1)?, row.try_get(2)?),
        version: count(row, 3)?,
        id: id(row, 4)?,
        event_type: row.try_get(5)?,
        occurred_at: row.try_get(6)?,
        recorded_at: row.try_get(7)?,
        data: row.try_get(8)?,
        metadata: row.try_get(9)?,
        digest: row.try_get(10)?,
    })
}

pub(super) fn route(url: &str, schema: &str, tenant: Id) -> Result<Option<Route>> {
    look(url, schema, async |reader| {
        let rows = reader
            .of(
                tenant,
                "SELECT rev, store, epoch, n, base, phase, rollback_window FROM {schema}.routes
                 WHERE tenant = $1::text::uuid",
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Route {
            rev: count(row, 0)?,
            store: row.try_get(1)?,
            epoch: count(row, 2)?,
            n: count(row, 3)?,
            base: count(row, 4)?,
            phase: row.try_get(5)?,
            window: row.try_get(6)?,
        }))
    })
}

pub(super) fn migrations(url: &str, schema: &str, tenant: Id) -> Result<Vec<Migration>> {
    look(url, schema, async |reader| {
        let rows = reader
            .of(
                tenant,
                "SELECT uuid_send(id), phase, state, cutover_attempts,
                        (SELECT coalesce(max(l.entry), 0) FROM {schema}.log l
                         WHERE l.migration = g.id)
                 FROM {schema}.migrations g WHERE tenant = $1::text::uuid ORDER BY created_at, id",
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Migration {
                    id: id(row, 0)?,
                    phase: row.try_get(1)?,
                    state: row.try_get(2)?,
                    cutover_attempts: count(row, 3)?,
                    log_entries: count(row, 4)?,
                })
            })
            .collect()
    })
}

pub(super) fn log(url: &str, schema: &str, migration: Id) -> Result<Vec<Entry>> {
    look(url, schema, async |reader| {
        let rows = reader
            .of(
                migration,
                "SELECT entry, at, actor, fact, hash FROM {schema}.log
                 WHERE migration = $1::text::uuid ORDER BY 1",
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Entry {
                    number: count(row, 0)?,
                    at: row.try_get(1)?,
                    actor: row.try_get(2)?,
                    fact: row.try_get(3)?,
                    hash: row.try_get(4)?,
                })
            })
            .collect()
    })
}
