//! Writes of drains: one statement each, which writes nothing if another process was first.

use std::collections::BTreeMap;

use rehome_domain::digest::Digest;
use rehome_domain::drain::{Drain, Fact, Tenant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_ports::fleet_record::{stay_word, write_drain_fact, write_settings};
use rehome_ports::record::log_hash;
use rehome_ports::{ControlError, DrainChange, Follow, NewDrain};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::rows::{Columns, int};
use super::super::tables::{all, now as time};
use super::super::{Answer, busy, text};
use super::{drains, notices, rows};
use crate::error::ServerError;
use crate::server::{Client, Param};

/// How often facts are decided anew because others were first; each of them has recorded something.
const TRIES: usize = 64;

/// Writes tenants' rows and the log's entries for the drain that `changed` answers: $1 to $13 are the
/// columns of the rows as arrays, $14 and $15 when and who, $16 to $18 the columns of the entries.
const ROWS_AND_LOG: &str = "rows AS (INSERT INTO {schema}.drain_tenants AS t \
         (drain, tenant, place, source, events, target, state, stay, tries, migration, holder, \
          released, why, since) \
     SELECT c.id, r.* FROM changed AS c, \
         unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], \
                $7::text[], $8::bigint[], $9::uuid[], $10::text[], $11::bool[], $12::text[], \
                $13::bigint[]) AS r \
     ON CONFLICT (drain, tenant) DO UPDATE SET target = excluded.target, state = excluded.state, \
         stay = excluded.stay, tries = excluded.tries, migration = excluded.migration, \
         holder = excluded.holder, released = excluded.released, why = excluded.why, \
         since = excluded.since), \
     log AS (INSERT INTO {schema}.drain_log (drain, entry, at, actor, fact, hash) \
     SELECT c.id, e.entry, $14, $15, e.fact, e.hash FROM changed AS c, \
         unnest($16::bigint[], $17::text[], $18::bytea[]) AS e (entry, fact, hash)) \
     SELECT count(*) FROM changed";

/// The rows of tenants, column by column.
#[derive(Default)]
struct Rows {
    tenant: Vec<Uuid>,
    place: Vec<i64>,
    source: Vec<String>,
    events: Vec<i64>,
    target: Vec<Option<String>>,
    state: Vec<&'static str>,
    stay: Vec<Option<&'static str>>,
    tries: Vec<i64>,
    migration: Vec<Option<Uuid>>,
    holder: Vec<Option<String>>,
    released: Vec<bool>,
    why: Vec<Option<String>>,
    since: Vec<i64>,
}

impl Rows {
    fn of<'a>(rows: impl Iterator<Item = &'a Tenant>) -> Result<Self, ServerError> {
        let mut all = Self::default();
        for row in rows {
            all.tenant.push(row.tenant.uuid());
            all.place.push(int(row.place)?);
            all.source.push(row.source.to_string());
            all.events.push(int(row.events)?);
            all.target.push(row.target.as_ref().map(ToString::to_string));
            all.state.push(row.state.as_str());
            all.stay.push(stay_word(row.state));
            all.tries.push(row.tries.into());
            all.migration.push(row.migration.map(MigrationId::uuid));
            all.holder.push(row.by.as_deref().map(|by| text(by).into_owned()));
            all.released.push(row.released);
            all.why.push(row.why.as_deref().map(|why| text(why).into_owned()));
            all.since.push(row.since.micros());
        }
        Ok(all)
    }
}

/// Entries of a log, column by column, and the hash of the last one.
struct Entries {
    entry: Vec<i64>,
    fact: Vec<String>,
    hash: Vec<Vec<u8>>,
    last: Digest,
}

