//! Lists of routes and migrations: each is found by an index, whatever it filters by.

use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::route::Route;
use rehome_ports::{MigrationFilter, RouteFilter};
use tokio_postgres::types::{ToSql, Type};

use super::super::Answer;
use super::super::rows::{self, at_most};
use super::super::tables::all;
use crate::server::{Client, Param};

/// A parameter and its type.
type Owned = (Box<dyn ToSql + Sync + Send>, Type);

/// Conditions and their parameters; the first one is the limit.
struct Where {
    conditions: Vec<String>,
    params: Vec<Owned>,
}

impl Where {
    fn new(limit: usize) -> Self {
        Self {
            conditions: vec!["true".to_owned()],
            params: vec![(Box::new(at_most(limit)), Type::INT8)],
        }
    }

    /// `?` in the condition stands for the parameter.
    fn and(&mut self, condition: &str, param: impl ToSql + Sync + Send + 'static, is: Type) {
        self.params.push((Box::new(param), is));
        self.conditions.push(condition.replace('?', &format!("${}", self.params.len())));
    }

    fn tenants(&mut self, column: &str, range: Option<(TenantId, TenantId)>) {
        if let Some((first, last)) = range {
            self.and(&format!("{column} >= ?"), first.uuid(), Type::UUID);
            self.and(&format!("{column} <= ?"), last.uuid(), Type::UUID);
        }
    }

    async fn read(&self, client: &mut Client, sql: &str) -> Answer<Vec<tokio_postgres::Row>> {
        let params: Vec<Param<'_>> = self
            .params
            .iter()
            .map(|(param, is)| (&**param as &(dyn ToSql + Sync), is.clone()))
            .collect();
        Ok(client.read(sql, &params).await?)
    }
}

pub(super) async fn routes(client: &mut Client, which: &RouteFilter) -> Answer<Vec<Route>> {
    let mut filter = Where::new(which.limit);
    filter.tenants("r.tenant", which.tenants);
    let lives = "(r.removal_epoch IS NULL OR r.removal_events IS NOT NULL)";
    filter.conditions.push(lives.to_owned());
    if let Some(after) = which.after {
        filter.and("r.tenant > ?", after.uuid(), Type::UUID);
    }
    if let Some(store) = &which.store {
        filter.and("r.store = ?", store.as_str().to_owned(), Type::TEXT);
    }
    if let Some(phase) = which.phase {
        filter.and("r.phase = ?", phase.as_str().to_owned(), Type::TEXT);
    }
    if which.pinned {
        filter.conditions.push("r.tenant IN (SELECT p.tenant FROM {schema}.pins AS p)".to_owned());
    }
    if which.removing {
        filter.conditions.push("r.removal_events IS NOT NULL".to_owned());
    }
    let sql = format!(
        "SELECT {} FROM {{schema}}.routes AS r WHERE {} ORDER BY r.tenant LIMIT $1",
        rows::ROUTE,
        filter.conditions.join(" AND ")
    );
    let found = filter.read(client, &sql).await?;
    Ok(all(&found, rows::route)?)
}

pub(super) async fn migrations(
    client: &mut Client,
    which: &MigrationFilter,
) -> Answer<Vec<Migration>> {
    // By each of its two stores in turn: a condition with OR is answered by no index in the order of age.
    let sides: &[Option<&str>] =
        if which.store.is_some() { &[Some("source"), Some("target")] } else { &[None] };
    let mut lists = Vec::new();
    for side in sides {
        lists.push(one_side(client, which, *side).await?);
    }
    Ok(which.joined(lists))
}

async fn one_side(
    client: &mut Client,
    which: &MigrationFilter,
    side: Option<&str>,
) -> Answer<Vec<Migration>> {
    let mut filter = Where::new(which.limit);
    filter.tenants("g.tenant", which.tenants);
    if let (Some(side), Some(store)) = (side, &which.store) {
        filter.and(&format!("g.{side} = ?"), store.as_str().to_owned(), Type::TEXT);
    }
    if let Some(phase) = which.phase {
        filter.and("g.phase = ?", Phase::as_str(phase).to_owned(), Type::TEXT);
    }
    if let Some(before) = which.before.map(MigrationId::uuid) {
        let age = "(g.created_at, g.id) < \
                   (SELECT created_at, id FROM {schema}.migrations WHERE id = ?)";
        filter.and(age, before, Type::UUID);
    }
    let sql = format!(
        "SELECT {} FROM {{schema}}.migrations AS g WHERE {} \
         ORDER BY g.created_at DESC, g.id DESC LIMIT $1",
        rows::MIGRATION,
        filter.conditions.join(" AND ")
    );
    let found = filter.read(client, &sql).await?;
    Ok(all(&found, rows::migration)?)
}
