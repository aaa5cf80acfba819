//! Role and epoch of a tenant, and the fence.

use std::time::{Duration, Instant};

use rehome_domain::digest::Digest;
use rehome_domain::ids::{Epoch, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused, Role};
use rehome_ports::{End, FaultKind, Room};
use tokio_postgres::types::Type;

use super::guarding::Found;
use super::{Answer, PgAdopted, install, shape};
use crate::error::ServerError;
use crate::ledger_store::lock_holder::{LOOK_AFTER_MS, Wait};
use crate::rows::{self, Read, get};

/// Maximum number of rows that a read of the ledger numbers.
pub(super) const NUMBERED_AT_ONCE: i32 = 20_000;
/// A fence is tried once no more than so many rows are without a number: it numbers the rest in the pause.
const LEFT_TO_FENCE: u64 = 500;
/// How long a fence waits for writers that are inside, at one try. Under the server's deadlock_timeout of
/// 1 s (rule R8).
const FENCE_LOCK_MS: i32 = 400;
/// How long writers wait for a switch, in the database.
const WRITERS_WAIT_MS: i32 = 5_000;
/// How long a cutover waits for those in the opposite direction, at one try.
const ROOM_MS: u32 = 3_000;
/// Others can be first so many times.
const TRIES_MAX: usize = 100;
/// How long a fence may try, in all.
const FENCE_FOR: Duration = Duration::from_secs(4);
/// Most rows removed in one transaction.
const CHUNK_MAX: u32 = 10_000;

/// Who holds the tenant's lock or row and has stopped.
const HOLDERS: &str = "SELECT h.pid, h.done FROM {schema}.holders($1) AS h";

/// The ledger, with the rows that came in numbered.
pub(super) async fn ledger(store: &PgAdopted, tenant: TenantId) -> Answer<Ledger> {
    let found = store.number(tenant, NUMBERED_AT_ONCE).await?;
    noted(store, tenant, found).await
}

/// The ledger of a tenant whose history is noted, which it is now at the latest.
async fn noted(store: &PgAdopted, tenant: TenantId, found: Option<Found>) -> Answer<Ledger> {
    let Some(found) = found else {
        return Ok(Ledger::ABSENT);
    };
    if found.is_noted || found.ledger.role == Role::Absent {
        return Ok(found.ledger);
    }
    // The process that started to guard it did not finish.
    store.note(tenant).await?;
    let found = store.number(tenant, NUMBERED_AT_ONCE).await?;
    Ok(found.map_or(Ledger::ABSENT, |found| found.ledger))
}

pub(super) async fn change(
    store: &PgAdopted,
    tenant: TenantId,
    rule: impl Fn(Ledger) -> Result<Ledger, Refused>,
) -> Answer<Ledger> {
    let found = store.number(tenant, NUMBERED_AT_ONCE).await?;
    change_from(store, tenant, found.map_or(Ledger::ABSENT, |found| found.ledger), rule).await
}

/// The same, from a ledger that was just read.
async fn change_from(
    store: &PgAdopted,
    tenant: TenantId,
    mut ledger: Ledger,
    rule: impl Fn(Ledger) -> Result<Ledger, Refused>,
) -> Answer<Ledger> {
    store.held.lock().await.remove(&tenant);
    let mut wait = Wait::held_by(tenant, HOLDERS);
    for _ in 0..TRIES_MAX {
        let changed = rule(ledger)?;
        if ledger == changed {
            return Ok(changed);
        }
        match set(store, tenant, ledger, changed).await {
            Ok(Some(written)) => return Ok(written),
            Ok(None) => {}
            Err(error) if error.is_locked() => wait.or(&store.server, error).await?,
            Err(error) => return Err(error.into()),
        }
        let found = store.number(tenant, NUMBERED_AT_ONCE).await?;
        ledger = found.map_or(Ledger::ABSENT, |found| found.ledger);
    }
    Err(ServerError::locked().into())
}

async fn set(
    store: &PgAdopted,
    tenant: TenantId,
    found: Ledger,
    changed: Ledger,
) -> Read<Option<Ledger>> {
    // As in rehome's own tables: a head that only grows may have grown, one that was proven may not.
    let grows = match found.role {
        Role::Active => true,
        Role::Replica => changed.role != Role::Replica,
        Role::Fenced | Role::Absent => false,
    };
    let head = (!grows).then_some(found.head);
    let seq = head.map(|head| rows::int(head.seq)).transpose()?;
    let mut client = store.server.client().await?;
    let written = client
        .write(
            "SELECT o_role, o_epoch, o_seq, o_digest FROM {schema}.change($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                (&tenant.uuid(), Type::UUID),
                (&LOOK_AFTER_MS, Type::INT4),
                (&found.role.as_str(), Type::TEXT),
                (&rows::int(found.epoch.0)?, Type::INT8),
                (&seq, Type::INT8),
                (&head.as_ref().map(|head| head.digest.as_bytes().as_slice()), Type::BYTEA),
                (&changed.role.as_str(), Type::TEXT),
                (&rows::int(changed.epoch.0)?, Type::INT8),
            ],
        )
        .await?;
    written.first().map(|row| rows::ledger(row, 0)).transpose()
}

