//! Patroni clusters that lose their primary, in a choice of phases from a printed seed.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::Patroni;
use rehome_tests::chaos::{Cast, Server, Stage, Who, Work, play_failover, some_failovers};
use rehome_tests::checker::{Moment, hex};
use rehome_tests::history::TENANT;
use rehome_tests::process::wait_for;

use crate::named::LOAD;
use crate::scripted::seed;
use crate::with_servers;

const EARLY: Who = Who::App(0);
const LATE: Who = Who::App(1);
const DRIVER: Who = Who::Driver(0);

#[test]
fn nothing_is_lost_when_a_source_a_target_and_a_control_plane_fail_over() -> Result<()> {
    let seed = seed()?;
    println!("REHOME_CHAOS_SEED={seed}");
    let patroni = Arc::new(Patroni::start(true)?);
    with_servers(|servers| {
        let mut all = some_failovers(seed).into_iter();
        all.try_for_each(|failover| play_failover(servers, &patroni, failover))
    })
}

/// The target is asynchronous. When its replicas hang, the migration gives way; its failover loses the end of the cutover and what was appended after it.
#[test]
fn a_target_whose_failover_lost_commits_is_not_served_until_the_loss_is_accepted() -> Result<()> {
    let patroni = Arc::new(Patroni::start(false)?);
    with_servers(|servers| {
        let servers = servers.with_patroni(Server::Dedicated, &patroni);
        Stage::bare(&servers, "throttle_replica_lag_ms = 500", |stage| {
            loses_commits(stage, &patroni)
        })
    })
}

fn loses_commits(stage: &Stage<'_>, patroni: &Patroni) -> Result<()> {
    let mut cast = Cast::new(stage, LOAD);
    cast.start_app(EARLY, "")?;
    cast.writes(EARLY)?;
    cast.wait_for_acks(&[EARLY], 50)?;
    let more = &["--cutover", "manual"];
    cast.start_driver(DRIVER, "", &Work::Start { to: "dedicated", more })?;
    wait_for("dual_write", || {
        let last = stage.migrations()?.pop();
        Ok(last.filter(|last| last.phase == "dual_write").map(drop))
    })?;
    let primary = patroni.primary().context("the cluster has a primary")?;
    let owner =
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()";
    let owner = stage.sql(Server::Dedicated, owner)?;
    patroni.sql("postgres", &format!("GRANT pg_read_all_stats TO \"{owner}\""))?;
    primary.isolate()?;
    wait_for("the migration to give way to the replicas", || {
        let said =
            stage.sql(Server::Control, "SELECT text FROM rehome.memos WHERE name = 'brake'")?;
        Ok(said.ends_with("replica_lag").then_some(()))
    })?;
    stage.run(&["migration", "cutover", &hex(&stage.last()?.id)])?;
    cast.of(DRIVER)?.succeeds()?;
    cast.wait_for_acks(&[EARLY], 50)?;
    cast.kill(EARLY)?;
    primary.kill()?;
    patroni.failed_over(primary)?;

    cast.start_app(LATE, "")?;
    for ask in [&["store", "check"][..], &["health", "--quiet"], &["recover"]] {
        let said = stage.run(ask).err().map(|error| format!("{error:#}")).unwrap_or_default();
        let named = said.contains("lost events") && said.contains("--accept-loss");
        ensure!(named, "rehome {}: {said}", ask.join(" "));
    }
    ensure!(stage.acked(LATE)? == 0, "something was written to a history with a gap");

    // The old source has all up to the switch.
    let accept = ["recover", "--tenant", TENANT, "--store", "shared", "--accept-loss", "--yes"];
    stage.run(&accept)?;
    cast.kill(LATE)?;
    cast.start_app(LATE, "")?;
    cast.wait_for_acks(&[LATE], 50)?;
    cast.ends_well()?;
    let said = stage.check(Moment::End).err().map(|error| format!("{error:#}")).unwrap_or_default();
    let mut found = said.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    ensure!(found.all(|line| line.starts_with("lost: ")), "more is wrong than the loss: {said}");
    ensure!(said.contains("lost: "), "nothing was lost: {said}");
    Ok(())
}
