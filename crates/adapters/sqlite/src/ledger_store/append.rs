//! Appends: decided one by one by the domain, committed together.

use rehome_domain::append::{Append, Decision, decide, ends_chain};
use rehome_domain::event::{Event, Timestamp};
use rehome_domain::ids::{Epoch, EventId, TenantId};
use rehome_domain::ledger::{Head, Ledger, Refused};
use rehome_domain::verification::ends_as_said;
use rehome_ports::AppendOutcome;
use rusqlite::Transaction;

use super::ids::{self, Ids, Tails};
use super::tables::{self, Done, EventInsert, EventRow, Stream};
use crate::error::{Failure, FileError};
use crate::rows::TenantNo;

/// From so many events on, a chain of appends is part of an import, whose ids are put off.
pub(super) const EVENTS_OF_AN_IMPORT: usize = 128;

/// What is appended, and how.
pub(super) struct Batch {
    pub(super) tenant: TenantId,
    pub(super) epoch: Epoch,
    pub(super) appends: Vec<Append>,
    /// Nothing is appended after the first that ends the chain.
    pub(super) chained: bool,
    pub(super) now: Timestamp,
}

impl Batch {
    /// Whether it is part of an import.
    pub(super) fn is_large(&self) -> bool {
        let events = || self.appends.iter().map(|append| append.events.len()).sum::<usize>();
        self.chained && events() >= EVENTS_OF_AN_IMPORT
    }
}

/// The outcomes, and how many ids are put off after it.
pub(super) fn append(
    tx: &Transaction<'_>,
    kept: Ids,
    tails: &mut Tails,
    batch: &Batch,
) -> Result<(Vec<AppendOutcome>, u64), Failure<Refused>> {
    let Batch { tenant, epoch, appends, chained, now } = batch;
    let (tenant, epoch, now) = (*tenant, *epoch, *now);
    let held = tables::ledger(tx, tenant)?;
    let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
    ledger.check_append(epoch)?;
    let Some((tenant_no, _)) = held else { return Err(ledger_without_row().into()) };

    let mut head = ledger.head;
    let last = match head.seq {
        0 => None,
        seq => tables::digest_at(tx, tenant_no, seq)?,
    };
    if !ends_as_said(head, last) {
        return Err(FileError::corrupt(not_its_end(tenant, head.seq)).into());
    }
    let mut put_off = kept.put_off(tx, tenant_no)?;
    if put_off.is_none() && kept == Ids::Table && batch.is_large() {
        ids::put_off_after(tx, tenant_no, head.seq)?;
        put_off = Some(head.seq);
    }
    match put_off {
        Some(after) => tails.know(tx, tenant_no, after, head)?,
        None => tails.forget(tenant_no),
    }
    let mut appending = Appending { tx, tenant: tenant_no, kept, put_off, tails, head, now };
    let mut outcomes = Vec::with_capacity(appends.len());
    for append in appends {
        let outcome = appending.append(append)?;
        let ends = *chained && ends_chain(append, &outcome);
        outcomes.push(outcome);
        if ends {
            break;
        }
    }
    head = appending.head;
    if head != ledger.head {
        tables::set_ledger(tx, tenant_no, &Ledger { head, ..ledger })?;
    }
    Ok((outcomes, put_off.map_or(0, |after| head.seq - after)))
}

fn not_its_end(tenant: TenantId, seq: u64) -> String {
    format!(
        "the ledger of tenant {tenant} does not have the digest of its last event, seq {seq}; one of the two \
         was changed: run `rehome store verify`"
    )
}

fn ledger_without_row() -> FileError {
    FileError::corrupt("a ledger that accepts appends but has no row")
}

/// The appends of one transaction.
struct Appending<'a> {
    tx: &'a Transaction<'a>,
    tenant: TenantNo,
    kept: Ids,
    /// After which event ids are put off.
    put_off: Option<u64>,
    tails: &'a mut Tails,
    head: Head,
    now: Timestamp,
}

impl Appending<'_> {
    fn append(&mut self, append: &Append) -> Done<AppendOutcome> {
        let (tx, tenant) = (self.tx, self.tenant);
        let (stream_type, stream_id) = (append.stream.stream_type(), append.stream.stream_id());
        let known = append
            .events
            .iter()
            .map(|event| self.event_by_id(event.id))
            .collect::<Done<Vec<_>>>()?;
        let stream = tables::stream(tx, tenant, stream_type, stream_id)?;
        let actual = stream.map_or(0, |stream| stream.version);

        let decision = match decide(append, &known, actual, self.head, self.now) {
            Ok(decision) => decision,
            Err(conflict) => return Ok(Err(conflict)),
        };
        let appended = decision.appended();
        if let Decision::Write(events) = decision {
            let number = match stream {
                Some(stream) => stream.number,
                None => tables::next_stream_number(tx)?,
            };
            self.insert(number, &events)?;
            let moved = Stream { number, version: appended.last_version };
            match stream {
                Some(_) => tables::set_stream(tx, moved)?,
                None => tables::add_stream(tx, tenant, (stream_type, stream_id), moved)?,
            }
            self.head = events.last().map_or(self.head, Head::of);
        }
        Ok(Ok(appended))
    }

    fn event_by_id(&self, id: EventId) -> Done<Option<Event>> {
        let put_off = match self.put_off {
            Some(_) => self.tails.event(self.tx, self.tenant, id)?,
            None => None,
        };
        match put_off {
            None if self.put_off != Some(0) => self.kept.event(self.tx, self.tenant, id),
            found => Ok(found),
        }
    }

    fn insert(&mut self, stream_no: i64, events: &[Event]) -> Done<()> {
        let mut insert = EventInsert::prepare(self.tx)?;
        let mut insert_id = self.kept.insert(self.tx)?;
        for event in events {
            let position = self.tenant.new_position(event.seq)?;
            insert.insert(&EventRow {
                position,
                stream_no,
                version: event.version,
                id: event.id.as_bytes(),
                event_type: &event.event_type,
                occurred_at: event.occurred_at.micros(),
                recorded_at: event.recorded_at.micros(),
                data: event.data.as_str(),
                metadata: event.metadata.as_str(),
                digest: event.digest.as_bytes(),
            })?;
            match self.put_off {
                Some(_) => self.tails.add(self.tenant, event, position)?,
                None => insert_id.insert(self.tenant, event.id.as_bytes(), position)?,
            }
        }
        Ok(())
    }
}
