//! Rows to domain values and back. What a row holds is checked: a value that cannot be is
//! [`FaultKind::Corrupt`](rehome_ports::FaultKind::Corrupt), never a guess.

use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, EventType, Json, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Head, Ledger, Role};
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::removal::Removal;
use rehome_domain::route::Route;
use rehome_domain::stream::StreamName;
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_ports::record::{read_fact, read_options, read_state};
use rehome_ports::{Checkpoint, LogEntry, Marks, ReadBackMark};
use rusqlite::Row;

use crate::error::FileError;

type Read<T> = Result<T, FileError>;

/// Bits of a position that number a tenant's events.
const SEQ_BITS: u32 = 40;
/// The highest number of an event.
pub(crate) const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;
/// The highest number of a tenant in one store.
const TENANT_NO_MAX: i64 = (1 << (63 - SEQ_BITS)) - 1;

/// A tenant's number in one store: where its events lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TenantNo(i64);

impl TenantNo {
    /// The next number after the highest one in use.
    pub(crate) fn after(highest: i64) -> Read<Self> {
        if highest >= TENANT_NO_MAX {
            let why = format!("{highest} tenants, more than a store can hold");
            return Err(FileError::corrupt(why));
        }
        Ok(Self(highest + 1))
    }

    pub(crate) const fn number(self) -> i64 {
        self.0
    }

    /// Where event `seq` lies; past all of the tenant's events if there can be no such event.
    pub(crate) fn position(self, seq: u64) -> i64 {
        let seq = seq.min(SEQ_MAX).cast_signed();
        (self.0 << SEQ_BITS) | seq
    }

    /// The last position that the tenant's events can have.
    pub(crate) fn last_position(self) -> i64 {
        self.position(SEQ_MAX)
    }

    /// Where a new event goes; refuses a number that no row can have.
    pub(crate) fn new_position(self, seq: u64) -> Read<i64> {
        if seq > SEQ_MAX {
            return Err(FileError::corrupt(format!("{seq} events, more than a tenant can have")));
        }
        Ok(self.position(seq))
    }
}

/// The number of the event at `position` within its tenant.
pub(crate) const fn seq_of(position: i64) -> u64 {
    position.cast_unsigned() & SEQ_MAX
}

/// A count in SQLite's form.
pub(crate) fn int(count: u64) -> Read<i64> {
    i64::try_from(count).map_err(|_| FileError::corrupt(format!("the number {count}")))
}

/// A stored count.
pub(crate) fn count(row: &Row<'_>, column: usize) -> Read<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| FileError::corrupt(format!("the number {value}")))
}

fn optional_count(row: &Row<'_>, column: usize) -> Read<Option<u64>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => count(row, column).map(Some),
    }
}

