//! A process is stopped at a point of the protocol, others continue, and then it wakes: its late
//! steps must be refused.

use anyhow::{Context as _, Result, ensure};

use crate::harness::{DEDICATED, Free, SHARED, Site, TENANT, on_a_site_until_free};

/// The driver is stopped; another takes the migration over and finishes it; the driver wakes.
fn overtaken_at(point: &str) -> Result<()> {
    on_a_site_until_free(|site| {
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        let mut sleeper = site.start(&format!("{point}=stop"), &[])?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.check_between()?;
        site.on_last("resume", &[])?;
        site.wait_for_acks(20)?;
        sleeper.wake()?;
        sleeper.succeeds().context("it finds the migration done")?;
        site.wait_for_acks(20)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        Ok(Free::Yes)
    })
}

#[test]
fn a_copier_that_sleeps_is_overtaken() -> Result<()> {
    overtaken_at("copy.extended")
}

#[test]
fn a_driver_that_sleeps_before_the_fence_is_overtaken() -> Result<()> {
    overtaken_at("cutover.intent")
}

#[test]
fn a_driver_that_sleeps_after_the_fence_is_overtaken() -> Result<()> {
    overtaken_at("cutover.fenced")
}

#[test]
fn a_driver_that_sleeps_before_the_switch_is_overtaken() -> Result<()> {
    overtaken_at("cutover.compared")
}

#[test]
fn a_driver_that_sleeps_after_the_switch_is_overtaken() -> Result<()> {
    overtaken_at("cutover.switched")
}

/// The driver is stopped in the pause; writers roll the cutover back and continue at the source; the
/// driver wakes, and must not switch to a target that is behind by then.
fn rolled_back_at(point: &str) -> Result<()> {
    on_a_site_until_free(|site| {
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        let timeout = ["--cutover-timeout-ms", "500"];
        let mut sleeper = site.start(&format!("{point}=stop"), &timeout)?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        // The writers roll back.
        site.wait_for_phase("dual_write")?;
        site.wait_for_acks(50)?;
        let report = site.check_between()?;
        ensure!(report.authority == SHARED, "it lives in {}", report.authority);
        sleeper.wake()?;
        sleeper.succeeds().context("it tries again")?;
        let attempts = site.last()?.cutover_attempts;
        ensure!(attempts >= 2, "the cutover that was rolled back went on");
        site.wait_for_acks(20)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        Ok(Free::Yes)
    })
}

/// Before the fence no write is paused, and only the driver itself knows that it is too late:
/// its fence and its roll back follow each other.
#[test]
fn a_driver_that_sleeps_before_the_fence_rolls_back_itself() -> Result<()> {
    on_a_site_until_free(|site| {
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        let timeout = ["--cutover-timeout-ms", "500"];
        let mut sleeper = site.start("cutover.intent=stop", &timeout)?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        // At 300 events per second that is well past the deadline.
        site.wait_for_acks(300)?;
        sleeper.wake()?;
        sleeper.succeeds().context("it tries again")?;
        ensure!(site.last()?.cutover_attempts >= 2, "it went on past its deadline");
        site.wait_for_acks(20)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        Ok(Free::Yes)
    })
}

#[test]
fn a_driver_that_sleeps_after_the_fence_is_rolled_back() -> Result<()> {
    rolled_back_at("cutover.fenced")
}

#[test]
fn a_driver_that_sleeps_before_the_switch_is_rolled_back() -> Result<()> {
    rolled_back_at("cutover.compared")
}

/// The driver is stopped before the switch until its cutover was rolled back and a successor has begun the
/// next one: the migration is in the same state again, the target is behind, and only the revision
/// shows that this is another pause.
#[test]
fn a_driver_that_sleeps_into_the_next_cutover_does_not_switch() -> Result<()> {
    on_a_site_until_free(|site| {
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        let timeout = ["--cutover-timeout-ms", "500"];
        let mut sleeper = site.start("cutover.compared=stop", &timeout)?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.wait_for_phase("dual_write")?;
        site.wait_for_acks(50)?;
        let id = site.last_id()?;
        let mut heir = site.spawn("cutover.intent=stop", &["migration", "resume", &id])?;
        heir.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        ensure!(site.last()?.phase == "cutover_paused", "it is {}", site.last()?.phase);
        site.wait_for_acks(20)?;
        sleeper.wake()?;
        // It is refused, takes the migration over from the stopped successor, and finishes it.
        sleeper.succeeds()?;
        site.check_between()?;
        heir.wake()?;
        heir.succeeds()?;
        site.wait_for_acks(20)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        Ok(Free::Yes)
    })
}

/// The migration is aborted and its target purged while its driver is stopped in the copy: the rows that it
/// copies later must not be stored.
#[test]
fn a_copier_that_sleeps_through_abort_and_purge_leaves_nothing() -> Result<()> {
    on_a_site_until_free(|site| {
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        let mut sleeper = site.start("copy.extended=stop", &[])?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.on_last("abort", &["--purge-target"])?;
        site.check_between()?;
        sleeper.wake()?;
        ensure!(!sleeper.end()?.success(), "it must say that it was aborted");
        load.ends_well()?;
        site.finish(SHARED)?;
        ensure!(held(site, DEDICATED)? == 0, "events are left at the target");
        Ok(Free::Yes)
    })
}

/// The same when a second migration already brings the tenant there again.
#[test]
fn a_copier_that_sleeps_into_the_next_migration_disturbs_nothing() -> Result<()> {
    on_a_site_until_free(|site| {
        let load = site.load("", 4, 300)?;
        site.wait_for_acks(20)?;
        let mut sleeper = site.start("copy.extended=stop", &[])?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.on_last("abort", &["--purge-target"])?;
        let mut next = site.start("", &["--cutover", "manual"])?;
        site.wait_for_phase("dual_write")?;
        sleeper.wake()?;
        sleeper.end()?;
        site.on_last("cutover", &[])?;
        next.succeeds()?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        Ok(Free::Yes)
    })
}

/// Writers sleep with a route in their hands while the tenant moves; what they send when they wake
/// goes to the wrong store first.
#[test]
fn writers_that_sleep_through_a_migration_write_to_the_right_store() -> Result<()> {
    on_a_site_until_free(|site| {
        let awake = site.load("", 2, 100)?;
        let mut sleeper = site.load("router.routed=stop", 4, 300)?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.start("", &[])?.succeeds()?;
        let old = held(site, SHARED)?;
        sleeper.wake()?;
        site.wait_for_acks(100)?;
        ensure!(held(site, SHARED)? == old, "the old store took an event");
        sleeper.ends_well()?;
        awake.ends_well()?;
        site.finish(DEDICATED)?;
        Ok(Free::Yes)
    })
}

/// The same there and back again: the store is the right one, the epoch is not.
#[test]
fn writers_that_sleep_while_the_tenant_leaves_and_returns_write_once() -> Result<()> {
    on_a_site_until_free(|site| {
        let awake = site.load("", 2, 100)?;
        let mut sleeper = site.load("router.routed=stop", 4, 300)?;
        sleeper.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.start("", &[])?.succeeds()?;
        site.run(&["migration", "start", "--tenant", TENANT, "--to", SHARED])?;
        sleeper.wake()?;
        site.wait_for_acks(100)?;
        sleeper.ends_well()?;
        awake.ends_well()?;
        site.finish(SHARED)?;
        Ok(Free::Yes)
    })
}

/// Events of the tenant in a store's file.
fn held(site: &Site, store: &str) -> Result<u64> {
    let connection = rusqlite::Connection::open_with_flags(
        site.file(store),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let events: i64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
    Ok(events.unsigned_abs())
}
