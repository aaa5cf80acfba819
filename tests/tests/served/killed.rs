//! One of two servers is killed -9 while a tenant moves: clients at the balancer see connections that
//! break, and nothing else that is not documented.

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::wait_for;

use crate::harness::Site;
use crate::http::ask;
use crate::together::{Stage, site, to_dedicated};

/// The first server has the migration, is killed at this point, and the second one continues.
fn dies_at(point: &str) -> Result<()> {
    // The target is a file: the servers share a machine here, and stores may be of both kinds. Writers
    // wait for less than the takeover by another server.
    let waits = "lease_ttl_ms = 5000\nwrite_pause_timeout_ms = 300\n";
    let (site, places) = site(None, waits)?;
    site.with(|site: &Site| {
        let (mut first, one) = site.serve("first", &format!("{point}=kill"))?;
        // While it is alone, so that it is the one that has it.
        let started = ask(one, "POST", "/v1/migrations", &[], Some(&to_dedicated()))?;
        let migration = started.body["id"].as_str().with_context(|| format!("{started:?}"))?;
        wait_for("dual_write", || {
            let found = ask(one, "GET", &format!("/v1/migrations/{migration}"), &[], None)?;
            Ok((found.body["state"] == "dual_write").then_some(()))
        })?;
        let (second, other) = site.serve("second", "")?;
        let stage = Stage::new(site, &places, [one, other], true)?;
        stage.play(|| {
            stage.goes_on()?;
            stage.cut_over(migration)?;
            stage.wait_for(migration, "migrated")?;
            stage.goes_on()
        })?;
        first.dies()?;
        let again = stage.clients.again();
        for told in ["a broken connection", "writes_paused"] {
            ensure!(again.contains_key(told), "nobody was told: {told}; {again:?}");
        }
        Stage::ends(second)
    })
}

#[test]
fn a_server_is_killed_between_the_fence_and_the_switch() -> Result<()> {
    dies_at("cutover.fenced")
}

#[test]
fn a_server_is_killed_when_the_cutover_has_been_asked_for() -> Result<()> {
    let (site, places) = site(None, "lease_ttl_ms = 1000\n")?;
    site.with(|site: &Site| {
        let (mut first, one) = site.serve("first", "")?;
        let (second, other) = site.serve("second", "")?;
        let stage = Stage::new(site, &places, [one, other], true)?;
        stage.play(|| {
            stage.goes_on()?;
            let migration = stage.start("/v1/migrations", &to_dedicated())?;
            stage.wait_for(&migration, "dual_write")?;
            stage.cut_over(&migration)?;
            first.kill()?;
            stage.goes_on()?;
            stage.wait_for(&migration, "migrated")?;
            stage.goes_on()
        })?;
        Stage::ends(second)
    })
}