fn time(row: &Row<'_>, column: usize) -> Read<Timestamp> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

fn blob<T>(
    row: &Row<'_>,
    column: usize,
    what: &str,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Read<T> {
    read(row.get_ref(column)?.as_blob()?).ok_or_else(|| FileError::corrupt(what))
}

pub(crate) fn digest(row: &Row<'_>, column: usize) -> Read<Digest> {
    blob(row, column, "a digest that is not 32 bytes long", Digest::from_slice)
}

pub(crate) fn tenant(row: &Row<'_>, column: usize) -> Read<TenantId> {
    blob(row, column, "a tenant id that is not 16 bytes long", TenantId::from_slice)
}

/// A checkpoint: tenant, name, position.
pub(crate) fn checkpoint(row: &Row<'_>) -> Read<Checkpoint> {
    Ok(Checkpoint { tenant: tenant(row, 0)?, name: row.get(1)?, seq: count(row, 2)? })
}

pub(crate) fn migration_id(row: &Row<'_>, column: usize) -> Read<MigrationId> {
    blob(row, column, "a migration id that is not 16 bytes long", MigrationId::from_slice)
}

fn store_id(row: &Row<'_>, column: usize) -> Read<StoreId> {
    row.get_ref(column)?.as_str()?.parse().map_err(|e| FileError::corrupt(format!("{e}")))
}

/// Columns of [`ledger`].
pub(crate) const LEDGER: &str = "tenant_no, role, epoch, seq, digest";

/// A ledger row from [`LEDGER`], and the tenant's number.
pub(crate) fn ledger(row: &Row<'_>) -> Read<(TenantNo, Ledger)> {
    let role = row.get_ref(1)?.as_str()?;
    let role =
        Role::parse(role).ok_or_else(|| FileError::corrupt("a ledger with an unknown role"))?;
    let head = Head { seq: count(row, 3)?, digest: digest(row, 4)? };
    Ok((TenantNo(row.get(0)?), Ledger { role, epoch: Epoch(count(row, 2)?), head }))
}

/// A stream's name from two columns beginning with `first`.
pub(crate) fn stream_name(row: &Row<'_>, first: usize) -> Read<StreamName> {
    let (kind, id) = (row.get_ref(first)?.as_str()?, row.get_ref(first + 1)?.as_str()?);
    StreamName::new(kind, id).map_err(|e| FileError::corrupt(e.to_string()))
}

/// Columns of [`event`]; `stream_no` is the second.
pub(crate) const EVENT: &str = "position, stream_no, version, event_id, event_type, occurred_at, \
     recorded_at, data, metadata, digest";

/// An event of `stream` from [`EVENT`].
pub(crate) fn event(row: &Row<'_>, stream: StreamName) -> Read<Event> {
    let seq = seq_of(row.get(0)?);
    let payload = |column, name| match row.get_ref(column)?.as_str_or_null() {
        Ok(Some(text)) => Ok(Json::trusted(text)),
        Ok(None) => Err(FileError::corrupt(format!("event {seq} without its {name}"))),
        Err(e) => Err(FileError::corrupt(format!("event {seq} with a damaged {name} ({e})"))),
    };
    let event_type = row.get_ref(4)?.as_str()?;
    Ok(Event {
        seq,
        stream,
        version: count(row, 2)?,
        id: blob(row, 3, "an event id that is not 16 bytes long", EventId::from_slice)?,
        event_type: EventType::new(event_type)
            .map_err(|e| FileError::corrupt(format!("event {seq}: {e}")))?,
        occurred_at: time(row, 5)?,
        recorded_at: time(row, 6)?,
        data: payload(7, "data")?,
        metadata: payload(8, "metadata")?,
        digest: digest(row, 9)?,
        row: None,
    })
}

/// Columns of [`route`].
pub(crate) const ROUTE: &str = "tenant, rev, store, epoch, prev_epoch, n, m, base, migration, \
     phase, deadline_ms, created, rollback_window, \
     (SELECT epoch FROM removals AS x WHERE x.tenant = routes.tenant), \
     (SELECT events FROM removals AS x WHERE x.tenant = routes.tenant)";

/// A route from [`ROUTE`].
pub(crate) fn route(row: &Row<'_>) -> Read<Route> {
    let epoch = |column| count(row, column).map(Epoch);
    let migration = match row.get_ref(9)?.as_str_or_null()? {
        None => None,
        Some(phase) => {
            let phase = Phase::parse(phase)
                .ok_or_else(|| FileError::corrupt("a route with an unknown phase"))?;
            Some((migration_id(row, 8)?, phase))
        }
    };
    Ok(Route {
        tenant: tenant(row, 0)?,
        rev: count(row, 1)?,
        store: store_id(row, 2)?,
        epoch: epoch(3)?,
        prev_epoch: epoch(4)?,
        n: epoch(5)?,
        m: epoch(6)?,
        base: count(row, 7)?,
        migration,
        deadline_ms: count(row, 10)?,
        created: row.get(11)?,
        window: row.get(12)?,
        removal: removal(row)?,
    })
}

fn removal(row: &Row<'_>) -> Read<Option<Removal>> {
    let number =
        |column| row.get::<_, Option<i64>>(column)?.map(|_| count(row, column)).transpose();
    let (k, events) = (number(13)?.map(Epoch), number(14)?);
    Ok(k.map(|k| events.map_or(Removal::Done, |events| Removal::Running { k, events })))
}

/// Columns of [`migration`].
pub(crate) const MIGRATION: &str = "id, tenant, source, target, m, state, options, \
     cutover_attempts, created_at, started_at, completed_at, error";

/// A migration from [`MIGRATION`].
pub(crate) fn migration(row: &Row<'_>) -> Read<Migration> {
    let unreadable = |e: rehome_ports::record::Unreadable| FileError::corrupt(e.to_string());
    let optional_time =
        |column| Ok::<_, FileError>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros));
    let (state, violations) = read_state(row.get_ref(5)?.as_str()?).map_err(unreadable)?;
    Ok(Migration {
        id: migration_id(row, 0)?,
        tenant: tenant(row, 1)?,
        source: store_id(row, 2)?,
        target: store_id(row, 3)?,
        m: Epoch(count(row, 4)?),
        state,
        options: read_options(row.get_ref(6)?.as_str()?).map_err(unreadable)?,
        cutover_attempts: row.get(7)?,
        created_at: time(row, 8)?,
        started_at: optional_time(9)?,
        completed_at: optional_time(10)?,
        error: row.get::<_, Option<Box<str>>>(11)?,
        violations,
    })
}

/// Columns of [`log_entry`].
pub(crate) const LOG: &str = "entry, at, actor, fact, hash";

/// A log entry from [`LOG`].
pub(crate) fn log_entry(row: &Row<'_>) -> Read<LogEntry> {
    let fact = row.get_ref(3)?.as_str()?;
    Ok(LogEntry {
        index: count(row, 0)?,
        at: time(row, 1)?,
        actor: row.get(2)?,
        fact: read_fact(fact).map_err(|e| FileError::corrupt(e.to_string()))?,
        text: fact.to_owned(),
        hash: digest(row, 4)?,
    })
}

/// An anchor of a log: migration, tenant, entry, hash. No entry: the migration is named only.
pub(crate) fn log_anchor(row: &Row<'_>) -> Read<LogAnchor> {
    let seen = match optional_count(row, 2)? {
        Some(index) => Followed { index, hash: digest(row, 3)? },
        None => Followed::START,
    };
    Ok(LogAnchor { migration: migration_id(row, 0)?, tenant: tenant(row, 1)?, seen })
}

/// Columns of [`marks`].
pub(crate) const MARKS: &str =
    "read_back_m, read_back_seq, read_back_digest, copy_rate, verified_seq, updated_at";

/// Marks from [`MARKS`].
pub(crate) fn marks(row: &Row<'_>) -> Read<Marks> {
    let read_back = match (optional_count(row, 0)?, optional_count(row, 1)?) {
        (Some(m), Some(seq)) => {
            Some(ReadBackMark { m: Epoch(m), head: Head { seq, digest: digest(row, 2)? } })
        }
        _ => None,
    };
    Ok(Marks {
        read_back,
        copy_rate: row.get(3)?,
        verified_seq: optional_count(row, 4)?,
        updated_at: time(row, 5)?,
    })
}
