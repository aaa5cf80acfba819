//! Leases. They run by the server's clock.

use std::collections::BTreeMap;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Migration;
use rehome_ports::{
    ActiveLease, Beside, ControlError, Lease, LeaseRequest, LeaseRow, LeaseWatch, Marks, Memo,
};
use tokio_postgres::types::Type;

use super::{TRIES, all, first, of_known};
use crate::control_plane::rows::{self, Columns, int};
use crate::control_plane::{Answer, busy, text};
use crate::error::ServerError;
use crate::server::{Client, Param};

/// Maximum length of a lease, which keeps times in range.
const LEASE_MS_MAX: u64 = 100 * 365 * 86_400_000;

/// A lease, if there is one, and the time by the server's clock. Its length is not stored.
fn row(columns: &mut Columns<'_>) -> Result<Option<(LeaseRow, Timestamp)>, ServerError> {
    let (holder, expires_at) = (columns.next::<Option<String>>()?, columns.optional_time()?);
    let now = Timestamp::from_micros(columns.next()?);
    let row = holder.zip(expires_at);
    Ok(row.map(|(holder, expires_at)| (LeaseRow { holder, expires_at, length_ms: None }, now)))
}

/// Takes or renews a lease that is free or the holder's. `now` is for tests; `None`: the server's.
pub(crate) async fn lease(
    client: &mut Client,
    request: &LeaseRequest,
    watch: &LeaseWatch,
    now: Option<Timestamp>,
) -> Answer<Lease> {
    let sql = "WITH clock AS MATERIALIZED (SELECT coalesce($4, {schema}.now_us()) AS now), \
               taken AS (INSERT INTO {schema}.leases AS l (migration, holder, expires_at, taken_over) \
                   SELECT g.id, $2, clock.now + $3, false \
                   FROM clock, {schema}.migrations AS g WHERE g.id = $1 \
                   ON CONFLICT (migration) DO UPDATE SET holder = excluded.holder, \
                       expires_at = excluded.expires_at, taken_over = l.holder <> excluded.holder \
                   WHERE l.holder = excluded.holder OR l.expires_at <= (SELECT now FROM clock) \
                       OR (l.holder, l.expires_at) = ($5, $6::bigint) \
                   RETURNING taken_over) \
               SELECT EXISTS (SELECT FROM {schema}.migrations WHERE id = $1), \
                   (SELECT taken_over FROM taken), l.holder, l.expires_at, clock.now \
               FROM clock LEFT JOIN {schema}.leases AS l ON l.migration = $1";
    let id = request.migration;
    let ttl_us = int(request.ttl_ms.min(LEASE_MS_MAX) * 1_000)?;
    // A lease that has expired by this process's watch, although not yet by the server's clock.
    let mut outlived: Option<LeaseRow> = None;
    for _ in 0..TRIES {
        let params: [Param<'_>; 6] = [
            (&id.uuid(), Type::UUID),
            (&text(&request.holder), Type::TEXT),
            (&ttl_us, Type::INT8),
            (&now.map(Timestamp::micros), Type::INT8),
            (&outlived.as_ref().map(|row| row.holder.as_str()), Type::TEXT),
            (&outlived.as_ref().map(|row| row.expires_at.micros()), Type::INT8),
        ];
        let found = client.write(sql, &params).await?;
        let (taken_over, other) =
            of_known(id, &found, |columns| Ok((columns.next::<Option<bool>>()?, row(columns)?)))?;
        if let Some(taken_over) = taken_over {
            return Ok(Lease::Held { taken_over });
        }
        // None: the other process had not committed when the statement started.
        if let Some((row, now)) = other {
            if let Some(other) = watch.active(id, Some(row.clone()), now) {
                return Ok(Lease::HeldBy(other));
            }
            outlived = Some(row);
        }
    }
    Err(busy().into())
}

