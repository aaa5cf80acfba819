//! The ids of events, by which retries are found.
//!
//! ```text
//! events 1 ..= after         their ids are in `event_ids`, where each is once
//! events after + 1 ..= head  their ids are put off: they are in the rows only, and `ids_put_off` has `after`
//! ```
//!
//! Random ids, written with their rows, change a page of the table each, and a page is written twice. So a copy and
//! an import put them off, and [`super::settle`] writes many at once, sorted. An append has to know
//! all ids: those that are put off it finds in memory, see [`Tails`].
//!
//! A file that was made in a format before 3 has an index over the rows instead, and puts nothing off.

use std::collections::HashMap;

use rehome_domain::event::Event;
use rehome_domain::ids::EventId;
use rehome_domain::ledger::Head;
use rusqlite::{CachedStatement, Transaction};

use super::tables::{self, Done};
use crate::error::FileError;
use crate::rows::{self, TenantNo};

/// Where a file keeps the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// In the index `events_by_id`.
    Index,
    /// In the table `event_ids`.
    Table,
}

/// The id of an event, and its position.
pub(super) type IdAt = ([u8; 16], i64);

impl Ids {
    pub(super) fn of(tx: &Transaction<'_>) -> Done<Self> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'event_ids')";
        let table: bool = tx.query_row(sql, [], |row| row.get(0))?;
        Ok(if table { Self::Table } else { Self::Index })
    }

    /// The number of the event after which the tenant's ids are put off, if they are.
    pub(super) fn put_off(self, tx: &Transaction<'_>, tenant: TenantNo) -> Done<Option<u64>> {
        if self == Self::Index {
            return Ok(None);
        }
        let sql = "SELECT after_seq FROM ids_put_off WHERE tenant_no = ?1";
        let mut statement = tx.prepare_cached(sql)?;
        let mut found = statement.query([tenant.number()])?;
        found.next()?.map(|row| rows::count(row, 0)).transpose()
    }

    /// The event of that id, if its id is not put off.
    pub(super) fn event(
        self,
        tx: &Transaction<'_>,
        tenant: TenantNo,
        id: EventId,
    ) -> Done<Option<Event>> {
        let place = match self {
            Self::Index => "tenant_no = ?1",
            Self::Table => {
                "position = (SELECT position FROM event_ids WHERE tenant_no = ?1 AND event_id = ?2)"
            }
        };
        let sql = format!("SELECT {} FROM events WHERE {place} AND event_id = ?2", rows::EVENT);
        event(tx, &sql, tenant.number(), id)
    }

    /// Inserts ids with their rows.
    pub(super) fn insert<'tx>(self, tx: &'tx Transaction<'_>) -> Done<IdInsert<'tx>> {
        Ok(match self {
            Self::Index => IdInsert(None),
            Self::Table => IdInsert(Some(tx.prepare_cached(INSERT)?)),
        })
    }

    /// Removes the ids of the rows after `seq`, which are about to be removed.
    pub(super) fn remove(self, tx: &Transaction<'_>, tenant: TenantNo, seq: u64) -> Done<()> {
        if self == Self::Index {
            return Ok(());
        }
        tx.prepare_cached(
            "DELETE FROM event_ids WHERE tenant_no = ?1 AND position > ?2 AND event_id IN \
             (SELECT event_id FROM events WHERE position > ?2 AND position <= ?3)",
        )?
        .execute((tenant.number(), tenant.position(seq), tenant.last_position()))?;
        match self.put_off(tx, tenant)? {
            Some(after) if after >= seq => settled(tx, tenant),
            _ => Ok(()),
        }
    }

    /// Removes all of the tenant's, also those of rows that were deleted by hand.
    pub(super) fn remove_all(self, tx: &Transaction<'_>, tenant: TenantNo) -> Done<()> {
        if self == Self::Table {
            tx.prepare_cached("DELETE FROM event_ids WHERE tenant_no = ?1")?
                .execute([tenant.number()])?;
            settled(tx, tenant)?;
        }
        Ok(())
    }
}

/// An id whose row is gone or has another one is left from rows that were changed by hand.
const INSERT: &str = "INSERT INTO event_ids (tenant_no, event_id, position) VALUES (?1, ?2, ?3) \
     ON CONFLICT (tenant_no, event_id) DO UPDATE SET position = excluded.position \
     WHERE position = excluded.position OR NOT EXISTS (SELECT 1 FROM events \
     WHERE events.position = event_ids.position AND events.event_id = excluded.event_id)";

/// Inserts ids.
pub(super) struct IdInsert<'tx>(Option<CachedStatement<'tx>>);

