//! kill -9 at each failpoint: the files have all acknowledged events, and another process continues.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::{
    DEDICATED, Free, SHARED, Site, TENANT, on_a_bare_site, on_a_site, on_a_site_until_free,
};
use rehome_tests::process::{Process, wait_for};

/// Writers of a run, and their events per second.
const WRITERS: u16 = 4;
const RATE: u32 = 300;

fn write(site: &Site) -> Result<Process> {
    let load = site.load("", WRITERS, RATE)?;
    site.wait_for_acks(20)?;
    Ok(load)
}

/// Another process drives until the tenant is in the other store; then writers continue.
fn heir_migrates(site: &Site, load: Process) -> Result<()> {
    site.on_last("resume", &[])?;
    ensure!(site.last()?.phase == "migrated", "it is {}", site.last()?.phase);
    site.wait_for_acks(20)?;
    load.ends_well()?;
    site.finish(DEDICATED).map(drop)
}

/// The first writer of a tenant is killed while it creates the tenant; others create it, and it can move.
fn creation_dies_at(point: &str) -> Result<()> {
    on_a_bare_site(|site| {
        site.load(&format!("{point}=kill"), WRITERS, RATE)?.dies()?;
        site.check_between()?;
        let load = write(site)?;
        site.check_between()?;
        site.start("", &[])?.succeeds()?;
        site.wait_for_acks(20)?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}

#[test]
fn killed_after_the_row_of_a_new_tenant_was_made() -> Result<()> {
    creation_dies_at("create.routed")
}

#[test]
fn killed_after_the_store_of_a_new_tenant_was_activated() -> Result<()> {
    creation_dies_at("create.activated")
}

#[test]
fn killed_after_a_creation_was_complete() -> Result<()> {
    creation_dies_at("create.completed")
}

/// The driver of a migration dies there.
fn migration_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        site.start(&format!("{point}=kill"), &[])?.dies()?;
        site.check_between()?;
        heir_migrates(site, load)
    })
}

#[test]
fn killed_after_the_start_was_recorded() -> Result<()> {
    migration_dies_at("start.recorded")
}

#[test]
fn killed_after_the_target_was_adopted() -> Result<()> {
    migration_dies_at("prepare.adopted")
}

#[test]
fn killed_after_a_part_was_copied() -> Result<()> {
    migration_dies_at("copy.extended")
}

#[test]
fn killed_before_the_end_of_the_copy_was_recorded() -> Result<()> {
    migration_dies_at("copy.completed")
}

#[test]
fn killed_after_a_part_was_mirrored() -> Result<()> {
    migration_dies_at("mirror.extended")
}

#[test]
fn killed_before_a_cutover_was_recorded() -> Result<()> {
    migration_dies_at("cutover.ready")
}

#[test]
fn killed_before_the_fence() -> Result<()> {
    migration_dies_at("cutover.intent")
}

#[test]
fn killed_after_the_fence() -> Result<()> {
    migration_dies_at("cutover.fenced")
}

#[test]
fn killed_after_the_target_was_caught_up_in_the_pause() -> Result<()> {
    migration_dies_at("cutover.caught_up")
}

#[test]
fn killed_before_the_switch() -> Result<()> {
    migration_dies_at("cutover.compared")
}

#[test]
fn killed_after_the_switch() -> Result<()> {
    migration_dies_at("cutover.switched")
}

#[test]
fn killed_before_the_activation_was_recorded() -> Result<()> {
    migration_dies_at("cutover.activated")
}

/// No driver follows: writers continue without help, at the source or at the target. (Without a fence no write is
/// paused, and there is no reason to roll it back.)
fn writers_help_themselves_after(point: &str, authority: &str) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        let timeout = ["--cutover-timeout-ms", "500"];
        site.start(&format!("{point}=kill"), &timeout)?.dies()?;
        // More than were under way: these were sent after the pause.
        site.wait_for_acks(50)?;
        site.check_between()?;
        load.ends_well()?;
        site.finish(authority).map(drop)
    })
}

#[test]
fn without_an_heir_writers_never_notice_a_cutover_that_was_not_fenced() -> Result<()> {
    writers_help_themselves_after("cutover.intent", SHARED)
}

#[test]
fn without_an_heir_writers_roll_back_a_cutover_that_was_fenced() -> Result<()> {
    writers_help_themselves_after("cutover.fenced", SHARED)
}

#[test]
fn without_an_heir_writers_roll_back_a_cutover_that_was_about_to_switch() -> Result<()> {
    writers_help_themselves_after("cutover.compared", SHARED)
}

#[test]
fn without_an_heir_writers_activate_the_target() -> Result<()> {
    writers_help_themselves_after("cutover.switched", DEDICATED)
}

const TIMEOUT: Duration = Duration::from_millis(500);

