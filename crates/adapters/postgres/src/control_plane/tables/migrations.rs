//! Migrations and their logs.

use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_ports::{ControlError, LogEntry, Migrations};
use tokio_postgres::types::Type;

use super::{all, first};
use crate::control_plane::Answer;
use crate::control_plane::rows::{self, at_most, position};
use crate::server::{Client, Param};

pub(crate) async fn migration(client: &mut Client, id: MigrationId) -> Answer<Migration> {
    let sql = format!("SELECT {} FROM {{schema}}.migrations AS g WHERE g.id = $1", rows::MIGRATION);
    let found = client.read(&sql, &[(&id.uuid(), Type::UUID)]).await?;
    Ok(first(&found, rows::migration)?.ok_or(ControlError::UnknownMigration(id))?)
}

/// Newest first. A `before` that is not there has none before it.
pub(crate) async fn migrations(client: &mut Client, which: Migrations) -> Answer<Vec<Migration>> {
    let limit = at_most(which.limit);
    let tenant = which.tenant.map(TenantId::uuid);
    let phase = which.phase.map(Phase::as_str);
    let before = which.before.map(MigrationId::uuid);
    let mut params: Vec<Param<'_>> = vec![(&limit, Type::INT8)];
    let mut conditions = vec!["true".to_owned()];
    if let Some(tenant) = &tenant {
        params.push((tenant, Type::UUID));
        conditions.push(format!("g.tenant = ${}", params.len()));
    }
    if let Some(phase) = &phase {
        params.push((phase, Type::TEXT));
        conditions.push(format!("g.phase = ${}", params.len()));
    }
    if let Some(before) = &before {
        params.push((before, Type::UUID));
        conditions.push(format!(
            "(g.created_at, g.id) < \
             (SELECT created_at, id FROM {{schema}}.migrations WHERE id = ${})",
            params.len()
        ));
    }
    let sql = format!(
        "SELECT {} FROM {{schema}}.migrations AS g WHERE {} \
         ORDER BY g.created_at DESC, g.id DESC LIMIT $1",
        rows::MIGRATION,
        conditions.join(" AND ")
    );
    let found = client.read(&sql, &params).await?;
    Ok(all(&found, rows::migration)?)
}

/// The entries after entry `after`.
pub(crate) async fn log(
    client: &mut Client,
    id: MigrationId,
    after: u64,
    limit: usize,
) -> Answer<Vec<LogEntry>> {
    let sql = format!(
        "SELECT {} FROM {{schema}}.log AS l WHERE l.migration = $1 AND l.entry > $2 \
         ORDER BY l.entry LIMIT $3",
        rows::LOG
    );
    let params: [Param<'_>; 3] =
        [(&id.uuid(), Type::UUID), (&position(after), Type::INT8), (&at_most(limit), Type::INT8)];
    let found = client.read(&sql, &params).await?;
    if found.is_empty() {
        migration(client, id).await?;
    }
    Ok(all(&found, rows::log_entry)?)
}
