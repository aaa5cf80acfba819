//! kill -9 in each step of a removal: nothing activates the tenant meanwhile, and a repetition completes it.

use anyhow::{Context as _, Result, ensure};

use crate::harness::{DEDICATED, Free, SHARED, Site, TENANT, on_a_site, on_a_site_until_free};

const ASKED: [&str; 5] = ["tenant", "remove", TENANT, "--events", "1500"];

/// Imports the history into a store.
fn import(site: &Site, store: &str) -> Result<()> {
    let file = site.path().join("history.ndjson");
    let file = file.to_str().context("a path in UTF-8")?;
    site.run(&["import", "--store", store, file])
}

/// Removed, although the process that began it dies there; imported into the other store, and moved.
fn removal_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        site.spawn(&format!("{point}=kill"), &ASKED)?.dies()?;
        // Nobody lives in a removal: no writer, no import, no migration.
        let import_again = ["import", "--store", SHARED];
        let file = site.path().join("history.ndjson");
        let file = file.to_str().context("a path in UTF-8")?;
        let refused = site.ends(&[&import_again[..], &[file]].concat())?;
        ensure!(!refused.success(), "an import went into a removal");
        let refused = site.ends(&["migration", "start", "--tenant", TENANT, "--to", DEDICATED])?;
        ensure!(!refused.success(), "a migration started in a removal");
        let other = site.ends(&["tenant", "remove", TENANT, "--events", "1499"])?;
        ensure!(!other.success(), "it was requested for another number of events");
        site.run(&ASKED)?;
        site.run(&ASKED)?;
        ensure!(!site.ends(&["tenant", "show", TENANT])?.success(), "it is still known");
        import(site, DEDICATED)?;
        site.check_between()?;
        site.run(&["migration", "start", "--tenant", TENANT, "--to", SHARED])?;
        site.finish(SHARED).map(drop)
    })
}

#[test]
fn killed_after_the_removal_was_recorded() -> Result<()> {
    removal_dies_at("remove.begun")
}

#[test]
fn killed_after_the_fence_of_a_removal() -> Result<()> {
    removal_dies_at("remove.fenced")
}

#[test]
fn killed_in_the_purge_of_a_removal() -> Result<()> {
    removal_dies_at("purge.chunk")
}

#[test]
fn killed_before_the_end_of_a_removal_was_recorded() -> Result<()> {
    removal_dies_at("remove.purged")
}

/// Writers with a cached route write until the fence is up, so there is more than the operator has seen: nothing is
/// removed, although the process dies before it opens the fence.
#[test]
fn killed_after_a_removal_was_given_up() -> Result<()> {
    on_a_site_until_free(|site| {
        let mut load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        load.stop()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        let mut counted = site.spawn("", &["tenant", "remove", TENANT, "--dry-run", "--json"])?;
        counted.succeeds()?;
        let said = counted.said()?;
        let events = said.split_once("\"events\":").context("a number of events")?.1;
        let events: String = events.trim_start().chars().take_while(char::is_ascii_digit).collect();
        let asked = ["tenant", "remove", TENANT, "--events", &events];
        let points = "remove.begun=stop,remove.cancelled=kill";
        let mut remover = site.spawn(points, &asked)?;
        remover.sleeps()?;
        load.wake()?;
        site.wait_for_acks(20)?;
        remover.wake()?;
        remover.dies()?;
        site.check_between()?;
        site.wait_for_acks(50)?;
        load.ends_well()?;
        site.finish(SHARED)?;
        Ok(Free::Yes)
    })
}
