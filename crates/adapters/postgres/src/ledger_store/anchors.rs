//! How far logs of migrations were seen.

use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::log_chain::LogAnchor;
use tokio_postgres::types::Type;

use super::Answer;
use crate::rows;
use crate::server::{Param, Server};

/// Keeps the anchor, unless what is kept is further.
pub(crate) async fn keep(server: &Server, anchor: &LogAnchor) -> Answer<()> {
    let sql = "INSERT INTO {schema}.log_anchors AS a (migration, tenant, entry, hash) \
               VALUES ($1, $2, $3, $4) \
               ON CONFLICT (migration) DO UPDATE SET entry = excluded.entry, hash = excluded.hash \
               WHERE a.entry < excluded.entry";
    let params: [Param<'_>; 4] = [
        (&anchor.migration.uuid(), Type::UUID),
        (&anchor.tenant.uuid(), Type::UUID),
        (&rows::int(anchor.seen.index)?, Type::INT8),
        (&anchor.seen.hash.as_bytes().as_slice(), Type::BYTEA),
    ];
    server.client().await?.write(sql, &params).await?;
    Ok(())
}

/// The anchors of migrations after `after`.
pub(crate) async fn read(
    server: &Server,
    after: Option<MigrationId>,
    limit: usize,
) -> Answer<Vec<LogAnchor>> {
    let sql = "SELECT migration, tenant, entry, hash FROM {schema}.log_anchors \
               WHERE $1::uuid IS NULL OR migration > $1 ORDER BY migration LIMIT $2";
    let (after, limit) = (after.map(MigrationId::uuid), i64::try_from(limit).unwrap_or(i64::MAX));
    let params: [Param<'_>; 2] = [(&after, Type::UUID), (&limit, Type::INT8)];
    let found = server.client().await?.read(sql, &params).await?;
    Ok(found.iter().map(rows::log_anchor).collect::<Result<_, _>>()?)
}

/// Forgets those of a tenant.
pub(crate) async fn forget(server: &Server, tenant: TenantId) -> Answer<()> {
    let sql = "DELETE FROM {schema}.log_anchors WHERE tenant = $1";
    server.client().await?.write(sql, &[(&tenant.uuid(), Type::UUID)]).await?;
    Ok(())
}
