//! The statements on drains, their tenants, their logs, and who works on them.

use std::collections::BTreeMap;

use rehome_domain::digest::Digest;
use rehome_domain::drain::{Drain, Fact, Tenant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_ports::fleet_record::{stay_word, write_drain_fact, write_settings};
use rehome_ports::record::log_hash;
use rehome_ports::{
    AttendRequest, Attendance, ControlError, DrainChange, DrainEntry, DrainTenants, Drains, Follow,
    LeaseRow, LeaseWatch, NewDrain,
};
use rusqlite::{Transaction, params};

use super::super::Answer;
use super::super::tables::{all, at_most, one};
use super::{notices, rows};
use crate::error::FileError;
use crate::rows::int;

type Done<T> = Result<T, FileError>;

/// A drain and the hash of the last entry of its log.
pub(super) fn drain(tx: &Transaction<'_>, id: DrainId) -> Done<Option<(Drain, Digest)>> {
    let sql = format!("SELECT {} FROM drains WHERE id = ?1", rows::DRAIN);
    one(tx, &sql, [id.as_bytes().as_slice()], rows::drain)
}

fn put_drain(tx: &Transaction<'_>, drain: &Drain, hash: &Digest) -> Done<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO drains ({}, over) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
         ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        rows::DRAIN
    );
    let counts = drain.counts;
    tx.prepare_cached(&sql)?.execute(params![
        drain.id.as_bytes().as_slice(),
        int(drain.entries)?,
        hash.as_bytes().as_slice(),
        drain.state.as_str(),
        write_settings(&drain.settings),
        int(counts.waiting)?,
        int(counts.again)?,
        int(counts.moving)?,
        int(counts.moved)?,
        int(counts.set_aside)?,
        int(counts.stays)?,
        int(counts.events)?,
        int(counts.events_moved)?,
        drain.failures,
        drain.released.0,
        drain.released.1,
        drain.created_at.micros(),
        drain.created_by,
        drain.ended_at.map(Timestamp::micros),
        drain.left.map(int).transpose()?,
        drain.state.is_over(),
    ])?;
    Ok(())
}

fn put_tenant(tx: &Transaction<'_>, drain: DrainId, row: &Tenant) -> Done<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO drain_tenants (drain, {}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        rows::TENANT
    );
    tx.prepare_cached(&sql)?.execute(params![
        drain.as_bytes().as_slice(),
        row.tenant.as_bytes().as_slice(),
        int(row.place)?,
        row.source.as_str(),
        int(row.events)?,
        row.target.as_ref().map(StoreId::as_str),
        row.state.as_str(),
        stay_word(row.state),
        row.tries,
        row.migration.as_ref().map(|id| id.as_bytes().as_slice()),
        row.by.as_deref(),
        row.released,
        row.why.as_deref(),
        row.since.micros(),
    ])?;
    Ok(())
}

/// Adds facts to a drain's log after `last`; answers the hash of the last one.
fn put_log(
    tx: &Transaction<'_>,
    id: DrainId,
    (mut index, mut hash): (u64, Digest),
    facts: &[Fact],
    actor: &str,
    at: Timestamp,
) -> Done<Digest> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO drain_log (drain, entry, at, actor, fact, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for fact in facts {
        index += 1;
        let text = write_drain_fact(fact);
        hash = log_hash(&hash, index, at, actor, &text);
        let drain = id.as_bytes().as_slice();
        let hash = hash.as_bytes().as_slice();
        statement.execute((drain, int(index)?, at.micros(), actor, text, hash))?;
    }
    Ok(hash)
}

/// Stores a new drain.
pub(super) fn start(tx: &Transaction<'_>, new: &NewDrain, at: Timestamp) -> Done<Drain> {
    let (drain, fact) = new.begin(at);
    let hash = put_log(tx, new.id, (0, Digest::EMPTY), &[fact], &new.actor, at)?;
    put_drain(tx, &drain, &hash)?;
    for row in &new.tenants {
        put_tenant(tx, new.id, row)?;
    }
    Ok(drain)
}

/// Records facts, all or none.
pub(super) fn record(tx: &Transaction<'_>, change: &DrainChange, at: Timestamp) -> Answer<Drain> {
    let found = drain(tx, change.drain)?;
    let (before, hash) = found.ok_or(ControlError::UnknownDrain(change.drain))?;
    let (mut about, mut pinned) = (BTreeMap::new(), Vec::new());
    for id in change.facts.iter().filter_map(Fact::tenant) {
        about.extend(tenant(tx, change.drain, id)?.map(|row| (id, row)));
        if notices::is_pinned(tx, id)? {
            pinned.push(id);
        }
    }
    let followed = Follow::apply(&before, about, |id| pinned.contains(&id), &change.facts, at)
        .map_err(ControlError::from)?;
    let last = (before.entries, hash);
    let hash = put_log(tx, change.drain, last, &change.facts, &change.actor, at)?;
    put_drain(tx, &followed.drain, &hash)?;
    for row in followed.rows.values() {
        put_tenant(tx, change.drain, row)?;
    }
    Ok(followed.drain)
}

