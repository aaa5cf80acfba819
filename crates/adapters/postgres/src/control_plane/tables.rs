//! The statements on the control plane's tables, but for the recording of facts.

use rehome_domain::digest::sha256;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::route::Route;
use rehome_ports::{
    ActiveLease, ControlError, Lease, LeaseRequest, LogEntry, Marks, Memo, Migrations,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{self, Columns, at_most, int, position};
use super::{Answer, busy, text};
use crate::error::ServerError;
use crate::server::{Client, Param};

/// Longest lease: beyond it nobody lives, and times stay in range.
const LEASE_MS_MAX: u64 = 100 * 365 * 86_400_000;
/// How often something is tried again because others were first.
const TRIES: usize = 64;

type Done<T> = Result<T, ServerError>;

fn first<T>(rows: &[Row], read: impl FnOnce(&mut Columns<'_>) -> Done<T>) -> Done<Option<T>> {
    rows.first().map(|row| read(&mut Columns::of(row))).transpose()
}

fn all<T>(rows: &[Row], read: impl Fn(&mut Columns<'_>) -> Done<T>) -> Done<Vec<T>> {
    rows.iter().map(|row| read(&mut Columns::of(row))).collect()
}

/// The answer about a migration that may not be there; the first column says whether it is.
fn of_known<T>(
    id: MigrationId,
    rows: &[Row],
    read: impl FnOnce(&mut Columns<'_>) -> Done<T>,
) -> Answer<T> {
    let read = |columns: &mut Columns<'_>| {
        if columns.next()? { read(columns).map(Some) } else { Ok(None) }
    };
    let found = first(rows, read)?.flatten();
    Ok(found.ok_or(ControlError::UnknownMigration(id))?)
}

pub(super) async fn route(client: &mut Client, tenant: TenantId) -> Answer<Option<Route>> {
    let sql = format!("SELECT {} FROM {{schema}}.routes AS r WHERE r.tenant = $1", rows::ROUTE);
    let found = client.read(&sql, &[(&tenant.uuid(), Type::UUID)]).await?;
    Ok(first(&found, rows::route)?)
}

pub(super) async fn routes(
    client: &mut Client,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<Route>> {
    let limit = at_most(limit);
    let sql = |condition| {
        format!(
            "SELECT {} FROM {{schema}}.routes AS r {condition} ORDER BY r.tenant LIMIT $1",
            rows::ROUTE
        )
    };
    let found = match after {
        None => client.read(&sql(""), &[(&limit, Type::INT8)]).await?,
        Some(after) => {
            let params: [Param<'_>; 2] = [(&limit, Type::INT8), (&after.uuid(), Type::UUID)];
            client.read(&sql("WHERE r.tenant > $2"), &params).await?
        }
    };
    Ok(all(&found, rows::route)?)
}

/// The route of a new tenant, or the one that is there.
pub(super) async fn create_route(client: &mut Client, new: &Route) -> Answer<Route> {
    // What another creation had not committed when this statement began is seen by the next one.
    for _ in 0..TRIES {
        let sql = format!(
            "WITH made AS (INSERT INTO {{schema}}.routes \
                 (tenant, rev, store, epoch, prev_epoch, n, m, base, deadline_ms, created, \
                  rollback_window) \
                 VALUES ($1, $2, $3, $4, 0, $4, 0, 0, 0, false, false) \
                 ON CONFLICT (tenant) DO NOTHING RETURNING *) \
             SELECT {columns} FROM made AS r UNION ALL \
             SELECT {columns} FROM {{schema}}.routes AS r WHERE r.tenant = $1",
            columns = rows::ROUTE
        );
        let params: [Param<'_>; 4] = [
            (&new.tenant.uuid(), Type::UUID),
            (&int(new.rev)?, Type::INT8),
            (&new.store.as_str(), Type::TEXT),
            (&int(new.epoch.0)?, Type::INT8),
        ];
        let found = client.write(&sql, &params).await?;
        if let Some(route) = first(&found, rows::route)? {
            return Ok(route);
        }
    }
    Err(busy().into())
}

pub(super) async fn mark_created(
    client: &mut Client,
    tenant: TenantId,
    epoch: Epoch,
) -> Answer<Route> {
    let sql = format!(
        "UPDATE {{schema}}.routes AS r SET created = true \
         WHERE r.tenant = $1 AND r.epoch = $2 AND NOT r.created RETURNING {}",
        rows::ROUTE
    );
    let params: [Param<'_>; 2] = [(&tenant.uuid(), Type::UUID), (&int(epoch.0)?, Type::INT8)];
    let marked = client.write(&sql, &params).await?;
    if let Some(route) = first(&marked, rows::route)? {
        return Ok(route);
    }
    Ok(route(client, tenant).await?.ok_or(ControlError::UnknownTenant(tenant))?)
}

/// Writes a route that was recovered and never had a migration, on the revision `was`; false if
/// it has another one by now.
pub(super) async fn recover_route(
    client: &mut Client,
    was: u64,
    to: &Route,
    channel: &str,
) -> Answer<bool> {
    let sql = "WITH moved AS (UPDATE {schema}.routes SET rev = $3, store = $4, epoch = $5, \
                   n = $6, base = $7, created = $8, rollback_window = $9 \
                   WHERE tenant = $1 AND rev = $2 AND migration IS NULL RETURNING tenant, rev) \
               SELECT pg_notify($10, tenant::text || ' ' || rev::text) FROM moved";
    let params: [Param<'_>; 10] = [
        (&to.tenant.uuid(), Type::UUID),
        (&int(was)?, Type::INT8),
        (&int(to.rev)?, Type::INT8),
        (&to.store.as_str(), Type::TEXT),
        (&int(to.epoch.0)?, Type::INT8),
        (&int(to.n.0)?, Type::INT8),
        (&int(to.base)?, Type::INT8),
        (&to.created, Type::BOOL),
        (&to.window, Type::BOOL),
        (&channel, Type::TEXT),
    ];
    Ok(!client.write(sql, &params).await?.is_empty())
}

pub(super) async fn migration(client: &mut Client, id: MigrationId) -> Answer<Migration> {
    let sql = format!("SELECT {} FROM {{schema}}.migrations AS g WHERE g.id = $1", rows::MIGRATION);
    let found = client.read(&sql, &[(&id.uuid(), Type::UUID)]).await?;
    Ok(first(&found, rows::migration)?.ok_or(ControlError::UnknownMigration(id))?)
}

/// Newest first. A `before` that is not there has none before it.
pub(super) async fn migrations(client: &mut Client, which: Migrations) -> Answer<Vec<Migration>> {
    let limit = at_most(which.limit);
    let tenant = which.tenant.map(TenantId::uuid);
    let phase = which.phase.map(Phase::as_str);
    let before = which.before.map(MigrationId::uuid);
    let mut params: Vec<Param<'_>> = vec![(&limit, Type::INT8)];
    let mut conditions = vec!["true".to_owned()];
    if let Some(tenant) = &tenant {
        params.push((tenant, Type::UUID));
        conditions.push(format!("g.tenant = ${}", params.len()));
    }
    if let Some(phase) = &phase {
        params.push((phase, Type::TEXT));
        conditions.push(format!("g.phase = ${}", params.len()));
    }
    if let Some(before) = &before {
        params.push((before, Type::UUID));
        conditions.push(format!(
            "(g.created_at, g.id) < \
             (SELECT created_at, id FROM {{schema}}.migrations WHERE id = ${})",
            params.len()
        ));
    }
    let sql = format!(
        "SELECT {} FROM {{schema}}.migrations AS g WHERE {} \
         ORDER BY g.created_at DESC, g.id DESC LIMIT $1",
        rows::MIGRATION,
        conditions.join(" AND ")
    );
    let found = client.read(&sql, &params).await?;
    Ok(all(&found, rows::migration)?)
}

/// The entries after entry `after`.
pub(super) async fn log(
    client: &mut Client,
    id: MigrationId,
    after: u64,
    limit: usize,
) -> Answer<Vec<LogEntry>> {
    let sql = format!(
        "SELECT {} FROM {{schema}}.log AS l WHERE l.migration = $1 AND l.entry > $2 \
         ORDER BY l.entry LIMIT $3",
        rows::LOG
    );
    let params: [Param<'_>; 3] =
        [(&id.uuid(), Type::UUID), (&position(after), Type::INT8), (&at_most(limit), Type::INT8)];
    let found = client.read(&sql, &params).await?;
    if found.is_empty() {
        migration(client, id).await?;
    }
    Ok(all(&found, rows::log_entry)?)
}

fn active(holder: Option<String>, remaining_us: Option<i64>) -> Option<ActiveLease> {
    let remaining_us = u64::try_from(remaining_us?).ok().filter(|remaining| *remaining > 0)?;
    Some(ActiveLease { holder: holder?, remaining_ms: remaining_us.div_ceil(1_000) })
}

/// Takes or renews a lease that is free or the holder's. `now` is for tests; `None`: the server's.
pub(super) async fn lease(
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

pub(super) async fn lease_holder(
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

pub(super) async fn release(client: &mut Client, id: MigrationId, holder: &str) -> Answer<()> {
    let sql = "WITH given_up AS \
                   (DELETE FROM {schema}.leases WHERE migration = $1 AND holder = $2) \
               SELECT EXISTS (SELECT FROM {schema}.migrations WHERE id = $1)";
    let params: [Param<'_>; 2] = [(&id.uuid(), Type::UUID), (&text(holder), Type::TEXT)];
    let found = client.write(sql, &params).await?;
    of_known(id, &found, |_| Ok(()))
}

pub(super) async fn marks(client: &mut Client, id: MigrationId) -> Answer<Marks> {
    let sql = format!(
        "SELECT true, k.migration IS NOT NULL, {} FROM {{schema}}.migrations AS g \
         LEFT JOIN {{schema}}.marks AS k ON k.migration = g.id WHERE g.id = $1",
        rows::MARKS
    );
    let found = client.read(&sql, &[(&id.uuid(), Type::UUID)]).await?;
    of_known(
        id,
        &found,
        |columns| {
            if columns.next()? { rows::marks(columns) } else { Ok(Marks::default()) }
        },
    )
}

/// Writes the marks by the port's rule, which is asked about those that are still there then.
pub(super) async fn set_marks(client: &mut Client, id: MigrationId, new: &Marks) -> Answer<()> {
    let sql = "INSERT INTO {schema}.marks AS k (migration, read_back_m, read_back_seq, \
                   read_back_digest, copy_rate, verified_seq, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (migration) DO UPDATE SET read_back_m = excluded.read_back_m, \
                   read_back_seq = excluded.read_back_seq, \
                   read_back_digest = excluded.read_back_digest, copy_rate = excluded.copy_rate, \
                   verified_seq = excluded.verified_seq, updated_at = excluded.updated_at \
               WHERE (k.read_back_m, k.read_back_seq) IS NOT DISTINCT FROM ($8::bigint, $9::bigint) \
               RETURNING true";
    for _ in 0..TRIES {
        let held = marks(client, id).await?;
        let kept = held.moved_to(new);
        let int = |count: Option<u64>| count.map(int).transpose();
        let (mark, old) = (kept.read_back, held.read_back);
        let digest = mark.map(|mark| mark.head.digest);
        let params: [Param<'_>; 9] = [
            (&id.uuid(), Type::UUID),
            (&int(mark.map(|mark| mark.m.0))?, Type::INT8),
            (&int(mark.map(|mark| mark.head.seq))?, Type::INT8),
            (&digest.as_ref().map(|digest| digest.as_bytes().as_slice()), Type::BYTEA),
            (&kept.copy_rate, Type::FLOAT8),
            (&int(kept.verified_seq)?, Type::INT8),
            (&kept.updated_at.micros(), Type::INT8),
            (&int(old.map(|mark| mark.m.0))?, Type::INT8),
            (&int(old.map(|mark| mark.head.seq))?, Type::INT8),
        ];
        if !client.write(sql, &params).await?.is_empty() {
            return Ok(());
        }
    }
    Err(busy().into())
}

pub(super) async fn memo(client: &mut Client, id: MigrationId, name: &str) -> Answer<Option<Memo>> {
    let sql = "SELECT true, m.at, m.text FROM {schema}.migrations AS g \
               LEFT JOIN {schema}.memos AS m ON m.migration = g.id AND m.name = $2 WHERE g.id = $1";
    let params: [Param<'_>; 2] = [(&id.uuid(), Type::UUID), (&text(name), Type::TEXT)];
    let found = client.read(sql, &params).await?;
    of_known(id, &found, |columns| {
        let (at, text) = (columns.optional_time()?, columns.next::<Option<String>>()?);
        Ok(at.zip(text).map(|(at, text)| Memo { at, text }))
    })
}

pub(super) async fn set_memo(
    client: &mut Client,
    id: MigrationId,
    name: &str,
    memo: &Memo,
) -> Answer<()> {
    let sql = "WITH written AS (INSERT INTO {schema}.memos (migration, name, at, text) \
                   SELECT g.id, $2, $3, $4 FROM {schema}.migrations AS g WHERE g.id = $1 \
                   ON CONFLICT (migration, name) \
                   DO UPDATE SET at = excluded.at, text = excluded.text) \
               SELECT EXISTS (SELECT FROM {schema}.migrations WHERE id = $1)";
    let params: [Param<'_>; 4] = [
        (&id.uuid(), Type::UUID),
        (&text(name), Type::TEXT),
        (&memo.at.micros(), Type::INT8),
        (&text(&memo.text), Type::TEXT),
    ];
    let found = client.write(sql, &params).await?;
    of_known(id, &found, |_| Ok(()))
}

pub(super) async fn checkpoint(client: &mut Client, tenant: TenantId, name: &str) -> Answer<u64> {
    let sql = "SELECT seq FROM {schema}.checkpoints WHERE tenant = $1 AND name_hash = $2";
    let hash = sha256(&[name.as_bytes()]);
    let params: [Param<'_>; 2] =
        [(&tenant.uuid(), Type::UUID), (&hash.as_bytes().as_slice(), Type::BYTEA)];
    let found = client.read(sql, &params).await?;
    Ok(first(&found, rows::seq)?.unwrap_or(0))
}

pub(super) async fn put_checkpoint(
    client: &mut Client,
    tenant: TenantId,
    name: &str,
    seq: u64,
) -> Answer<()> {
    let sql = "INSERT INTO {schema}.checkpoints (tenant, name_hash, name, seq) \
               VALUES ($1, $2, $3, $4) \
               ON CONFLICT (tenant, name_hash) DO UPDATE SET seq = excluded.seq";
    let hash = sha256(&[name.as_bytes()]);
    let params: [Param<'_>; 4] = [
        (&tenant.uuid(), Type::UUID),
        (&hash.as_bytes().as_slice(), Type::BYTEA),
        (&text(name), Type::TEXT),
        (&int(seq)?, Type::INT8),
    ];
    client.write(sql, &params).await?;
    Ok(())
}
