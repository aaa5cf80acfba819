//! Processes that steer one migration and write to its tenant, all on the same files at once.

use anyhow::{Result, ensure};

use crate::harness::{DEDICATED, SHARED, TENANT, on_a_site};

#[test]
fn processes_write_watch_pause_resume_and_cut_over_at_once() -> Result<()> {
    on_a_site(|site| {
        let (one, two) = (site.load("", 3, 150)?, site.load("", 3, 150)?);
        site.wait_for_acks(20)?;
        let slowly = ["--cutover", "manual", "--copy-rate-max", "800"];
        let mut driver = site.start("", &slowly)?;
        site.wait_for_phase("bulk_copy")?;
        let id = site.last_id()?;
        let mut watcher = site.spawn("", &["migration", "watch", &id, "--json"])?;

        for phase in ["bulk_copy", "dual_write"] {
            site.wait_for_phase(phase)?;
            site.on_last("pause", &[])?;
            ensure!(site.last()?.phase == "paused", "it is {}", site.last()?.phase);
            site.wait_for_acks(20)?;
            site.check_between()?;
            site.on_last("resume", &[])?;
            site.on_last("tune", &["--copy-rate-max", "0"])?;
        }
        site.wait_for_phase("dual_write")?;
        let mut first = site.spawn("", &["migration", "cutover", &id])?;
        let second = site.ends(&["migration", "cutover", &id])?.code();
        ensure!(matches!(second, Some(0 | 3)), "two cutovers at once: {second:?}");
        let first = first.end()?.code();
        ensure!(matches!(first, Some(0 | 3)), "two cutovers at once: {first:?}");
        ensure!(first == Some(0) || second == Some(0), "neither cut over");
        driver.succeeds()?;
        watcher.succeeds()?;
        ensure!(watcher.said()?.contains("migrated"), "the watcher saw no end");

        site.wait_for_acks(40)?;
        one.ends_well()?;
        two.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}

#[test]
fn a_migration_that_another_process_aborts_leaves_the_tenant_where_it_is() -> Result<()> {
    on_a_site(|site| {
        let (one, two) = (site.load("", 3, 150)?, site.load("", 3, 150)?);
        let mut driver = site.start("", &["--cutover", "manual"])?;
        site.wait_for_phase("dual_write")?;
        site.on_last("abort", &["--purge-target"])?;
        ensure!(driver.end()?.code() == Some(1), "a migration that was aborted is no success");
        site.wait_for_acks(20)?;
        one.ends_well()?;
        two.ends_well()?;
        site.finish(SHARED).map(drop)
    })
}

#[test]
fn of_two_processes_that_start_a_migration_one_is_refused() -> Result<()> {
    on_a_site(|site| {
        let load = site.load("", 3, 150)?;
        let mut first = site.start("", &[])?;
        let second = ["migration", "start", "--tenant", TENANT, "--to", DEDICATED];
        let second = site.ends(&second)?.code();
        let first = first.end()?.code();
        let mut codes = [first, second];
        codes.sort_unstable();
        ensure!(codes == [Some(0), Some(3)], "{codes:?}");
        ensure!(site.migrations()?.len() == 1, "two migrations");
        load.ends_well()?;
        site.finish(DEDICATED).map(drop)
    })
}
