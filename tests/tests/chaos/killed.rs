//! kill -9 at each failpoint of the engine, on PostgreSQL: the servers have all acknowledged events,
//! and another process continues. The same points as on SQLite (`tests/tests/crash`), several in one
//! deployment, in sequence.

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::Direction;
use rehome_tests::chaos::{Cast, Server, Stage, Who, Work};
use rehome_tests::checker::{Moment, hex};
use rehome_tests::history::TENANT;
use rehome_tests::process::wait_for;

use crate::named::{LOAD, finish};
use crate::{on_a_bare_stage, on_a_stage};

const APP: Who = Who::App(0);
const DRIVER: Who = Who::Driver(0);
const HEIR: Who = Who::Driver(1);

/// A deployment on which an application writes.
fn writing<'a>(stage: &'a Stage<'a>) -> Result<Cast<'a>> {
    let mut cast = Cast::new(stage, LOAD);
    cast.start_app(APP, "")?;
    cast.writes(APP)?;
    Ok(cast)
}

/// A driver is started with these failpoints, and dies at the last of them.
fn dies(cast: &mut Cast<'_>, stage: &Stage<'_>, points: &str, work: &Work<'_>) -> Result<()> {
    cast.start_driver(DRIVER, points, work)?;
    cast.of(DRIVER)?.dies()?;
    cast.bury()?;
    stage.check(Moment::Between).with_context(|| format!("killed at {points}")).map(drop)
}

/// Another process drives the last migration to its end.
fn heir_goes_on(cast: &mut Cast<'_>, stage: &Stage<'_>, phase: &str) -> Result<()> {
    cast.start_driver(HEIR, "", &Work::Resume)?;
    cast.of(HEIR)?.succeeds()?;
    cast.bury()?;
    let last = stage.last()?;
    ensure!(last.phase == phase, "it is {}", last.phase);
    cast.wait_for_acks(&[APP], 10)
}

/// The tenant moves from store to store, and its driver is killed at one point after the other.
fn moves_die_at(points: &[&str]) -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        let ways = [Server::Dedicated, Server::Shared];
        for (point, to) in points.iter().zip(ways.into_iter().cycle()) {
            let work = Work::Start { to: to.name(), more: &[] };
            let moved = dies(&mut cast, stage, &format!("{point}=kill"), &work)
                .and_then(|()| heir_goes_on(&mut cast, stage, "migrated"));
            moved.with_context(|| format!("to {} with a death at {point}", to.name()))?;
        }
        let last = if points.len().is_multiple_of(2) { Server::Shared } else { Server::Dedicated };
        finish(stage, cast, last)
    })
}

#[test]
fn killed_before_the_cutover() -> Result<()> {
    // The way back has next to nothing to copy: the death in the copy is on the way there.
    moves_die_at(&[
        "copy.extended",
        "start.recorded",
        "prepare.adopted",
        "copy.completed",
        "mirror.extended",
        "cutover.ready",
    ])
}

/// The first writer of a tenant is killed while it creates the tenant; another creates it, and it can move.
#[test]
fn killed_in_the_creation_of_a_tenant() -> Result<()> {
    for point in ["create.routed", "create.activated", "create.completed"] {
        let played = on_a_bare_stage(|stage| {
            let mut cast = Cast::new(stage, LOAD);
            cast.start_app(APP, &format!("{point}=kill"))?;
            cast.of(APP)?.dies()?;
            cast.kill(APP)?;
            stage.check(Moment::Between)?;
            cast.start_app(APP, "")?;
            cast.writes(APP)?;
            cast.wait_for_acks(&[APP], 10)?;
            stage.check(Moment::Between)?;
            cast.start_driver(DRIVER, "", &Work::Start { to: "dedicated", more: &[] })?;
            cast.of(DRIVER)?.succeeds()?;
            cast.bury()?;
            cast.wait_for_acks(&[APP], 10)?;
            finish(stage, cast, Server::Dedicated)
        });
        played.with_context(|| format!("killed at {point}"))?;
    }
    Ok(())
}

#[test]
fn killed_in_the_cutover() -> Result<()> {
    moves_die_at(&[
        "cutover.intent",
        "cutover.fenced",
        "cutover.caught_up",
        "cutover.compared",
        "cutover.switched",
        "cutover.activated",
    ])
}

/// The driver is stopped between the intent and the fence until its deadline has passed, wakes, rolls
/// back, and dies there.
#[test]
fn killed_in_a_roll_back() -> Result<()> {
    on_a_stage("cutover_timeout_ms = 500", |stage| {
        let mut cast = writing(stage)?;
        let points = ["roll_back.begin", "roll_back.recorded", "roll_back.activated"];
        let ways = [Server::Dedicated, Server::Shared];
        for (point, to) in points.iter().zip(ways.into_iter().cycle()) {
            let work = Work::Start { to: to.name(), more: &[] };
            let points = format!("cutover.intent=stop,{point}=kill");
            cast.start_driver(DRIVER, &points, &work)?;
            cast.of(DRIVER)?.sleeps()?;
            // The deadline is the state that is waited for.
            std::thread::sleep(std::time::Duration::from_millis(500));
            cast.of(DRIVER)?.wake()?;
            cast.of(DRIVER)?.dies()?;
            cast.bury()?;
            stage.check(Moment::Between)?;
            heir_goes_on(&mut cast, stage, "migrated").with_context(|| format!("after {point}"))?;
        }
        finish(stage, cast, Server::Dedicated)
    })
}