/// The time by which leases run out and the log is dated.
pub(crate) async fn now(client: &mut Client, told: Option<Timestamp>) -> Answer<Timestamp> {
    let params: [Param<'_>; 1] = [(&told.map(Timestamp::micros), Type::INT8)];
    let found = client.read("SELECT coalesce($1, {schema}.now_us())", &params).await?;
    let now = first(&found, |columns| Ok(Timestamp::from_micros(columns.next()?)))?;
    Ok(now.ok_or_else(|| ServerError::corrupt("no answer about the time"))?)
}

pub(crate) async fn lease_holder(
    client: &mut Client,
    id: MigrationId,
    watch: &LeaseWatch,
    now: Option<Timestamp>,
) -> Answer<Option<ActiveLease>> {
    let sql = "SELECT true, l.holder, l.expires_at, coalesce($2, {schema}.now_us()) \
               FROM {schema}.migrations AS g \
               LEFT JOIN {schema}.leases AS l ON l.migration = g.id WHERE g.id = $1";
    let params: [Param<'_>; 2] =
        [(&id.uuid(), Type::UUID), (&now.map(Timestamp::micros), Type::INT8)];
    let found = client.read(sql, &params).await?;
    let found = of_known(id, &found, row)?;
    Ok(found.and_then(|(row, now)| watch.active(id, Some(row), now)))
}

/// The data beside migrations, in their order.
pub(crate) async fn beside(
    client: &mut Client,
    migrations: &[Migration],
    memo: &str,
    watch: &LeaseWatch,
    now: Option<Timestamp>,
) -> Answer<Vec<Beside>> {
    let sql = format!(
        "SELECT l.holder, l.expires_at, coalesce($3, {{schema}}.now_us()), m.at, m.text, \
             r.migration IS NOT DISTINCT FROM g.id, k.migration IS NOT NULL, {} \
         FROM unnest($1::uuid[]) WITH ORDINALITY AS i (id, n) \
         JOIN {{schema}}.migrations AS g ON g.id = i.id \
         LEFT JOIN {{schema}}.leases AS l ON l.migration = g.id \
         LEFT JOIN {{schema}}.memos AS m ON m.migration = g.id AND m.name = $2 \
         LEFT JOIN {{schema}}.routes AS r ON r.tenant = g.tenant \
         LEFT JOIN {{schema}}.marks AS k ON k.migration = g.id ORDER BY i.n",
        rows::MARKS
    );
    let ids: Vec<_> = migrations.iter().map(|migration| migration.id.uuid()).collect();
    let params: [Param<'_>; 3] = [
        (&ids, Type::UUID_ARRAY),
        (&text(memo), Type::TEXT),
        (&now.map(Timestamp::micros), Type::INT8),
    ];
    let found = client.read(&sql, &params).await?;
    if let Some(migration) = migrations.get(found.len()) {
        return Err(ControlError::UnknownMigration(migration.id).into());
    }
    let mut beside = Vec::with_capacity(found.len());
    for (found, migration) in found.iter().zip(migrations) {
        let columns = &mut Columns::of(found);
        let lease = row(columns)?;
        let (at, text) = (columns.optional_time()?, columns.next::<Option<String>>()?);
        let (is_last, marked) = (columns.next()?, columns.next()?);
        beside.push(Beside {
            marks: if marked { rows::marks(columns)? } else { Marks::default() },
            lease: lease.and_then(|(row, now)| watch.active(migration.id, Some(row), now)),
            memo: at.zip(text).map(|(at, text)| Memo { at, text }),
            is_last,
        });
    }
    Ok(beside)
}

/// All that have not run out.
pub(crate) async fn leases(
    client: &mut Client,
    watch: &LeaseWatch,
    now: Option<Timestamp>,
) -> Answer<BTreeMap<MigrationId, ActiveLease>> {
    let sql = "WITH clock AS MATERIALIZED (SELECT coalesce($1, {schema}.now_us()) AS now) \
               SELECT l.migration, l.holder, l.expires_at, clock.now \
               FROM clock JOIN {schema}.leases AS l ON l.expires_at > clock.now";
    let params: [Param<'_>; 1] = [(&now.map(Timestamp::micros), Type::INT8)];
    let found = client.read(sql, &params).await?;
    let rows = all(&found, |columns| {
        let id = MigrationId::new(columns.next()?);
        let lease = row(columns)?.and_then(|(row, now)| watch.active(id, Some(row), now));
        Ok(lease.map(|lease| (id, lease)))
    })?;
    Ok(rows.into_iter().flatten().collect())
}

pub(crate) async fn release(client: &mut Client, id: MigrationId, holder: &str) -> Answer<()> {
    let sql = "WITH given_up AS \
                   (DELETE FROM {schema}.leases WHERE migration = $1 AND holder = $2) \
               SELECT EXISTS (SELECT FROM {schema}.migrations WHERE id = $1)";
    let params: [Param<'_>; 2] = [(&id.uuid(), Type::UUID), (&text(holder), Type::TEXT)];
    let found = client.write(sql, &params).await?;
    of_known(id, &found, |_| Ok(()))
}
