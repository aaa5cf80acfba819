//! The rows of drains to domain values.

use rehome_domain::digest::Digest;
use rehome_domain::drain::{Counts, Drain, State, Tenant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, MigrationId, StoreId, TenantId};
use rehome_ports::DrainEntry;
use rehome_ports::fleet_record::{read_drain_fact, read_settings, read_tenant_state};

use super::super::rows::Columns;
use crate::error::ServerError;

type Read<T> = Result<T, ServerError>;

/// The columns of [`drain`].
pub(super) const DRAIN: &str = "d.id, d.entries, d.hash, d.state, d.settings, d.waiting, d.again, \
     d.moving, d.moved, d.set_aside, d.stays, d.events, d.events_moved, d.failures, \
     d.released_minute, d.released, d.created_at, d.created_by, d.ended_at, d.tenants_left";

/// The columns of [`tenant`].
pub(super) const TENANT: &str = "t.tenant, t.place, t.source, t.events, t.target, t.state, t.stay, \
     t.tries, t.migration, t.holder, t.released, t.why, t.since";

#[expect(clippy::needless_pass_by_value, reason = "as errors are mapped")]
fn corrupt(why: impl ToString) -> ServerError {
    ServerError::corrupt(why.to_string())
}

fn small(columns: &mut Columns<'_>) -> Read<u32> {
    u32::try_from(columns.count()?).map_err(corrupt)
}

fn store(text: &str) -> Read<StoreId> {
    text.parse().map_err(corrupt)
}

/// A drain and the hash of the last entry of its log.
pub(super) fn drain(columns: &mut Columns<'_>) -> Read<(Drain, Digest)> {
    let (id, entries) = (DrainId::new(columns.next()?), columns.count()?);
    let (hash, state): (_, &str) = (columns.digest()?, columns.next()?);
    let state = State::parse(state).ok_or_else(|| corrupt(format!("the state {state:?}")))?;
    let settings = read_settings(columns.next()?).map_err(corrupt)?;
    let counts = Counts {
        waiting: columns.count()?,
        again: columns.count()?,
        moving: columns.count()?,
        moved: columns.count()?,
        set_aside: columns.count()?,
        stays: columns.count()?,
        events: columns.count()?,
        events_moved: columns.count()?,
    };
    let failures = small(columns)?;
    let drain = Drain {
        id,
        entries,
        state,
        settings,
        counts,
        failures,
        released: (columns.next()?, small(columns)?),
        created_at: Timestamp::from_micros(columns.next()?),
        created_by: columns.next()?,
        ended_at: columns.optional_time()?,
        left: columns.next::<Option<i64>>()?.map(u64::try_from).transpose().map_err(corrupt)?,
    };
    Ok((drain, hash))
}

/// A tenant of a drain.
pub(super) fn tenant(columns: &mut Columns<'_>) -> Read<Tenant> {
    let (tenant, place) = (TenantId::new(columns.next()?), columns.count()?);
    let (source, events) = (store(columns.next()?)?, columns.count()?);
    let target = columns.next::<Option<&str>>()?.map(store).transpose()?;
    let (state, stay): (&str, Option<&str>) = (columns.next()?, columns.next()?);
    let state = read_tenant_state(state, stay).map_err(corrupt)?;
    Ok(Tenant {
        tenant,
        place,
        source,
        events,
        target,
        state,
        tries: small(columns)?,
        migration: columns.next::<Option<_>>()?.map(MigrationId::new),
        by: columns.next::<Option<String>>()?.map(Into::into),
        released: columns.next()?,
        why: columns.next::<Option<String>>()?.map(Into::into),
        since: Timestamp::from_micros(columns.next()?),
    })
}

/// An entry of a drain's log: entry, at, actor, fact, hash.
pub(super) fn entry(columns: &mut Columns<'_>) -> Read<DrainEntry> {
    let (index, at) = (columns.count()?, Timestamp::from_micros(columns.next()?));
    let (actor, text): (String, String) = (columns.next()?, columns.next()?);
    let (fact, hash) = (read_drain_fact(&text).map_err(corrupt)?, columns.digest()?);
    Ok(DrainEntry { index, at, actor, fact, text, hash })
}