/// A migration that waits for an operator is aborted; its driver, which cleans up, is killed there, and the
/// process that aborts continues.
#[test]
fn killed_while_cleaning_up_after_an_abort() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        // Its driver is dead already; who aborts dies before anything is cleaned up.
        let start = Work::Start { to: "dedicated", more: &[] };
        dies(&mut cast, stage, "prepare.adopted=kill", &start)?;
        let id = hex(&stage.last()?.id);
        let abort = ["migration", "abort", &id, "--purge-target"];
        ensure!(!stage.run_with_failpoint("abort.recorded=kill", &abort)?, "it came to a good end");
        stage.check(Moment::Between)?;
        ensure!(stage.last()?.phase == "rolled_back", "it is {}", stage.last()?.phase);
        stage.run(&["migration", "resume", &id, "--keep-window"])?;

        for point in ["abort.dropped", "purge.chunk"] {
            let manual = Work::Start { to: "dedicated", more: &["--cutover", "manual"] };
            cast.start_driver(DRIVER, &format!("{point}=kill"), &manual)?;
            wait_for("dual_write", || {
                let last = stage.migrations()?.pop();
                Ok(last.filter(|last| last.phase == "dual_write").map(drop))
            })?;
            let id = hex(&stage.last()?.id);
            stage.run(&["migration", "abort", &id, "--purge-target"])?;
            cast.of(DRIVER)?.dies()?;
            cast.bury()?;
            stage.check(Moment::Between)?;
            ensure!(stage.last()?.phase == "rolled_back", "it is {}", stage.last()?.phase);
            cast.wait_for_acks(&[APP], 10)?;
        }
        finish(stage, cast, Server::Shared)
    })
}

/// A row of the copy is deleted and the damage found; the repairing process is killed at one point after the other, and
/// another process continues.
#[test]
fn killed_while_repairing_a_copy() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        let points = [
            "repair.requested",
            "repair.scanned",
            "repair.dropped",
            "repair.chunk",
            "repair.cut",
            "repair.recorded",
        ];
        for point in points {
            let played = repaired(&mut cast, stage, &format!("{point}=kill"))
                .and_then(|()| cast.wait_for_acks(&[APP], 10));
            played.with_context(|| format!("a death at {point}"))?;
            stage.run(&["migration", "abort", &hex(&stage.last()?.id), "--purge-target"])?;
        }
        finish(stage, cast, Server::Shared)
    })
}

/// A migration of which a row is deleted is repaired, although who repairs it dies on the way.
fn repaired(cast: &mut Cast<'_>, stage: &Stage<'_>, dies: &str) -> Result<()> {
    let manual = Work::Start { to: "dedicated", more: &["--cutover", "manual"] };
    cast.start_driver(DRIVER, "", &manual)?;
    let verified = "SELECT count(*) FROM rehome.log WHERE fact LIKE '{\"fact\":\"verified\"%' \
                    AND migration = (SELECT id FROM rehome.migrations ORDER BY created_at DESC LIMIT 1)";
    wait_for("dual_write, verified", || {
        let last = stage.migrations()?.pop();
        let mirrors = last.is_some_and(|last| last.phase == "dual_write");
        Ok((mirrors && stage.sql(Server::Control, verified)?.trim() != "0").then_some(()))
    })?;
    let delete = "DELETE FROM rehome.events WHERE position % 1099511627776 = 10";
    stage.sql(Server::Dedicated, delete)?;
    let id = hex(&stage.last()?.id);
    let found = !stage.run_with_failpoint("", &["migration", "verify", &id])?;
    ensure!(found, "what is missing is found");
    // A process that waits for the migration's progress is informed that it stopped.
    ensure!(cast.of(DRIVER)?.end()?.code() == Some(5), "{}", cast.of(DRIVER)?.said()?);
    cast.bury()?;
    let done = stage.run_with_failpoint(dies, &["migration", "repair", &id])?;
    ensure!(!done, "the repair is not cut off");
    cast.start_driver(DRIVER, "", &Work::Drive)?;
    wait_for("the repair to be verified", || {
        Ok((!stage.last()?.state.contains("\"open\":")).then_some(()))
    })?;
    cast.kill(DRIVER)?;
    stage.check(Moment::Between).map(drop)
}