impl Entries {
    fn after(
        (mut index, mut last): (u64, Digest),
        facts: &[Fact],
        actor: &str,
        at: Timestamp,
    ) -> Result<Self, ServerError> {
        let (mut entry, mut fact, mut hash) = (Vec::new(), Vec::new(), Vec::new());
        for one in facts {
            index += 1;
            let text = write_drain_fact(one);
            last = log_hash(&last, index, at, actor, &text);
            entry.push(int(index)?);
            fact.push(text);
            hash.push(last.as_bytes().to_vec());
        }
        Ok(Self { entry, fact, hash, last })
    }
}

/// Writes a drain with rows and entries. `was`: how many entries its log had; `None`: it is new. Answers
/// whether it was written.
async fn write(
    client: &mut Client,
    drain: &Drain,
    was: Option<u64>,
    rows: &Rows,
    entries: &Entries,
    (actor, at): (&str, Timestamp),
) -> Answer<bool> {
    let changed = match was {
        None => {
            "INSERT INTO {schema}.drains (id, entries, hash, state, over, settings, waiting, again, \
                 moving, moved, set_aside, stays, events, events_moved, failures, released_minute, \
                 released, created_at, created_by, ended_at, tenants_left) \
             SELECT $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, \
                 $35, $38, $39, $36, $37 WHERE $40::bigint IS NULL \
             ON CONFLICT (id) DO NOTHING RETURNING id"
        }
        Some(_) => {
            "UPDATE {schema}.drains SET entries = $20, hash = $21, state = $22, over = $23, \
                 settings = $24, waiting = $25, again = $26, moving = $27, moved = $28, \
                 set_aside = $29, stays = $30, events = $31, events_moved = $32, failures = $33, \
                 released_minute = $34, released = $35, ended_at = $36, tenants_left = $37 \
             WHERE id = $19 AND created_at = $38 AND created_by = $39 AND entries = $40 \
             RETURNING id"
        }
    };
    let sql = format!("WITH changed AS ({changed}), {ROWS_AND_LOG}");
    let counts = drain.counts;
    let params: [Param<'_>; 40] = [
        (&rows.tenant, Type::UUID_ARRAY),
        (&rows.place, Type::INT8_ARRAY),
        (&rows.source, Type::TEXT_ARRAY),
        (&rows.events, Type::INT8_ARRAY),
        (&rows.target, Type::TEXT_ARRAY),
        (&rows.state, Type::TEXT_ARRAY),
        (&rows.stay, Type::TEXT_ARRAY),
        (&rows.tries, Type::INT8_ARRAY),
        (&rows.migration, Type::UUID_ARRAY),
        (&rows.holder, Type::TEXT_ARRAY),
        (&rows.released, Type::BOOL_ARRAY),
        (&rows.why, Type::TEXT_ARRAY),
        (&rows.since, Type::INT8_ARRAY),
        (&at.micros(), Type::INT8),
        (&actor, Type::TEXT),
        (&entries.entry, Type::INT8_ARRAY),
        (&entries.fact, Type::TEXT_ARRAY),
        (&entries.hash, Type::BYTEA_ARRAY),
        (&drain.id.uuid(), Type::UUID),
        (&int(drain.entries)?, Type::INT8),
        (&entries.last.as_bytes().as_slice(), Type::BYTEA),
        (&drain.state.as_str(), Type::TEXT),
        (&drain.state.is_over(), Type::BOOL),
        (&write_settings(&drain.settings), Type::TEXT),
        (&int(counts.waiting)?, Type::INT8),
        (&int(counts.again)?, Type::INT8),
        (&int(counts.moving)?, Type::INT8),
        (&int(counts.moved)?, Type::INT8),
        (&int(counts.set_aside)?, Type::INT8),
        (&int(counts.stays)?, Type::INT8),
        (&int(counts.events)?, Type::INT8),
        (&int(counts.events_moved)?, Type::INT8),
        (&i64::from(drain.failures), Type::INT8),
        (&drain.released.0, Type::INT8),
        (&i64::from(drain.released.1), Type::INT8),
        (&drain.ended_at.map(Timestamp::micros), Type::INT8),
        (&drain.left.map(int).transpose()?, Type::INT8),
        (&drain.created_at.micros(), Type::INT8),
        (&text(&drain.created_by), Type::TEXT),
        (&was.map(int).transpose()?, Type::INT8),
    ];
    let found = client.write(&sql, &params).await?;
    Ok(all(&found, number)? == [1])
}

