//! The statements on single rows that several operations share.

use rehome_domain::digest::Digest;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Ledger;
use rehome_domain::stream::StreamName;
use rusqlite::{CachedStatement, Transaction};

use crate::error::FileError;
use crate::rows::{self, TenantNo};

pub(super) type Done<T> = Result<T, FileError>;

/// The tenant's ledger row, if it has one.
pub(super) fn ledger(tx: &Transaction<'_>, tenant: TenantId) -> Done<Option<(TenantNo, Ledger)>> {
    let sql = format!("SELECT {} FROM ledger WHERE tenant = ?1", rows::LEDGER);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut found = statement.query([tenant.as_bytes().as_slice()])?;
    found.next()?.map(rows::ledger).transpose()
}

/// The row of a tenant that is new to the store.
pub(super) fn add_ledger(tx: &Transaction<'_>, tenant: TenantId, ledger: &Ledger) -> Done<()> {
    let highest = "SELECT coalesce(max(tenant_no), 0) FROM ledger";
    let highest: i64 = tx.prepare_cached(highest)?.query_row([], |row| row.get(0))?;
    tx.prepare_cached(
        "INSERT INTO ledger (tenant_no, tenant, role, epoch, seq, digest) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        TenantNo::after(highest)?.number(),
        tenant.as_bytes().as_slice(),
        ledger.role.as_str(),
        rows::int(ledger.epoch.0)?,
        rows::int(ledger.head.seq)?,
        ledger.head.digest.as_bytes().as_slice(),
    ))?;
    Ok(())
}

/// Writes the row that is there.
pub(super) fn set_ledger(tx: &Transaction<'_>, tenant: TenantNo, ledger: &Ledger) -> Done<()> {
    tx.prepare_cached(
        "UPDATE ledger SET role = ?2, epoch = ?3, seq = ?4, digest = ?5 WHERE tenant_no = ?1",
    )?
    .execute((
        tenant.number(),
        ledger.role.as_str(),
        rows::int(ledger.epoch.0)?,
        rows::int(ledger.head.seq)?,
        ledger.head.digest.as_bytes().as_slice(),
    ))?;
    Ok(())
}

/// The stored digest of event `seq`.
pub(super) fn digest_at(tx: &Transaction<'_>, tenant: TenantNo, seq: u64) -> Done<Option<Digest>> {
    let mut statement =
        tx.prepare_cached("SELECT digest, position FROM events WHERE position = ?1")?;
    let mut found = statement.query([tenant.position(seq)])?;
    match found.next()? {
        // A number that no event can have was cut to the highest one.
        Some(row) if rows::seq_of(row.get(1)?) == seq => rows::digest(row, 0).map(Some),
        _ => Ok(None),
    }
}

/// A stream's number and version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) number: i64,
    pub(super) version: u64,
}

/// The stream's row, if it has one.
pub(super) fn stream(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    stream_type: &str,
    stream_id: &str,
) -> Done<Option<Stream>> {
    let mut statement = tx.prepare_cached(
        "SELECT stream_no, version FROM streams \
         WHERE tenant_no = ?1 AND stream_type = ?2 AND stream_id = ?3",
    )?;
    let mut found = statement.query((tenant.number(), stream_type, stream_id))?;
    match found.next()? {
        Some(row) => Ok(Some(Stream { number: row.get(0)?, version: rows::count(row, 1)? })),
        None => Ok(None),
    }
}

/// The number for a new stream.
pub(super) fn next_stream_number(tx: &Transaction<'_>) -> Done<i64> {
    let sql = "SELECT coalesce(max(stream_no), 0) + 1 FROM streams";
    Ok(tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The row of a new stream.
pub(super) fn add_stream(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    (stream_type, stream_id): (&str, &str),
    stream: Stream,
) -> Done<()> {
    tx.prepare_cached(
        "INSERT INTO streams (stream_no, tenant_no, stream_type, stream_id, version) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        stream.number,
        tenant.number(),
        stream_type,
        stream_id,
        rows::int(stream.version)?,
    ))?;
    Ok(())
}

/// Moves a stream's version.
pub(super) fn set_stream(tx: &Transaction<'_>, stream: Stream) -> Done<()> {
    tx.prepare_cached("UPDATE streams SET version = ?2 WHERE stream_no = ?1")?
        .execute((stream.number, rows::int(stream.version)?))?;
    Ok(())
}

/// The name of stream `number`.
pub(super) fn stream_name(tx: &Transaction<'_>, number: i64) -> Done<StreamName> {
    let sql = "SELECT stream_type, stream_id FROM streams WHERE stream_no = ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query([number])?;
    match found.next()? {
        Some(row) => rows::stream_name(row, 0),
        None => Err(FileError::corrupt("an event of a stream without a name")),
    }
}

/// One event row, as it is inserted.
pub(super) struct EventRow<'a> {
    pub(super) position: i64,
    pub(super) stream_no: i64,
    pub(super) version: u64,
    pub(super) id: &'a [u8],
    pub(super) event_type: &'a str,
    pub(super) occurred_at: i64,
    pub(super) recorded_at: i64,
    pub(super) data: &'a str,
    pub(super) metadata: &'a str,
    pub(super) digest: &'a [u8],
}

/// Inserts event rows.
pub(super) struct EventInsert<'tx>(CachedStatement<'tx>);

impl<'tx> EventInsert<'tx> {
    pub(super) fn prepare(tx: &'tx Transaction<'_>) -> Done<Self> {
        Ok(Self(tx.prepare_cached(
            "INSERT INTO events (position, stream_no, version, event_id, event_type, occurred_at, \
             recorded_at, data, metadata, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?))
    }

    pub(super) fn insert(&mut self, event: &EventRow<'_>) -> Done<()> {
        let inserted = self.0.execute((
            event.position,
            event.stream_no,
            rows::int(event.version)?,
            event.id,
            event.event_type,
            event.occurred_at,
            event.recorded_at,
            event.data,
            event.metadata,
            event.digest,
        ));
        match inserted {
            Ok(_) => Ok(()),
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                let seq = rows::seq_of(event.position);
                Err(FileError::corrupt(format!("event {seq} or its id, which should be new ({e})")))
            }
            Err(e) => Err(e.into()),
        }
    }
}
