//! Numbers to events.

use std::sync::Arc;

use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::layout::RowForm;
use rehome_domain::ledger::Ledger;
use rehome_domain::stream::StreamName;
use rehome_ports::{BatchLimit, Feed, StreamSlice, StreamVersion, TenantLedger};
use rusqlite::{Row, Rows, Transaction, params_from_iter};

use super::cell::Cell;
use super::guarded::Guarded;
use super::install::Table;
use super::{Answer, SqliteAdopted, change};
use crate::error::FileError;
use crate::rows;

type Done<T> = Result<T, FileError>;

/// Columns before those of the row: place, digest, the position that is there.
const ROW: usize = 3;

/// An event that should be there and is not: what comes after it is not answered in its place.
fn gap(what: &str, missing: u64) -> FileError {
    FileError::corrupt(format!("the event at {what} {missing} is missing"))
}

/// What a page of events is read with.
struct Page<'a> {
    tenant: TenantId,
    table: &'a Table,
    guarded: &'a Guarded,
    form: Arc<RowForm>,
}

impl<'a> Page<'a> {
    fn of(tenant: TenantId, table: &'a Table, guarded: &'a Guarded) -> Done<Self> {
        let form = table.rows.form_in(guarded.order.as_ref())?;
        Ok(Self { tenant, table, guarded, form })
    }
}

fn event(page: &Page<'_>, row: &Row<'_>) -> Done<Event> {
    let seq = rows::seq_of(row.get(0)?);
    if row.get::<_, Option<i64>>(2)?.is_none() {
        return Err(FileError::corrupt(format!("the row at number {seq} is missing")));
    }
    let order = (page.guarded.order.as_ref(), &page.form);
    page.table.rows.event(page.tenant, (seq, rows::digest(row, 1)?), row, ROW, order)
}

/// Events of which each has the number that `number` finds in it, one after the other from `first`. What cannot be
/// read ends a page; it is an error when it is what comes first.
fn page(
    of: &Page<'_>,
    mut found: Rows<'_>,
    limit: BatchLimit,
    what: &str,
    first: u64,
    number: impl Fn(&Event) -> u64,
) -> Done<Vec<Event>> {
    let (mut events, mut bytes, mut expected) = (Vec::new(), 0, first);
    while let Some(row) = found.next()? {
        let event = match event(of, row) {
            Ok(event) => event,
            Err(error) if events.is_empty() => return Err(error),
            Err(_) => break,
        };
        bytes += event.bytes();
        let full = events.len() >= limit.events || bytes > limit.bytes;
        if number(&event) != expected || (full && !events.is_empty()) {
            break;
        }
        events.push(event);
        expected += 1;
    }
    if events.is_empty() { Err(gap(what, first)) } else { Ok(events) }
}

fn rows_max(limit: BatchLimit) -> i64 {
    i64::try_from(limit.events.max(1)).unwrap_or(i64::MAX)
}

pub(super) async fn feed(
    store: &SqliteAdopted,
    tenant: TenantId,
    after_seq: u64,
    limit: BatchLimit,
) -> Answer<Feed> {
    let (feed, is_behind) = read_feed(store, tenant, after_seq, limit).await?;
    let is_short = feed.ledger.head.seq.saturating_sub(after_seq) < limit.events as u64
        && feed.events.last().is_none_or(|event| event.seq == feed.ledger.head.seq);
    if !(is_behind && is_short) {
        return Ok(feed);
    }
    // New arrivals are numbered when they are read.
    change::ledger(store, tenant).await?;
    Ok(read_feed(store, tenant, after_seq, limit).await?.0)
}

