//! Recording a fact: read, decide, and one statement that writes everything if nothing has changed
//! in between.
//!
//! No lock is held from one round trip to the next: a process that is stopped here blocks no other.

use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, StoreId};
use rehome_domain::migration::{self, Fact, Migration, Phase, RollBackReason};
use rehome_domain::route::Route;
use rehome_domain::verification::Finding;
use rehome_ports::record::{log_hash, write_fact, write_options, write_state};
use rehome_ports::{Change, ControlError, Recorded};
use tokio_postgres::types::Type;

use super::rows::{self, Columns, int};
use super::{Answer, busy, tables, text};
use crate::error::ServerError;
use crate::server::{Client, Param};

/// How often a fact is decided anew because others were first. Only those that record for the same
/// tenant at the same moment are in the way, and each of them has recorded something.
const TRIES: usize = 64;

/// What a fact is decided on.
struct Before {
    now: Timestamp,
    route: Option<Route>,
    migration: Option<Migration>,
    /// The last entry of the migration's log.
    last: (u64, Digest),
}

/// Records `change`. `now` is the time to date it with; `None`: the server's.
pub(super) async fn record(
    client: &mut Client,
    change: &Change,
    now: Option<Timestamp>,
    channel: &str,
) -> Answer<Recorded> {
    let fact = writable(&change.fact);
    let actor = text(&change.actor);
    for _ in 0..TRIES {
        let before = read(client, change, now).await?;
        let route = before.route.ok_or(ControlError::UnknownTenant(change.tenant))?;
        let subject = subject(before.migration, change)?;
        if fact.routes() && change.rev != Some(route.rev) {
            return Err(ControlError::Stale(Box::new(route)).into());
        }
        let at = before.now;
        let applied = migration::apply(&route, subject.as_ref(), &fact, at);
        let (to, migration) = applied.map_err(ControlError::from)?;
        let entry = Entry::after(before.last, at, &actor, &fact);
        let arrives = arrival(client, &route, &fact).await?;
        match write(client, (&route, &to), &migration, &entry, channel, arrives).await? {
            Written::Yes => return Ok(Recorded { route: to, migration }),
            Written::OthersWereFirst => {}
            Written::Cordoned => {
                let store = migration.target;
                let why = tables::cordon(client, &store).await?.unwrap_or_default();
                return Err(ControlError::Cordoned { store, why }.into());
            }
        }
    }
    Err(busy().into())
}

/// The migration that `change` is about, `None` if it is to be its beginning.
fn subject(found: Option<Migration>, change: &Change) -> Result<Option<Migration>, ControlError> {
    match found {
        Some(migration) if migration.tenant == change.tenant => Ok(Some(migration)),
        None if matches!(change.fact, Fact::Started { .. }) => Ok(None),
        _ => Err(ControlError::UnknownMigration(change.migration)),
    }
}

/// The store that a start brings the tenant to, unless it returns there.
async fn arrival<'a>(
    client: &mut Client,
    route: &Route,
    fact: &'a Fact,
) -> Answer<Option<&'a StoreId>> {
    let Fact::Started { target, .. } = fact else { return Ok(None) };
    let last = match route.migration {
        Some((id, _)) => Some(tables::migration(client, id).await?),
        None => None,
    };
    Ok(migration::arrives(target, last.as_ref()).then_some(target))
}

/// The fact in a form that text columns can store in
/// full.
fn writable(fact: &Fact) -> Fact {
    match fact {
        Fact::Failed { error } => Fact::Failed { error: text(error).into() },
        Fact::LeaseTaken { holder } => Fact::LeaseTaken { holder: text(holder).into() },
        Fact::CutoverRolledBack { reason: RollBackReason::Failed(why) } => {
            Fact::CutoverRolledBack { reason: RollBackReason::Failed(text(why).into()) }
        }
        Fact::Violated { finding } => {
            let first = text(&finding.first).into();
            Fact::Violated { finding: Finding { first, ..finding.clone() } }
        }
        Fact::RepairRefused { why } => Fact::RepairRefused { why: text(why).into() },
        fact => fact.clone(),
    }
}

async fn read(client: &mut Client, change: &Change, now: Option<Timestamp>) -> Answer<Before> {
    let sql = format!(
        "SELECT coalesce($3, {{schema}}.now_us()), r.tenant IS NOT NULL, {}, g.id IS NOT NULL, {}, \
         coalesce(l.entry, 0), l.hash \
         FROM (SELECT 1) AS one \
         LEFT JOIN {{schema}}.routes AS r ON r.tenant = $1 \
         LEFT JOIN {{schema}}.migrations AS g ON g.id = $2 \
         LEFT JOIN LATERAL (SELECT entry, hash FROM {{schema}}.log WHERE migration = $2 \
                            ORDER BY entry DESC LIMIT 1) AS l ON true",
        rows::ROUTE,
        rows::MIGRATION
    );
    let params: [Param<'_>; 3] = [
        (&change.tenant.uuid(), Type::UUID),
        (&change.migration.uuid(), Type::UUID),
        (&now.map(Timestamp::micros), Type::INT8),
    ];
    let found = client.read(&sql, &params).await?;
    let row = found.first().ok_or_else(|| ServerError::corrupt("no answer to a question"))?;
    Ok(before(row)?)
}

