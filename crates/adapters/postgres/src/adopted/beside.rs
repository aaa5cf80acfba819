//! The tables that the layout names beside the events: how much is in them, and checkpoints that go along.

use rehome_domain::ids::TenantId;
use rehome_domain::layout::Beside;
use rehome_ports::CheckpointRow;
use tokio_postgres::types::{ToSql, Type};

use super::shape::{UNIQUE, not_set_up};
use super::{Answer, PgAdopted};
use crate::error::ServerError;
use crate::rows::{self, Read, get};
use crate::schema::names::quoted;
use crate::server::Client;

/// Columns that a row can be written with, except those that the database numbers.
const COLUMNS: &str = "\
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) \
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
        AND a.attgenerated = '' AND a.attidentity = '' \
        AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') NOT LIKE 'nextval(%' \
    ORDER BY a.attnum";

fn qualified(store: &PgAdopted, table: &str) -> String {
    format!("{}.{}", quoted(&store.layout.schema), quoted(table))
}

/// Whose the rows `t` are, by a text as the first parameter.
fn of_the_tenant(column: &str) -> String {
    format!("t.{}::text COLLATE \"C\" = $1", quoted(column))
}

/// Each table of the layout, with how many rows it has.
pub(super) async fn found(
    store: &PgAdopted,
    tenant: TenantId,
) -> Answer<Vec<(Beside, Option<u64>)>> {
    let key = store.key(tenant).await?.unwrap_or_default();
    let mut client = store.server.client().await?;
    let mut found = Vec::new();
    for beside in &store.layout.beside {
        found.push((beside.clone(), count(&mut client, store, beside, &key).await?));
    }
    Ok(found)
}

async fn count(
    client: &mut Client,
    store: &PgAdopted,
    beside: &Beside,
    key: &str,
) -> Read<Option<u64>> {
    let table = qualified(store, &beside.table);
    let look = "SELECT coalesce(has_table_privilege(to_regclass($1)::oid, 'SELECT'), false)";
    let may = client.read(look, &[(&table, Type::TEXT)]).await?;
    if !may.first().map_or(Ok(false), |row| get(row, 0))? {
        return Ok(None);
    }
    let which = beside.tenant.as_deref().map_or_else(|| "$1 IS NOT NULL".to_owned(), of_the_tenant);
    let sql = format!(
        "SELECT count(*) FROM (SELECT FROM {table} AS t WHERE {which} LIMIT {}) AS x",
        Beside::COUNTED + 1
    );
    let counted = client.read(&sql, &[(&key, Type::TEXT)]).await?;
    counted.first().map(|row| rows::count(row, 0)).transpose()
}

/// The columns of a table that travel, with their types; not the position.
async fn columns(client: &mut Client, table: &str, position: &str) -> Read<Vec<(String, String)>> {
    let found = client.read(COLUMNS, &[(&table, Type::TEXT)]).await?;
    let columns = found.iter().map(|row| Ok((get::<String>(row, 0)?, get::<String>(row, 1)?)));
    let columns = columns.collect::<Read<Vec<_>>>()?;
    Ok(columns.into_iter().filter(|(name, _)| name != position).collect())
}

/// The tenant's checkpoints, of each table that the layout lists with a tenant and a position.
pub(super) async fn checkpoints(store: &PgAdopted, tenant: TenantId) -> Answer<Vec<CheckpointRow>> {
    let Some(key) = store.key(tenant).await? else { return Ok(Vec::new()) };
    let mut client = store.server.client().await?;
    let mut all = Vec::new();
    for beside in store.layout.beside.iter().filter(|beside| beside.moves()) {
        let (Some(of), Some(position)) = (&beside.tenant, &beside.position) else { continue };
        let table = qualified(store, &beside.table);
        let names = columns(&mut client, &table, position).await?;
        let texts: Vec<_> =
            names.iter().map(|(name, _)| format!("t.{}::text", quoted(name))).collect();
        let sql = format!(
            "SELECT t.{}::bigint, ARRAY[{}]::text[] FROM {table} AS t WHERE {}",
            quoted(position),
            texts.join(", "),
            of_the_tenant(of)
        );
        for row in client.read(&sql, &[(&key, Type::TEXT)]).await? {
            let Some(position) = get::<Option<i64>>(&row, 0)? else { continue };
            let values: Vec<Option<String>> = get(&row, 1)?;
            let names = names.iter().map(|(name, _)| name.clone());
            let columns = names.zip(values).collect();
            all.push(CheckpointRow { table: beside.table.clone(), columns, position });
        }
    }
    Ok(all)
}

/// Writes a checkpoint, unless one with its key is there that is as far.
pub(super) async fn put_checkpoint(store: &PgAdopted, row: &CheckpointRow) -> Answer<bool> {
    let named = store.layout.beside.iter().find(|beside| beside.table == row.table);
    let Some(position) = named.and_then(|beside| beside.position.as_ref()) else {
        return Err(not_set_up(format!("its layout has no checkpoints \"{}\"", row.table)).into());
    };
    let table = qualified(store, &row.table);
    let mut client = store.server.client().await?;
    let known = columns(&mut client, &table, position).await?;
    let kind = |name: &str| -> Read<&str> {
        let found = known.iter().find(|(column, _)| column == name);
        let found = found.ok_or_else(|| not_set_up(format!("{table} has no column \"{name}\"")));
        found.map(|(_, kind)| kind.as_str())
    };
    let unique = client.read(UNIQUE, &[(&table, Type::TEXT)]).await?;
    let unique = unique.iter().map(get_names).collect::<Read<Vec<_>>>()?;
    let travels = |name: &String| row.columns.iter().any(|(column, _)| column == name);
    let Some(key) = unique.into_iter().find(|key| key.iter().all(travels)) else {
        return Err(not_set_up(format!(
            "table {table} has no unique key that identifies a checkpoint; create one without its position"
        ))
        .into());
    };
    let place = quoted(position);
    let (mut names, mut values, mut set) = (Vec::new(), Vec::new(), Vec::new());
    for (n, (name, _)) in row.columns.iter().enumerate() {
        names.push(quoted(name));
        values.push(format!("CAST(${} AS {})", n + 2, kind(name)?));
        if !key.contains(name) {
            set.push(format!("{0} = excluded.{0}", quoted(name)));
        }
    }
    set.push(format!("{place} = excluded.{place}"));
    let key: Vec<_> = key.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "INSERT INTO {table} AS t ({place}, {}) VALUES ($1, {}) ON CONFLICT ({}) DO UPDATE SET {} \
         WHERE t.{place} IS NULL OR t.{place} < excluded.{place} RETURNING 1",
        names.join(", "),
        values.join(", "),
        key.join(", "),
        set.join(", ")
    );
    let mut params: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&row.position, Type::INT8)];
    params.extend(row.columns.iter().map(|(_, value)| (value as &(dyn ToSql + Sync), Type::TEXT)));
    Ok(!client.write(&sql, &params).await?.is_empty())
}

fn get_names(row: &tokio_postgres::Row) -> Result<Vec<String>, ServerError> {
    get(row, 0)
}
