//! The statements on the control plane's tables.

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::removal::Removal;
use rehome_domain::route::Route;
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_ports::record::{write_options, write_state};
use rehome_ports::{Checkpoint, LeaseRow, Marks, Memo, Migrations};
use rusqlite::{Params, Row, Transaction};

use crate::error::FileError;
use crate::rows;

type Done<T> = Result<T, FileError>;

pub(super) fn one<T>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Done<T>,
) -> Done<Option<T>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    found.next()?.map(read).transpose()
}

pub(super) fn all<T>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Done<T>,
) -> Done<Vec<T>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut answer = Vec::new();
    while let Some(row) = found.next()? {
        answer.push(read(row)?);
    }
    Ok(answer)
}

pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn route(tx: &Transaction<'_>, tenant: TenantId) -> Done<Option<Route>> {
    let sql = format!("SELECT {} FROM routes WHERE tenant = ?1", rows::ROUTE);
    one(tx, &sql, [tenant.as_bytes().as_slice()], rows::route)
}

pub(super) fn routes(
    tx: &Transaction<'_>,
    after: Option<TenantId>,
    limit: usize,
) -> Done<Vec<Route>> {
    let sql =
        format!("SELECT {} FROM routes WHERE tenant > ?1 ORDER BY tenant LIMIT ?2", rows::ROUTE);
    let after = after.as_ref().map_or(&[][..], |tenant| tenant.as_bytes());
    all(tx, &sql, (after, at_most(limit)), rows::route)
}

/// Writes the row, and leaves its anchor of a log.
pub(super) fn put_route(tx: &Transaction<'_>, route: &Route) -> Done<()> {
    let sql = "INSERT INTO routes (tenant, rev, store, epoch, prev_epoch, n, m, base, migration, phase, \
             deadline_ms, created, rollback_window) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
         ON CONFLICT (tenant) DO UPDATE SET rev = ?2, store = ?3, epoch = ?4, prev_epoch = ?5, \
             n = ?6, m = ?7, base = ?8, migration = ?9, phase = ?10, deadline_ms = ?11, \
             created = ?12, rollback_window = ?13";
    let (migration, phase) = route.migration.unzip();
    tx.prepare_cached(sql)?.execute(rusqlite::params![
        route.tenant.as_bytes().as_slice(),
        rows::int(route.rev)?,
        route.store.as_str(),
        rows::int(route.epoch.0)?,
        rows::int(route.prev_epoch.0)?,
        rows::int(route.n.0)?,
        rows::int(route.m.0)?,
        rows::int(route.base)?,
        migration.as_ref().map(|id| id.as_bytes().as_slice()),
        phase.map(Phase::as_str),
        rows::int(route.deadline_ms)?,
        route.created,
        route.window,
    ])?;
    put_removal(tx, route)
}

fn put_removal(tx: &Transaction<'_>, route: &Route) -> Done<()> {
    let tenant = route.tenant.as_bytes().as_slice();
    let (epoch, events) = match route.removal {
        None => {
            let sql = "DELETE FROM removals WHERE tenant = ?1";
            tx.prepare_cached(sql)?.execute([tenant])?;
            return Ok(());
        }
        Some(Removal::Running { k, events }) => (k, Some(rows::int(events)?)),
        Some(Removal::Done) => (route.epoch, None),
    };
    let sql = "INSERT OR REPLACE INTO removals (tenant, epoch, events) VALUES (?1, ?2, ?3)";
    tx.prepare_cached(sql)?.execute((tenant, rows::int(epoch.0)?, events))?;
    Ok(())
}

/// Notes how far the migration's log was written, if it is the tenant's last one.
pub(super) fn anchor_log(tx: &Transaction<'_>, anchor: &LogAnchor) -> Done<()> {
    let sql =
        "UPDATE routes SET log_entry = ?3, log_hash = ?4 WHERE tenant = ?1 AND migration = ?2";
    let Followed { index, hash } = anchor.seen;
    tx.prepare_cached(sql)?.execute((
        anchor.tenant.as_bytes().as_slice(),
        anchor.migration.as_bytes().as_slice(),
        rows::int(index)?,
        hash.as_bytes().as_slice(),
    ))?;
    Ok(())
}

