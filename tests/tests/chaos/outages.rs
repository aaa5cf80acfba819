//! Servers and connections that fail and recover, without help: the processes that run at the end are those that
//! ran at the beginning.

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::{Direction, Proxy};
use rehome_tests::chaos::{Cast, Server, Servers, Stage, Who, Work};
use rehome_tests::process::wait_for;

use crate::named::{LOAD, TO_DEDICATED, finish};
use crate::on_a_stage;

const APPS: [Who; 2] = Who::APPS;
const DRIVER: Who = Who::Driver(0);
const SLOWLY: Work<'static> = Work::Start { to: "dedicated", more: &["--copy-rate-max", "1000"] };
const UNTIL_TOLD: Work<'static> = Work::Start { to: "dedicated", more: &["--cutover", "manual"] };

fn writing<'a>(stage: &'a Stage<'a>) -> Result<Cast<'a>> {
    let mut cast = Cast::new(stage, LOAD);
    for app in APPS {
        cast.start_app(app, "")?;
        cast.writes(app)?;
    }
    Ok(cast)
}

fn wait_for_phase(stage: &Stage<'_>, phase: &str) -> Result<()> {
    wait_for(phase, || {
        let reached = stage.migrations()?.last().is_some_and(|last| last.phase == phase);
        Ok(reached.then_some(()))
    })
}

/// The driver that was there from the beginning brings it to its end.
fn comes_through(stage: &Stage<'_>, mut cast: Cast<'_>) -> Result<()> {
    cast.of(DRIVER)?.succeeds().context("the driver catches up by itself")?;
    cast.wait_for_acks(&APPS, 20)?;
    finish(stage, cast, Server::Dedicated)
}

fn cut_over(stage: &Stage<'_>) -> Result<()> {
    let id = rehome_tests::checker::hex(&stage.last()?.id);
    stage.run(&["migration", "cutover", &id])
}

#[test]
fn writers_do_not_notice_a_target_that_is_down_during_the_copy() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &SLOWLY)?;
        wait_for_phase(stage, "bulk_copy")?;
        let target = stage.server(Server::Dedicated);
        target.stop()?;
        cast.wait_for_acks(&APPS, 100)?;
        target.begin()?;
        cast.nobody_waited(&APPS)?;
        comes_through(stage, cast)
    })
}

#[test]
fn writers_do_not_notice_a_target_that_crashes_during_dual_write() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &UNTIL_TOLD)?;
        wait_for_phase(stage, "dual_write")?;
        let target = stage.server(Server::Dedicated);
        target.kill()?;
        cast.wait_for_acks(&APPS, 100)?;
        target.begin()?;
        cast.nobody_waited(&APPS)?;
        cut_over(stage)?;
        comes_through(stage, cast)
    })
}

/// It accepts connections and does not respond, which causes no error.
#[test]
fn writers_do_not_notice_a_target_that_hangs_during_dual_write() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &UNTIL_TOLD)?;
        wait_for_phase(stage, "dual_write")?;
        let target = stage.server(Server::Dedicated);
        target.pause()?;
        cast.wait_for_acks(&APPS, 100)?;
        target.resume()?;
        cast.nobody_waited(&APPS)?;
        cut_over(stage)?;
        comes_through(stage, cast)
    })
}

#[test]
fn nothing_is_lost_when_the_source_is_restarted_and_when_it_crashes() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &SLOWLY)?;
        wait_for_phase(stage, "bulk_copy")?;
        stage.server(Server::Shared).restart()?;
        cast.wait_for_acks(&APPS, 50)?;
        stage.server(Server::Shared).kill()?;
        stage.server(Server::Shared).begin()?;
        cast.wait_for_acks(&APPS, 50)?;
        comes_through(stage, cast)
    })
}

#[test]
fn a_control_plane_that_is_down_stops_no_writes_and_migrations_wait() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &SLOWLY)?;
        wait_for_phase(stage, "bulk_copy")?;
        stage.server(Server::Control).kill()?;
        cast.wait_for_acks(&APPS, 100)?;
        cast.nobody_waited(&APPS)?;
        stage.server(Server::Control).begin()?;
        comes_through(stage, cast)
    })
}

#[test]
fn connections_that_are_cut_again_and_again_lose_nothing() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        cast.start_driver(DRIVER, "", &SLOWLY)?;
        wait_for_phase(stage, "bulk_copy")?;
        for round in 0..10 {
            cast.wait_for_acks(&APPS, 10)?;
            for who in Who::ALL {
                for server in Server::ALL {
                    stage.proxy(who, server).cut_one(round)?;
                }
            }
        }
        comes_through(stage, cast)
    })
}

