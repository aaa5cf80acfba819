//! The control plane's rows to domain values and back. What a row holds is checked: a value that
//! cannot be is [`FaultKind::Corrupt`](rehome_ports::FaultKind::Corrupt), never a guess.

use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::removal::Removal;
use rehome_domain::route::Route;
use rehome_ports::record::{Unreadable, read_fact, read_options, read_state};
use rehome_ports::{Checkpoint, LogEntry, Marks, ReadBackMark};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::error::ServerError;

type Read<T> = Result<T, ServerError>;

/// The columns of a row, one after the other.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    /// From the first one on.
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    /// The next value.
    pub(super) fn next<T: FromSql<'a>>(&mut self) -> Read<T> {
        let column = self.next;
        self.next += 1;
        self.row
            .try_get(column)
            .map_err(|error| ServerError::corrupt(format!("a value of another type ({error})")))
    }

    /// Leaves some out.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// A stored count.
    pub(super) fn count(&mut self) -> Read<u64> {
        let value: i64 = self.next()?;
        count(value)
    }

    fn optional_count(&mut self) -> Read<Option<u64>> {
        self.next::<Option<i64>>()?.map(count).transpose()
    }

    fn epoch(&mut self) -> Read<Epoch> {
        self.count().map(Epoch)
    }

    fn time(&mut self) -> Read<Timestamp> {
        self.next().map(Timestamp::from_micros)
    }

    pub(super) fn optional_time(&mut self) -> Read<Option<Timestamp>> {
        Ok(self.next::<Option<i64>>()?.map(Timestamp::from_micros))
    }

    fn store(&mut self) -> Read<StoreId> {
        let name: &str = self.next()?;
        name.parse().map_err(|error| ServerError::corrupt(format!("{error}")))
    }

    /// A digest.
    pub(super) fn digest(&mut self) -> Read<Digest> {
        Digest::from_slice(self.next()?)
            .ok_or_else(|| ServerError::corrupt("a digest that is not 32 bytes long"))
    }
}

fn count(value: i64) -> Read<u64> {
    u64::try_from(value).map_err(|_| ServerError::corrupt(format!("the number {value}")))
}

/// A count in PostgreSQL's form.
pub(super) fn int(count: u64) -> Read<i64> {
    i64::try_from(count).map_err(|_| ServerError::corrupt(format!("the number {count}")))
}

