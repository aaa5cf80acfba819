//! Databases that are again what they were when they were backed up.

use anyhow::{Context as _, Result, ensure};
use rehome_tests::chaos::{Cast, Server, Stage, Who};
use rehome_tests::process::wait_for;

use crate::named::{LOAD, TO_DEDICATED, finish};
use crate::on_a_stage;

const EARLY: Who = Who::App(0);
const LATE: Who = Who::App(1);
const DRIVER: Who = Who::Driver(0);

/// The command's refusal.
fn refused(stage: &Stage<'_>, args: &[&str]) -> Result<String> {
    match stage.run(args) {
        Ok(()) => anyhow::bail!("rehome {} came to a good end", args.join(" ")),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// The control plane has lost a move that was made. It routes writes to the old
/// source, which is fenced; this stays so, because the stores have a newer epoch than the control plane.
#[test]
fn nothing_is_written_by_a_control_plane_that_lost_time_until_an_operator_has_looked() -> Result<()>
{
    on_a_stage("", |stage| {
        let backup = stage.path().join("control.sql");
        stage.dump(Server::Control, &backup)?;
        let mut cast = Cast::new(stage, LOAD);
        cast.start_app(EARLY, "")?;
        cast.writes(EARLY)?;
        cast.start_driver(DRIVER, "", &TO_DEDICATED)?;
        cast.of(DRIVER)?.succeeds()?;
        cast.wait_for_acks(&[EARLY], 20)?;
        stage.restore(Server::Control, &backup).context("the restore")?;

        cast.start_app(LATE, "")?;
        wait_for("what its subscriber says", || {
            Ok(cast.of(LATE)?.complained()?.contains("rehome recover").then_some(()))
        })?;
        let history = stage.path().join("history.ndjson");
        let history = history.to_str().context("a path in UTF-8")?;
        for ask in [["store", "check"], ["import", history]] {
            let said = refused(stage, &ask)?;
            ensure!(said.contains("rehome recover"), "it does not say what to do: {said}");
        }
        ensure!(stage.acked(LATE)? == 0, "something was written by a route of the past");

        stage.run(&["recover", "--yes"])?;
        cast.kill(LATE)?;
        cast.start_app(LATE, "")?;
        cast.wait_for_acks(&[EARLY, LATE], 20)?;
        finish(stage, cast, Server::Dedicated)
    })
}