/// The events are stored and the response is lost: the writer retries, and gets the first result.
#[test]
fn an_append_whose_answer_is_lost_is_there_once() -> Result<()> {
    on_a_stage("", |stage| {
        let cast = writing(stage)?;
        for _ in 0..10 {
            let proxy = stage.proxy(APPS[0], Server::Shared);
            // The data of the writers' events: no other request has it.
            proxy.lose_reply(b"{\"")?;
            wait_for("an append", || Ok(proxy.sprung()?.then_some(())))?;
            cast.wait_for_acks(&APPS, 10)?;
        }
        finish(stage, cast, Server::Shared)
    })
}

/// The plan of a start queries the target. If the target is down, or accepts connections and does not respond, the
/// plan says so, and nothing has begun anywhere.
#[test]
fn a_start_whose_target_does_not_answer_is_refused_and_leaves_nothing() -> Result<()> {
    let faults: [fn(&Proxy) -> Result<()>; 2] = [Proxy::refuse, |proxy| {
        proxy.stall(Direction::Down);
        Ok(())
    }];
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        for fault in faults {
            fault(stage.proxy(DRIVER, Server::Dedicated))?;
            cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
            let status = cast.of(DRIVER)?.end()?;
            let said = cast.of(DRIVER)?.complained()?;
            ensure!(!status.success() && said.contains("dedicated"), "{status}: {said}");
            ensure!(stage.migrations()?.is_empty(), "it began");
            ensure!(stage.sql(Server::Dedicated, "SELECT count(*) FROM rehome.ledger")? == "0");
            stage.mend_proxies()?;
        }
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        comes_through(stage, cast)
    })
}

/// The migration began, and the response is lost. There must be one migration, and it must continue.
#[test]
fn a_start_whose_answer_is_lost_has_begun_once() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        stage.proxy(DRIVER, Server::Control).lose_reply(b"\"started\"")?;
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        wait_for("a lost answer", || {
            Ok(stage.proxy(DRIVER, Server::Control).sprung()?.then_some(()))
        })?;
        if !cast.of(DRIVER)?.end()?.success() {
            let said = cast.of(DRIVER)?.complained()?;
            ensure!(stage.migrations()?.len() == 1, "there is no migration: {said}");
            cast.start_driver(DRIVER, "", &Work::Resume)?;
        }
        ensure!(stage.migrations()?.len() == 1, "it began twice");
        comes_through(stage, cast)
    })
}

/// A network that drops everything between one application and all servers, one way.
#[test]
fn an_application_that_is_cut_off_while_the_tenant_moves_goes_on_in_the_new_store() -> Result<()> {
    for direction in [Direction::Up, Direction::Down] {
        on_a_stage("", |stage| {
            let mut cast = writing(stage)?;
            for server in Server::ALL {
                stage.proxy(APPS[0], server).stall(direction);
            }
            cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
            cast.of(DRIVER)?.succeeds()?;
            cast.wait_for_acks(&[APPS[1]], 20)?;
            stage.mend_proxies()?;
            comes_through(stage, cast)
        })?;
    }
    Ok(())
}

/// A report, a backup, a forgotten session: it holds a snapshot and row locks.
#[test]
fn a_long_transaction_at_the_source_holds_nothing_up() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = writing(stage)?;
        let mut session = stage.session(Server::Shared)?;
        session.tell(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM rehome.events;
             CREATE TABLE public.theirs (n int); INSERT INTO public.theirs VALUES (1);
             SELECT 'open';",
        )?;
        wait_for("the transaction", || Ok(session.said()?.contains("open").then_some(())))?;
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        cast.of(DRIVER)?.succeeds()?;
        session.tell("SELECT 'still ' || 'open'; ROLLBACK;")?;
        session.ends_well()?;
        comes_through(stage, cast)
    })
}

#[test]
fn writers_do_not_notice_a_target_whose_disk_is_full() -> Result<()> {
    let servers = Servers::with_small_target(64)?;
    Stage::with(&servers, "", |stage| {
        let mut cast = writing(stage)?;
        let target = stage.server(Server::Dedicated);
        cast.start_driver(DRIVER, "", &UNTIL_TOLD)?;
        wait_for_phase(stage, "dual_write")?;
        target.fill_small_disk()?;
        wait_for("the target to say so", || {
            Ok(target.log()?.contains("No space left on device").then_some(()))
        })?;
        cast.wait_for_acks(&APPS, 100)?;
        cast.nobody_waited(&APPS)?;
        target.clear_small_disk()?;
        cut_over(stage)?;
        comes_through(stage, cast)
    })
}