pub(super) fn log_anchors(
    tx: &Transaction<'_>,
    after: Option<TenantId>,
    limit: usize,
) -> Done<Vec<LogAnchor>> {
    let sql = "SELECT migration, tenant, log_entry, log_hash FROM routes \
               WHERE tenant > ?1 AND migration IS NOT NULL ORDER BY tenant LIMIT ?2";
    let after = after.as_ref().map_or(&[][..], |tenant| tenant.as_bytes());
    all(tx, sql, (after, at_most(limit)), rows::log_anchor)
}

pub(super) fn migration(tx: &Transaction<'_>, id: MigrationId) -> Done<Option<Migration>> {
    let sql = format!("SELECT {} FROM migrations WHERE id = ?1", rows::MIGRATION);
    one(tx, &sql, [id.as_bytes().as_slice()], rows::migration)
}

/// Newest first. A `before` that is not there has none before it.
pub(super) fn migrations(tx: &Transaction<'_>, which: Migrations) -> Done<Vec<Migration>> {
    let before = match which.before {
        None => None,
        Some(id) => match migration(tx, id)? {
            Some(migration) => Some((migration.created_at, id)),
            None => return Ok(Vec::new()),
        },
    };
    let mut conditions = vec!["TRUE"];
    if which.tenant.is_some() {
        conditions.push("tenant = ?1");
    }
    if which.phase.is_some() {
        conditions.push("phase = ?2");
    }
    if before.is_some() {
        conditions.push("(created_at, id) < (?3, ?4)");
    }
    let sql = format!(
        "SELECT {} FROM migrations WHERE {} ORDER BY created_at DESC, id DESC LIMIT ?5",
        rows::MIGRATION,
        conditions.join(" AND ")
    );
    let params = rusqlite::params![
        which.tenant.as_ref().map(|tenant| tenant.as_bytes().as_slice()),
        which.phase.map(Phase::as_str),
        before.as_ref().map(|(created_at, _)| created_at.micros()),
        before.as_ref().map(|(_, id)| id.as_bytes().as_slice()),
        at_most(which.limit),
    ];
    all(tx, &sql, params, rows::migration)
}

pub(super) fn put_migration(tx: &Transaction<'_>, migration: &Migration) -> Done<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO migrations ({}, phase) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        rows::MIGRATION
    );
    tx.prepare_cached(&sql)?.execute(rusqlite::params![
        migration.id.as_bytes().as_slice(),
        migration.tenant.as_bytes().as_slice(),
        migration.source.as_str(),
        migration.target.as_str(),
        rows::int(migration.m.0)?,
        write_state(migration.state, &migration.violations),
        write_options(&migration.options),
        migration.cutover_attempts,
        migration.created_at.micros(),
        migration.started_at.map(Timestamp::micros),
        migration.completed_at.map(Timestamp::micros),
        migration.error.as_deref(),
        migration.state.phase().as_str(),
    ])?;
    Ok(())
}

pub(super) fn lease(tx: &Transaction<'_>, id: MigrationId) -> Done<Option<LeaseRow>> {
    let sql = "SELECT holder, expires_at, length_ms FROM leases WHERE migration = ?1";
    one(tx, sql, [id.as_bytes().as_slice()], lease_row)
}

fn lease_row(row: &Row<'_>) -> Done<LeaseRow> {
    let expires_at = Timestamp::from_micros(row.get(1)?);
    let length_ms = row.get::<_, Option<i64>>(2)?.and_then(|ms| u64::try_from(ms).ok());
    Ok(LeaseRow { holder: row.get(0)?, expires_at, length_ms })
}

/// All whose time has not run out by the clock.
pub(super) fn leases(tx: &Transaction<'_>, now: Timestamp) -> Done<Vec<(MigrationId, LeaseRow)>> {
    let sql = "SELECT holder, expires_at, length_ms, migration FROM leases WHERE expires_at > ?1";
    all(tx, sql, [now.micros()], |row| Ok((rows::migration_id(row, 3)?, lease_row(row)?)))
}

