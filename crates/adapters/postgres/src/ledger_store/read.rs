//! Reads: each one statement, so ledger and rows are of one snapshot, in one round trip.
//!
//! A page is a UNION ALL whose first row is the ledger. The rows after it come in the order of an
//! index; the reader checks the order. The server limits a page in events and in bytes, so that
//! nothing unneeded is sent.

use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::layout::KeptRows;
use rehome_domain::ledger::Ledger;
use rehome_domain::stream::StreamName;
use rehome_ports::{BatchLimit, Feed, StreamSlice, StreamVersion, TenantLedger};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Answer, kept};
use crate::error::ServerError;
use crate::rows::{self, Read, SEQ_MAX};
use crate::server::{Param, Server};

const LEDGER: &str = "SELECT role, epoch, seq, digest FROM {schema}.ledger WHERE tenant = $1";

/// The position of the tenant's last event that has a row of another library's table; NULL: none has.
macro_rules! kept_upto {
    () => {
        "(SELECT (g.tenant_no::bigint << 40) + f.upto_seq FROM {schema}.ledger AS g \
            JOIN {schema}.row_forms AS f ON f.tenant_no = g.tenant_no WHERE g.tenant = $1)"
    };
}

/// The ledger, and events after position $2: at most $3, and bytes $4 unless it is the first.
/// Positions have no gaps, so the number of events bounds the range that is read.
const FEED: &str = concat!(
    "\
    SELECT g.role, g.epoch, g.seq, g.digest, NULL::bigint AS version, \
        NULL::bigint AS seq, NULL::text, NULL::text, NULL::bigint, NULL::uuid, NULL::text, \
        NULL::bigint, NULL::bigint, NULL::text, NULL::text, NULL::bytea, NULL::bytea, NULL::bytea, \
        f.upto_seq, f.form \
    FROM {schema}.ledger AS g LEFT JOIN {schema}.row_forms AS f ON f.tenant_no = g.tenant_no \
    WHERE g.tenant = $1 \
    UNION ALL \
    (SELECT NULL::text, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bigint, \
        e.position & 1099511627775, s.stream_type, s.stream_id, e.version, e.event_id, \
        e.event_type, e.occurred_at, e.recorded_at, e.data, e.metadata, e.digest, k.record, \
        k.contents, NULL::bigint, NULL::text \
    FROM (SELECT x.*, sum((160 + octet_length(x.event_type) + coalesce(octet_length(x.data), 0) \
                + coalesce(octet_length(x.metadata), 0)) * CASE WHEN x.position <= ",
    kept_upto!(),
    " THEN 2 ELSE 1 END) \
                OVER (ORDER BY x.position ROWS UNBOUNDED PRECEDING) AS bytes, \
            row_number() OVER (ORDER BY x.position ROWS UNBOUNDED PRECEDING) AS n \
        FROM {schema}.events AS x \
        WHERE x.position > (SELECT (g.tenant_no::bigint << 40) + least($2, g.seq) \
                            FROM {schema}.ledger AS g WHERE g.tenant = $1) \
            AND x.position <= (SELECT (g.tenant_no::bigint << 40) + least($2 + $3, g.seq) \
                               FROM {schema}.ledger AS g WHERE g.tenant = $1) \
        ORDER BY x.position LIMIT $3) AS e \
    LEFT JOIN LATERAL (SELECT t.stream_type, t.stream_id FROM {schema}.streams AS t \
                       WHERE t.stream_no = e.stream_no LIMIT 1) AS s ON true \
    LEFT JOIN LATERAL (SELECT r.record, r.contents FROM {schema}.event_rows AS r \
                       WHERE r.position = e.position AND e.position <= ",
    kept_upto!(),
    " LIMIT 1) AS k ON true \
    WHERE e.bytes <= $4 OR e.n = 1 \
    ORDER BY e.position)"
);

