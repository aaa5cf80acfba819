//! The rows of another library's table, beside the events that were copied with them.

use std::sync::Arc;

use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::layout::{KeptRows, RowsRefused};
use rehome_ports::FaultKind;
use rehome_ports::record::{read_row_form, write_row_form};
use rusqlite::{CachedStatement, OptionalExtension as _, Transaction};

use super::tables::Done;
use crate::error::FileError;
use crate::rows::{self, TenantNo};
use crate::schema;

/// The error for rows that are not kept.
pub(super) fn refused(why: RowsRefused) -> FileError {
    FileError::Kind(FaultKind::NotSetUp(why.to_string()))
}

/// Which of the tenant's events have a row; `None`: none.
pub(super) fn find(tx: &Transaction<'_>, tenant: TenantNo) -> Done<Option<KeptRows>> {
    let sql = "SELECT upto_seq, form FROM row_forms WHERE tenant_no = ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query([tenant.number()])?;
    let Some(row) = found.next()? else { return Ok(None) };
    let form = read_row_form(row.get_ref(1)?.as_str()?);
    let form = form.map_err(|error| FileError::corrupt(error.to_string()))?;
    Ok(Some(KeptRows { upto: rows::count(row, 0)?, form: Arc::new(form) }))
}

/// Notes which of the tenant's events have a row, once they are inserted.
pub(super) fn keep(tx: &Transaction<'_>, tenant: TenantNo, kept: &KeptRows) -> Done<()> {
    let upto = rows::int(kept.upto)?;
    let moved = tx
        .prepare_cached("UPDATE row_forms SET upto_seq = ?2 WHERE tenant_no = ?1")?
        .execute((tenant.number(), upto))?;
    if moved == 0 {
        tx.prepare_cached("INSERT INTO row_forms (tenant_no, upto_seq, form) VALUES (?1, ?2, ?3)")?
            .execute((tenant.number(), upto, write_row_form(&kept.form)))?;
        schema::keeps_rows(tx)?;
    }
    Ok(())
}

/// Removes the rows of events after `seq`.
pub(super) fn cut(tx: &Transaction<'_>, tenant: TenantNo, seq: u64) -> Done<()> {
    tx.prepare_cached("DELETE FROM event_rows WHERE position > ?1 AND position <= ?2")?
        .execute((tenant.position(seq), tenant.last_position()))?;
    if seq == 0 {
        tx.prepare_cached("DELETE FROM row_forms WHERE tenant_no = ?1")?
            .execute([tenant.number()])?;
    } else {
        tx.prepare_cached(
            "UPDATE row_forms SET upto_seq = ?2 WHERE tenant_no = ?1 AND upto_seq > ?2",
        )?
        .execute((tenant.number(), rows::int(seq)?))?;
    }
    Ok(())
}

/// Inserts rows.
pub(super) struct RowInsert<'tx>(CachedStatement<'tx>);

impl<'tx> RowInsert<'tx> {
    pub(super) fn prepare(tx: &'tx Transaction<'_>) -> Done<Self> {
        let sql = "INSERT INTO event_rows (position, record, contents) VALUES (?1, ?2, ?3)";
        Ok(Self(tx.prepare_cached(sql)?))
    }

    pub(super) fn insert(&mut self, position: i64, record: &str, contents: &Digest) -> Done<()> {
        self.0.execute((position, record, contents.as_bytes().as_slice()))?;
        Ok(())
    }
}

/// Reads rows for the events of a page.
pub(super) struct RowReader<'tx> {
    tenant: TenantNo,
    kept: KeptRows,
    statement: CachedStatement<'tx>,
}

impl<'tx> RowReader<'tx> {
    /// `None`: the tenant's events have no rows.
    pub(super) fn of(tx: &'tx Transaction<'_>, tenant: TenantNo) -> Done<Option<Self>> {
        let Some(kept) = find(tx, tenant)? else { return Ok(None) };
        let sql = "SELECT record, contents FROM event_rows WHERE position = ?1";
        Ok(Some(Self { tenant, kept, statement: tx.prepare_cached(sql)? }))
    }

    /// The event with its row, if it has one that can be read.
    pub(super) fn join(&mut self, event: Event) -> Done<Event> {
        if !self.kept.has(event.seq) {
            return Ok(event);
        }
        let position = self.tenant.position(event.seq);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0), rows::digest(row, 1)));
        let found = self.statement.query_row([position], read).optional()?;
        Ok(match found {
            Some((Ok(record), Ok(contents))) => self.kept.joined(event, &record, &contents),
            _ => event,
        })
    }
}
