//! Appends: decided one by one by the domain, committed together.

use rehome_domain::append::{Append, Decision, decide, ends_chain};
use rehome_domain::event::{Event, Timestamp};
use rehome_domain::ids::{Epoch, EventId, TenantId};
use rehome_domain::ledger::{Head, Ledger, Refused};
use rehome_domain::verification::ends_as_said;
use rehome_ports::AppendOutcome;
use rusqlite::Transaction;

use super::tables::{self, Done, EventInsert, EventRow, Stream};
use crate::error::{Failure, FileError};
use crate::rows::{self, TenantNo};

/// With `chained`, nothing is appended after the first that ends the chain.
pub(super) fn append(
    tx: &Transaction<'_>,
    tenant: TenantId,
    epoch: Epoch,
    appends: &[Append],
    now: Timestamp,
    chained: bool,
) -> Result<Vec<AppendOutcome>, Failure<Refused>> {
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
    let mut outcomes = Vec::with_capacity(appends.len());
    for append in appends {
        let outcome = append_one(tx, tenant_no, append, &mut head, now)?;
        let ends = chained && ends_chain(append, &outcome);
        outcomes.push(outcome);
        if ends {
            break;
        }
    }
    if head != ledger.head {
        tables::set_ledger(tx, tenant_no, &Ledger { head, ..ledger })?;
    }
    Ok(outcomes)
}

fn not_its_end(tenant: TenantId, seq: u64) -> String {
    format!(
        "the ledger of tenant {tenant} does not have the digest of its last event, seq {seq}; one of the two \
         was changed: look with `rehome store verify`"
    )
}

fn ledger_without_row() -> FileError {
    FileError::corrupt("a ledger that takes appends but has no row")
}

fn append_one(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    append: &Append,
    head: &mut Head,
    now: Timestamp,
) -> Done<AppendOutcome> {
    let (stream_type, stream_id) = (append.stream.stream_type(), append.stream.stream_id());
    let known = append
        .events
        .iter()
        .map(|event| event_by_id(tx, tenant, event.id))
        .collect::<Done<Vec<_>>>()?;
    let stream = tables::stream(tx, tenant, stream_type, stream_id)?;
    let actual = stream.map_or(0, |stream| stream.version);

    let decision = match decide(append, &known, actual, *head, now) {
        Ok(decision) => decision,
        Err(conflict) => return Ok(Err(conflict)),
    };
    let appended = decision.appended();
    if let Decision::Write(events) = decision {
        let number = match stream {
            Some(stream) => stream.number,
            None => tables::next_stream_number(tx)?,
        };
        insert(tx, tenant, number, &events)?;
        let moved = Stream { number, version: appended.last_version };
        match stream {
            Some(_) => tables::set_stream(tx, moved)?,
            None => tables::add_stream(tx, tenant, (stream_type, stream_id), moved)?,
        }
        *head = events.last().map_or(*head, Head::of);
    }
    Ok(Ok(appended))
}

fn event_by_id(tx: &Transaction<'_>, tenant: TenantNo, id: EventId) -> Done<Option<Event>> {
    let sql = format!("SELECT {} FROM events WHERE tenant_no = ?1 AND event_id = ?2", rows::EVENT);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut found = statement.query((tenant.number(), id.as_bytes().as_slice()))?;
    let Some(row) = found.next()? else { return Ok(None) };
    let stream = tables::stream_name(tx, row.get(1)?)?;
    rows::event(row, stream).map(Some)
}

fn insert(tx: &Transaction<'_>, tenant: TenantNo, stream_no: i64, events: &[Event]) -> Done<()> {
    let mut insert = EventInsert::prepare(tx)?;
    for event in events {
        insert.insert(&EventRow {
            position: tenant.new_position(event.seq)?,
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
    }
    Ok(())
}
