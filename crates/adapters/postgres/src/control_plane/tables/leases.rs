//! Leases. They run by the server's clock.

use std::collections::BTreeMap;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_ports::{ActiveLease, Lease, LeaseRequest};
use tokio_postgres::types::Type;

use super::{TRIES, all, first, of_known};
use crate::control_plane::rows::int;
use crate::control_plane::{Answer, busy, text};
use crate::error::ServerError;
use crate::server::{Client, Param};

/// Longest lease: beyond it nobody lives, and times stay in range.
const LEASE_MS_MAX: u64 = 100 * 365 * 86_400_000;

fn active(holder: Option<String>, remaining_us: Option<i64>) -> Option<ActiveLease> {
    let remaining_us = u64::try_from(remaining_us?).ok().filter(|remaining| *remaining > 0)?;
    Some(ActiveLease { holder: holder?, remaining_ms: remaining_us.div_ceil(1_000) })
}

/// Takes or renews a lease that is free or the holder's. `now` is for tests; `None`: the server's.
pub(crate) async fn lease(
    client: &mut Client,
    request: &LeaseRequest,
    now: Option<Timestamp>,
) -> Answer<Lease> {
    let sql = "WITH clock AS MATERIALIZED (SELECT coalesce($4, {schema}.now_us()) AS now), \
               taken AS (INSERT INTO {schema}.leases AS l (migration, holder, expires_at, taken_over) \
                   SELECT g.id, $2, clock.now + $3, false \
                   FROM clock, {schema}.migrations AS g WHERE g.id = $1 \
                   ON CONFLICT (migration) DO UPDATE SET holder = excluded.holder, \
                       expires_at = excluded.expires_at, taken_over = l.holder <> excluded.holder \
                   WHERE l.holder = excluded.holder OR l.expires_at <= (SELECT now FROM clock) \
                   RETURNING taken_over) \
               SELECT EXISTS (SELECT FROM {schema}.migrations WHERE id = $1), \
                   (SELECT taken_over FROM taken), l.holder, l.expires_at - clock.now \
               FROM clock LEFT JOIN {schema}.leases AS l ON l.migration = $1";
    let id = request.migration;
    let ttl_us = int(request.ttl_ms.min(LEASE_MS_MAX) * 1_000)?;
    let params: [Param<'_>; 4] = [
        (&id.uuid(), Type::UUID),
        (&text(&request.holder), Type::TEXT),
        (&ttl_us, Type::INT8),
        (&now.map(Timestamp::micros), Type::INT8),
    ];
    for _ in 0..TRIES {
        let found = client.write(sql, &params).await?;
        let (taken_over, other) = of_known(id, &found, |columns| {
            Ok((columns.next::<Option<bool>>()?, active(columns.next()?, columns.next()?)))
        })?;
        match (taken_over, other) {
            (Some(taken_over), _) => return Ok(Lease::Held { taken_over }),
            (None, Some(other)) => return Ok(Lease::HeldBy(other)),
            // Whoever was first had not committed when the statement began.
            (None, None) => {}
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
    now: Option<Timestamp>,
) -> Answer<Option<ActiveLease>> {
    let sql = "SELECT true, l.holder, l.expires_at - coalesce($2, {schema}.now_us()) \
               FROM {schema}.migrations AS g \
               LEFT JOIN {schema}.leases AS l ON l.migration = g.id WHERE g.id = $1";
    let params: [Param<'_>; 2] =
        [(&id.uuid(), Type::UUID), (&now.map(Timestamp::micros), Type::INT8)];
    let found = client.read(sql, &params).await?;
    of_known(id, &found, |columns| Ok(active(columns.next()?, columns.next()?)))
}

/// All that have not run out.
pub(crate) async fn leases(
    client: &mut Client,
    now: Option<Timestamp>,
) -> Answer<BTreeMap<MigrationId, ActiveLease>> {
    let sql = "WITH clock AS MATERIALIZED (SELECT coalesce($1, {schema}.now_us()) AS now) \
               SELECT l.migration, l.holder, l.expires_at - clock.now \
               FROM clock JOIN {schema}.leases AS l ON l.expires_at > clock.now";
    let params: [Param<'_>; 1] = [(&now.map(Timestamp::micros), Type::INT8)];
    let found = client.read(sql, &params).await?;
    let rows = all(&found, |columns| {
        let id = MigrationId::new(columns.next()?);
        Ok(active(columns.next()?, columns.next()?).map(|lease| (id, lease)))
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
