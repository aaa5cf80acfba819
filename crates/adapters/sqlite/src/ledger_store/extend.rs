//! Continuing a replica, fast, and without holding the write lock for long.
//!
//! ```text
//! caller's task:  check chain, pack ── part 1 ──▶ check, pack ── part 2 ──▶ ...
//! writer thread:                        insert, commit             insert, commit ...
//! ```
//!
//! The chain is checked outside of the lock: it is a property of the events and the head that
//! they continue, and the ledger's rule, checked under the lock, ties that head to the row. Each
//! transaction is an `extend` of its own; an interruption in between leaves a verified
//! prefix, which is what a replica is.

use std::sync::Arc;

use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::{KeptRows, RowsRefused};
use rehome_domain::ledger::{Head, Ledger, Refused};
use rehome_ports::{EVENTS_IN_BULK, StoreError};
use rusqlite::Transaction;

use super::Store;
use super::ids::{self, Ids};
use super::kept::{self, RowInsert};
use super::part::{Broken, Part};
use super::settle;
use super::tables::{self, Done, EventInsert, Stream};
use crate::error::{Failure, FileError};
use crate::file::Turn;
use crate::rows::TenantNo;

/// Events inserted between two checks of the clock and the queue.
const EVENTS_PER_LOOK: usize = 8;

pub(super) async fn extend(
    store: &Store,
    tenant: TenantId,
    m: Epoch,
    previous: Head,
    events: &[Event],
) -> Result<Head, StoreError> {
    let extension = Extension { store, tenant, m };
    let mut part = match Part::pack(previous, events).await {
        Ok(part) => Arc::new(part),
        Err(Broken { index }) => return extension.refuse(previous, &events[..=index]).await,
    };
    let mut reached = previous;
    let mut left = &events[part.len()..];
    loop {
        let (inserted, next) = tokio::join!(
            extension.insert(&mut reached, &part),
            Part::pack(part.last().unwrap_or(previous), left),
        );
        match inserted {
            // The stored prefix stays: the caller continues from it and then gets the error again.
            Err(_) if reached != previous => return Ok(reached),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        match next {
            Ok(next) if next.len() > 0 => {
                left = &left[next.len()..];
                part = Arc::new(next);
            }
            // The end; or a break of the chain, which is refused when it is what comes first.
            Ok(_) | Err(Broken { .. }) => return Ok(reached),
        }
    }
}

/// Where a transaction ended, and how many ids are put off after it.
struct Inserted {
    upto: usize,
    put_off: u64,
}

struct Extension<'a> {
    store: &'a Store,
    tenant: TenantId,
    m: Epoch,
}

impl Extension<'_> {
    /// Inserts all of `part`, in as many transactions as others make necessary. A large part puts ids off; a
    /// small one first settles what is put off.
    async fn insert(&self, reached: &mut Head, part: &Arc<Part>) -> Result<(), StoreError> {
        let (mut from, ids) = (0, self.store.ids);
        let large = part.len() >= EVENTS_IN_BULK;
        loop {
            let wal = self.store.file.wal();
            wal.caught_up().await;
            if large {
                wal.in_bulk();
            }
            let (tenant, m, previous, sent) = (self.tenant, self.m, *reached, Arc::clone(part));
            let work = move |tx: &Transaction<'_>, turn: &Turn| {
                let (tenant_no, ledger) = replica(tx, tenant, m, previous)?;
                let Some(tenant_no) = tenant_no.filter(|_| sent.len() > 0) else {
                    return Ok(Inserted { upto: 0, put_off: 0 });
                };
                let rows = rows_after(tx, tenant_no, &sent, previous)?;
                let mut put_off = ids.put_off(tx, tenant_no)?;
                match put_off {
                    Some(after) if !large => {
                        return Ok(Inserted { upto: from, put_off: previous.seq - after });
                    }
                    None if large && ids == Ids::Table => {
                        ids::put_off_after(tx, tenant_no, previous.seq)?;
                        put_off = Some(previous.seq);
                    }
                    _ => {}
                }
                let with_ids = put_off.is_none().then_some(ids);
                let upto = insert(tx, turn, tenant_no, &sent, from, with_ids)?;
                let ledger = Ledger { head: sent.head(upto - 1), ..ledger };
                if let Some(rows) = rows {
                    kept::keep(tx, tenant_no, &rows.cut_to(ledger.head.seq))?;
                }
                tables::set_ledger(tx, tenant_no, &ledger)?;
                let put_off = put_off.map_or(0, |after| ledger.head.seq - after);
                Ok(Inserted { upto, put_off })
            };
            let Inserted { upto, put_off } = self.store.write_long(work).await?;
            from = upto;
            if from > 0 {
                *reached = part.head(from - 1);
            }
            if put_off >= settle::IDS_AT_ONCE || put_off > 0 && !large {
                settle::settle(self.store, self.tenant, !large).await?;
            }
            if from == part.len() {
                return Ok(());
            }
        }
    }

    /// The refusal that the ledger's rules have for events whose last one breaks the chain.
    async fn refuse(&self, previous: Head, broken: &[Event]) -> Result<Head, StoreError> {
        let (tenant, m, broken) = (self.tenant, self.m, broken.to_vec());
        let work = move |tx: &Transaction<'_>, _: &Turn| {
            let held = tables::ledger(tx, tenant)?;
            let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
            Ok(ledger.extend(m, previous, &broken)?.head)
        };
        self.store.write(work).await
    }
}