/// A tenant that the guard does not know becomes guarded with all its rows, if the rules let it be active.
pub(super) async fn activate(
    store: &PgAdopted,
    tenant: TenantId,
    route: Activation,
) -> Answer<Ledger> {
    let mut found = store.stay(tenant, NUMBERED_AT_ONCE).await?;
    if found.is_none() {
        let active = Ledger::of_table(route, store.count_rows(tenant).await?)?;
        store.announce(tenant, active.role, active.epoch).await?;
        found = store.stay(tenant, NUMBERED_AT_ONCE).await?;
    }
    let ledger = noted(store, tenant, found).await?;
    if ledger.activate(route)? == ledger {
        store.held.lock().await.remove(&tenant);
        return Ok(ledger);
    }
    change_from(store, tenant, ledger, |ledger| ledger.activate(route)).await
}

/// A tenant that the guard does not know becomes a copy; its table has no row of it.
pub(super) async fn adopt(
    store: &PgAdopted,
    tenant: TenantId,
    m: Epoch,
    head: Head,
) -> Answer<Ledger> {
    let found = store.number(tenant, 0).await?;
    if found.as_ref().is_none_or(|found| !found.is_noted) {
        let ledger = found.map_or(Ledger::ABSENT, |found| found.ledger);
        ledger.adopt(m, head)?;
        store.is_empty_of(tenant).await?;
        store.announce(tenant, Role::Absent, Epoch::ZERO).await?;
        store.note_nothing(tenant).await?;
    }
    change(store, tenant, |ledger| ledger.adopt(m, head)).await
}

/// `active@from` becomes `fenced@to`: the few rows without a number are numbered in the call itself.
pub(super) async fn fence(
    store: &PgAdopted,
    tenant: TenantId,
    from: Epoch,
    to: Epoch,
) -> Answer<Ledger> {
    loop {
        let found = store.number(tenant, NUMBERED_AT_ONCE).await?;
        let Some(found) = found else {
            Ledger::ABSENT.fence(from, to)?;
            return Ok(Ledger::ABSENT);
        };
        if found.ledger.fence(from, to)? == found.ledger {
            // The process that fenced it may have died and released its lock: rows inserted since have no number.
            hold(store, tenant).await?;
            return Ok(found.ledger);
        }
        if found.numbered <= LEFT_TO_FENCE {
            break;
        }
    }
    hold(store, tenant).await?;
    let began = Instant::now();
    let mut wait = Wait::held_by(tenant, HOLDERS);
    loop {
        let mut client = store.server.client().await?;
        let fenced = client
            .write(
                "SELECT o_role, o_epoch, o_seq, o_digest FROM {schema}.fence($1, $2, $3, $4, $5)",
                &[
                    (&tenant.uuid(), Type::UUID),
                    (&FENCE_LOCK_MS, Type::INT4),
                    (&rows::int(from.0)?, Type::INT8),
                    (&rows::int(to.0)?, Type::INT8),
                    (&WRITERS_WAIT_MS, Type::INT4),
                ],
            )
            .await;
        drop(client);
        match fenced {
            Ok(found) => {
                let ledger = found.first().map(|row| rows::ledger(row, 0)).transpose()?;
                let ledger = ledger.unwrap_or(Ledger::ABSENT);
                return Ok(ledger.fence(from, to)?);
            }
            Err(error) if error.is_locked() && began.elapsed() < FENCE_FOR => {
                wait.or(&store.server, error).await?;
            }
            Err(error) => {
                store.held.lock().await.remove(&tenant);
                return Err(error.into());
            }
        }
    }
}

/// What [`hold`] takes several statements for, before the pause begins. Not where writers lock the whole table: they would wait for
/// the lock. An error is found again by the fence, and answered there.
pub(super) async fn before_fence(store: &PgAdopted, tenant: TenantId) {
    if !store.layout.locks_table
        && let Err(error) = hold(store, tenant).await
    {
        tracing::debug!(%tenant, %error, "the table cannot be held before the fence");
    }
}

/// Locks triggers and columns against changes, with a lock that does not conflict with writers, and checks that they
/// are as installed (rule R15). If the lock is already held, only checks that.
pub(super) async fn hold(store: &PgAdopted, tenant: TenantId) -> Read<()> {
    // Removed meanwhile: other tenants' switches do not wait for this lock.
    let held = store.held.lock().await.remove(&tenant);
    if let Some(mut client) = held {
        // A transaction that was lost, with its lock, does not answer.
        if client.read("SELECT 1", &[]).await.is_ok() {
            store.held.lock().await.insert(tenant, client);
            return Ok(());
        }
    }
    let mut client = store.server.client().await?;
    let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", shape::qualified(&store.layout));
    client.hold(&lock).await?;
    let mut looking = store.server.client().await?;
    let changes = install::changes(&mut looking, &store.layout).await?;
    if let Some(change) = changes.into_iter().next() {
        return Err(shape::not_set_up(change));
    }
    store.held.lock().await.insert(tenant, client);
    Ok(())
}