/// A cutover that takes too long: its driver is stopped in the middle of the pause, wakes after
/// the deadline, rolls back, and is killed there. Without writers, no one else rolls back before it.
fn roll_back_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        let failpoints = format!("cutover.intent=stop,{point}=kill");
        let mut driver = site.start(&failpoints, &["--cutover-timeout-ms", "500"])?;
        driver.sleeps()?;
        // The deadline is the state that is waited for.
        thread::sleep(TIMEOUT);
        driver.wake()?;
        driver.dies()?;
        site.check_between()?;
        let load = write(site)?;
        heir_migrates(site, load)
    })
}

/// The same after the fence and with writers, who roll back before the driver wakes: it comes too
/// late.
fn late_roll_back_dies_at(point: &str) -> Result<()> {
    on_a_site_until_free(|site| {
        let load = write(site)?;
        let failpoints = format!("cutover.fenced=stop,{point}=kill");
        let mut driver = site.start(&failpoints, &["--cutover-timeout-ms", "500"])?;
        driver.sleeps()?;
        if site.free()? == Free::No {
            return Ok(Free::No);
        }
        site.wait_for_phase("dual_write")?;
        site.wait_for_acks(10)?;
        driver.wake()?;
        driver.dies()?;
        site.check_between()?;
        heir_migrates(site, load)?;
        Ok(Free::Yes)
    })
}

#[test]
fn killed_before_a_roll_back() -> Result<()> {
    roll_back_dies_at("roll_back.begin")
}

#[test]
fn killed_after_a_roll_back_was_recorded() -> Result<()> {
    roll_back_dies_at("roll_back.recorded")
}

#[test]
fn killed_after_a_roll_back_activated_the_source() -> Result<()> {
    roll_back_dies_at("roll_back.activated")
}

#[test]
fn killed_before_a_roll_back_that_writers_have_done() -> Result<()> {
    late_roll_back_dies_at("roll_back.begin")
}

#[test]
fn killed_after_a_roll_back_that_writers_have_done() -> Result<()> {
    late_roll_back_dies_at("roll_back.activated")
}

/// A migration that waits for an operator is aborted; its driver, which cleans up, is killed there and
/// the process that aborts continues.
fn abort_dies_at(point: &str, purge: bool) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        let mut driver = site.start(&format!("{point}=kill"), &["--cutover", "manual"])?;
        site.wait_for_phase("dual_write")?;
        let id = site.last_id()?;
        let purges = if purge { &["--purge-target"][..] } else { &[] };
        let mut abort = site.spawn("", &[&["migration", "abort", &id], purges].concat())?;
        driver.dies()?;
        site.check_between()?;
        abort.succeeds()?;
        ensure!(site.last()?.phase == "rolled_back", "it is {}", site.last()?.phase);
        site.wait_for_acks(10)?;
        load.ends_well()?;
        site.finish(SHARED)?;
        // Leftovers of it are no obstacle for the next one.
        site.start("", &[])?.succeeds()?;
        site.finish(DEDICATED).map(drop)
    })
}

/// The process that aborts dies before it cleans up, with the driver dead as well.
#[test]
fn killed_after_an_abort_was_recorded() -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        site.start("prepare.adopted=kill", &[])?.dies()?;
        let id = site.last_id()?;
        let abort = ["migration", "abort", &id, "--purge-target"];
        site.spawn("abort.recorded=kill", &abort)?.dies()?;
        site.check_between()?;
        ensure!(site.last()?.phase == "rolled_back", "it is {}", site.last()?.phase);
        site.on_last("resume", &["--keep-window"])?;
        load.ends_well()?;
        site.finish(SHARED)?;
        site.start("", &[])?.succeeds()?;
        site.finish(DEDICATED).map(drop)
    })
}

#[test]
fn killed_after_an_abort_dropped_the_replica() -> Result<()> {
    abort_dies_at("abort.dropped", false)
}

#[test]
fn killed_after_an_abort_that_purges_dropped_the_replica() -> Result<()> {
    abort_dies_at("abort.dropped", true)
}

#[test]
fn killed_in_the_middle_of_a_purge_after_an_abort() -> Result<()> {
    abort_dies_at("purge.chunk", true)
}

/// A row of the copy is deleted and the damage found; the repairing process is killed there, and another continues.
fn repair_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        let mut driver = site.start("", &["--cutover", "manual"])?;
        site.wait_for_phase("dual_write")?;
        site.wait_for_fact("verified")?;
        site.delete_event(DEDICATED, 10)?;
        let id = site.last_id()?;
        let found = site.ends(&["migration", "verify", &id])?;
        ensure!(found.code() == Some(5), "what is missing is found: {found}");
        // A process that waits for the migration's progress is informed that it stopped.
        ensure!(driver.end()?.code() == Some(5), "{}", driver.said()?);
        site.spawn(&format!("{point}=kill"), &["migration", "repair", &id])?.dies()?;
        let mut other = site.spawn("", &["migration", "drive"])?;
        site.wait_for_fact("cut_back")?;
        wait_for("the repair to be verified", || {
            Ok((!site.last()?.state.contains("\"open\":")).then_some(()))
        })?;
        site.check_between()?;
        site.run(&["migration", "cutover", &id])?;
        other.kill()?;
        site.wait_for_acks(10)?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}