impl IdInsert<'_> {
    pub(super) fn insert(&mut self, tenant: TenantNo, id: &[u8], position: i64) -> Done<()> {
        let Some(statement) = &mut self.0 else { return Ok(()) };
        match statement.execute((tenant.number(), id, position))? {
            0 => Err(not_new(rows::seq_of(position))),
            _ => Ok(()),
        }
    }
}

fn not_new(seq: u64) -> FileError {
    FileError::corrupt(format!("the id of event {seq}, which should be new"))
}

/// The ids after event `after` are put off from now on.
pub(super) fn put_off_after(tx: &Transaction<'_>, tenant: TenantNo, after: u64) -> Done<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO ids_put_off (tenant_no, after_seq) VALUES (?1, ?2)")?
        .execute((tenant.number(), rows::int(after)?))?;
    Ok(())
}

/// Nothing is put off any more.
pub(super) fn settled(tx: &Transaction<'_>, tenant: TenantNo) -> Done<()> {
    tx.prepare_cached("DELETE FROM ids_put_off WHERE tenant_no = ?1")?
        .execute([tenant.number()])?;
    Ok(())
}

/// The ids of the events after `after` up to `upto`, in the order of the events.
pub(super) fn between(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    after: u64,
    upto: u64,
) -> Done<Vec<IdAt>> {
    let sql = "SELECT event_id, position FROM events WHERE position > ?1 AND position <= ?2";
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query((tenant.position(after), tenant.position(upto)))?;
    let mut ids = Vec::new();
    while let Some(row) = found.next()? {
        let id = <[u8; 16]>::try_from(row.get_ref(0)?.as_blob()?)
            .map_err(|_| FileError::corrupt("an event id that is not 16 bytes long"))?;
        ids.push((id, row.get(1)?));
    }
    Ok(ids)
}

/// The ids of an active tenant that are put off.
struct Tail {
    after: u64,
    /// The head of the history whose ids are here.
    head: Head,
    ids: HashMap<[u8; 16], i64>,
}

/// The ids that are put off, of the tenants that this process appends to. The ledger's head shows what another process
/// has appended since; what was kept of a transaction that was rolled back is in no history.
#[derive(Default)]
pub(super) struct Tails(HashMap<i64, Tail>);

impl Tails {
    /// Nothing of the tenant's is put off.
    pub(super) fn forget(&mut self, tenant: TenantNo) {
        self.0.remove(&tenant.number());
    }

    /// Knows all ids after event `after` up to `head`.
    pub(super) fn know(
        &mut self,
        tx: &Transaction<'_>,
        tenant: TenantNo,
        after: u64,
        head: Head,
    ) -> Done<()> {
        let none = Tail { after, head: Head { seq: after, ..head }, ids: HashMap::new() };
        let tail = self.0.entry(tenant.number()).or_insert(none);
        let known = if tail.head.seq == after {
            true
        } else {
            tail.after <= after
                && tail.head.seq <= head.seq
                && tables::digest_at(tx, tenant, tail.head.seq)? == Some(tail.head.digest)
        };
        if !known {
            *tail = Tail { after, head: Head { seq: after, ..head }, ids: HashMap::new() };
        }
        if tail.after < after {
            tail.ids.retain(|_, position| rows::seq_of(*position) > after);
            tail.after = after;
        }
        if tail.head.seq < head.seq {
            tail.ids.extend(between(tx, tenant, tail.head.seq.max(after), head.seq)?);
        }
        tail.head = head;
        Ok(())
    }

    /// The event of that id, if its id is put off.
    pub(super) fn event(
        &self,
        tx: &Transaction<'_>,
        tenant: TenantNo,
        id: EventId,
    ) -> Done<Option<Event>> {
        let tail = self.0.get(&tenant.number());
        let Some(position) = tail.and_then(|tail| tail.ids.get(id.as_bytes())) else {
            return Ok(None);
        };
        let sql =
            format!("SELECT {} FROM events WHERE position = ?1 AND event_id = ?2", rows::EVENT);
        event(tx, &sql, *position, id)
    }

    /// Adds the id of a new event.
    pub(super) fn add(&mut self, tenant: TenantNo, event: &Event, position: i64) -> Done<()> {
        let Some(tail) = self.0.get_mut(&tenant.number()) else { return Ok(()) };
        tail.head = Head::of(event);
        match tail.ids.insert(*event.id.as_bytes(), position) {
            Some(_) => Err(not_new(event.seq)),
            None => Ok(()),
        }
    }
}

fn event(tx: &Transaction<'_>, sql: &str, place: i64, id: EventId) -> Done<Option<Event>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query((place, id.as_bytes().as_slice()))?;
    let Some(row) = found.next()? else { return Ok(None) };
    let stream = tables::stream_name(tx, row.get(1)?)?;
    rows::event(row, stream).map(Some)
}