fn number(columns: &mut Columns<'_>) -> Result<u64, ServerError> {
    columns.count()
}

/// Stores a new drain, or returns the existing one.
pub(super) async fn start(
    client: &mut Client,
    new: &NewDrain,
    now: Option<Timestamp>,
) -> Answer<Drain> {
    for _ in 0..TRIES {
        if let Some((known, _)) = drains::drain(client, new.id).await? {
            return Ok(known);
        }
        let at = time(client, now).await?;
        let (drain, fact) = new.begin(at);
        let drain = Drain { created_by: text(&drain.created_by).into_owned(), ..drain };
        let actor = drain.created_by.clone();
        let entries = Entries::after((0, Digest::EMPTY), &[fact], &actor, at)?;
        let rows = Rows::of(new.tenants.iter())?;
        if write(client, &drain, None, &rows, &entries, (&actor, at)).await? {
            return Ok(drain);
        }
    }
    Err(busy().into())
}

/// Records facts, all or none.
pub(super) async fn record(
    client: &mut Client,
    change: &DrainChange,
    now: Option<Timestamp>,
) -> Answer<Drain> {
    let facts: Vec<_> = change.facts.iter().map(writable).collect();
    let actor = text(&change.actor);
    for _ in 0..TRIES {
        let found = drains::drain(client, change.drain).await?;
        let (before, hash) = found.ok_or(ControlError::UnknownDrain(change.drain))?;
        let tenants: Vec<_> = facts.iter().filter_map(Fact::tenant).collect();
        let about = about(client, change.drain, &tenants).await?;
        let pinned = notices::pins_of(client, &tenants).await?;
        let at = time(client, now).await?;
        let is_pinned = |tenant| pinned.contains_key(&tenant);
        let followed = Follow::apply(&before, about, is_pinned, &facts, at);
        let followed = followed.map_err(ControlError::from)?;
        let entries = Entries::after((before.entries, hash), &facts, &actor, at)?;
        let rows = Rows::of(followed.rows.values())?;
        let was = Some(before.entries);
        if write(client, &followed.drain, was, &rows, &entries, (&actor, at)).await? {
            return Ok(followed.drain);
        }
    }
    Err(busy().into())
}

/// The rows of these tenants.
async fn about(
    client: &mut Client,
    drain: DrainId,
    tenants: &[TenantId],
) -> Answer<BTreeMap<TenantId, Tenant>> {
    let ids: Vec<_> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    let sql = format!(
        "SELECT {} FROM {{schema}}.drain_tenants AS t WHERE t.drain = $1 AND t.tenant = ANY ($2)",
        rows::TENANT
    );
    let params: [Param<'_>; 2] = [(&drain.uuid(), Type::UUID), (&ids, Type::UUID_ARRAY)];
    let found = all(&client.read(&sql, &params).await?, rows::tenant)?;
    Ok(found.into_iter().map(|row| (row.tenant, row)).collect())
}

/// The fact in a form that text columns can store in full.
fn writable(fact: &Fact) -> Fact {
    match fact.clone() {
        Fact::TenantSetAside { tenant, why } => {
            Fact::TenantSetAside { tenant, why: text(&why).into() }
        }
        Fact::TenantStays { tenant, stay, why } => {
            Fact::TenantStays { tenant, stay, why: text(&why).into() }
        }
        Fact::TenantTaken { tenant, by } => Fact::TenantTaken { tenant, by: text(&by).into() },
        Fact::TenantStarted { tenant, migration, target, by } => {
            Fact::TenantStarted { tenant, migration, target, by: text(&by).into() }
        }
        fact => fact,
    }
}
