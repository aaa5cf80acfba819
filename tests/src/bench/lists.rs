//! How long lists of tenants and migrations take in a deployment that has many.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rehome_app::{Access, Config, Deployment, MigrationsWanted, TenantsWanted, lists, migrations};
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_domain::migration::{Fact, Options, Phase};
use rehome_ports::Change;
use rusqlite::Connection;
use uuid::Uuid;

use crate::Sizes;
use crate::report::Line;

/// Longest that a list may take, in milliseconds.
const WITHIN_MS: f64 = 100.0;
/// Rows of a page, as the console and the interface have them.
const PAGE: usize = 50;
/// Each list is requested so often; the median counts.
const TIMES: usize = 9;
/// So many tenants are where hardly any is, and so many migrations have failed.
const RARE: u64 = 3;

/// Ids that begin in all ways.
fn id(n: u64) -> Uuid {
    Uuid::from_u128(u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// Milliseconds of the median, and rows.
async fn time(
    deployment: &Deployment,
    list: impl AsyncFn(&Deployment) -> Result<usize>,
) -> Result<(f64, usize)> {
    let (mut took, mut rows) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let began = Instant::now();
        rows = list(deployment).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok((took[TIMES / 2], rows))
}

/// Copies the first row of a table with other values, whatever columns it has.
fn copies(
    file: &Connection,
    table: &str,
    set: &str,
    rows: impl Iterator<Item = Vec<Box<dyn rusqlite::ToSql>>>,
) -> Result<()> {
    file.execute_batch(&format!("CREATE TEMP TABLE one AS SELECT * FROM {table} LIMIT 1"))?;
    let mut change = file.prepare(&format!("UPDATE temp.one SET {set}"))?;
    let mut copy = file.prepare(&format!("INSERT INTO {table} SELECT * FROM temp.one"))?;
    for row in rows {
        change.execute(rusqlite::params_from_iter(row))?;
        copy.execute([])?;
    }
    drop((change, copy));
    Ok(file.execute_batch("DROP TABLE temp.one")?)
}

/// A deployment with so many tenants, of which so many have a migration.
async fn filled(folder: &Path, tenants: u64, migrations: u64) -> Result<Deployment> {
    let config = "[control_plane]\nurl = \"sqlite:control.db\"\n\
                  [[stores]]\nid = \"a\"\nurl = \"sqlite:a.db\"\ndefault = true\n\
                  [[stores]]\nid = \"b\"\nurl = \"sqlite:b.db\"\n";
    std::fs::write(folder.join("rehome.toml"), config)?;
    let config = Config::load(Some(&folder.join("rehome.toml")))?;
    let deployment = Deployment::open(&config, Access::Create).await?;
    let control = deployment.engine().control();
    let tenant = TenantId::new(Uuid::from_u128(1));
    control.create_route(tenant, &"a".parse()?).await?;
    let route = control.mark_created(tenant, Epoch(1)).await?;
    let migration = MigrationId::new(Uuid::from_u128(1));
    let (target, options) = ("b".parse()?, Options::default());
    let fact = Fact::Started { migration, target, options };
    let (rev, actor) = (Some(route.rev), "bench".to_owned());
    control.record(Change { tenant, migration, rev, fact, actor }).await?;
    deployment.close().await;

    let file = Connection::open(folder.join("control.db"))?;
    file.execute_batch("BEGIN IMMEDIATE")?;
    let bytes = |id: Uuid| -> Box<dyn rusqlite::ToSql> { Box::new(id.as_bytes().to_vec()) };
    let text = |text: &'static str| -> Box<dyn rusqlite::ToSql> { Box::new(text) };
    let has = |n: u64| n < migrations;
    let phase = |n: u64| if n < RARE { "failed" } else { "pending" };
    let routes = (0..tenants).map(|n| {
        let store = text(if n < RARE { "b" } else { "a" });
        let migration: Box<dyn rusqlite::ToSql> =
            if has(n) { bytes(id(n)) } else { Box::new(None::<Vec<u8>>) };
        let phase: Box<dyn rusqlite::ToSql> =
            if has(n) { text(phase(n)) } else { Box::new(None::<String>) };
        vec![bytes(id(n)), store, migration, phase]
    });
    copies(&file, "routes", "tenant = ?1, store = ?2, migration = ?3, phase = ?4", routes)?;
    let rows = (0..migrations).map(|n| {
        let created_at = i64::try_from(n).unwrap_or(i64::MAX);
        let row: Vec<Box<dyn rusqlite::ToSql>> =
            vec![bytes(id(n)), bytes(id(n)), text(phase(n)), Box::new(created_at)];
        row
    });
    copies(&file, "migrations", "id = ?1, tenant = ?2, phase = ?3, created_at = ?4", rows)?;
    file.execute_batch("COMMIT")?;
    drop(file);
    Ok(Deployment::open(&config, Access::Existing).await?)
}

/// Lists of each kind, in a deployment that has many tenants.
pub(crate) async fn times(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let (tenants, migrations) = (sizes.large / 6, sizes.large / 15);
    let deployment = filled(folder, tenants, migrations).await?;
    let search = id(1).to_string()[..6].to_owned();
    let of_tenants = TenantsWanted { limit: PAGE, ..TenantsWanted::default() };
    let of_migrations = MigrationsWanted { limit: PAGE, ..MigrationsWanted::default() };
    let (store, failed) = (Some("b".parse()?), Some(Phase::Failed));
    let last = TenantId::new(Uuid::from_u128(u128::MAX / 2));
    let tenant_lists = [
        ("tenants", of_tenants.clone()),
        ("tenants, from the middle", TenantsWanted { after: Some(last), ..of_tenants.clone() }),
        ("tenants of a store", TenantsWanted { store, ..of_tenants.clone() }),
        ("tenants in a state", TenantsWanted { phase: failed, ..of_tenants.clone() }),
        ("tenants by an id", TenantsWanted { search: Some(search.clone()), ..of_tenants.clone() }),
    ];
    let migration_lists = [
        ("migrations", of_migrations.clone()),
        (
            "migrations of a store",
            MigrationsWanted { store: Some("b".parse()?), ..of_migrations.clone() },
        ),
        ("migrations in a state", MigrationsWanted { phase: failed, ..of_migrations.clone() }),
        ("migrations by an id", MigrationsWanted { search: Some(search), ..of_migrations.clone() }),
        ("migrations that need you", MigrationsWanted { needs_you: true, ..of_migrations }),
    ];
    let mut found = Vec::new();
    for (name, wanted) in tenant_lists {
        let list = async |on: &Deployment| Ok(lists::tenants(on, &wanted).await?.tenants.len());
        found.push((name, time(&deployment, list).await?));
    }
    for (name, wanted) in migration_lists {
        let list = async |on: &Deployment| Ok(migrations::list(on, &wanted).await?.len());
        found.push((name, time(&deployment, list).await?));
    }
    deployment.close().await;
    for (name, (_, rows)) in &found {
        ensure!(*rows > 0 || name.contains("need you"), "{name}: nothing is listed");
    }
    let slowest = found.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0)).context("a list")?;
    let mut lines = vec![Line::at_most(
        "lists, the slowest of all",
        slowest.1.0,
        WITHIN_MS,
        "ms",
        format!("{tenants} tenants, {migrations} migrations, pages of {PAGE}: {}", slowest.0),
    )];
    let line = |(name, (took, rows)): &(&str, (f64, usize))| {
        Line::seen(format!("list of {name}"), *took, "ms", format!("{rows} rows"))
    };
    lines.extend(found.iter().map(line));
    Ok(lines)
}