/// Where writers lock the whole table: a cutover from here holds the table, and the copy of one to here waits for those that hold it.
/// So those from here and those to here exclude each other, and there may be several of a kind: ROW EXCLUSIVE and SHARE of a table of the
/// guard conflict with each other, and not with themselves.
pub(super) async fn make_room(store: &PgAdopted, tenant: TenantId, end: End) -> Read<Option<Room>> {
    if !store.layout.locks_table {
        return Ok(None);
    }
    let mode = match end {
        End::Source => "ROW EXCLUSIVE",
        End::Target => "SHARE",
    };
    let mut client = store.server.client().await?;
    let lock = format!(
        "SET LOCAL lock_timeout = {ROOM_MS}; LOCK TABLE {{schema}}.installed IN {mode} MODE"
    );
    match client.hold(&lock).await {
        Ok(()) => Ok(Some(Box::new(client))),
        Err(error) if error.is_locked() => Err(ServerError::new(FaultKind::Waits(format!(
            "the cutover of tenant {tenant} waits for cutovers in the opposite direction: writers of this table lock it, and \
             the two would wait for each other in the pause"
        )))),
        Err(error) => Err(error),
    }
}

pub(super) async fn settle(
    store: &PgAdopted,
    tenant: TenantId,
    epoch: Epoch,
    to: &StoreId,
) -> Answer<()> {
    store.held.lock().await.remove(&tenant);
    let mut client = store.server.client().await?;
    client
        .write(
            "SELECT {schema}.settle($1, $2, $3)",
            &[
                (&tenant.uuid(), Type::UUID),
                (&rows::int(epoch.0)?, Type::INT8),
                (&to.as_str(), Type::TEXT),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn purge(
    store: &PgAdopted,
    tenant: TenantId,
    k: Epoch,
    chunk: u32,
) -> Answer<Ledger> {
    let (before, after) = cut_tail(store, tenant, k, Head::EMPTY, chunk, true).await?;
    before.0.check_purge(k)?;
    Ok(after.unwrap_or(before.0))
}

pub(super) async fn cut_back(
    store: &PgAdopted,
    tenant: TenantId,
    k: Epoch,
    to: Head,
    chunk: u32,
) -> Answer<Ledger> {
    let ((before, there), after) = cut_tail(store, tenant, k, to, chunk, false).await?;
    before.check_cut_back(k, to, there)?;
    Ok(after.unwrap_or(before))
}

type Before = (Ledger, Option<Digest>);

/// The ledger as it was found, with the digest at `to`, and as it is after a chunk was removed.
async fn cut_tail(
    store: &PgAdopted,
    tenant: TenantId,
    k: Epoch,
    to: Head,
    chunk: u32,
    bury: bool,
) -> Read<(Before, Option<Ledger>)> {
    let mut wait = Wait::held_by(tenant, HOLDERS);
    loop {
        match try_cut_tail(store, tenant, k, to, chunk, bury).await {
            Err(error) if error.is_locked() => wait.or(&store.server, error).await?,
            cut => return cut,
        }
    }
}

async fn try_cut_tail(
    store: &PgAdopted,
    tenant: TenantId,
    k: Epoch,
    to: Head,
    chunk: u32,
    bury: bool,
) -> Read<(Before, Option<Ledger>)> {
    let mut client = store.server.client().await?;
    let mut tx = client.begin().await?;
    store.hush(&mut tx).await?;
    let found = tx
        .query(
            "SELECT o_role, o_epoch, o_seq, o_digest, o_there \
             FROM {schema}.cut_tail($1, $2, $3, $4, $5, $6, $7)",
            &[
                (&tenant.uuid(), Type::UUID),
                (&LOOK_AFTER_MS, Type::INT4),
                (&rows::int(k.0).unwrap_or(i64::MAX), Type::INT8),
                (&rows::int(to.seq).unwrap_or(i64::MAX), Type::INT8),
                (&to.digest.as_bytes().as_slice(), Type::BYTEA),
                (&i64::from(chunk.min(CHUNK_MAX)), Type::INT8),
                (&bury, Type::BOOL),
            ],
        )
        .await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            if error.is_locked() {
                tx.roll_back().await?;
            }
            return Err(error);
        }
    };
    tx.commit().await?;
    let Some(row) = found.first() else { return Ok(((Ledger::ABSENT, None), None)) };
    let there: Option<&[u8]> = get(row, 4)?;
    let before = (rows::ledger(row, 0)?, there.and_then(Digest::from_slice));
    let after = found.get(1).map(|row| rows::ledger(row, 0)).transpose()?;
    Ok((before, after))
}
