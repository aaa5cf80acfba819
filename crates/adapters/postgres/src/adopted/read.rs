//! Numbers to events.

use std::sync::Arc;

use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, EventType, Json, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::layout::{ForeignRow, RowForm, event_id_of};
use rehome_domain::ledger::Ledger;
use rehome_domain::stream::StreamName;
use rehome_ports::json::{self, JsonLimits};
use rehome_ports::{BatchLimit, Feed, StreamSlice, StreamVersion, TenantLedger};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Answer, PgAdopted, change};
use crate::error::ServerError;
use crate::rows::{self, Read, SEQ_MAX, get};
use crate::server::Param;

const FEED: &str = "SELECT * FROM {schema}.rows_of_feed($1, $2, $3, $4)";
const STREAM: &str = "SELECT * FROM {schema}.rows_of_stream($1, $2, $3, $4, $5, $6)";

/// Columns of a page: the ledger is in the first row, the events begin here.
const PENDING: usize = 4;
const ORDER: usize = 6;
const EVENT: usize = 7;
const STREAM_VERSION: usize = 19;

/// What a page's statement answered.
struct Page {
    ledger: Ledger,
    pending: bool,
    version: u64,
    events: Vec<Event>,
}

async fn page(
    store: &PgAdopted,
    tenant: TenantId,
    template: &str,
    params: &[Param<'_>],
    limit: BatchLimit,
    with_version: bool,
) -> Read<Page> {
    let mut page = Page { ledger: Ledger::ABSENT, pending: false, version: 0, events: Vec::new() };
    let (mut bytes, mut full) = (0, false);
    let mut form = Arc::clone(&store.installed.form);
    let mut client = store.server.client().await?;
    client
        .read_each(template, params, |row| {
            if get::<Option<&str>>(&row, 0)?.is_some() {
                page.ledger = rows::ledger(&row, 0)?;
                page.pending = get(&row, PENDING)?;
                form = store.installed.form_in(get(&row, ORDER)?)?;
                if with_version && get::<Option<i64>>(&row, STREAM_VERSION)?.is_some() {
                    page.version = rows::count(&row, STREAM_VERSION)?;
                }
                return Ok(());
            }
            if full {
                return Ok(());
            }
            match event(tenant, &form, &row) {
                Ok(event) => {
                    bytes += event.bytes();
                    full = page.events.len() >= limit.events || bytes > limit.bytes;
                    if !full || page.events.is_empty() {
                        page.events.push(event);
                    }
                    Ok(())
                }
                // What cannot be read ends a page; it is an error when it is what comes first.
                Err(error) if page.events.is_empty() => Err(error),
                Err(_) => {
                    full = true;
                    Ok(())
                }
            }
        })
        .await?;
    Ok(page)
}

/// An event from a row of the table.
fn event(tenant: TenantId, form: &Arc<RowForm>, row: &Row) -> Read<Event> {
    let seq = rows::count(row, EVENT)?;
    let Some(whole) = get::<Option<&str>>(row, EVENT + 11)? else {
        return Err(ServerError::corrupt(format!("the row at number {seq} is missing")));
    };
    let bad = |why: String| ServerError::corrupt(format!("row {seq}: {why}"));
    let text =
        |column: usize| get::<Option<&str>>(row, EVENT + column).map(Option::unwrap_or_default);
    let stream = StreamName::new(text(1)?, text(2)?).map_err(|error| bad(error.to_string()))?;
    let version = rows::count(row, EVENT + 3)?;
    let id = get::<Option<Uuid>>(row, EVENT + 4)?;
    let time = |column: usize| get::<Option<i64>>(row, EVENT + column);
    let (occurred, recorded) = (time(6)?, time(7)?);
    let at = |first: Option<i64>, second: Option<i64>| {
        Timestamp::from_micros(first.or(second).unwrap_or_default())
    };
    Ok(Event {
        seq,
        id: id.map_or_else(|| event_id_of(tenant, &stream, version), EventId::new),
        stream,
        version,
        event_type: EventType::new(text(5)?).map_err(|error| bad(error.to_string()))?,
        occurred_at: at(occurred, recorded),
        recorded_at: at(recorded, occurred),
        data: payload(text(8)?),
        metadata: payload(text(9)?),
        digest: rows::digest(row, EVENT + 10)?,
        row: Some(Arc::new(ForeignRow::new(whole).with_form(form))),
    })
}

/// JSON as it is, on one line; any other text as a string of JSON.
fn payload(text: &str) -> Json {
    let limits = JsonLimits { bytes_max: usize::MAX, depth_max: 512 };
    let raw =
        if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], "") } else { text.to_owned() };
    json::parse(&raw, limits).unwrap_or_else(|_| json::string(text))
}

/// An event that should be there and is not: what comes after it is not answered in its place.
fn gap(missing: u64) -> ServerError {
    ServerError::corrupt(format!("the event at {missing} is missing"))
}

/// A bound that the server can add to.
fn bound(count: usize, max: i64) -> i64 {
    i64::try_from(count.max(1)).unwrap_or(max).min(max)
}

