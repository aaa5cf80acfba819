//! Role and epoch of a tenant, and the fence.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::Layout;
use rehome_domain::ledger::{Activation, Head, Ledger, Refused, Role};
use rusqlite::Transaction;

use super::guarded::{self, Guarded, Phase};
use super::install::{self, Table};
use super::shape::not_set_up;
use super::{Answer, SqliteAdopted, leaving};
use crate::error::FileError;
use crate::file::Turn;

type Done<T> = Result<T, FileError>;

/// Maximum number of rows that a read of the ledger numbers.
const NUMBERED_AT_ONCE: u64 = 20_000;
/// The same in one transaction.
const NUMBERED_IN_ONE: u64 = 4_000;
/// A fence is tried once no more than so many rows are without a number: it numbers the rest in the pause.
const LEFT_TO_FENCE: u64 = 200;

impl SqliteAdopted {
    /// What the table calls a tenant.
    pub(super) async fn key(&self, tenant: TenantId) -> Answer<Option<String>> {
        if let Some(name) = self.names.of(tenant) {
            return Ok(Some(name));
        }
        let key = self.read(move |tx, table| Ok(guarded::key_of(tx, table, tenant)?)).await?;
        if let Some(key) = &key {
            self.names.learn(tenant, key);
        }
        Ok(key)
    }

    async fn named(&self, tenant: TenantId) -> Answer<String> {
        let key = self.key(tenant).await?;
        let unknown = || {
            not_set_up(format!(
                "neither its table nor another store has the name of tenant {tenant}; use the tenant's \
                 name as in the table"
            ))
        };
        Ok(key.ok_or_else(unknown)?)
    }

    /// The tenant's row, and whether rows of it have no number.
    pub(super) async fn find(&self, tenant: TenantId) -> Answer<Option<(Guarded, bool)>> {
        let found = self
            .read(move |tx, _| {
                let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(None) };
                let is_behind = guarded.is_behind(tx)?;
                Ok(Some((guarded, is_behind)))
            })
            .await?;
        if let Some((guarded, _)) = &found {
            self.names.learn(tenant, &guarded.key);
        }
        Ok(found)
    }

    /// Numbers some of the rows that have no number. Answers the tenant's row and how many got one.
    async fn number(&self, tenant: TenantId) -> Answer<(Option<Guarded>, u64)> {
        let mut all = 0;
        loop {
            let Some((guarded, is_behind)) = self.find(tenant).await? else {
                return Ok((None, all));
            };
            if !is_behind || all >= NUMBERED_AT_ONCE {
                return Ok((Some(guarded), all));
            }
            if guarded.phase == Phase::Announced {
                self.note(tenant, guarded).await?;
            }
            all += self
                .write(move |tx, table, turn| {
                    Ok(number_some(tx, table, tenant, NUMBERED_IN_ONE, Some(turn))?)
                })
                .await?;
        }
    }

    /// Decides the order in which the history is numbered: that of positions, unless the versions of a stream contradict
    /// it (rule R7). The history cannot change meanwhile.
    async fn note(&self, tenant: TenantId, found: Guarded) -> Answer<()> {
        let Guarded { key, history_to, .. } = found;
        let is_disordered = self
            .read(move |tx, table| {
                let mut statement = tx.prepare(&table.sql.is_disordered)?;
                Ok(statement.query_row((key, history_to), |row| row.get::<_, bool>(0))?)
            })
            .await?;
        self.write(move |tx, table, _| {
            let Some(mut guarded) = Guarded::find(tx, tenant)? else { return Ok(()) };
            if guarded.phase != Phase::Announced {
                return Ok(());
            }
            guarded.phase = if is_disordered {
                let of = (&guarded.key, guarded.no.number(), guarded.history_to);
                tx.prepare(&table.sql.order)?.execute(of)?;
                Phase::Noted
            } else {
                Phase::History
            };
            guarded.save(tx)?;
            Ok(())
        })
        .await
    }
}

fn number_some(
    tx: &Transaction<'_>,
    table: &Table,
    tenant: TenantId,
    max: u64,
    turn: Option<&Turn>,
) -> Done<u64> {
    let Some(mut guarded) = Guarded::find(tx, tenant)? else { return Ok(0) };
    let before = guarded.clone();
    let numbered = guarded.number(tx, table, max, turn)?;
    if guarded != before {
        guarded.save(tx)?;
    }
    Ok(numbered)
}

/// The ledger, with the rows that came in numbered.
pub(super) async fn ledger(store: &SqliteAdopted, tenant: TenantId) -> Answer<Ledger> {
    let (found, _) = store.number(tenant).await?;
    Ok(found.map_or(Ledger::ABSENT, |guarded| guarded.ledger))
}