/// A position to read after: one past every number there can be is past all rows.
pub(super) fn position(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Most rows to read.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Columns of [`route`].
pub(super) const ROUTE: &str = "r.tenant, r.rev, r.store, r.epoch, r.prev_epoch, r.n, r.m, \
     r.base, r.migration, r.phase, r.deadline_ms, r.created, r.rollback_window, \
     r.removal_epoch, r.removal_events";
/// How many they are.
pub(super) const ROUTE_COLUMNS: usize = 15;

/// A route from [`ROUTE`].
pub(super) fn route(columns: &mut Columns<'_>) -> Read<Route> {
    let tenant = TenantId::new(columns.next()?);
    let rev = columns.count()?;
    let store = columns.store()?;
    let [epoch, prev_epoch, n, m] =
        [columns.epoch()?, columns.epoch()?, columns.epoch()?, columns.epoch()?];
    let base = columns.count()?;
    let (id, phase): (Option<uuid::Uuid>, Option<&str>) = (columns.next()?, columns.next()?);
    let migration = id.zip(phase).map(|(id, phase)| {
        let phase = Phase::parse(phase)
            .ok_or_else(|| ServerError::corrupt("a route with an unknown phase"))?;
        Ok::<_, ServerError>((MigrationId::new(id), phase))
    });
    Ok(Route {
        tenant,
        rev,
        store,
        epoch,
        prev_epoch,
        n,
        m,
        base,
        migration: migration.transpose()?,
        deadline_ms: columns.count()?,
        created: columns.next()?,
        window: columns.next()?,
        removal: removal(columns)?,
    })
}

fn removal(columns: &mut Columns<'_>) -> Read<Option<Removal>> {
    let (k, events) = (columns.optional_count()?.map(Epoch), columns.optional_count()?);
    Ok(k.map(|k| events.map_or(Removal::Done, |events| Removal::Running { k, events })))
}

/// A removal's columns: its epoch and its number of events.
pub(super) fn removal_columns(route: &Route) -> Read<(Option<i64>, Option<i64>)> {
    Ok(match route.removal {
        None => (None, None),
        Some(Removal::Running { k, events }) => (Some(int(k.0)?), Some(int(events)?)),
        Some(Removal::Done) => (Some(int(route.epoch.0)?), None),
    })
}

/// Columns of [`migration`].
pub(super) const MIGRATION: &str = "g.id, g.tenant, g.source, g.target, g.m, g.state, g.options, \
     g.cutover_attempts, g.created_at, g.started_at, g.completed_at, g.error";
/// How many they are.
pub(super) const MIGRATION_COLUMNS: usize = 12;

/// A migration from [`MIGRATION`].
pub(super) fn migration(columns: &mut Columns<'_>) -> Read<Migration> {
    let attempts = |count: u64| {
        u32::try_from(count).map_err(|_| ServerError::corrupt(format!("{count} cutover attempts")))
    };
    let id = MigrationId::new(columns.next()?);
    let tenant = TenantId::new(columns.next()?);
    let (source, target) = (columns.store()?, columns.store()?);
    let m = columns.epoch()?;
    let (state, violations) = read_state(columns.next()?).map_err(unreadable)?;
    Ok(Migration {
        id,
        tenant,
        source,
        target,
        m,
        state,
        options: read_options(columns.next()?).map_err(unreadable)?,
        cutover_attempts: columns.count().and_then(attempts)?,
        created_at: columns.time()?,
        started_at: columns.optional_time()?,
        completed_at: columns.optional_time()?,
        error: columns.next::<Option<&str>>()?.map(Box::from),
        violations,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unreadable(error: Unreadable) -> ServerError {
    ServerError::corrupt(error.to_string())
}

/// Columns of [`log_entry`].
pub(super) const LOG: &str = "l.entry, l.at, l.actor, l.fact, l.hash";

/// A log entry from [`LOG`].
pub(super) fn log_entry(columns: &mut Columns<'_>) -> Read<LogEntry> {
    let (index, at, actor) = (columns.count()?, columns.time()?, columns.next()?);
    let text: String = columns.next()?;
    Ok(LogEntry {
        index,
        at,
        actor,
        fact: read_fact(&text).map_err(unreadable)?,
        text,
        hash: columns.digest()?,
    })
}

/// Columns of [`marks`].
pub(super) const MARKS: &str = "k.read_back_m, k.read_back_seq, k.read_back_digest, k.copy_rate, \
     k.verified_seq, k.updated_at";

/// Marks from [`MARKS`].
pub(super) fn marks(columns: &mut Columns<'_>) -> Read<Marks> {
    let (m, seq) = (columns.optional_count()?, columns.optional_count()?);
    let read_back = if let Some((m, seq)) = m.zip(seq) {
        Some(ReadBackMark { m: Epoch(m), head: Head { seq, digest: columns.digest()? } })
    } else {
        columns.skip(1);
        None
    };
    Ok(Marks {
        read_back,
        copy_rate: columns.next()?,
        verified_seq: columns.optional_count()?,
        updated_at: columns.time()?,
    })
}

/// A checkpoint: tenant, name, position.
pub(super) fn checkpoint(columns: &mut Columns<'_>) -> Read<Checkpoint> {
    Ok(Checkpoint {
        tenant: TenantId::new(columns.next()?),
        name: columns.next()?,
        seq: columns.count()?,
    })
}

/// A position alone.
pub(super) fn seq(columns: &mut Columns<'_>) -> Read<u64> {
    columns.count()
}
