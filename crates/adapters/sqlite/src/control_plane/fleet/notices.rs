//! Cordons of stores and pins of tenants.

use std::collections::BTreeMap;

use rehome_domain::drain::Notice;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rusqlite::{Row, Transaction};

use super::super::tables::{all, at_most, one};
use crate::error::FileError;
use crate::rows;

type Done<T> = Result<T, FileError>;

fn notice(row: &Row<'_>, first: usize) -> Done<Notice> {
    let at = Timestamp::from_micros(row.get(first)?);
    Ok(Notice { at, by: row.get(first + 1)?, why: row.get(first + 2)? })
}

/// The cordon around a store.
pub(in super::super) fn cordon(tx: &Transaction<'_>, store: &StoreId) -> Done<Option<Notice>> {
    let sql = "SELECT at, actor, why FROM cordons WHERE store = ?1";
    one(tx, sql, [store.as_str()], |row| notice(row, 0))
}

pub(super) fn set_cordon(
    tx: &Transaction<'_>,
    store: &StoreId,
    cordon: Option<&Notice>,
) -> Done<()> {
    match cordon {
        Some(Notice { at, by, why }) => tx.execute(
            "INSERT OR REPLACE INTO cordons (store, at, actor, why) VALUES (?1, ?2, ?3, ?4)",
            (store.as_str(), at.micros(), by, why),
        )?,
        None => tx.execute("DELETE FROM cordons WHERE store = ?1", [store.as_str()])?,
    };
    Ok(())
}

pub(super) fn cordons(tx: &Transaction<'_>) -> Done<BTreeMap<StoreId, Notice>> {
    let sql = "SELECT store, at, actor, why FROM cordons";
    let found = all(tx, sql, [], |row| {
        let store: String = row.get(0)?;
        let store = store.parse().map_err(|_| FileError::corrupt(format!("a store {store:?}")))?;
        Ok((store, notice(row, 1)?))
    })?;
    Ok(found.into_iter().collect())
}

pub(super) fn set_pin(tx: &Transaction<'_>, tenant: TenantId, pin: Option<&Notice>) -> Done<()> {
    let id = tenant.as_bytes().as_slice();
    match pin {
        Some(Notice { at, by, why }) => tx.execute(
            "INSERT OR REPLACE INTO pins (tenant, at, actor, why) VALUES (?1, ?2, ?3, ?4)",
            (id, at.micros(), by, why),
        )?,
        None => tx.execute("DELETE FROM pins WHERE tenant = ?1", [id])?,
    };
    Ok(())
}

pub(super) fn is_pinned(tx: &Transaction<'_>, tenant: TenantId) -> Done<bool> {
    let sql = "SELECT 1 FROM pins WHERE tenant = ?1";
    Ok(one(tx, sql, [tenant.as_bytes().as_slice()], |_| Ok(()))?.is_some())
}

pub(super) fn pins_of(
    tx: &Transaction<'_>,
    tenants: Vec<TenantId>,
) -> Done<BTreeMap<TenantId, Notice>> {
    let sql = "SELECT at, actor, why FROM pins WHERE tenant = ?1";
    let mut found = BTreeMap::new();
    for tenant in tenants {
        let pin = one(tx, sql, [tenant.as_bytes().as_slice()], |row| notice(row, 0))?;
        found.extend(pin.map(|pin| (tenant, pin)));
    }
    Ok(found)
}

pub(super) fn pins(
    tx: &Transaction<'_>,
    after: Option<TenantId>,
    limit: usize,
) -> Done<Vec<(TenantId, Notice)>> {
    let sql = "SELECT tenant, at, actor, why FROM pins WHERE tenant > ?1 ORDER BY tenant LIMIT ?2";
    let after = after.as_ref().map_or(&[][..], |tenant| tenant.as_bytes());
    all(tx, sql, (after, at_most(limit)), |row| Ok((rows::tenant(row, 0)?, notice(row, 1)?)))
}