/// The same of stream ($5, $6) from version $2 on; its version is in the first row.
const STREAM: &str = concat!(
    "\
    SELECT g.role, g.epoch, g.seq, g.digest, \
        (SELECT max(x.version) FROM {schema}.events AS x WHERE x.stream_no = \
            (SELECT t.stream_no FROM {schema}.streams AS t WHERE t.tenant_no = g.tenant_no \
                AND t.stream_type = $5 AND t.stream_id = $6)) AS version, \
        NULL::bigint AS seq, NULL::text, NULL::text, NULL::bigint, NULL::uuid, NULL::text, \
        NULL::bigint, NULL::bigint, NULL::text, NULL::text, NULL::bytea, NULL::bytea, NULL::bytea, \
        f.upto_seq, f.form \
    FROM {schema}.ledger AS g LEFT JOIN {schema}.row_forms AS f ON f.tenant_no = g.tenant_no \
    WHERE g.tenant = $1 \
    UNION ALL \
    (SELECT NULL::text, NULL::bigint, NULL::bigint, NULL::bytea, NULL::bigint, \
        e.position & 1099511627775, $5, $6, e.version, e.event_id, \
        e.event_type, e.occurred_at, e.recorded_at, e.data, e.metadata, e.digest, k.record, \
        k.contents, NULL::bigint, NULL::text \
    FROM (SELECT x.*, sum((160 + octet_length(x.event_type) + coalesce(octet_length(x.data), 0) \
                + coalesce(octet_length(x.metadata), 0)) * CASE WHEN x.position <= ",
    kept_upto!(),
    " THEN 2 ELSE 1 END) \
                OVER (ORDER BY x.version ROWS UNBOUNDED PRECEDING) AS bytes, \
            row_number() OVER (ORDER BY x.version ROWS UNBOUNDED PRECEDING) AS n \
        FROM {schema}.events AS x \
        WHERE x.stream_no = (SELECT t.stream_no FROM {schema}.streams AS t \
                JOIN {schema}.ledger AS g ON g.tenant_no = t.tenant_no \
                WHERE g.tenant = $1 AND t.stream_type = $5 AND t.stream_id = $6) \
            AND x.version >= $2 AND x.version < $2 + $3 \
        ORDER BY x.version LIMIT $3) AS e \
    LEFT JOIN LATERAL (SELECT r.record, r.contents FROM {schema}.event_rows AS r \
                       WHERE r.position = e.position AND e.position <= ",
    kept_upto!(),
    " LIMIT 1) AS k ON true \
    WHERE e.bytes <= $4 OR e.n = 1 \
    ORDER BY e.version)"
);

// Columns of both.
const STREAM_VERSION: usize = 4;
const EVENT: usize = 5;
const RECORD: usize = 16;
const KEPT: usize = 18;

const DIGEST_AT: &str = "SELECT digest FROM {schema}.events WHERE position = \
    (SELECT (g.tenant_no::bigint << 40) + $2 FROM {schema}.ledger AS g WHERE g.tenant = $1)";

const STREAMS: &str = "\
    SELECT s.stream_type, s.stream_id, v.version, c.events, c.last \
    FROM {schema}.ledger AS g \
    JOIN {schema}.streams AS s ON s.tenant_no = g.tenant_no \
    CROSS JOIN LATERAL (SELECT count(*) AS events, max(x.version) AS last \
        FROM {schema}.events AS x WHERE x.stream_no = s.stream_no \
            AND x.position <= (g.tenant_no::bigint << 40) + $2) AS c \
    CROSS JOIN LATERAL (SELECT max(x.version) AS version \
        FROM {schema}.events AS x WHERE x.stream_no = s.stream_no) AS v \
    WHERE g.tenant = $1 AND (s.stream_type, s.stream_id) > ($3, $4) AND c.events > 0 \
    ORDER BY s.stream_type, s.stream_id LIMIT $5";

const TENANTS: &str = "SELECT role, epoch, seq, digest, tenant FROM {schema}.ledger \
    WHERE $1::uuid IS NULL OR tenant > $1 ORDER BY tenant LIMIT $2";

/// The tenant's row, if it has one.
pub(super) async fn ledger_row(
    server: &Server,
    tenant: TenantId,
) -> Result<Option<Ledger>, ServerError> {
    let mut client = server.client().await?;
    let found = client.read(LEDGER, &[(&tenant.uuid(), Type::UUID)]).await?;
    found.first().map(|row| rows::ledger(row, 0)).transpose()
}

pub(super) async fn ledger(server: &Server, tenant: TenantId) -> Answer<Ledger> {
    Ok(ledger_row(server, tenant).await?.unwrap_or(Ledger::ABSENT))
}

/// The tenants' lengths, in the order of `tenants`.
pub(super) async fn lengths(server: &Server, tenants: &[TenantId]) -> Answer<Vec<u64>> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    let sql = "SELECT coalesce(g.seq, 0) \
               FROM unnest($1::uuid[]) WITH ORDINALITY AS i (tenant, n) \
               LEFT JOIN {schema}.ledger AS g ON g.tenant = i.tenant ORDER BY i.n";
    let mut client = server.client().await?;
    let found = client.read(sql, &[(&ids, Type::UUID_ARRAY)]).await?;
    let lengths = found.iter().map(|row| rows::count(row, 0));
    Ok(lengths.collect::<Read<_>>()?)
}

/// What a page's statement answered.
struct Page {
    ledger: Ledger,
    version: u64,
    events: Vec<Event>,
}

