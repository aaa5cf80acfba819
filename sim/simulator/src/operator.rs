//! What operators do, by the plan. Any of it may be refused, or fail.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::{MigrationId, StoreId};
use rehome_domain::migration::{Fact, Migration};
use rehome_domain::verification::{Coverage, Finding, Level, Side};
use rehome_engine::migration::OperationError;
use rehome_ports::{Change, ControlPlane as _, LedgerStore as _, Migrations};

use crate::cluster::{Stage, store_id};
use crate::plan::Action;
use crate::process::Process;

/// How long an operator waits for one answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The tenant's last migration, as the control plane has it.
pub(crate) async fn last_migration(stage: &Stage) -> Option<Migration> {
    let which = Migrations { limit: 1, ..Migrations::default() };
    stage.control.migrations(which).await.ok()?.into_iter().next()
}

/// The store where the tenant is not.
async fn other_store(stage: &Stage) -> StoreId {
    let route = stage.control.route(stage.tenant).await;
    let at_a = matches!(&route, Ok(Some(route)) if route.store == store_id("a"));
    store_id(if at_a { "b" } else { "a" })
}

/// Does one thing of the plan.
pub(crate) async fn act(stage: Arc<Stage>, action: Action) {
    let by = match action {
        Action::Kill(process) => return stage.kill(process),
        Action::Sleep(process, ms) => {
            stage.trace.line(format_args!("p{process} sleeps for {ms} ms"));
            return stage.process(process).life.sleep(ms);
        }
        Action::Outage(place, ms) => {
            stage.trace.line(format_args!("{place} cannot be reached for {ms} ms"));
            return stage.outage(place, ms);
        }
        Action::Start { by, .. }
        | Action::Return { by, .. }
        | Action::Abort { by, .. }
        | Action::Tune { by, .. }
        | Action::Pause(by)
        | Action::Resume(by)
        | Action::CutOver(by)
        | Action::Withdraw(by)
        | Action::CloseWindow(by)
        | Action::Repair(by)
        | Action::Purge(by) => by,
    };
    stage.trace.line(format_args!("operator: {action}"));
    let process = stage.process(by);
    let asked = tokio::time::timeout(PATIENCE, ask(&stage, &process, action));
    match process.within(asked).await {
        Some(Ok(Ok(()))) => stage.trace.line(format_args!("operator: done ({action})")),
        Some(Ok(Err(error))) => {
            // The preflight's findings name things in no order that matters.
            stage.trace.line(format_args!("operator: refused ({action}): {error}"));
            if let OperationError::Violated(why) = error {
                stage.violated(format!("an operator was told: {why}"));
            }
        }
        Some(Err(_)) | None => stage.trace.line(format_args!("operator: no answer ({action})")),
    }
}

/// Records that the middle of the copy is damaged, and requests its repair.
async fn repair(stage: &Stage, process: &Process, id: MigrationId) -> Result<(), OperationError> {
    let control = process.engine.control();
    let migration = control.migration(id).await?;
    let copy = if migration.target == store_id("a") { &stage.a } else { &stage.b };
    let head = copy.ledger(stage.tenant).await?.head;
    let finding = Finding {
        coverage: Coverage { level: Level::Hash, after: 0, upto: head.seq, whole: true },
        violations: 1,
        seq: Some(head.seq / 2 + 1),
        side: Side::Copy,
        first: "by the plan".into(),
    };
    let (tenant, fact) = (stage.tenant, Fact::Violated { finding });
    let actor = "an operator".to_owned();
    control.record(Change { tenant, migration: id, rev: None, fact, actor }).await?;
    process.operations.request_repair(id).await?;
    stage.cover("a repair");
    Ok(())
}

async fn ask(stage: &Stage, process: &Process, action: Action) -> Result<(), OperationError> {
    let (operations, tenant) = (&process.operations, stage.tenant);
    let last = last_migration(stage).await;
    if let Action::Start { options, .. } = action {
        let to = other_store(stage).await;
        operations.start(tenant, &to, options).await?;
        if last.is_some() {
            stage.cover("a second migration");
        }
        return Ok(());
    }
    let Some(last) = last.map(|migration| migration.id) else { return Ok(()) };
    match action {
        Action::Return { options, .. } => {
            operations.start_return(last, options).await?;
            stage.cover("a return");
        }
        Action::Pause(_) => drop(operations.pause(last).await?),
        Action::Resume(_) => drop(operations.resume(last).await?),
        Action::CutOver(_) => drop(operations.request_cutover(last).await?),
        Action::Withdraw(_) => drop(operations.withdraw_cutover(last).await?),
        Action::Abort { purge, .. } => {
            operations.end_cutover(last).await?;
            operations.abort(last, purge).await?;
        }
        Action::Tune { options, .. } => drop(operations.tune(last, |_| options).await?),
        Action::Repair(_) => repair(stage, process, last).await?,
        Action::CloseWindow(_) => {
            if let Some(route) = process.engine.control().route(tenant).await? {
                operations.close_window(&route).await?;
            }
        }
        Action::Purge(_) => {
            let from = other_store(stage).await;
            operations.purge(tenant, &from).await?;
        }
        Action::Start { .. } | Action::Kill(_) | Action::Sleep(..) | Action::Outage(..) => {}
    }
    Ok(())
}
