//! Removes one tenant from the guard: records the decision, removes the tenant, deletes its numbers in chunks.
//!
//! No transaction has to be waited for: one that writes has the write lock, and draws its position under it.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Ledger;
use rehome_ports::FaultKind;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use uuid::Uuid;

use super::guarded::{Guarded, forget_clashes};
use super::{Answer, SqliteAdopted, change};
use crate::error::FileError;
use crate::rows::TenantNo;

type Done<T> = Result<T, FileError>;

/// Most numbers deleted in one transaction.
const CHUNK_MAX: i64 = 1_000;

/// From here on the guard goes, unless a migration calls it off.
pub(super) async fn leave(
    store: &SqliteAdopted,
    tenant: TenantId,
    epoch: Epoch,
    by: Uuid,
) -> Answer<Ledger> {
    change::ledger(store, tenant).await?.check_unguard(epoch)?;
    store
        .write(move |tx, _, _| {
            let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(Ledger::ABSENT) };
            guarded.ledger.check_unguard(epoch)?;
            let sql = "INSERT OR REPLACE INTO rehome_guard_leaving (tenant_no, tenant, decided_by) VALUES (?1, ?2, ?3)";
            let of = (guarded.no.number(), tenant.as_bytes().as_slice(), by.as_bytes().as_slice());
            tx.prepare_cached(sql)?.execute(of)?;
            Ok(guarded.ledger)
        })
        .await
}

/// The guard stays, if it was about to go.
pub(super) async fn stay(store: &SqliteAdopted, tenant: TenantId) -> Answer<()> {
    let is_leaving = store
        .read(move |tx, _| {
            let sql = "SELECT EXISTS (SELECT 1 FROM rehome_guard_leaving WHERE tenant = ?1 AND decided_by IS NOT NULL)";
            let of = [tenant.as_bytes().as_slice()];
            Ok(tx.prepare_cached(sql)?.query_row(of, |row| row.get::<_, bool>(0))?)
        })
        .await?;
    if !is_leaving {
        return Ok(());
    }
    store
        .write(move |tx, _, _| {
            let sql =
                "DELETE FROM rehome_guard_leaving WHERE tenant = ?1 AND decided_by IS NOT NULL";
            tx.prepare_cached(sql)?.execute([tenant.as_bytes().as_slice()])?;
            Ok(())
        })
        .await
}

/// Removes the guard, if the decision is still in force (rules R3 and R11). What was numbered goes with it: a later guarding
/// numbers all rows anew.
pub(super) async fn unguard(
    store: &SqliteAdopted,
    tenant: TenantId,
    epoch: Epoch,
    by: Uuid,
) -> Answer<()> {
    let is_gone = store
        .write(move |tx, _, _| {
            let Some(guarded) = Guarded::find(tx, tenant)? else { return Ok(true) };
            let may_go = guarded.ledger.check_unguard(epoch).is_ok();
            if !may_go || decided_by(tx, guarded.no)?.as_deref() != Some(by.as_bytes().as_slice()) {
                return Ok(false);
            }
            let no = [guarded.no.number()];
            for sql in [
                "DELETE FROM rehome_guard_arrivals WHERE tenant_no = ?1",
                "DELETE FROM rehome_guard_tenants WHERE tenant_no = ?1",
                "UPDATE rehome_guard_leaving SET decided_by = NULL WHERE tenant_no = ?1",
            ] {
                tx.prepare_cached(sql)?.execute(no)?;
            }
            forget_clashes(tx)?;
            Ok(true)
        })
        .await?;
    if !is_gone {
        return Err(FileError::Kind(FaultKind::Waits(format!(
            "tenant {tenant} stays guarded: a migration or another call has started since; try again when it has ended"
        )))
        .into());
    }
    sweep(store).await
}

fn decided_by(conn: &Connection, no: TenantNo) -> Done<Option<Vec<u8>>> {
    let sql = "SELECT decided_by FROM rehome_guard_leaving WHERE tenant_no = ?1";
    let read = |row: &rusqlite::Row<'_>| row.get::<_, Option<Vec<u8>>>(0);
    Ok(conn.prepare_cached(sql)?.query_row([no.number()], read).optional()?.flatten())
}

/// Deletes the numbers of tenants whose guard has gone; a process that did so may have died.
pub(super) async fn sweep(store: &SqliteAdopted) -> Answer<()> {
    let is_due = "SELECT EXISTS (SELECT 1 FROM rehome_guard_leaving WHERE decided_by IS NULL)";
    loop {
        let due = store
            .read(move |tx, _| {
                Ok(tx.prepare_cached(is_due)?.query_row([], |row| row.get::<_, bool>(0))?)
            })
            .await?;
        if !due {
            return Ok(());
        }
        store.write(move |tx, _, _| Ok(sweep_some(tx)?)).await?;
    }
}

fn sweep_some(tx: &Transaction<'_>) -> Done<()> {
    let next = "SELECT tenant_no FROM rehome_guard_leaving WHERE decided_by IS NULL LIMIT 1";
    let found = tx.prepare_cached(next)?.query_row([], |row| row.get::<_, i64>(0)).optional()?;
    let Some(number) = found else { return Ok(()) };
    let no = TenantNo::after(number - 1)?;
    let deleted = tx
        .prepare_cached(
            "DELETE FROM rehome_guard_positions WHERE place IN ( \
                 SELECT place FROM rehome_guard_positions WHERE place > ?1 AND place <= ?2 LIMIT ?3)",
        )?
        .execute((no.position(0), no.last_position(), CHUNK_MAX))?;
    if deleted == 0 {
        tx.prepare_cached("DELETE FROM rehome_guard_leaving WHERE tenant_no = ?1")?
            .execute([number])?;
    }
    Ok(())
}
