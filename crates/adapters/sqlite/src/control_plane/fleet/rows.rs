//! The rows of drains to domain values.

use rehome_domain::digest::Digest;
use rehome_domain::drain::{Counts, Drain, State, Tenant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, MigrationId, StoreId};
use rehome_ports::DrainEntry;
use rehome_ports::fleet_record::{read_drain_fact, read_settings, read_tenant_state};
use rusqlite::Row;

use crate::error::FileError;
use crate::rows;

type Read<T> = Result<T, FileError>;

/// The columns of [`drain`].
pub(super) const DRAIN: &str = "id, entries, hash, state, settings, waiting, again, moving, moved, \
     set_aside, stays, events, events_moved, failures, released_minute, released, created_at, \
     created_by, ended_at, tenants_left";

/// The columns of [`tenant`].
pub(super) const TENANT: &str = "tenant, place, source, events, target, state, stay, tries, \
     migration, holder, released, why, since";

fn small(row: &Row<'_>, column: usize) -> Read<u32> {
    let value = rows::count(row, column)?;
    u32::try_from(value).map_err(|_| FileError::corrupt(format!("the number {value}")))
}

#[expect(clippy::needless_pass_by_value, reason = "as errors are mapped")]
fn corrupt(why: impl ToString) -> FileError {
    FileError::corrupt(why.to_string())
}

fn store(text: &str) -> Read<StoreId> {
    text.parse().map_err(corrupt)
}

/// A drain and the hash of the last entry of its log.
pub(super) fn drain(row: &Row<'_>) -> Read<(Drain, Digest)> {
    let id: Vec<u8> = row.get(0)?;
    let (state, settings): (String, String) = (row.get(3)?, row.get(4)?);
    let left: Option<i64> = row.get(19)?;
    let drain = Drain {
        id: DrainId::from_slice(&id).ok_or_else(|| corrupt("an invalid drain id"))?,
        entries: rows::count(row, 1)?,
        state: State::parse(&state).ok_or_else(|| corrupt(format!("the state {state:?}")))?,
        settings: read_settings(&settings).map_err(corrupt)?,
        counts: Counts {
            waiting: rows::count(row, 5)?,
            again: rows::count(row, 6)?,
            moving: rows::count(row, 7)?,
            moved: rows::count(row, 8)?,
            set_aside: rows::count(row, 9)?,
            stays: rows::count(row, 10)?,
            events: rows::count(row, 11)?,
            events_moved: rows::count(row, 12)?,
        },
        failures: small(row, 13)?,
        released: (row.get(14)?, small(row, 15)?),
        created_at: Timestamp::from_micros(row.get(16)?),
        created_by: row.get(17)?,
        ended_at: row.get::<_, Option<i64>>(18)?.map(Timestamp::from_micros),
        left: left.map(u64::try_from).transpose().map_err(corrupt)?,
    };
    Ok((drain, rows::digest(row, 2)?))
}

/// A tenant of a drain.
pub(super) fn tenant(row: &Row<'_>) -> Read<Tenant> {
    let (source, target): (String, Option<String>) = (row.get(2)?, row.get(4)?);
    let (state, stay): (String, Option<String>) = (row.get(5)?, row.get(6)?);
    let migration: Option<Vec<u8>> = row.get(8)?;
    let migration = migration
        .map(|id| MigrationId::from_slice(&id).ok_or_else(|| corrupt("an invalid migration id")));
    let text = |column| Ok::<_, FileError>(row.get::<_, Option<String>>(column)?.map(Into::into));
    Ok(Tenant {
        tenant: rows::tenant(row, 0)?,
        place: rows::count(row, 1)?,
        source: store(&source)?,
        events: rows::count(row, 3)?,
        target: target.as_deref().map(store).transpose()?,
        state: read_tenant_state(&state, stay.as_deref()).map_err(corrupt)?,
        tries: small(row, 7)?,
        migration: migration.transpose()?,
        by: text(9)?,
        released: row.get(10)?,
        why: text(11)?,
        since: Timestamp::from_micros(row.get(12)?),
    })
}

/// An entry of a drain's log: entry, at, actor, fact, hash.
pub(super) fn entry(row: &Row<'_>) -> Read<DrainEntry> {
    let text: String = row.get(3)?;
    Ok(DrainEntry {
        index: rows::count(row, 0)?,
        at: Timestamp::from_micros(row.get(1)?),
        actor: row.get(2)?,
        fact: read_drain_fact(&text).map_err(corrupt)?,
        text,
        hash: rows::digest(row, 4)?,
    })
}