async fn read_feed(
    store: &SqliteAdopted,
    tenant: TenantId,
    after_seq: u64,
    limit: BatchLimit,
) -> Answer<(Feed, bool)> {
    store
        .read(move |tx, table| {
            let Some(guarded) = Guarded::find(tx, tenant)? else {
                return Ok((Feed { ledger: Ledger::ABSENT, events: Vec::new() }, false));
            };
            let (ledger, is_behind) = (guarded.ledger, guarded.is_behind(tx)?);
            if after_seq >= ledger.head.seq {
                return Ok((Feed { ledger, events: Vec::new() }, is_behind));
            }
            let (from, to) = (guarded.no.position(after_seq), guarded.no.position(ledger.head.seq));
            let mut statement = tx.prepare_cached(&table.sql.feed)?;
            let found = statement.query((from, to, rows_max(limit)))?;
            let of = Page::of(tenant, table, &guarded)?;
            let events = page(&of, found, limit, "seq", after_seq + 1, |event| event.seq)?;
            Ok((Feed { ledger, events }, is_behind))
        })
        .await
}

pub(super) async fn stream(
    store: &SqliteAdopted,
    tenant: TenantId,
    name: &StreamName,
    from_version: u64,
    limit: BatchLimit,
) -> Answer<StreamSlice> {
    let ledger = change::ledger(store, tenant).await?;
    let Some(parts) = stream_parts(store, name) else {
        return Ok(StreamSlice { ledger, version: 0, events: Vec::new() });
    };
    store
        .read(move |tx, table| {
            let Some(guarded) = Guarded::find(tx, tenant)? else {
                return Ok(StreamSlice { ledger: Ledger::ABSENT, version: 0, events: Vec::new() });
            };
            let ledger = guarded.ledger;
            let first = from_version.max(1);
            let range = [guarded.no.position(0), guarded.no.last_position()];
            let bounds = [range[0], range[1], rows::int(first)?, rows_max(limit)];
            let params = || {
                let bounds = bounds.into_iter().map(Cell::Integer);
                params_from_iter(bounds.chain(parts.iter().cloned().map(Cell::Text)))
            };
            let mut statement = tx.prepare_cached(&table.sql.stream_version)?;
            let version = statement.query_row(params(), |row| Ok(rows::count(row, 0)))??;
            if first > version {
                return Ok(StreamSlice { ledger, version, events: Vec::new() });
            }
            let of = Page::of(tenant, table, &guarded)?;
            let mut statement = tx.prepare_cached(&table.sql.stream)?;
            let found = statement.query(params())?;
            let events = page(&of, found, limit, "version", first, |event| event.version)?;
            Ok(StreamSlice { ledger, version, events })
        })
        .await
}

/// The values of the stream's columns; `None`: no stream of the table can be called so.
fn stream_parts(store: &SqliteAdopted, name: &StreamName) -> Option<Vec<String>> {
    let layout = &store.layout;
    let kind = match &layout.stream_type {
        Some(_) => Some(name.stream_type().to_owned()),
        None if name.stream_type() == "stream" => None,
        None => return None,
    };
    let ids: Vec<String> = if layout.stream_id.len() == 1 {
        vec![name.stream_id().to_owned()]
    } else {
        name.stream_id().split('/').map(str::to_owned).collect()
    };
    (ids.len() == layout.stream_id.len()).then(|| kind.into_iter().chain(ids).collect())
}

pub(super) async fn digest_at(
    store: &SqliteAdopted,
    tenant: TenantId,
    seq: u64,
) -> Answer<Option<Digest>> {
    if seq == 0 {
        return Ok(Some(Digest::EMPTY));
    }
    store
        .read(move |tx, _| match Guarded::find(tx, tenant)? {
            None => Ok(None),
            Some(guarded) => Ok(guarded.digest_at(tx, seq)?),
        })
        .await
}

