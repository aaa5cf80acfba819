//! Reads of drains, and of the processes that work on them.

use rehome_domain::digest::Digest;
use rehome_domain::drain::{Drain, Tenant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, TenantId};
use rehome_ports::{
    AttendRequest, Attendance, ControlError, DrainEntry, DrainTenants, Drains, LeaseRow, LeaseWatch,
};
use tokio_postgres::types::Type;

use super::super::rows::{Columns, at_most, int, position};
use super::super::tables::{all, first};
use super::super::{Answer, text};
use super::rows;
use crate::error::ServerError;
use crate::server::{Client, Param};

/// A drain and the hash of the last entry of its log.
pub(super) async fn drain(client: &mut Client, id: DrainId) -> Answer<Option<(Drain, Digest)>> {
    let sql = format!("SELECT {} FROM {{schema}}.drains AS d WHERE d.id = $1", rows::DRAIN);
    let found = client.read(&sql, &[(&id.uuid(), Type::UUID)]).await?;
    Ok(first(&found, rows::drain)?)
}

/// A drain that has to be there.
pub(super) async fn known(client: &mut Client, id: DrainId) -> Answer<Drain> {
    let found = drain(client, id).await?;
    Ok(found.map(|(drain, _)| drain).ok_or(ControlError::UnknownDrain(id))?)
}

/// Newest first. A `before` that is not there has none before it.
pub(super) async fn list(client: &mut Client, which: Drains) -> Answer<Vec<Drain>> {
    let sql = format!(
        "SELECT {} FROM {{schema}}.drains AS d WHERE (NOT $1 OR NOT d.over) \
         AND ($2::uuid IS NULL OR (d.created_at, d.id) < \
             (SELECT b.created_at, b.id FROM {{schema}}.drains AS b WHERE b.id = $2)) \
         ORDER BY d.created_at DESC, d.id DESC LIMIT $3",
        rows::DRAIN
    );
    let params: [Param<'_>; 3] = [
        (&which.open, Type::BOOL),
        (&which.before.map(DrainId::uuid), Type::UUID),
        (&at_most(which.limit), Type::INT8),
    ];
    let found = all(&client.read(&sql, &params).await?, rows::drain)?;
    Ok(found.into_iter().map(|(drain, _)| drain).collect())
}

pub(super) async fn log(
    client: &mut Client,
    id: DrainId,
    after: u64,
    limit: usize,
) -> Answer<Vec<DrainEntry>> {
    known(client, id).await?;
    let sql = "SELECT entry, at, actor, fact, hash FROM {schema}.drain_log \
               WHERE drain = $1 AND entry > $2 ORDER BY entry LIMIT $3";
    let params: [Param<'_>; 3] =
        [(&id.uuid(), Type::UUID), (&position(after), Type::INT8), (&at_most(limit), Type::INT8)];
    Ok(all(&client.read(sql, &params).await?, rows::entry)?)
}

pub(super) async fn tenants(client: &mut Client, which: DrainTenants) -> Answer<Vec<Tenant>> {
    known(client, which.drain).await?;
    let by_state = if which.state.is_some() { "t.state = $2" } else { "$2::text IS NULL" };
    let sql = format!(
        "SELECT {} FROM {{schema}}.drain_tenants AS t WHERE t.drain = $1 AND {by_state} \
         AND t.place > $3 ORDER BY t.place LIMIT $4",
        rows::TENANT
    );
    let params: [Param<'_>; 4] = [
        (&which.drain.uuid(), Type::UUID),
        (&which.state, Type::TEXT),
        (&position(which.after), Type::INT8),
        (&at_most(which.limit), Type::INT8),
    ];
    Ok(all(&client.read(&sql, &params).await?, rows::tenant)?)
}

pub(super) async fn tenant(
    client: &mut Client,
    drain: DrainId,
    tenant: TenantId,
) -> Answer<Option<Tenant>> {
    known(client, drain).await?;
    let sql = format!(
        "SELECT {} FROM {{schema}}.drain_tenants AS t WHERE t.drain = $1 AND t.tenant = $2",
        rows::TENANT
    );
    let params: [Param<'_>; 2] = [(&drain.uuid(), Type::UUID), (&tenant.uuid(), Type::UUID)];
    Ok(first(&client.read(&sql, &params).await?, rows::tenant)?)
}

/// Those that work on a drain.
pub(super) async fn attending(
    client: &mut Client,
    id: DrainId,
    watch: &LeaseWatch<(DrainId, String)>,
    now: Option<Timestamp>,
) -> Answer<Attendance> {
    known(client, id).await?;
    let sql = "WITH clock AS MATERIALIZED (SELECT coalesce($2, {schema}.now_us()) AS now) \
               SELECT w.holder, w.expires_at, w.length_ms, clock.now \
               FROM clock JOIN {schema}.drain_workers AS w ON w.drain = $1";
    let params: [Param<'_>; 2] =
        [(&id.uuid(), Type::UUID), (&now.map(Timestamp::micros), Type::INT8)];
    let found = all(&client.read(sql, &params).await?, worker)?;
    let live = found.into_iter().filter_map(|(row, now)| {
        let key = (id, row.holder.clone());
        Some(watch.active(key, Some(row), now)?.holder)
    });
    let mut live: Vec<_> = live.collect();
    live.sort_unstable();
    Ok(live)
}

fn worker(columns: &mut Columns<'_>) -> Result<(LeaseRow, Timestamp), ServerError> {
    let (holder, expires_at) = (columns.next()?, Timestamp::from_micros(columns.next()?));
    let length_ms = Some(columns.count()?);
    let now = Timestamp::from_micros(columns.next()?);
    Ok((LeaseRow { holder, expires_at, length_ms }, now))
}

pub(super) async fn attend(
    client: &mut Client,
    request: &AttendRequest,
    watch: &LeaseWatch<(DrainId, String)>,
    now: Option<Timestamp>,
) -> Answer<Attendance> {
    let sql = "INSERT INTO {schema}.drain_workers (drain, holder, expires_at, length_ms) \
               SELECT $1, $2, coalesce($4, {schema}.now_us()) + $3::bigint * 1000, $3 \
               FROM {schema}.drains WHERE id = $1 \
               ON CONFLICT (drain, holder) DO UPDATE \
                   SET expires_at = excluded.expires_at, length_ms = excluded.length_ms";
    let params: [Param<'_>; 4] = [
        (&request.drain.uuid(), Type::UUID),
        (&text(&request.holder), Type::TEXT),
        (&int(request.ttl_ms)?, Type::INT8),
        (&now.map(Timestamp::micros), Type::INT8),
    ];
    client.write(sql, &params).await?;
    attending(client, request.drain, watch, now).await
}

pub(super) async fn leave(client: &mut Client, id: DrainId, holder: &str) -> Answer<()> {
    known(client, id).await?;
    let sql = "DELETE FROM {schema}.drain_workers WHERE drain = $1 AND holder = $2";
    client.write(sql, &[(&id.uuid(), Type::UUID), (&text(holder), Type::TEXT)]).await?;
    Ok(())
}
