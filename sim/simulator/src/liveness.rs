//! The end of a run: every process is dead, there are no more faults, and one new process is alone.
//!
//! 7: it makes the tenant writable, and brings any migration to its end.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::EventId;
use rehome_domain::ledger::{Head, Role, follow_chain};
use rehome_domain::migration::{Cleanup, Migration, OldSource, Phase, Repair, State};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::log_chain::Followed;
use rehome_ports::memory::MemoryStore;
use rehome_ports::{BatchLimit, ControlPlane as _, EventStore as _, Feed, LedgerStore as _};

use crate::clients::{append, ids};
use crate::cluster::{Stage, store_id};
use crate::faults::LATE_MS_MAX;
use crate::operator::last_migration;
use crate::process::Process;

/// The writer that is alone.
const LONE_WRITER: u64 = 99;
/// How long the one that is alone has: any cutover's deadline, and any lease.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls of the dead are on their way for no longer than this.
const SETTLED: Duration = Duration::from_millis(LATE_MS_MAX + 1_000);
const ALL: BatchLimit = BatchLimit { events: usize::MAX, bytes: usize::MAX };

/// Ends the run and compares the final state with the replies.
pub(crate) async fn end(stage: &Arc<Stage>) {
    stage.end_all();
    stage.trace.line(format_args!("everybody is dead; one process is alone"));
    let lone = stage.start(0);
    // What the dead have sent still arrives meanwhile.
    write(stage, &lone, 1).await;
    tokio::time::sleep(SETTLED).await;
    write(stage, &lone, 2).await;
    Box::pin(finish(stage, &lone)).await;
    write(stage, &lone, 3).await;
    check(stage, &lone).await;
}

/// The tenant accepts an append.
async fn write(stage: &Stage, lone: &Process, n: u64) {
    let append = append(LONE_WRITER, n, 1, "lone", ExpectedVersion::Any);
    let ids: Vec<EventId> = ids(&append);
    stage.book(|book| book.sends(&ids, &append.stream, append.expected));
    let taken = async {
        loop {
            match lone.engine.router().append(stage.tenant, append.clone()).await {
                Ok(told) => return told,
                Err(error) => stage.trace.line(format_args!("alone, and told: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, taken).await {
        Ok(told) => stage.book(|book| book.acknowledged(&ids, told)),
        Err(_) => stage.violated("7: a process that is alone cannot write"),
    }
}

/// The last migration comes to its end.
async fn finish(stage: &Stage, lone: &Process) {
    let Some(migration) = last_migration(stage).await else { return };
    let (id, operations) = (migration.id, &lone.operations);
    let work = async {
        match migration.state.phase() {
            Phase::Paused | Phase::Failed => drop(operations.abort(id, true).await),
            Phase::Pending | Phase::BulkCopy | Phase::DualWrite => {
                // It may only be refused because the migration cannot be tuned any more; then it cuts over anyway.
                let auto = rehome_domain::migration::CutoverPolicy::Auto;
                let tune = |options| rehome_domain::migration::Options { cutover: auto, ..options };
                drop(operations.tune(id, tune).await);
            }
            _ => {}
        }
        loop {
            let enough = |migration: &Migration| is_over(migration) || waits(migration);
            let ended = lone.supervisor.run(id, enough).await;
            // An open violation waits for an operator.
            match ended {
                Ok(ended) if waits(&ended.migration) => drop(operations.request_repair(id).await),
                ended => return ended,
            }
        }
    };
    match tokio::time::timeout(PATIENCE * 2, work).await {
        Ok(Ok(ended)) if is_over(&ended.migration) => {}
        Ok(Ok(ended)) => stage.violated(format!(
            "7: a coordinator that is alone left its migration in {}",
            ended.migration.state.phase()
        )),
        Ok(Err(error)) => stage.violated(format!("7: a coordinator that is alone: {error}")),
        Err(_) => {
            let now = last_migration(stage).await.map(|migration| migration.state);
            stage.violated(format!("7: a coordinator that is alone does not finish: {now:?}"));
        }
    }
}

/// Nothing goes further before a repair is requested.
fn waits(migration: &Migration) -> bool {
    let open = migration.violations.open.as_ref();
    matches!(migration.state, State::Working(_))
        && open.is_some_and(|open| open.repair == Repair::NotRequested)
}

/// Nothing is left to do but to keep a window.
fn is_over(migration: &Migration) -> bool {
    match migration.state {
        State::Migrated { activated, old_source } => {
            activated && !matches!(old_source, OldSource::Closing { .. })
        }
        State::RolledBack(cleanup) => cleanup == Cleanup::Done,
        _ => false,
    }
}

/// Checks the final state.
async fn check(stage: &Stage, lone: &Process) {
    match lone.engine.router().read_feed(stage.tenant, 0, ALL).await {
        Ok(history) => stage.book(|book| book.ends_with(&history)),
        Err(error) => stage.violated(format!("6: a reader that is alone was told: {error}")),
    }
    check_anchors(stage, "store a", &stage.a).await;
    check_anchors(stage, "store b", &stage.b).await;
    let (a, b) = (rows(stage, &stage.a).await, rows(stage, &stage.b).await);
    let active = [&a, &b].into_iter().filter(|rows| rows.ledger.role == Role::Active).count();
    if active != 1 {
        stage.violated(format!(
            "2: {active} stores are active: {} and {}",
            a.ledger.role, b.ledger.role
        ));
    }
    if let Ok(Some(route)) = stage.control.route(stage.tenant).await {
        let there = if route.store == store_id("a") { &a } else { &b };
        if there.ledger.role != Role::Active || there.ledger.epoch != route.epoch {
            stage.violated("2: the store that the route names is not active at the route's epoch");
        }
        let (authority, other) = if route.store == store_id("a") { (&a, &b) } else { (&b, &a) };
        if !authority.events.starts_with(&other.events) {
            stage.violated("3: the other store holds what is no prefix of the authority's history");
        }
    }
}

/// What the stores have seen of logs is what the control plane has of them: a log is never behind its anchors.
async fn check_anchors(stage: &Stage, name: &str, store: &MemoryStore) {
    for anchor in store.anchors(None, usize::MAX).await.expect("memory does not fail") {
        let log = stage.control.log(anchor.migration, 0, usize::MAX).await.unwrap_or_default();
        let at = log.iter().find(|entry| entry.index == anchor.seen.index).map(Followed::to);
        if let Err(broken) = anchor.check(name, at, log.len() as u64) {
            stage.violated(format!("a store has seen another log than there is: {broken}"));
        }
    }
}

/// A store's rows, which give the ledger's head.
async fn rows(stage: &Stage, store: &MemoryStore) -> Feed {
    let feed = store.read_feed(stage.tenant, 0, ALL).await.expect("memory does not fail");
    if follow_chain(Head::EMPTY, &feed.events) != Ok(feed.ledger.head) {
        stage.violated("3: a store's ledger does not tell the truth about its events");
    }
    feed
}