/// The ledger that is to be continued from `previous`, which the rules allow.
fn replica(
    tx: &Transaction<'_>,
    tenant: TenantId,
    m: Epoch,
    previous: Head,
) -> Result<(Option<TenantNo>, Ledger), Failure<Refused>> {
    let held = tables::ledger(tx, tenant)?;
    let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
    Ok((held.map(|(tenant_no, _)| tenant_no), ledger.extend(m, previous, &[])?))
}

/// Which rows the tenant has once those of `part` after `previous` are there; `None`: no more than now.
fn rows_after(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    part: &Part,
    previous: Head,
) -> Done<Option<KeptRows>> {
    let Some(brought) = part.kept().map_err(kept::refused)? else { return Ok(None) };
    let there = kept::find(tx, tenant)?;
    brought.after(there.as_ref(), previous.seq).map_err(kept::refused)
}

/// A stream of a part, as of this transaction.
struct Touched {
    stream: Stream,
    is_new: bool,
}

/// Inserts events of `part` beginning with `from`, at least one, until the turn is over. Answers
/// the index after the last one. `ids`: where their ids go, unless they are put off.
fn insert(
    tx: &Transaction<'_>,
    turn: &Turn,
    tenant: TenantNo,
    part: &Part,
    from: usize,
    ids: Option<Ids>,
) -> Done<usize> {
    let mut insert = EventInsert::prepare(tx)?;
    let mut insert_id = ids.map(|ids| ids.insert(tx)).transpose()?;
    let mut insert_row = None;
    let mut streams: Vec<Option<Touched>> = Vec::new();
    streams.resize_with(part.streams(), || None);
    let mut new_number = None;
    let mut index = from;
    while index < part.len() {
        let touched = match &mut streams[part.stream_of(index)] {
            Some(touched) => touched,
            slot => {
                slot.insert(touch(tx, tenant, part.stream(part.stream_of(index)), &mut new_number)?)
            }
        };
        let head = part.head(index);
        let row = part.row(index, tenant.new_position(head.seq)?, touched.stream.number);
        touched.stream.version += 1;
        if row.version != touched.stream.version {
            let (is, next) = (row.version, touched.stream.version);
            let seq = head.seq;
            if part.kept_row(index).is_some() {
                return Err(kept::refused(RowsRefused::Version { seq, is, next }));
            }
            return Err(FileError::corrupt(format!(
                "a stream whose next version is {next}; event {seq} of the source says {is}"
            )));
        }
        insert.insert(&row)?;
        if let Some(insert_id) = &mut insert_id {
            insert_id.insert(tenant, row.id, row.position)?;
        }
        if let Some((record, contents)) = part.kept_row(index) {
            let insert_row = match &mut insert_row {
                Some(prepared) => prepared,
                slot => slot.insert(RowInsert::prepare(tx)?),
            };
            insert_row.insert(row.position, record, contents)?;
        }
        index += 1;
        if (index - from).is_multiple_of(EVENTS_PER_LOOK) && turn.is_over() {
            break;
        }
    }
    for (stream, touched) in streams.iter().enumerate() {
        match touched {
            Some(Touched { stream: row, is_new: true }) => {
                tables::add_stream(tx, tenant, part.stream(stream), *row)?;
            }
            Some(Touched { stream: row, is_new: false }) => tables::set_stream(tx, *row)?,
            None => {}
        }
    }
    Ok(index)
}

fn touch(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    (stream_type, stream_id): (&str, &str),
    new_number: &mut Option<i64>,
) -> Done<Touched> {
    if let Some(stream) = tables::stream(tx, tenant, stream_type, stream_id)? {
        return Ok(Touched { stream, is_new: false });
    }
    let number = match *new_number {
        Some(number) => number,
        None => tables::next_stream_number(tx)?,
    };
    *new_number = Some(number + 1);
    Ok(Touched { stream: Stream { number, version: 0 }, is_new: true })
}