pub(super) fn put_lease(tx: &Transaction<'_>, id: MigrationId, lease: &LeaseRow) -> Done<()> {
    let sql = "INSERT OR REPLACE INTO leases (migration, holder, expires_at, length_ms) \
               VALUES (?1, ?2, ?3, ?4)";
    let params = (
        id.as_bytes().as_slice(),
        lease.holder.as_str(),
        lease.expires_at.micros(),
        lease.length_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
    );
    tx.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

pub(super) fn remove_lease(tx: &Transaction<'_>, id: MigrationId, holder: &str) -> Done<()> {
    let sql = "DELETE FROM leases WHERE migration = ?1 AND holder = ?2";
    tx.prepare_cached(sql)?.execute((id.as_bytes().as_slice(), holder))?;
    Ok(())
}

pub(super) fn marks(tx: &Transaction<'_>, id: MigrationId) -> Done<Option<Marks>> {
    let sql = format!("SELECT {} FROM marks WHERE migration = ?1", rows::MARKS);
    one(tx, &sql, [id.as_bytes().as_slice()], rows::marks)
}

pub(super) fn put_marks(tx: &Transaction<'_>, id: MigrationId, marks: &Marks) -> Done<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO marks (migration, {}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        rows::MARKS
    );
    let read_back = marks.read_back.as_ref();
    tx.prepare_cached(&sql)?.execute((
        id.as_bytes().as_slice(),
        read_back.map(|mark| rows::int(mark.m.0)).transpose()?,
        read_back.map(|mark| rows::int(mark.head.seq)).transpose()?,
        read_back.map(|mark| mark.head.digest.as_bytes().as_slice()),
        // SQLite cannot store NaN.
        if marks.copy_rate.is_nan() { 0.0 } else { marks.copy_rate },
        marks.verified_seq.map(rows::int).transpose()?,
        marks.updated_at.micros(),
    ))?;
    Ok(())
}

pub(super) fn memo(tx: &Transaction<'_>, id: MigrationId, name: &str) -> Done<Option<Memo>> {
    let sql = "SELECT at, text FROM memos WHERE migration = ?1 AND name = ?2";
    one(tx, sql, (id.as_bytes().as_slice(), name), |row| {
        Ok(Memo { at: Timestamp::from_micros(row.get(0)?), text: row.get(1)? })
    })
}

pub(super) fn put_memo(tx: &Transaction<'_>, id: MigrationId, name: &str, memo: &Memo) -> Done<()> {
    let sql = "INSERT OR REPLACE INTO memos (migration, name, at, text) VALUES (?1, ?2, ?3, ?4)";
    let params = (id.as_bytes().as_slice(), name, memo.at.micros(), &memo.text);
    tx.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

pub(super) fn checkpoint(tx: &Transaction<'_>, tenant: TenantId, name: &str) -> Done<u64> {
    let sql = "SELECT seq FROM checkpoints WHERE tenant = ?1 AND name = ?2";
    let params = (tenant.as_bytes().as_slice(), name);
    Ok(one(tx, sql, params, |row| rows::count(row, 0))?.unwrap_or(0))
}

pub(super) fn checkpoints(
    tx: &Transaction<'_>,
    tenant: TenantId,
    limit: usize,
) -> Done<Vec<Checkpoint>> {
    let sql = "SELECT tenant, name, seq FROM checkpoints WHERE tenant = ?1 ORDER BY name LIMIT ?2";
    let params = (tenant.as_bytes().as_slice(), at_most(limit));
    all(tx, sql, params, rows::checkpoint)
}

pub(super) fn furthest_checkpoints(
    tx: &Transaction<'_>,
    after: Option<TenantId>,
    limit: usize,
) -> Done<Vec<Checkpoint>> {
    // SQLite returns the name of the row with the maximum.
    let sql = "SELECT tenant, name, max(seq) FROM checkpoints WHERE tenant > ?1 \
               GROUP BY tenant ORDER BY tenant LIMIT ?2";
    let after = after.as_ref().map_or(&[][..], |tenant| tenant.as_bytes());
    all(tx, sql, (after, at_most(limit)), rows::checkpoint)
}

/// Removes all of the tenant.
pub(super) fn remove_checkpoints(tx: &Transaction<'_>, tenant: TenantId) -> Done<()> {
    let sql = "DELETE FROM checkpoints WHERE tenant = ?1";
    tx.prepare_cached(sql)?.execute([tenant.as_bytes().as_slice()])?;
    Ok(())
}

pub(super) fn put_checkpoint(
    tx: &Transaction<'_>,
    tenant: TenantId,
    name: &str,
    seq: u64,
) -> Done<()> {
    let sql = "INSERT OR REPLACE INTO checkpoints (tenant, name, seq) VALUES (?1, ?2, ?3)";
    let params = (tenant.as_bytes().as_slice(), name, rows::int(seq)?);
    tx.prepare_cached(sql)?.execute(params)?;
    Ok(())
}
