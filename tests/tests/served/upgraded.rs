//! A deployment of the formats before these ones is upgraded, server by server, while clients write and follow and a
//! tenant is in the middle of its migration.
//!
//! What stands for the release before is this one, on tables from which what is new was taken away again: that is all
//! that its processes would know. The last released binary takes its place once there is one.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, Result, ensure};
use rehome_tests::checker::Places;
use rehome_tests::process::wait_for;
use rusqlite::Connection;
use serde_json::json;

use crate::harness::Site;
use crate::together::{Stage, site, to_dedicated};

/// What the formats of today have and those before have not: the indices of lists.
const NEW_INDICES: [&str; 5] = [
    "routes_by_store",
    "routes_by_phase",
    "migrations_by_phase",
    "migrations_by_source",
    "migrations_by_target",
];

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// `before` takes the deployment to the formats before, and `is_new` looks whether it has these ones.
fn upgraded(
    site: &Site,
    places: &Places,
    before: impl FnOnce() -> Result<()>,
    is_new: impl Fn() -> Result<bool>,
) -> Result<()> {
    let (old, one) = site.serve("old", "")?;
    let other = free()?;
    let stage = Stage::new(site, places, [one, other], true)?;
    let mut servers = Vec::new();
    stage.play(|| {
        stage.goes_on()?;
        let migration = stage.start("/v1/migrations", &to_dedicated())?;
        stage.wait_for(&migration, "dual_write")?;
        before()?;
        ensure!(!is_new()?, "the formats are not those before");
        stage.goes_on()?;
        // The first new server upgrades what it opens, beside the old one.
        servers.push(site.serve_at("second", other)?);
        // Each store when it is first used.
        wait_for("the new formats", || Ok(is_new()?.then_some(())))?;
        stage.goes_on()?;
        Stage::ends(old)?;
        stage.goes_on()?;
        servers.push(site.serve_at("first", one)?);
        stage.goes_on()?;
        // The migration is where it was, and goes on.
        stage.wait_for(&migration, "dual_write")?;
        stage.cut_over(&migration)?;
        stage.wait_for(&migration, "migrated")?;
        stage.goes_on()?;
        let back = format!("/v1/migrations/{migration}/return");
        let back = stage.start(&back, &json!({"options": {"cutover": "auto"}}))?;
        stage.wait_for(&back, "migrated")?;
        stage.goes_on()
    })?;
    servers.into_iter().try_for_each(Stage::ends)
}

#[test]
fn a_deployment_in_files_is_upgraded_under_load() -> Result<()> {
    let (site, places) = crate::together::site_in_files("lease_ttl_ms = 1000\n")?;
    site.with(|site| {
        let open = || Connection::open(site.path("control.db")).context("the control plane");
        let before = || -> Result<()> {
            let drops = NEW_INDICES.map(|index| format!("DROP INDEX {index};")).concat();
            let formats = "UPDATE meta SET format = 6;";
            Ok(open()?.execute_batch(&format!("BEGIN IMMEDIATE; {drops} {formats} COMMIT;"))?)
        };
        let is_new = || {
            let format: u32 = open()?.query_row("SELECT format FROM meta", [], |row| row.get(0))?;
            Ok(format > 6)
        };
        upgraded(site, &places, before, is_new)
    })
}

#[test]
fn a_deployment_on_postgresql_is_upgraded_under_load() -> Result<()> {
    let target = rehome_cluster::shared().database()?;
    let (site, places) = site(Some(&target), "lease_ttl_ms = 1000\n")?;
    let cluster = rehome_cluster::shared();
    // Stores had other functions, which are replaced while they are called.
    let stores =
        "DROP TABLE rehome.log_anchors; UPDATE rehome.meta SET format = 5 WHERE kind = 'store'";
    let control = {
        let drops = NEW_INDICES.map(|index| format!("DROP INDEX rehome.{index};")).concat();
        format!("{drops} UPDATE rehome.meta SET format = 7 WHERE kind = 'control_plane'")
    };
    let of = |place| crate::together::database_of(place);
    let control_database = of(&places.control)?;
    let databases = places.stores.values().map(of).collect::<Result<Vec<_>>>()?;
    site.with(|site| {
        let before = || -> Result<()> {
            for database in &databases {
                cluster.sql(database, stores)?;
            }
            cluster.sql(&control_database, &control).map(drop)
        };
        let is_new = || {
            let control = "SELECT format > 7 FROM rehome.meta WHERE kind = 'control_plane'";
            let mut is_new = cluster.sql(&control_database, control)? == "t";
            for database in &databases {
                let store = "SELECT format > 5 FROM rehome.meta WHERE kind = 'store'";
                is_new &= cluster.sql(database, store)? == "t";
            }
            Ok(is_new)
        };
        upgraded(site, &places, before, is_new)
    })
}
