//! The control plane's file: routes, migrations, logs.

use std::path::Path;

use anyhow::Result;
use rusqlite::{OptionalExtension as _, Row};
use sha2::{Digest as _, Sha256};

use super::store::{self, count, length};
use super::{Id, Violation};

/// A tenant's route row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Moves with every change.
    pub rev: u64,
    /// The store that has the authority.
    pub store: String,
    /// The epoch under which it is, or is to be, active.
    pub epoch: u64,
    /// The highest epoch handed out.
    pub n: u64,
    /// Events that the store must hold.
    pub base: u64,
    /// Where the tenant's last migration stands.
    pub phase: Option<String>,
    /// A rollback window is open.
    pub window: bool,
}

/// A migration's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Which.
    pub id: Id,
    /// Where it stands.
    pub phase: String,
    /// All of it, as it is kept.
    pub state: String,
    /// Cutovers begun.
    pub cutover_attempts: u64,
    /// Its last entry in the log.
    pub log_entries: u64,
}

/// The tenant's route, if there is one.
pub fn route(control: &Path, tenant: Id) -> Result<Option<Route>> {
    let read = |row: &Row<'_>| {
        Ok(Route {
            rev: count(row, 0)?,
            store: row.get(1)?,
            epoch: count(row, 2)?,
            n: count(row, 3)?,
            base: count(row, 4)?,
            phase: row.get(5)?,
            window: row.get(6)?,
        })
    };
    let sql = "SELECT rev, store, epoch, n, base, phase, rollback_window FROM routes
               WHERE tenant = ?1";
    Ok(store::open(control)?.query_row(sql, [tenant.as_slice()], read).optional()?)
}

/// The tenant's migrations, oldest first.
pub fn migrations(control: &Path, tenant: Id) -> Result<Vec<Migration>> {
    let connection = store::open(control)?;
    let mut rows = connection.prepare(
        "SELECT id, phase, state, cutover_attempts,
                (SELECT coalesce(max(entry), 0) FROM log WHERE migration = id)
         FROM migrations WHERE tenant = ?1 ORDER BY created_at, id",
    )?;
    let found = rows.query_map([tenant.as_slice()], |row| {
        Ok(Migration {
            id: row.get(0)?,
            phase: row.get(1)?,
            state: row.get(2)?,
            cutover_attempts: count(row, 3)?,
            log_entries: count(row, 4)?,
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// `hash(n) = SHA-256(hash(n-1) ‖ u64 entry ‖ i64 at ‖ str actor ‖ str fact)`, without gaps.
pub(super) fn check_logs(control: &Path, tenant: Id, found: &mut Vec<Violation>) -> Result<()> {
    let connection = store::open(control)?;
    let mut rows = connection
        .prepare("SELECT entry, at, actor, fact, hash FROM log WHERE migration = ?1 ORDER BY 1")?;
    for migration in migrations(control, tenant)? {
        let entries = rows.query_map([migration.id.as_slice()], |row| {
            Ok((count(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
        let mut last = vec![0; 32];
        for (expected, entry) in (1_u64..).zip(entries) {
            let (entry, at, actor, fact, hash): (u64, i64, String, String, Vec<u8>) = entry?;
            let mut bytes = last;
            bytes.extend(entry.to_be_bytes());
            bytes.extend(at.to_be_bytes());
            for text in [actor, fact] {
                bytes.extend(length(&text));
                bytes.extend(text.as_bytes());
            }
            if entry != expected || Sha256::digest(&bytes).as_slice() != hash {
                found.push(Violation::Log { migration: migration.id, entry: expected });
                break;
            }
            last = hash;
        }
    }
    Ok(())
}