/// Newest first. A `before` that is not there has none before it.
pub(super) fn list(tx: &Transaction<'_>, which: Drains) -> Done<Vec<Drain>> {
    let before = match which.before {
        None => None,
        Some(id) => match drain(tx, id)? {
            Some((before, _)) => Some((before.created_at.micros(), id)),
            None => return Ok(Vec::new()),
        },
    };
    let sql = format!(
        "SELECT {} FROM drains WHERE (?1 IS NULL OR (created_at, id) < (?1, ?2)) \
         AND (?3 = 0 OR over = 0) ORDER BY created_at DESC, id DESC LIMIT ?4",
        rows::DRAIN
    );
    let (at, id) = before.unzip();
    let id = id.as_ref().map(|id| id.as_bytes().as_slice());
    let found = all(tx, &sql, (at, id, which.open, at_most(which.limit)), rows::drain)?;
    Ok(found.into_iter().map(|(drain, _)| drain).collect())
}

pub(super) fn log(
    tx: &Transaction<'_>,
    id: DrainId,
    after: u64,
    limit: usize,
) -> Done<Vec<DrainEntry>> {
    let sql = "SELECT entry, at, actor, fact, hash FROM drain_log WHERE drain = ?1 AND entry > ?2 \
               ORDER BY entry LIMIT ?3";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    all(tx, sql, (id.as_bytes().as_slice(), after, at_most(limit)), rows::entry)
}

pub(super) fn tenants(tx: &Transaction<'_>, which: DrainTenants) -> Done<Vec<Tenant>> {
    let by_state = if which.state.is_some() { "AND state = ?2" } else { "AND ?2 IS NULL" };
    let sql = format!(
        "SELECT {} FROM drain_tenants WHERE drain = ?1 {by_state} AND place > ?3 \
         ORDER BY place LIMIT ?4",
        rows::TENANT
    );
    let after = i64::try_from(which.after).unwrap_or(i64::MAX);
    let id = which.drain.as_bytes().as_slice();
    all(tx, &sql, (id, which.state, after, at_most(which.limit)), rows::tenant)
}

pub(super) fn tenant(
    tx: &Transaction<'_>,
    drain: DrainId,
    tenant: TenantId,
) -> Done<Option<Tenant>> {
    let sql =
        format!("SELECT {} FROM drain_tenants WHERE drain = ?1 AND tenant = ?2", rows::TENANT);
    one(tx, &sql, (drain.as_bytes().as_slice(), tenant.as_bytes().as_slice()), rows::tenant)
}

pub(super) fn attend(tx: &Transaction<'_>, request: &AttendRequest, now: Timestamp) -> Done<()> {
    let ttl_us = i64::try_from(request.ttl_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO drain_workers (drain, holder, expires_at, length_ms) \
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((
        request.drain.as_bytes().as_slice(),
        &request.holder,
        now.micros().saturating_add(ttl_us),
        int(request.ttl_ms)?,
    ))?;
    Ok(())
}

pub(super) fn attending(
    tx: &Transaction<'_>,
    id: DrainId,
    watch: &LeaseWatch<(DrainId, String)>,
    now: Timestamp,
) -> Done<Attendance> {
    let sql = "SELECT holder, expires_at, length_ms FROM drain_workers WHERE drain = ?1 \
               ORDER BY holder";
    let found = all(tx, sql, [id.as_bytes().as_slice()], |row| {
        let expires_at = Timestamp::from_micros(row.get(1)?);
        let length_ms = Some(crate::rows::count(row, 2)?);
        Ok(LeaseRow { holder: row.get(0)?, expires_at, length_ms })
    })?;
    let live = found.into_iter().filter_map(|row| {
        let key = (id, row.holder.clone());
        Some(watch.active(key, Some(row), now)?.holder)
    });
    Ok(live.collect())
}

pub(super) fn leave(tx: &Transaction<'_>, id: DrainId, holder: &str) -> Done<()> {
    let sql = "DELETE FROM drain_workers WHERE drain = ?1 AND holder = ?2";
    tx.execute(sql, (id.as_bytes().as_slice(), holder))?;
    Ok(())
}