/// Reads a page whose first event has `first` at `place`, the value without gaps.
async fn page(
    server: &Server,
    template: &str,
    params: &[Param<'_>],
    limit: BatchLimit,
    (first, place): (u64, fn(&Event) -> u64),
) -> Read<Page> {
    let mut page = Page { ledger: Ledger::ABSENT, version: 0, events: Vec::new() };
    let mut bytes = 0;
    let mut full = false;
    let mut kept = None;
    let mut client = server.client().await?;
    client
        .read_each(template, params, |row| {
            if rows::get::<Option<&str>>(&row, 0)?.is_some() {
                page.ledger = rows::ledger(&row, 0)?;
                kept = kept::found(&row, KEPT)?;
                if rows::get::<Option<i64>>(&row, STREAM_VERSION)?.is_some() {
                    page.version = rows::count(&row, STREAM_VERSION)?;
                }
                return Ok(());
            }
            if full {
                return Ok(());
            }
            match event_at(&row, first + page.events.len() as u64, place, kept.as_ref()) {
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

/// An event that should be there and is not: what comes after it is not answered in its place.
fn gap(missing: u64) -> ServerError {
    ServerError::corrupt(format!("the event at {missing} is missing"))
}

fn event_at(
    row: &Row,
    expected: u64,
    place: fn(&Event) -> u64,
    kept: Option<&KeptRows>,
) -> Read<Event> {
    let event = rows::event(row, EVENT)?;
    if place(&event) != expected {
        return Err(gap(expected));
    }
    kept::joined(kept, event, row, RECORD)
}

/// A bound that the server can add to.
fn bound(count: usize, max: i64) -> i64 {
    i64::try_from(count.max(1)).unwrap_or(max).min(max)
}

pub(super) async fn feed(
    server: &Server,
    tenant: TenantId,
    after_seq: u64,
    limit: BatchLimit,
) -> Answer<Feed> {
    let after = i64::try_from(after_seq).unwrap_or(SEQ_MAX).min(SEQ_MAX);
    let params: [Param<'_>; 4] = [
        (&tenant.uuid(), Type::UUID),
        (&after, Type::INT8),
        (&bound(limit.events, SEQ_MAX), Type::INT8),
        (&bound(limit.bytes, i64::MAX), Type::INT8),
    ];
    let first = (after_seq.saturating_add(1), seq as fn(&Event) -> u64);
    let page = page(server, FEED, &params, limit, first).await?;
    if page.events.is_empty() && after_seq < page.ledger.head.seq {
        return Err(gap(after_seq + 1).into());
    }
    Ok(Feed { ledger: page.ledger, events: page.events })
}

fn seq(event: &Event) -> u64 {
    event.seq
}

fn version(event: &Event) -> u64 {
    event.version
}

pub(super) async fn stream(
    server: &Server,
    tenant: TenantId,
    name: &StreamName,
    from_version: u64,
    limit: BatchLimit,
) -> Answer<StreamSlice> {
    let first = from_version.max(1);
    let from = i64::try_from(first).unwrap_or(SEQ_MAX).min(SEQ_MAX);
    let params: [Param<'_>; 6] = [
        (&tenant.uuid(), Type::UUID),
        (&from, Type::INT8),
        (&bound(limit.events, SEQ_MAX), Type::INT8),
        (&bound(limit.bytes, i64::MAX), Type::INT8),
        (&name.stream_type(), Type::TEXT),
        (&name.stream_id(), Type::TEXT),
    ];
    let place = version as fn(&Event) -> u64;
    let page = page(server, STREAM, &params, limit, (first, place)).await?;
    if page.events.is_empty() && first <= page.version {
        return Err(gap(first).into());
    }
    Ok(StreamSlice { ledger: page.ledger, version: page.version, events: page.events })
}

pub(super) async fn digest_at(
    server: &Server,
    tenant: TenantId,
    seq: u64,
) -> Answer<Option<Digest>> {
    if seq == 0 {
        return Ok(Some(Digest::EMPTY));
    }
    let Some(seq) = i64::try_from(seq).ok().filter(|seq| *seq <= SEQ_MAX) else {
        return Ok(None);
    };
    let mut client = server.client().await?;
    let found = client.read(DIGEST_AT, &[(&tenant.uuid(), Type::UUID), (&seq, Type::INT8)]).await?;
    Ok(found.first().map(|row| rows::digest(row, 0)).transpose()?)
}

pub(super) async fn streams(
    server: &Server,
    tenant: TenantId,
    max_seq: u64,
    after: Option<&StreamName>,
    limit: usize,
) -> Answer<Vec<StreamVersion>> {
    // No name is empty, so two empty texts come before the first.
    let (after_type, after_id) = after.map_or(("", ""), |n| (n.stream_type(), n.stream_id()));
    let max_seq = i64::try_from(max_seq).unwrap_or(SEQ_MAX).min(SEQ_MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut client = server.client().await?;
    let found = client
        .read(
            STREAMS,
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
    found.iter().map(version).collect()
}

pub(super) async fn tenants(
    server: &Server,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<TenantLedger>> {
    let after: Option<Uuid> = after.map(TenantId::uuid);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut client = server.client().await?;
    let found = client.read(TENANTS, &[(&after, Type::UUID), (&limit, Type::INT8)]).await?;
    let tenant = |row: &Row| {
        Ok(TenantLedger { tenant: rows::tenant(row, 4)?, ledger: rows::ledger(row, 0)? })
    };
    found.iter().map(tenant).collect()
}
