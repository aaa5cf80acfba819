//! Cordons of stores and pins of tenants.

use std::collections::BTreeMap;

use rehome_domain::drain::Notice;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use tokio_postgres::types::Type;

use super::super::rows::{Columns, at_most};
use super::super::tables::all;
use super::super::{Answer, text};
use crate::error::ServerError;
use crate::server::{Client, Param};

fn notice(columns: &mut Columns<'_>) -> Result<Notice, ServerError> {
    let at = Timestamp::from_micros(columns.next()?);
    Ok(Notice { at, by: columns.next()?, why: columns.next()? })
}

fn pin(columns: &mut Columns<'_>) -> Result<(TenantId, Notice), ServerError> {
    Ok((TenantId::new(columns.next()?), notice(columns)?))
}

pub(super) async fn set_cordon(
    client: &mut Client,
    store: &StoreId,
    cordon: Option<&Notice>,
) -> Answer<()> {
    let Some(Notice { at, by, why }) = cordon else {
        let sql = "DELETE FROM {schema}.cordons WHERE store = $1";
        client.write(sql, &[(&store.as_str(), Type::TEXT)]).await?;
        return Ok(());
    };
    let sql = "INSERT INTO {schema}.cordons (store, at, actor, why) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (store) DO UPDATE \
                   SET at = excluded.at, actor = excluded.actor, why = excluded.why";
    let params: [Param<'_>; 4] = [
        (&store.as_str(), Type::TEXT),
        (&at.micros(), Type::INT8),
        (&text(by), Type::TEXT),
        (&text(why), Type::TEXT),
    ];
    client.write(sql, &params).await?;
    Ok(())
}

pub(super) async fn cordons(client: &mut Client) -> Answer<BTreeMap<StoreId, Notice>> {
    let found = client.read("SELECT store, at, actor, why FROM {schema}.cordons", &[]).await?;
    let found = all(&found, |columns| {
        let store: &str = columns.next()?;
        let unknown = |_| ServerError::corrupt(format!("a store {store:?}"));
        Ok((store.parse().map_err(unknown)?, notice(columns)?))
    })?;
    Ok(found.into_iter().collect())
}

pub(super) async fn set_pin(
    client: &mut Client,
    tenant: TenantId,
    pin: Option<&Notice>,
) -> Answer<()> {
    let Some(Notice { at, by, why }) = pin else {
        let sql = "DELETE FROM {schema}.pins WHERE tenant = $1";
        client.write(sql, &[(&tenant.uuid(), Type::UUID)]).await?;
        return Ok(());
    };
    let sql = "INSERT INTO {schema}.pins (tenant, at, actor, why) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (tenant) DO UPDATE \
                   SET at = excluded.at, actor = excluded.actor, why = excluded.why";
    let params: [Param<'_>; 4] = [
        (&tenant.uuid(), Type::UUID),
        (&at.micros(), Type::INT8),
        (&text(by), Type::TEXT),
        (&text(why), Type::TEXT),
    ];
    client.write(sql, &params).await?;
    Ok(())
}

pub(super) async fn pins_of(
    client: &mut Client,
    tenants: &[TenantId],
) -> Answer<BTreeMap<TenantId, Notice>> {
    let ids: Vec<_> = tenants.iter().map(|tenant| tenant.uuid()).collect();
    let sql = "SELECT tenant, at, actor, why FROM {schema}.pins WHERE tenant = ANY ($1)";
    let found = client.read(sql, &[(&ids, Type::UUID_ARRAY)]).await?;
    Ok(all(&found, pin)?.into_iter().collect())
}

pub(super) async fn pins(
    client: &mut Client,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<(TenantId, Notice)>> {
    let sql = "SELECT tenant, at, actor, why FROM {schema}.pins \
               WHERE $1::uuid IS NULL OR tenant > $1 ORDER BY tenant LIMIT $2";
    let params: [Param<'_>; 2] =
        [(&after.map(TenantId::uuid), Type::UUID), (&at_most(limit), Type::INT8)];
    let found = client.read(sql, &params).await?;
    Ok(all(&found, pin)?)
}
