//! How far logs of migrations were seen: of a store of rehome's own, and of one beside another library's table.

use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::log_chain::LogAnchor;
use rusqlite::Transaction;

use super::tables::Done;
use crate::rows;
use crate::schema::Kind;

const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Guard => "rehome_guard_log_anchors",
        Kind::Store | Kind::ControlPlane => "log_anchors",
    }
}

/// Keeps the anchor, unless what is kept is further.
pub(crate) fn keep(tx: &Transaction<'_>, kind: Kind, anchor: &LogAnchor) -> Done<()> {
    tx.prepare_cached(&format!(
        "INSERT INTO {} (migration, tenant, entry, hash) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (migration) DO UPDATE SET entry = ?3, hash = ?4 WHERE entry < ?3",
        table(kind)
    ))?
    .execute((
        anchor.migration.as_bytes().as_slice(),
        anchor.tenant.as_bytes().as_slice(),
        rows::int(anchor.seen.index)?,
        anchor.seen.hash.as_bytes().as_slice(),
    ))?;
    Ok(())
}

/// The anchors of migrations after `after`.
pub(crate) fn read(
    tx: &Transaction<'_>,
    kind: Kind,
    after: Option<MigrationId>,
    limit: usize,
) -> Done<Vec<LogAnchor>> {
    let mut statement = tx.prepare_cached(&format!(
        "SELECT migration, tenant, entry, hash FROM {} \
         WHERE migration > ?1 ORDER BY migration LIMIT ?2",
        table(kind)
    ))?;
    let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
    let mut found = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut anchors = Vec::new();
    while let Some(row) = found.next()? {
        anchors.push(rows::log_anchor(row)?);
    }
    Ok(anchors)
}

/// Forgets those of a tenant.
pub(crate) fn forget(tx: &Transaction<'_>, kind: Kind, tenant: TenantId) -> Done<()> {
    tx.prepare_cached(&format!("DELETE FROM {} WHERE tenant = ?1", table(kind)))?
        .execute([tenant.as_bytes().as_slice()])?;
    Ok(())
}
