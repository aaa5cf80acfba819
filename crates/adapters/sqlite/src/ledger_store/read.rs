//! Reads: ledger and rows of one snapshot, one page per transaction (a long read would prevent the
//! write-ahead log from restarting).

use std::collections::HashMap;

use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Ledger;
use rehome_domain::stream::StreamName;
use rehome_ports::{BatchLimit, Feed, StreamSlice, StreamVersion, TenantLedger};
use rusqlite::{Row, Transaction};

use super::kept::RowReader;
use super::tables::{self, Done};
use crate::error::FileError;
use crate::rows::{self, TenantNo};

/// A page of events being filled.
struct Page {
    limit: BatchLimit,
    bytes: usize,
    events: Vec<Event>,
}

impl Page {
    fn new(limit: BatchLimit) -> Self {
        Self { limit, bytes: 0, events: Vec::new() }
    }

    /// Adds the event if it could be read and there is room. An unreadable event ends a page;
    /// it is an error if it is the first one.
    fn reads(&mut self, event: Done<Event>) -> Done<bool> {
        match event {
            Ok(event) => Ok(self.takes(event)),
            Err(_) if !self.events.is_empty() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there was room: the first event always finds some.
    fn takes(&mut self, event: Event) -> bool {
        self.bytes += event.bytes();
        let full = self.events.len() >= self.limit.events || self.bytes > self.limit.bytes;
        if full && !self.events.is_empty() {
            return false;
        }
        self.events.push(event);
        true
    }
}

/// As many rows as a page can need.
fn rows_max(limit: BatchLimit) -> i64 {
    i64::try_from(limit.events.max(1)).unwrap_or(i64::MAX)
}

/// An event that should be there and is not: what comes after it is not answered in its place.
fn gap(what: &str, missing: u64) -> FileError {
    FileError::corrupt(format!("the event at {what} {missing} is missing"))
}

/// An event, with the row of another library's table that it was copied with.
fn event(row: &Row<'_>, stream: StreamName, kept: Option<&mut RowReader<'_>>) -> Done<Event> {
    let event = rows::event(row, stream)?;
    match kept {
        Some(kept) => kept.join(event),
        None => Ok(event),
    }
}

pub(super) fn feed(
    tx: &Transaction<'_>,
    tenant: TenantId,
    after_seq: u64,
    limit: BatchLimit,
) -> Done<Feed> {
    let Some((tenant_no, ledger)) = tables::ledger(tx, tenant)? else {
        return Ok(Feed { ledger: Ledger::ABSENT, events: Vec::new() });
    };
    let mut page = Page::new(limit);
    if after_seq < ledger.head.seq {
        fill_feed(tx, tenant_no, after_seq, ledger.head.seq, &mut page)?;
    }
    Ok(Feed { ledger, events: page.events })
}

fn fill_feed(
    tx: &Transaction<'_>,
    tenant: TenantNo,
    after_seq: u64,
    last_seq: u64,
    page: &mut Page,
) -> Done<()> {
    let sql = format!(
        "SELECT {} FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
        rows::EVENT
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let range = (tenant.position(after_seq), tenant.position(last_seq), rows_max(page.limit));
    let mut found = statement.query(range)?;
    let mut names: HashMap<i64, StreamName> = HashMap::new();
    let mut kept = RowReader::of(tx, tenant)?;
    let mut expected = after_seq + 1;
    while let Some(row) = found.next()? {
        if rows::seq_of(row.get(0)?) != expected {
            break;
        }
        let number: i64 = row.get(1)?;
        let name = match names.get(&number) {
            Some(name) => name.clone(),
            None => names.entry(number).or_insert(tables::stream_name(tx, number)?).clone(),
        };
        if !page.reads(event(row, name, kept.as_mut()))? {
            break;
        }
        expected += 1;
    }
    if page.events.is_empty() { Err(gap("seq", expected)) } else { Ok(()) }
}

pub(super) fn stream(
    tx: &Transaction<'_>,
    tenant: TenantId,
    name: &StreamName,
    from_version: u64,
    limit: BatchLimit,
) -> Done<StreamSlice> {
    let nothing = |ledger| StreamSlice { ledger, version: 0, events: Vec::new() };
    let Some((tenant_no, ledger)) = tables::ledger(tx, tenant)? else {
        return Ok(nothing(Ledger::ABSENT));
    };
    let found = tables::stream(tx, tenant_no, name.stream_type(), name.stream_id())?;
    let Some(stream) = found else { return Ok(nothing(ledger)) };

    let mut page = Page::new(limit);
    let first = from_version.max(1);
    if first <= stream.version {
        let sql = format!(
            "SELECT {} FROM events WHERE stream_no = ?1 AND version >= ?2 ORDER BY version LIMIT ?3",
            rows::EVENT
        );
        let mut statement = tx.prepare_cached(&sql)?;
        let mut found = statement.query((stream.number, rows::int(first)?, rows_max(limit)))?;
        let mut kept = RowReader::of(tx, tenant_no)?;
        let mut expected = first;
        while let Some(row) = found.next()? {
            let version = rows::count(row, 2)?;
            if version != expected || !page.reads(event(row, name.clone(), kept.as_mut()))? {
                break;
            }
            expected += 1;
        }
        if page.events.is_empty() {
            return Err(gap("version", first));
        }
    }
    Ok(StreamSlice { ledger, version: stream.version, events: page.events })
}

pub(super) fn streams(
    tx: &Transaction<'_>,
    tenant: TenantId,
    max_seq: u64,
    after: Option<&StreamName>,
    limit: usize,
) -> Done<Vec<StreamVersion>> {
    let Some((tenant_no, _)) = tables::ledger(tx, tenant)? else { return Ok(Vec::new()) };
    // No name is empty, so two empty texts come before the first.
    let (after_type, after_id) = after.map_or(("", ""), |n| (n.stream_type(), n.stream_id()));
    let mut statement = tx.prepare_cached(
        "SELECT stream_type, stream_id, version, stream_no FROM streams \
         WHERE tenant_no = ?1 AND (stream_type, stream_id) > (?2, ?3) \
         ORDER BY stream_type, stream_id",
    )?;
    let mut counted = tx.prepare_cached(
        "SELECT count(*), coalesce(max(version), 0) FROM events \
         WHERE stream_no = ?1 AND position <= ?2",
    )?;
    let mut found = statement.query((tenant_no.number(), after_type, after_id))?;
    let mut streams = Vec::new();
    while streams.len() < limit
        && let Some(row) = found.next()?
    {
        let of = (row.get::<_, i64>(3)?, tenant_no.position(max_seq));
        let mut counts = counted.query(of)?;
        let (events, last) = match counts.next()? {
            Some(counts) => (rows::count(counts, 0)?, rows::count(counts, 1)?),
            None => (0, 0),
        };
        if events > 0 {
            let stream = rows::stream_name(row, 0)?;
            streams.push(StreamVersion { stream, version: rows::count(row, 2)?, events, last });
        }
    }
    Ok(streams)
}

pub(super) fn tenants(
    tx: &Transaction<'_>,
    after: Option<TenantId>,
    limit: usize,
) -> Done<Vec<TenantLedger>> {
    let sql = format!(
        "SELECT {}, tenant FROM ledger WHERE tenant > ?1 ORDER BY tenant LIMIT ?2",
        rows::LEDGER
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let after = after.as_ref().map_or(&[][..], |tenant| tenant.as_bytes());
    let mut found = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut tenants = Vec::new();
    while let Some(row) = found.next()? {
        let (_, ledger) = rows::ledger(row)?;
        tenants.push(TenantLedger { tenant: rows::tenant(row, 5)?, ledger });
    }
    Ok(tenants)
}