fn before(row: &tokio_postgres::Row) -> Result<Before, ServerError> {
    let mut columns = Columns::of(row);
    let now = Timestamp::from_micros(columns.next()?);
    let route = if columns.next()? {
        Some(rows::route(&mut columns)?)
    } else {
        columns.skip(rows::ROUTE_COLUMNS);
        None
    };
    let migration = if columns.next()? {
        Some(rows::migration(&mut columns)?)
    } else {
        columns.skip(rows::MIGRATION_COLUMNS);
        None
    };
    let last = match columns.count()? {
        0 => (0, Digest::EMPTY),
        entry => (entry, columns.digest()?),
    };
    Ok(Before { now, route, migration, last })
}

/// A new entry of the log.
struct Entry<'a> {
    before: u64,
    at: Timestamp,
    actor: &'a str,
    fact: String,
    hash: Digest,
    routes: bool,
}

impl<'a> Entry<'a> {
    /// The hash covers the stored text.
    fn after(last: (u64, Digest), at: Timestamp, actor: &'a str, fact: &Fact) -> Self {
        let (before, previous) = last;
        let routes = fact.routes();
        let fact = write_fact(fact);
        let hash = log_hash(&previous, before + 1, at, actor, &fact);
        Self { before, at, actor, fact, hash, routes }
    }
}

/// What came of a write.
enum Written {
    Yes,
    /// Something else is there by now.
    OthersWereFirst,
    /// The store gets no arrivals.
    Cordoned,
}

/// Writes what follows from `was`. A cordon around the store that the tenant `arrives` in is judged by the same
/// statement.
async fn write(
    client: &mut Client,
    (was, to): (&Route, &Route),
    migration: &Migration,
    entry: &Entry<'_>,
    channel: &str,
    arrives: Option<&StoreId>,
) -> Answer<Written> {
    let (to_migration, to_phase) = to.migration.unzip();
    let state = migration.state;
    let places: Vec<String> = (1..=34).map(|place| format!("${place}")).collect();
    let record = format!("{{schema}}.record({})", places.join(", "));
    let sql = match arrives {
        None => format!("SELECT {record}"),
        // Null if it is not called.
        Some(_) => format!(
            "SELECT CASE WHEN NOT EXISTS (SELECT FROM {{schema}}.cordons AS c WHERE c.store = $20) \
             THEN {record} END"
        ),
    };
    let written = client
        .write(
            &sql,
            &[
                (&was.tenant.uuid(), Type::UUID),
                (&int(was.rev)?, Type::INT8),
                (&was.created, Type::BOOL),
                (&migration.id.uuid(), Type::UUID),
                (&int(entry.before)?, Type::INT8),
                (&entry.routes, Type::BOOL),
                (&int(to.rev)?, Type::INT8),
                (&to.store.as_str(), Type::TEXT),
                (&int(to.epoch.0)?, Type::INT8),
                (&int(to.prev_epoch.0)?, Type::INT8),
                (&int(to.n.0)?, Type::INT8),
                (&int(to.m.0)?, Type::INT8),
                (&int(to.base)?, Type::INT8),
                (&to_migration.map(MigrationId::uuid), Type::UUID),
                (&to_phase.map(Phase::as_str), Type::TEXT),
                (&int(to.deadline_ms)?, Type::INT8),
                (&to.created, Type::BOOL),
                (&to.window, Type::BOOL),
                (&migration.source.as_str(), Type::TEXT),
                (&migration.target.as_str(), Type::TEXT),
                (&int(migration.m.0)?, Type::INT8),
                (&state.phase().as_str(), Type::TEXT),
                (&write_state(state, &migration.violations), Type::TEXT),
                (&write_options(&migration.options), Type::TEXT),
                (&i64::from(migration.cutover_attempts), Type::INT8),
                (&migration.created_at.micros(), Type::INT8),
                (&migration.started_at.map(Timestamp::micros), Type::INT8),
                (&migration.completed_at.map(Timestamp::micros), Type::INT8),
                (&migration.error.as_deref(), Type::TEXT),
                (&entry.at.micros(), Type::INT8),
                (&entry.actor, Type::TEXT),
                (&entry.fact, Type::TEXT),
                (&entry.hash.as_bytes().as_slice(), Type::BYTEA),
                (&channel, Type::TEXT),
            ],
        )
        .await?;
    let row = written.first().ok_or_else(|| ServerError::corrupt("no answer to a record"))?;
    Ok(match Columns::of(row).next::<Option<bool>>()? {
        Some(true) => Written::Yes,
        Some(false) => Written::OthersWereFirst,
        None => Written::Cordoned,
    })
}
