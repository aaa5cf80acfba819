//! kill -9 of a process that drains a store: another process finds the recorded state, and continues.

use anyhow::Result;

use crate::harness::{DEDICATED, SHARED, Site, on_a_site};
use rehome_tests::process::Process;

/// A tenant's writers, until they have written some events.
fn write(site: &Site) -> Result<Process> {
    let load = site.load("", 4, 300)?;
    site.wait_for_acks(20)?;
    Ok(load)
}

/// The process that starts a drain is killed there, with the tenant's move begun or not; a process that drives any
/// work without a driver moves it.
fn drain_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        let start = ["drain", "start", "--from", SHARED, "--to", DEDICATED];
        site.spawn(&format!("{point}=kill"), &start)?.dies()?;
        site.check_between()?;
        let mut heir = site.spawn("", &["migration", "drive"])?;
        site.wait_for_phase("migrated")?;
        site.wait_for_acks(20)?;
        heir.terminate()?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}

#[test]
fn killed_after_a_fact_of_a_drain_was_recorded() -> Result<()> {
    drain_dies_at("drain.recorded")
}

#[test]
fn killed_after_a_drain_started_a_move() -> Result<()> {
    drain_dies_at("drain.started")
}
