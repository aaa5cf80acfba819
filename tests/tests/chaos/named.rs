//! Schedules that are worth a name.

use anyhow::{Context as _, Result, ensure};
use rehome_tests::chaos::{Cast, Load, Server, Stage, Who, Work};
use rehome_tests::checker::Moment;
use rehome_tests::process::wait_for;

use crate::on_a_stage;

pub(crate) const LOAD: Load = Load { writers: 3, rate: 100 };
pub(crate) const TO_DEDICATED: Work<'static> = Work::Start { to: "dedicated", more: &[] };
const APP: Who = Who::App(0);
const OTHER: Who = Who::App(1);
const DRIVER: Who = Who::Driver(0);
const HEIR: Who = Who::Driver(1);

/// Events of the tenant in a store.
fn held(stage: &Stage<'_>, server: Server) -> Result<u64> {
    let events = stage.sql(server, "SELECT count(*) FROM rehome.events")?;
    events.parse().context("a number")
}

/// Ends all processes, and checks that the tenant is where it should be.
pub(crate) fn finish(stage: &Stage<'_>, cast: Cast<'_>, authority: Server) -> Result<()> {
    cast.ends_well()?;
    let report = stage.check(Moment::End)?;
    ensure!(report.authority == authority.name(), "the tenant lives in {}", report.authority);
    Ok(())
}

/// The copier's server process waits, inside COPY and with the ledger row locked, for a client that
/// does not continue.
#[test]
fn a_copier_stopped_inside_copy_does_not_hold_up_the_cutover_that_another_process_takes_over()
-> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(APP, "")?;
        cast.writes(APP)?;
        let proxy = stage.proxy(DRIVER, Server::Dedicated);
        // How the data begins, of which a batch has more than passes at once.
        proxy.hold(b"PGCOPY")?;
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        wait_for("a COPY", || Ok(proxy.sprung()?.then_some(())))?;
        cast.of(DRIVER)?.stop()?;
        cast.of(DRIVER)?.sleeps()?;
        let inside = "SELECT count(*) FROM pg_stat_activity
            WHERE query ILIKE 'COPY %' AND state = 'active' AND wait_event = 'ClientRead'";
        wait_for("the server to be inside COPY", || {
            Ok((stage.sql(Server::Dedicated, inside)? == "1").then_some(()))
        })?;

        cast.start_driver(HEIR, "", &Work::Resume)?;
        cast.of(HEIR)?.succeeds()?;
        ensure!(cast.of(DRIVER)?.is_asleep(), "it woke too early");
        ensure!(stage.last()?.phase == "migrated", "it is {}", stage.last()?.phase);
        cast.wait_for_acks(&[APP], 20)?;

        proxy.flow();
        cast.of(DRIVER)?.wake()?;
        cast.of(DRIVER)?.succeeds().context("it finds the migration done")?;
        cast.wait_for_acks(&[APP], 20)?;
        finish(stage, cast, Server::Dedicated)
    })
}

#[test]
fn an_application_stopped_between_routing_and_append_writes_to_the_new_store_when_it_wakes()
-> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(OTHER, "")?;
        cast.writes(OTHER)?;
        cast.start_app(APP, "router.routed=stop")?;
        cast.of(APP)?.sleeps()?;
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        cast.of(DRIVER)?.succeeds()?;
        ensure!(cast.of(APP)?.is_asleep(), "it woke too early");
        let old = held(stage, Server::Shared)?;
        let new = held(stage, Server::Dedicated)?;
        cast.of(APP)?.wake()?;
        cast.wait_for_acks(&[APP, OTHER], 20)?;
        ensure!(held(stage, Server::Shared)? == old, "the old store took an event");
        ensure!(held(stage, Server::Dedicated)? >= new + 40, "the new store did not");
        finish(stage, cast, Server::Dedicated)
    })
}

/// As above, but the tenant is back when the application wakes: the store is the right one again, the
/// epoch is not.
#[test]
fn an_application_that_sleeps_while_the_tenant_leaves_and_returns_writes_once() -> Result<()> {
    on_a_stage("", |stage| {
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(OTHER, "")?;
        cast.writes(OTHER)?;
        cast.start_app(APP, "router.routed=stop")?;
        cast.of(APP)?.sleeps()?;
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        cast.of(DRIVER)?.succeeds()?;
        cast.start_driver(HEIR, "", &Work::Start { to: "shared", more: &[] })?;
        cast.of(HEIR)?.succeeds()?;
        cast.of(APP)?.wake()?;
        cast.wait_for_acks(&[APP, OTHER], 20)?;
        finish(stage, cast, Server::Shared)
    })
}

/// The driver's process is stopped between the fence and the switch; writers roll the cutover back
/// and continue; it wakes in the middle of step 6.
#[test]
fn a_driver_stopped_before_the_switch_does_not_switch_when_it_wakes() -> Result<()> {
    on_a_stage("cutover_timeout_ms = 500", |stage| {
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(APP, "")?;
        cast.writes(APP)?;
        cast.start_driver(DRIVER, "cutover.compared=stop", &TO_DEDICATED)?;
        cast.of(DRIVER)?.sleeps()?;
        wait_for("a roll back", || Ok((stage.last()?.phase == "dual_write").then_some(())))?;
        cast.wait_for_acks(&[APP], 50)?;
        let report = stage.check(Moment::Between)?;
        ensure!(report.authority == "shared", "it lives in {}", report.authority);
        cast.of(DRIVER)?.wake()?;
        cast.of(DRIVER)?.succeeds().context("it tries again")?;
        ensure!(stage.last()?.cutover_attempts >= 2, "the cutover that was rolled back went on");
        cast.wait_for_acks(&[APP], 20)?;
        finish(stage, cast, Server::Dedicated)
    })
}