/// The driver dies as it begins to keep the window and as it closes it; the tenant can move again.
#[test]
fn killed_in_the_rollback_window() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        let points = ["window.adopted", "window.closed", "window.dropped"];
        let ways = [Server::Dedicated, Server::Shared];
        for (point, to) in points.iter().zip(ways.into_iter().cycle()) {
            let more = ["--rollback-window", "1s", "--keep-window"];
            let work = Work::Start { to: to.name(), more: &more };
            dies(&mut cast, stage, &format!("{point}=kill"), &work)
                .with_context(|| format!("to {} with a death at {point}", to.name()))?;
            stage.run(&["migration", "resume", &hex(&stage.last()?.id), "--keep-window"])?;
            ensure!(stage.last()?.phase == "migrated", "it is {}", stage.last()?.phase);
            cast.wait_for_acks(&[APP], 10)?;
        }
        finish(stage, cast, Server::Dedicated)
    })
}

#[test]
fn killed_on_the_way_to_a_store_and_in_the_purge_of_an_old_source() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(APP, "router.routed=kill")?;
        cast.of(APP)?.dies()?;
        cast.kill(APP)?;
        stage.check(Moment::Between)?;
        cast.start_app(APP, "")?;
        cast.writes(APP)?;
        cast.start_driver(DRIVER, "", &Work::Start { to: "dedicated", more: &[] })?;
        cast.of(DRIVER)?.succeeds()?;
        cast.bury()?;
        let purge = ["tenant", "purge", "--tenant", TENANT, "--store", "shared"];
        let dead = stage.run_with_failpoint("purge.chunk=kill", &purge)?;
        ensure!(!dead, "it came to a good end");
        stage.check(Moment::Between)?;
        stage.run(&purge)?;
        cast.wait_for_acks(&[APP], 10)?;
        finish(stage, cast, Server::Dedicated)
    })
}

/// The tenant is removed, and imported again, although the process that removes it dies at each step. Nobody lives
/// in a removal: no import, no migration.
#[test]
fn killed_in_a_removal() -> Result<()> {
    on_a_stage("", |stage| {
        let imported = stage.path().join("history.ndjson");
        let imported = imported.to_str().context("a path in UTF-8")?;
        let events = std::fs::read_to_string(imported)?.lines().count().to_string();
        let remove = ["tenant", "remove", TENANT, "--events", &events];
        let import = ["import", "--store", "shared", imported];
        let start = ["migration", "start", "--tenant", TENANT, "--to", "dedicated"];
        for point in ["remove.begun", "remove.fenced", "purge.chunk", "remove.purged"] {
            let died = !stage.run_with_failpoint(&format!("{point}=kill"), &remove)?;
            ensure!(died, "it came to a good end in spite of {point}");
            for refused in [&import[..], &start] {
                let done = stage.run_with_failpoint("", refused)?;
                ensure!(!done, "{} went into a removal that died at {point}", refused[0]);
            }
            stage.run(&remove)?;
            stage.run(&remove)?;
            let left = stage.sql(Server::Shared, "SELECT count(*) FROM rehome.events")?;
            ensure!(left.trim() == "0", "{left} events are left after a death at {point}");
            stage.run(&import)?;
            stage.check(Moment::Between).with_context(|| format!("killed at {point}"))?;
        }
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &Work::Start { to: "dedicated", more: &[] })?;
        cast.of(DRIVER)?.succeeds()?;
        cast.bury()?;
        cast.wait_for_acks(&[APP], 10)?;
        finish(stage, cast, Server::Dedicated)
    })
}

/// Writers that do not hear of the removal write until the fence is up: it is given up, and the process dies before it
/// opens the fence. The next writer does so, and nothing is lost.
#[test]
fn killed_after_a_removal_was_given_up() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.wait_for_acks(&[APP], 10)?;
        cast.of(APP)?.stop()?;
        let news = stage.proxy(APP, Server::Control);
        for direction in [Direction::Up, Direction::Down] {
            news.stall(direction);
        }
        let events = wait_for("the appends that are under way", || at_rest(stage))?;
        let remove = ["tenant", "remove", TENANT, "--events", &events];
        let points = "remove.begun=stop,remove.cancelled=kill";
        cast.start_driver(DRIVER, points, &Work::Run(&remove))?;
        cast.of(DRIVER)?.sleeps()?;
        cast.of(APP)?.wake()?;
        cast.wait_for_acks(&[APP], 10)?;
        cast.of(DRIVER)?.wake()?;
        cast.of(DRIVER)?.dies()?;
        cast.bury()?;
        stage.check(Moment::Between)?;
        news.flow();
        cast.wait_for_acks(&[APP], 10)?;
        finish(stage, cast, Server::Shared)
    })
}

/// How many events the default store has, once no session works on an append.
fn at_rest(stage: &Stage<'_>) -> Result<Option<String>> {
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND pid <> pg_backend_pid() AND state = 'active'";
    let events = || stage.sql(Server::Shared, "SELECT count(*) FROM rehome.events");
    let (before, busy) = (events()?, stage.sql(Server::Shared, busy)?);
    let after = events()?;
    Ok((busy.trim() == "0" && before == after).then(|| after.trim().to_owned()))
}