/// Changes role and epoch by a rule. A refusal or an unchanged ledger writes nothing.
pub(super) async fn change(
    store: &SqliteAdopted,
    tenant: TenantId,
    rule: impl FnOnce(Ledger) -> Result<Ledger, Refused> + Send + 'static,
) -> Answer<Ledger> {
    store
        .write(move |tx, _, _| {
            let Some(mut guarded) = Guarded::find(tx, tenant)? else {
                let changed = rule(Ledger::ABSENT)?;
                return if changed == Ledger::ABSENT {
                    Ok(changed)
                } else {
                    Err(FileError::corrupt("a tenant that is no longer guarded").into())
                };
            };
            let changed = rule(guarded.ledger)?;
            if changed != guarded.ledger {
                guarded.ledger = changed;
                guarded.settled = false;
                guarded.save(tx)?;
            }
            Ok(changed)
        })
        .await
}

/// A tenant that the guard does not know becomes guarded with all its rows, if the rules let it be active.
pub(super) async fn activate(
    store: &SqliteAdopted,
    tenant: TenantId,
    route: Activation,
) -> Answer<Ledger> {
    if store.find(tenant).await?.is_none() {
        leaving::sweep(store).await?;
        if store.key(tenant).await?.is_none() {
            Ledger::of_table(route, 0)?;
        }
        let key = store.named(tenant).await?;
        store
            .write(move |tx, table, _| {
                if Guarded::find(tx, tenant)?.is_none() {
                    let rows = Guarded::count_rows(tx, table, &key, i64::MIN)?.0;
                    let active = Ledger::of_table(route, rows)?;
                    let last = last_position(tx, table)?;
                    Guarded::add(tx, tenant, &key, active, Phase::Announced, last)?;
                }
                Ok(())
            })
            .await?;
    }
    leaving::stay(store, tenant).await?;
    let ledger = ledger(store, tenant).await?;
    if ledger.activate(route)? == ledger {
        return Ok(ledger);
    }
    change(store, tenant, move |ledger| ledger.activate(route)).await
}

fn last_position(tx: &Transaction<'_>, table: &Table) -> Done<i64> {
    Ok(tx.prepare_cached(&table.sql.last)?.query_row([], |row| row.get(0))?)
}

/// A tenant that the guard does not know becomes a copy; its table has no row of it (rule R12).
pub(super) async fn adopt(
    store: &SqliteAdopted,
    tenant: TenantId,
    m: Epoch,
    head: Head,
) -> Answer<Ledger> {
    if store.find(tenant).await?.is_none() {
        let copy = Ledger::ABSENT.adopt(m, head)?;
        let key = store.named(tenant).await?;
        store
            .write(move |tx, table, _| {
                if Guarded::find(tx, tenant)?.is_some() {
                    return Ok(());
                }
                if Guarded::count_rows(tx, table, &key, i64::MIN)?.0 > 0 {
                    return Err(not_set_up(format!(
                        "its table already has rows of tenant {tenant} that no migration copied; delete them, or \
                         move the tenant to another store"
                    ))
                    .into());
                }
                let last = last_position(tx, table)?;
                Guarded::add(tx, tenant, &key, copy, Phase::Noted, last)?;
                Ok(())
            })
            .await?;
    }
    change(store, tenant, move |ledger| ledger.adopt(m, head)).await
}

/// `active@from` becomes `fenced@to`: the few rows without a number are numbered in the transaction itself.
pub(super) async fn fence(
    store: &SqliteAdopted,
    tenant: TenantId,
    from: Epoch,
    to: Epoch,
) -> Answer<Ledger> {
    loop {
        let (found, numbered) = store.number(tenant).await?;
        let Some(guarded) = found else { return Ok(Ledger::ABSENT.fence(from, to)?) };
        if guarded.ledger.fence(from, to)? == guarded.ledger {
            return Ok(guarded.ledger);
        }
        if numbered <= LEFT_TO_FENCE {
            break;
        }
    }
    // All rows are counted before the pause, and in it those that came since.
    let counted = store.read(move |tx, table| Ok(count_known(tx, table, tenant)?)).await?;
    let layout = store.layout.clone();
    store
        .write(move |tx, table, _| fence_held(tx, table, &layout, tenant, (from, to), counted))
        .await
}