pub(super) async fn streams(
    store: &SqliteAdopted,
    tenant: TenantId,
    max_seq: u64,
    after: Option<&StreamName>,
    limit: usize,
) -> Answer<Vec<StreamVersion>> {
    // No name is empty, so two empty texts come before the first.
    let (after_type, after_id) = after.map_or((String::new(), String::new()), |name| {
        (name.stream_type().to_owned(), name.stream_id().to_owned())
    });
    store
        .read(move |tx, table| {
            let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(Vec::new()) };
            let (from, to) = (guarded.no.position(0), guarded.no.last_position());
            let mut statement = tx.prepare_cached(&table.sql.streams)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let max = guarded.no.position(max_seq);
            let mut found = statement.query((from, to, max, after_type, after_id, limit))?;
            let mut streams = Vec::new();
            while let Some(row) = found.next()? {
                streams.push(StreamVersion {
                    stream: rows::stream_name(row, 0)?,
                    version: rows::count(row, 2)?,
                    events: rows::count(row, 3)?,
                    last: rows::count(row, 4)?,
                });
            }
            Ok(streams)
        })
        .await
}

pub(super) async fn tenants(
    store: &SqliteAdopted,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<TenantLedger>> {
    store
        .read(move |tx, _| {
            let mut statement = tx.prepare_cached(
                "SELECT tenant_no, role, epoch, seq, digest, tenant FROM rehome_guard_tenants \
                 WHERE tenant > ?1 ORDER BY tenant LIMIT ?2",
            )?;
            let after = after.as_ref().map_or(&[][..], |tenant| tenant.as_bytes());
            let mut found = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
            let mut tenants = Vec::new();
            while let Some(row) = found.next()? {
                let (_, ledger) = rows::ledger(row)?;
                tenants.push(TenantLedger { tenant: rows::tenant(row, 5)?, ledger });
            }
            Ok(tenants)
        })
        .await
}

pub(super) async fn unguarded(store: &SqliteAdopted, tenant: TenantId) -> Answer<u64> {
    if store.find(tenant).await?.is_some() {
        return Ok(0);
    }
    let Some(key) = store.key(tenant).await? else { return Ok(0) };
    store.read(move |tx, table| Ok(Guarded::count_rows(tx, table, &key, i64::MIN)?.0)).await
}

pub(super) async fn number_of_position(
    store: &SqliteAdopted,
    tenant: TenantId,
    position: i64,
) -> Answer<Option<u64>> {
    let head = change::ledger(store, tenant).await?.head.seq;
    let beyond = "SELECT min(place) FROM rehome_guard_positions \
                  WHERE place > ?1 AND place <= ?2 AND position > ?3";
    let beyond = bound(store, tenant, beyond, position).await?;
    Ok(Some(beyond.map_or(head, |place| rows::seq_of(place).saturating_sub(1))))
}

/// Exact as far as the order of numbers is that of positions: no row comes in at a position before one that has a
/// number.
pub(super) async fn position_of_number(
    store: &SqliteAdopted,
    tenant: TenantId,
    seq: u64,
) -> Answer<Option<i64>> {
    let position = store
        .read(move |tx, _| {
            let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(None) };
            let mut statement = tx.prepare_cached(
                "SELECT (SELECT max(position) FROM rehome_guard_positions WHERE place > ?1 AND place <= ?2), \
                     (SELECT min(position) - 1 FROM ( \
                         SELECT position FROM rehome_guard_positions WHERE place > ?2 AND place <= ?3 \
                         UNION ALL SELECT position FROM rehome_guard_arrivals WHERE tenant_no = ?4))",
            )?;
            let no = guarded.no;
            let range = (no.position(0), no.position(seq), no.last_position(), no.number());
            let read = |row: &Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get(1)?));
            let (up_to, before): (_, Option<i64>) = statement.query_row(range, read)?;
            Ok(match (up_to, before) {
                (Some(up_to), Some(before)) => Some(up_to.min(before)),
                (up_to, _) => up_to,
            })
        })
        .await?;
    Ok(Some(position.unwrap_or(0)))
}

/// The result of a statement over the tenant's places for a position.
async fn bound(
    store: &SqliteAdopted,
    tenant: TenantId,
    sql: &'static str,
    position: i64,
) -> Answer<Option<i64>> {
    store
        .read(move |tx: &Transaction<'_>, _| {
            let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(None) };
            let range = (guarded.no.position(0), guarded.no.last_position(), position);
            Ok(tx.prepare_cached(sql)?.query_row(range, |row| row.get(0))?)
        })
        .await
}