#[test]
fn killed_after_a_repair_was_requested() -> Result<()> {
    repair_dies_at("repair.requested")
}

#[test]
fn killed_before_the_copy_that_is_repaired_was_dropped() -> Result<()> {
    repair_dies_at("repair.scanned")
}

#[test]
fn killed_after_the_copy_that_is_repaired_was_dropped() -> Result<()> {
    repair_dies_at("repair.dropped")
}

#[test]
fn killed_in_the_middle_of_cutting_back() -> Result<()> {
    repair_dies_at("repair.chunk")
}

#[test]
fn killed_before_it_was_recorded_that_the_copy_was_cut_back() -> Result<()> {
    repair_dies_at("repair.cut")
}

#[test]
fn killed_after_it_was_recorded_that_the_copy_was_cut_back() -> Result<()> {
    repair_dies_at("repair.recorded")
}

#[test]
fn killed_in_the_middle_of_a_purge_of_the_old_source() -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        site.start("", &[])?.succeeds()?;
        let purge = ["tenant", "purge", "--tenant", TENANT, "--store", SHARED];
        site.spawn("purge.chunk=kill", &purge)?.dies()?;
        site.check_between()?;
        site.run(&purge)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        // And back again, to where nothing is left.
        site.run(&["migration", "start", "--tenant", TENANT, "--to", SHARED])?;
        site.finish(SHARED).map(drop)
    })
}

/// The driver is killed in the rollback window; another one takes over; the tenant returns.
#[test]
fn killed_after_the_old_source_became_a_replica() -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        let window = ["--rollback-window", "1h", "--keep-window"];
        site.start("window.adopted=kill", &window)?.dies()?;
        site.check_between()?;
        let id = site.last_id()?;
        let mut keeper = site.spawn("", &["migration", "resume", &id, "--keep-window"])?;
        site.wait_for_acks(20)?;
        site.run(&["migration", "return", &id])?;
        keeper.end()?;
        site.wait_for_acks(10)?;
        load.ends_well()?;
        site.finish(SHARED).map(drop)
    })
}

/// The driver is killed while it closes the window; another one continues, and the tenant can move again.
fn closing_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        let window = ["--rollback-window", "1s", "--keep-window"];
        site.start(&format!("{point}=kill"), &window)?.dies()?;
        site.check_between()?;
        site.on_last("resume", &["--keep-window"])?;
        site.wait_for_acks(10)?;
        load.ends_well()?;
        site.finish(DEDICATED)?;
        site.run(&["migration", "start", "--tenant", TENANT, "--to", SHARED])?;
        site.finish(SHARED).map(drop)
    })
}

#[test]
fn killed_after_the_window_was_closed() -> Result<()> {
    closing_dies_at("window.closed")
}

#[test]
fn killed_after_the_replica_of_a_closed_window_was_dropped() -> Result<()> {
    closing_dies_at("window.dropped")
}

/// The way back dies in the middle of its cutover.
fn return_dies_at(point: &str) -> Result<()> {
    on_a_site(|site| {
        let load = write(site)?;
        site.start("", &["--rollback-window", "1h"])?.succeeds()?;
        let id = site.last_id()?;
        site.spawn(&format!("{point}=kill"), &["migration", "return", &id])?.dies()?;
        site.check_between()?;
        site.on_last("resume", &[])?;
        site.wait_for_acks(10)?;
        load.ends_well()?;
        site.finish(SHARED).map(drop)
    })
}

#[test]
fn killed_before_the_switch_of_a_return() -> Result<()> {
    return_dies_at("cutover.compared")
}

#[test]
fn killed_after_the_switch_of_a_return() -> Result<()> {
    return_dies_at("cutover.switched")
}

#[test]
fn writers_killed_on_their_way_to_a_store() -> Result<()> {
    on_a_site(|site| {
        site.load("router.routed=kill", WRITERS, RATE)?.dies()?;
        site.check_between()?;
        let load = write(site)?;
        site.start("", &[])?.succeeds()?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}

#[test]
fn writers_killed_while_the_tenant_moves() -> Result<()> {
    on_a_site(|site| {
        let mut killed = write(site)?;
        let load = write(site)?;
        let mut driver = site.start("", &["--cutover", "manual"])?;
        site.wait_for_phase("dual_write")?;
        killed.kill()?;
        site.check_between()?;
        site.on_last("cutover", &[])?;
        driver.succeeds()?;
        site.wait_for_acks(10)?;
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}