pub(super) async fn feed(
    store: &PgAdopted,
    tenant: TenantId,
    after_seq: u64,
    limit: BatchLimit,
) -> Answer<Feed> {
    let after = i64::try_from(after_seq).unwrap_or(SEQ_MAX).min(SEQ_MAX);
    let id = tenant.uuid();
    let (events, bytes) = (bound(limit.events, SEQ_MAX), bound(limit.bytes, i64::MAX));
    let params: [Param<'_>; 4] =
        [(&id, Type::UUID), (&after, Type::INT8), (&events, Type::INT8), (&bytes, Type::INT8)];
    let mut found = page(store, tenant, FEED, &params, limit, false).await?;
    let is_short = found.events.last().is_none_or(|event| event.seq == found.ledger.head.seq);
    if is_short
        && found.pending
        && found.ledger.head.seq.saturating_sub(after_seq) < limit.events as u64
    {
        // New arrivals are numbered when they are read.
        change::ledger(store, tenant).await?;
        found = page(store, tenant, FEED, &params, limit, false).await?;
    }
    let first = after_seq.saturating_add(1);
    if let Some((n, event)) =
        (first..).zip(&found.events).find(|(expected, event)| *expected != event.seq)
    {
        return Err(if event.seq == first { gap(first) } else { gap(n) }.into());
    }
    if found.events.is_empty() && after_seq < found.ledger.head.seq {
        return Err(gap(first).into());
    }
    Ok(Feed { ledger: found.ledger, events: found.events })
}

pub(super) async fn stream(
    store: &PgAdopted,
    tenant: TenantId,
    name: &StreamName,
    from_version: u64,
    limit: BatchLimit,
) -> Answer<StreamSlice> {
    let ledger = change::ledger(store, tenant).await?;
    let Some(parts) = stream_parts(store, name) else {
        return Ok(StreamSlice { ledger, version: 0, events: Vec::new() });
    };
    let from = i64::try_from(from_version.max(1)).unwrap_or(SEQ_MAX).min(SEQ_MAX);
    let id = tenant.uuid();
    let (events, bytes) = (bound(limit.events, SEQ_MAX), bound(limit.bytes, i64::MAX));
    let params: [Param<'_>; 6] = [
        (&id, Type::UUID),
        (&name.stream_type(), Type::TEXT),
        (&parts, Type::TEXT_ARRAY),
        (&from, Type::INT8),
        (&events, Type::INT8),
        (&bytes, Type::INT8),
    ];
    let found = page(store, tenant, STREAM, &params, limit, true).await?;
    let first = from_version.max(1);
    let broken = (first..).zip(&found.events).find(|(expected, event)| *expected != event.version);
    if let Some((missing, _)) = broken {
        return Err(gap(missing).into());
    }
    if found.events.is_empty() && first <= found.version {
        return Err(gap(first).into());
    }
    Ok(StreamSlice { ledger: found.ledger, version: found.version, events: found.events })
}

/// The values of the stream's columns; `None`: no stream of the table can be called so.
fn stream_parts(store: &PgAdopted, name: &StreamName) -> Option<Vec<String>> {
    let columns = &store.layout.stream_id;
    let parts: Vec<String> = if columns.len() == 1 {
        vec![name.stream_id().to_owned()]
    } else {
        name.stream_id().split('/').map(str::to_owned).collect()
    };
    let can_be = |(column, text): (&String, &String)| match store.installed.kind(column) {
        Some("uuid") => Uuid::try_parse(text).is_ok(),
        Some("bigint" | "integer" | "smallint") => {
            text.parse::<i32>().is_ok() || text.parse::<i64>().is_ok()
        }
        Some(_) | None => true,
    };
    (parts.len() == columns.len() && columns.iter().zip(&parts).all(can_be)).then_some(parts)
}

pub(super) async fn digest_at(
    store: &PgAdopted,
    tenant: TenantId,
    seq: u64,
) -> Answer<Option<Digest>> {
    if seq == 0 {
        return Ok(Some(Digest::EMPTY));
    }
    let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
    let mut client = store.server.client().await?;
    let found = client
        .read(
            "SELECT p.digest FROM {schema}.positions AS p JOIN {schema}.tenants AS t ON t.no = p.no \
             WHERE t.tenant = $1 AND p.seq = $2",
            &[(&tenant.uuid(), Type::UUID), (&seq, Type::INT8)],
        )
        .await?;
    Ok(found.first().map(|row| rows::digest(row, 0)).transpose()?)
}

pub(super) async fn streams(
    store: &PgAdopted,
    tenant: TenantId,
    max_seq: u64,
    after: Option<&StreamName>,
    limit: usize,
) -> Answer<Vec<StreamVersion>> {
    // No name is empty, so two empty texts come before the first.
    let (after_type, after_id) = after.map_or(("", ""), |n| (n.stream_type(), n.stream_id()));
    let max_seq = i64::try_from(max_seq).unwrap_or(SEQ_MAX).min(SEQ_MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut client = store.server.client().await?;
    let found = client
        .read(
            "SELECT stream_type, stream_id, version, events, last FROM {schema}.streams($1, $2, $3, $4, $5)",
            &[
                (&tenant.uuid(), Type::UUID),
                (&max_seq, Type::INT8),
                (&after_type, Type::TEXT),
                (&after_id, Type::TEXT),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    let version = |row: &Row| {
        Ok(StreamVersion {
            stream: rows::stream_name(row, 0)?,
            version: rows::count(row, 2)?,
            events: rows::count(row, 3)?,
            last: rows::count(row, 4)?,
        })
    };
    Ok(found.iter().map(version).collect::<Read<Vec<_>>>()?)
}

pub(super) async fn tenants(
    store: &PgAdopted,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<TenantLedger>> {
    let after: Option<Uuid> = after.map(TenantId::uuid);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut client = store.server.client().await?;
    let found = client
        .read(
            "SELECT l.role, l.epoch, h.seq, h.digest, t.tenant FROM {schema}.tenants AS t \
             JOIN {schema}.ledger AS l ON l.no = t.no JOIN {schema}.heads AS h ON h.no = t.no \
             WHERE $1::uuid IS NULL OR t.tenant > $1 ORDER BY t.tenant LIMIT $2",
            &[(&after, Type::UUID), (&limit, Type::INT8)],
        )
        .await?;
    let tenant = |row: &Row| {
        Ok(TenantLedger { tenant: rows::tenant(row, 4)?, ledger: rows::ledger(row, 0)? })
    };
    Ok(found.iter().map(tenant).collect::<Read<Vec<_>>>()?)
}

pub(super) async fn unguarded(store: &PgAdopted, tenant: TenantId) -> Answer<u64> {
    if store.number(tenant, 0).await?.is_some() {
        return Ok(0);
    }
    Ok(store.count_rows_soon(tenant).await?)
}

/// The column of `positions` with the table's position, if any.
fn position_key(store: &PgAdopted) -> Option<String> {
    let position = store.installed.position.as_ref()?;
    let place = store.installed.key_columns.iter().position(|column| column == position)?;
    Some(format!("k{}", place + 1))
}

pub(super) async fn number_of_position(
    store: &PgAdopted,
    tenant: TenantId,
    position: i64,
) -> Answer<Option<u64>> {
    let Some(key) = position_key(store) else { return Ok(None) };
    let head = change::ledger(store, tenant).await?.head.seq;
    let mut client = store.server.client().await?;
    let found = client
        .read(
            &format!(
                "SELECT min(p.seq) FROM {{schema}}.positions AS p JOIN {{schema}}.tenants AS t ON t.no = p.no \
                 WHERE t.tenant = $1 AND p.{key} > $2"
            ),
            &[(&tenant.uuid(), Type::UUID), (&position, Type::INT8)],
        )
        .await?;
    let beyond: Option<i64> = found.first().map_or(Ok(None), |row| get(row, 0))?;
    Ok(Some(beyond.map_or(head, |seq| seq.unsigned_abs().saturating_sub(1))))
}

/// If the tenant is written here, running writers may still take positions above the floor;
/// no checkpoint goes beyond them (rule R6).
pub(super) async fn position_of_number(
    store: &PgAdopted,
    tenant: TenantId,
    seq: u64,
) -> Answer<Option<i64>> {
    let Some(key) = position_key(store) else { return Ok(None) };
    let mut client = store.server.client().await?;
    let found = client
        .read(
            &format!(
                "SELECT CASE l.role WHEN 'active' THEN least(x.position, coalesce(l.floor, 0)) ELSE x.position END \
                 FROM {{schema}}.tenants AS t JOIN {{schema}}.ledger AS l ON l.no = t.no \
                 CROSS JOIN LATERAL (SELECT least( \
                     (SELECT max(p.{key}) FROM {{schema}}.positions AS p WHERE p.no = t.no AND p.seq <= $2), \
                     (SELECT min(p.{key}) - 1 FROM {{schema}}.positions AS p WHERE p.no = t.no AND p.seq > $2) \
                 )::bigint AS position) AS x \
                 WHERE t.tenant = $1"
            ),
            &[(&tenant.uuid(), Type::UUID), (&rows::int(seq)?, Type::INT8)],
        )
        .await?;
    let position: Option<i64> = found.first().map_or(Ok(None), |row| get(row, 0))?;
    Ok(Some(position.unwrap_or(0)))
}

/// What would keep the tenant from being moved from or to this table.
pub(super) async fn obstacles(store: &PgAdopted, tenant: TenantId) -> Answer<Vec<String>> {
    let mut client = store.server.client().await?;
    let mut obstacles = super::install::changes(&mut client, &store.layout).await?;
    obstacles.extend(super::install::heads_refused(&mut client, &store.layout).await?);
    drop(client);
    let is_unknown = store.headed.is_some() && store.number(tenant, 0).await?.is_none();
    if is_unknown
        && store.count_rows(tenant).await? == 0
        && let Some(table) = store.has_rows(tenant).await?
    {
        obstacles.push(format!(
            "{table} has rows of the tenant, and the table of the events has none; delete them"
        ));
    }
    Ok(obstacles)
}
