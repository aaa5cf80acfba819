//! A full disk, with SQLite: operations that need space report it and wait, nothing is half done, no acknowledged
//! event is lost, and everything continues once there is space.
//!
//! The disk is a file system in memory. Mounting it needs a separate namespace, so each test here runs
//! itself again in one.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::{Process, wait_for};

use crate::harness::{DEDICATED, SHARED, Site, TENANT, on_a_small_disk};

/// Set for a test that runs in a namespace of its own.
const INSIDE: &str = "REHOME_TEST_IN_NAMESPACE";
/// The error of a full store.
const FULL: &str = "has no disk space left";
/// A history of the tests and the writes of a test fit twice.
const MIB: u32 = 16;

/// Plays the scenario of the test of this name where a small disk can be mounted.
fn in_a_namespace(test: &str, scenario: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return scenario();
    }
    let mut again = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        again.args(["--user", "--map-root-user"]);
    }
    again.args(["--mount", "--"]).arg(std::env::current_exe()?);
    again.args([&format!("full::{test}"), "--exact", "--nocapture"]).env(INSIDE, "1");
    let played = again.output().context("unshare cannot be run")?;
    let (out, err) =
        (String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    ensure!(played.status.success(), "{out}{err}");
    ensure!(out.contains("1 passed"), "nothing was played: {out}");
    Ok(())
}

fn write(site: &Site) -> Result<Process> {
    let load = site.load("", 2, 100)?;
    site.wait_for_acks(20)?;
    Ok(load)
}

fn says_that_it_is_full(process: &Process) -> Result<()> {
    wait_for("somebody to say so", || Ok(process.complained()?.contains(FULL).then_some(())))
}

#[test]
fn a_target_without_room_is_waited_for_in_dual_write() -> Result<()> {
    in_a_namespace("a_target_without_room_is_waited_for_in_dual_write", || {
        on_a_small_disk(DEDICATED, MIB, |site| {
            let load = write(site)?;
            let mut driver = site.start("", &["--cutover", "manual"])?;
            site.wait_for_phase("dual_write")?;
            site.fill_small_disk()?;
            says_that_it_is_full(&driver)?;
            site.wait_for_acks(50)?;
            site.check_between()?;
            // A cutover that is requested now waits as well, and delays no writer.
            let mut cutover = site.spawn("", &["migration", "cutover", &site.last_id()?])?;
            site.wait_for_acks(50)?;
            site.check_between()?;
            ensure!(driver.ended()?.is_none(), "it gave up");
            site.clear_small_disk()?;
            driver.succeeds()?;
            cutover.end()?;
            site.wait_for_acks(20)?;
            load.ends_well()?;
            site.finish(DEDICATED).map(drop)
        })
    })
}

/// Operations that need space report the full disk; writers and a migration continue when there is some. (An operation
/// that fits into the log, as a fence may, succeeds.)
#[test]
fn a_source_without_room_says_so_and_loses_nothing() -> Result<()> {
    in_a_namespace("a_source_without_room_says_so_and_loses_nothing", || {
        on_a_small_disk(SHARED, MIB, |site| {
            let load = write(site)?;
            site.fill_small_disk()?;
            let line = site.path().join("one.ndjson");
            let event = format!(
                r#"{{"tenant_id":"{TENANT}","stream_type":"t","stream_id":"s","event_id":"20000000-0000-4000-8000-000000000001","event_type":"T","occurred_at":"2025-03-01T00:00:00Z","data":{{"much":"{}"}},"metadata":{{}}}}"#,
                "x".repeat(900_000)
            );
            std::fs::write(&line, event + "\n")?;
            let line = line.to_str().context("a path in UTF-8")?;
            let mut import = site.spawn("", &["import", "--store", SHARED, line])?;
            ensure!(!import.end()?.success(), "a full store took an event");
            ensure!(import.complained()?.contains(FULL), "{}", import.complained()?);
            site.check_between()?;
            let mut driver = site.start("", &[])?;
            wait_for("a migration", || Ok((!site.migrations()?.is_empty()).then_some(())))?;
            site.check_between()?;
            site.clear_small_disk()?;
            driver.succeeds()?;
            site.wait_for_acks(20)?;
            load.ends_well()?;
            site.finish(DEDICATED).map(drop)
        })
    })
}