/// The fence, under the write lock. Rows up to position `counted` are known to have numbers, or to get them.
fn fence_held(
    tx: &Transaction<'_>,
    table: &Table,
    layout: &Layout,
    tenant: TenantId,
    (from, to): (Epoch, Epoch),
    counted: i64,
) -> Answer<Ledger> {
    let Some(before) = Guarded::find(tx, tenant)? else {
        return Ok(Ledger::ABSENT.fence(from, to)?);
    };
    if before.ledger.fence(from, to)? == before.ledger {
        return Ok(before.ledger);
    }
    if let Some(change) = install::changes(tx, layout)?.into_iter().next() {
        return Err(not_set_up(change).into());
    }
    while number_some(tx, table, tenant, NUMBERED_IN_ONE, None)? > 0 {}
    let mut guarded = Guarded::find(tx, tenant)?.unwrap_or(before);
    let rows = Guarded::count_rows(tx, table, &guarded.key, counted)?.0;
    guarded::refuse_strays(rows, guarded.count_numbers(tx, counted)?, tenant)?;
    guarded.ledger = guarded.ledger.fence(from, to)?;
    guarded.save(tx)?;
    Ok(guarded.ledger)
}

/// The last check before the switch (rule R15): rows that bypassed the guard since the fence are behind the
/// last number.
pub(super) async fn fence_holds(store: &SqliteAdopted, tenant: TenantId) -> Answer<()> {
    let layout = store.layout.clone();
    store
        .read(move |tx, table| {
            if let Some(change) = install::changes(tx, &layout)?.into_iter().next() {
                return Err(not_set_up(change).into());
            }
            let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(()) };
            let last = guarded.last_numbered(tx)?;
            let rows = Guarded::count_rows(tx, table, &guarded.key, last)?.0;
            Ok(guarded::refuse_strays(rows, guarded.count_numbers(tx, last)?, tenant)?)
        })
        .await
}

/// Checks that the guard has recorded every row of the tenant; returns the last one's position.
fn count_known(tx: &Transaction<'_>, table: &Table, tenant: TenantId) -> Done<i64> {
    let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(i64::MIN) };
    let (rows, last) = Guarded::count_rows(tx, table, &guarded.key, i64::MIN)?;
    if guarded.phase != Phase::Noted {
        return Ok(i64::MIN);
    }
    guarded::refuse_strays(rows, guarded.ledger.head.seq + guarded.arrivals(tx)?, tenant)?;
    Ok(last.unwrap_or(i64::MIN))
}

/// From here on writers get the error that the tenant was moved, and no longer that it is being switched.
pub(super) async fn settle(store: &SqliteAdopted, tenant: TenantId, epoch: Epoch) -> Answer<()> {
    store
        .write(move |tx, _, _| {
            if let Some(mut guarded) = Guarded::find(tx, tenant)?
                && guarded.ledger.role == Role::Fenced
                && guarded.ledger.epoch <= epoch
                && !guarded.settled
            {
                guarded.settled = true;
                guarded.save(tx)?;
            }
            Ok(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use rehome_domain::event::Timestamp;
    use rusqlite::Connection;
    use rusqlite::config::DbConfig;

    use super::*;

    const TENANT: TenantId = TenantId::new(uuid::Uuid::from_u128(7));

    fn insert(conn: &Connection, version: i64) {
        conn.execute(
            "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, timestamp, \
             payload) VALUES (?1, 'a', 'b', 'c', ?2, ?1, '', '')",
            (version, TENANT.uuid().to_string()),
        )
        .unwrap();
    }

    /// A row that comes around the triggers after all rows were counted, and before the file is the fence's alone.
    #[test]
    fn a_row_that_comes_around_the_triggers_just_before_the_fence_is_found() {
        let layout = Layout::built_in("eventsource-py").unwrap();
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE events (global_position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, \
             aggregate_id TEXT NOT NULL, aggregate_type TEXT NOT NULL, event_type TEXT NOT NULL, tenant_id TEXT, \
             version INTEGER NOT NULL, timestamp TEXT NOT NULL, payload TEXT NOT NULL, \
             created_at TEXT NOT NULL DEFAULT '', UNIQUE (aggregate_id, aggregate_type, version))",
        )
        .unwrap();
        install::adopt(&mut conn, &layout, "test", Timestamp::from_micros(0)).unwrap();
        let table = install::open(&conn, &layout).unwrap();
        let tx = conn.transaction().unwrap();
        let active = Ledger { role: Role::Active, epoch: Epoch(1), head: Head::EMPTY };
        let key = TENANT.uuid().to_string();
        Guarded::add(&tx, TENANT, &key, active, Phase::Noted, 0).unwrap();
        insert(&tx, 1);
        let counted = count_known(&tx, &table, TENANT).unwrap();
        insert(&tx, 2);
        tx.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        insert(&tx, 3);
        let fence = || fence_held(&tx, &table, &layout, TENANT, (Epoch(1), Epoch(2)), counted);
        let Err(crate::error::Failure::File(refused)) = fence() else { panic!("it is not found") };
        let refused = refused.fault("it").to_string();
        assert!(refused.contains("2 rows") && refused.contains("recorded 1"), "{refused}");
        tx.execute("DELETE FROM events WHERE version = 3", []).unwrap();
        assert_eq!(fence().unwrap().head.seq, 2);
    }
}
