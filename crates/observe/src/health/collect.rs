//! What the rules are about: rows, logs, leases, marks and memos from the control plane, lags from the
//! ledgers, and whether the stores answer.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use rehome_app::deployment::{Deployment, is_server};
use rehome_app::losses::{Found, Pass};
use rehome_app::migrations;
use rehome_domain::event::Timestamp;
use rehome_domain::migration::{Fact, Migration, OldSource, Phase, State, Working, timeline};
use rehome_engine::Way;
use rehome_engine::migration::Waiting;
use rehome_ports::{ControlError, ControlPlane, LogEntry, Marks, Migrations};
use tokio::time::timeout;

use super::Sources;
use super::report::{Lag, Observations, Observed, Standing, between};
use crate::audit;

/// Maximum time for a server's check, and for a command's, to search for stores that have lost events.
const LOSSES_WITHIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// How long a check of a process that serves, and one of a command, reads logs.
const LOGS_WITHIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Findings of one kind in one answer.
const LOSSES_SHOWN: usize = 10;
/// Migrations checked concurrently.
const SIDE_BY_SIDE: usize = 16;
/// Rows and log entries read at once.
const PAGE: usize = 500;

/// Collects everything. An error is the control plane's: without it nothing is known.
pub(super) async fn observe(
    sources: &Sources,
    pass: &mut Pass,
    audit: &mut audit::Pass,
) -> Result<Observations, ControlError> {
    let deployment = &sources.deployment;
    let (migrations, unanswered, losses, broken_logs, removals, copies) = tokio::join!(
        worth_a_look(&**deployment.engine().control()),
        unanswered(deployment),
        losses(deployment, pass),
        broken_logs(sources, audit),
        removals(sources),
        copies(deployment),
    );
    let looks = stream::iter(migrations?);
    let looks = looks.map(|migration| look(sources, migration));
    let looks: Vec<_> = looks.buffer_unordered(SIDE_BY_SIDE).collect().await;
    let mut seen = Observations { now: deployment.now(), unanswered, ..Observations::default() };
    for looked in looks {
        let (observed, reason) = looked?;
        seen.migrations.push(observed);
        seen.unanswered.extend(reason);
    }
    seen.losses = losses;
    seen.losses.extend(damaged(sources));
    seen.broken_logs = broken_logs;
    (seen.removals, seen.copies) = (removals?, copies);
    seen.migrations.sort_by_key(|one| one.id);
    Ok(seen)
}

/// Evidence that stores have lost events, as far as the time allows; the next check continues from there.
async fn losses(deployment: &Deployment, pass: &mut Pass) -> Vec<String> {
    let (serving, command) = LOSSES_WITHIN;
    let within = if is_server(deployment.holder()) { serving } else { command };
    // A fault is reported for the store, or for the control plane.
    let _ = timeout(within, pass.go_on(deployment)).await;
    let (found, total) = pass.findings();
    let mut sentences: Vec<_> = found.iter().map(Found::sentence).take(LOSSES_SHOWN).collect();
    if total > sentences.len() {
        sentences.push(format!("{total} such findings; `rehome store check` lists more"));
    }
    sentences
}

/// The tenants whose rows are known to contradict their ledgers.
fn damaged(sources: &Sources) -> Vec<String> {
    let mut sentences = sources.checks.sentences();
    let total = sentences.len();
    if total > LOSSES_SHOWN {
        sentences.truncate(LOSSES_SHOWN);
        sentences.push(format!("{total} such tenants; `rehome store verify` lists them"));
    }
    sentences
}

/// The logs that are known to be broken, after checking some more of them.
async fn broken_logs(sources: &Sources, pass: &mut audit::Pass) -> Vec<String> {
    let (serving, command) = LOGS_WITHIN;
    let within = if is_server(sources.deployment.holder()) { serving } else { command };
    // A fault is reported for the control plane.
    let _ = timeout(within, pass.go_on(&sources.deployment, &sources.findings)).await;
    let mut sentences = sources.findings.sentences();
    let total = sentences.len();
    if total > LOSSES_SHOWN {
        sentences.truncate(LOSSES_SHOWN);
        sentences.push(format!("{total} such logs; `rehome audit verify` lists them"));
    }
    sentences
}

/// The removals that stand still. A server has watched them; a command looks once, and reports all.
async fn removals(sources: &Sources) -> Result<Vec<String>, ControlError> {
    let (deployment, removals) = (&sources.deployment, &sources.removals);
    let watched = is_server(deployment.holder());
    if !watched {
        removals.look(deployment).await?;
    }
    let mut sentences = removals.sentences(!watched);
    let total = sentences.len();
    if total > LOSSES_SHOWN {
        sentences.truncate(LOSSES_SHOWN);
        sentences.push(format!("{total} such removals; `rehome store check` lists them"));
    }
    Ok(sentences)
}

/// Why those stores did not answer that did not, in the order of their names.
async fn unanswered(deployment: &Deployment) -> Vec<String> {
    let watch = deployment.store_watch();
    let asked = deployment.config().stores.iter().map(async |store| {
        let unanswered = watch.answers(&store.id).await.ok()??;
        Some((store.id.clone(), unanswered.sentence()))
    });
    let mut unanswered: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    unanswered.sort();
    unanswered.into_iter().map(|(_, why)| why).collect()
}

/// What shows that stores are copies. A server queries them every few seconds anyway, and a check does not wait.
async fn copies(deployment: &Deployment) -> Vec<String> {
    let watch = deployment.store_watch();
    let watched = is_server(deployment.holder());
    let asked = deployment.config().stores.iter().map(async |store| {
        let report = if watched {
            watch.last_report(&store.id)?
        } else {
            watch.report(&store.id).await.ok()?.last?.0
        };
        let sentence = |why: String| format!("Store \"{}\": {why}", store.id);
        Some(report.copied.into_iter().map(sentence).collect::<Vec<_>>())
    });
    join_all(asked).await.into_iter().flatten().flatten().collect()
}

/// Migrations that have not ended, that failed, that can still return, that are still to be cleaned up, and those
/// that have ended with open violations.
async fn worth_a_look(control: &dyn ControlPlane) -> Result<Vec<Migration>, ControlError> {
    let mut found = Vec::new();
    for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()) {
        found.extend(in_phase(control, phase).await?);
    }
    // An open window belongs to its tenant's last migration, and only the newest are read: the number of
    // old migrations is unlimited.
    for phase in [Phase::Migrated, Phase::RolledBack] {
        let newest = Migrations { phase: Some(phase), limit: PAGE, ..Migrations::default() };
        let over = control.migrations(newest).await?;
        found.extend(over.into_iter().filter(|one| {
            let in_window =
                matches!(one.state, State::Migrated { old_source: OldSource::Window { .. }, .. });
            in_window || one.state.has_work() || one.violations.open.is_some()
        }));
    }
    Ok(found)
}

async fn in_phase(
    control: &dyn ControlPlane,
    phase: Phase,
) -> Result<Vec<Migration>, ControlError> {
    let mut which = Migrations { phase: Some(phase), limit: PAGE, ..Migrations::default() };
    let mut found = Vec::new();
    loop {
        let page = control.migrations(which).await?;
        let over = page.len() < PAGE;
        which.before = page.last().map(|migration| migration.id);
        found.extend(page);
        if over {
            return Ok(found);
        }
    }
}

/// One migration; and why its lag is unknown, unless that was already reported for a store.
async fn look(
    sources: &Sources,
    migration: Migration,
) -> Result<(Observed, Option<String>), ControlError> {
    let deployment = &sources.deployment;
    let migration = &migration;
    let control = &**deployment.engine().control();
    let id = migration.id;
    let log = migrations::read_log(deployment, id).await?;
    let mut reason = None;
    let standing = match migration.state {
        State::Pending | State::Paused(_) => Standing::Waiting,
        State::Working(Working::BulkCopy) => {
            let marked = control.marks(id).await?.updated_at;
            let entered = entered(&log).unwrap_or(migration.created_at);
            Standing::Copying { last_progress: entered.max(marked) }
        }
        State::Working(Working::DualWrite { .. }) => {
            let lag = lag(deployment, migration).await.unwrap_or_else(|why| {
                reason = Some(format!("Migration {id}: its lag is unknown: {why}"));
                None
            });
            Standing::Mirroring { lag }
        }
        State::CutoverPaused => {
            let since = entered(&log).unwrap_or(migration.created_at);
            let deadline = log.iter().rev().find_map(|entry| match entry.fact {
                Fact::CutoverStarted { deadline_ms } => Some(Duration::from_millis(deadline_ms)),
                _ => None,
            });
            Standing::CuttingOver { since, deadline: deadline.unwrap_or_default() }
        }
        State::Failed { acknowledged } => Standing::Failed {
            acknowledged,
            error: migration.error.as_deref().unwrap_or("no reason was recorded").to_owned(),
        },
        State::Migrated { .. } | State::RolledBack(_) => Standing::InWindow,
    };
    let works = migration.state.has_work();
    let lease = control.lease_holder(id).await?;
    let unattended = works && lease.is_none();
    let waiting = if works && lease.is_some() { Waiting::of(control, id).await? } else { None };
    let ahead = lease.map_or(0, |lease| lease.ahead_ms);
    let observed = Observed {
        waiting: waiting.map(|waiting| waiting.why),
        lease_ahead: Duration::from_millis(ahead),
        id,
        standing,
        violations: migration.violations.open.as_ref().map_or(0, |open| open.finding.violations),
        mirrored: sources.stats.mirrored(deployment, migration).await?,
        unattended_since: log.last().map(|entry| entry.at).filter(|_| unattended),
    };
    Ok((observed, reason))
}

/// When the phase was entered that the migration is in: started, or resumed.
fn entered(log: &[LogEntry]) -> Option<Timestamp> {
    timeline(log.iter().map(|entry| (entry.at, &entry.fact))).last().map(|stay| stay.from)
}

/// The lag of the target, by the last known lengths of the two stores, here or in the process that
/// drives the migration; `None` if one of them was never read.
async fn lag(deployment: &Deployment, migration: &Migration) -> Result<Option<Lag>, String> {
    let marks = Marks::default();
    let lengths = migrations::lengths(deployment, migration, &marks)
        .await
        .map_err(|error| error.to_string())?;
    let known = deployment.engine().heads(migration.id).await.map_err(|error| error.to_string())?;
    let known = known.filter(|known| known.way == Way::There);
    let source = lengths.source.value().copied().max(known.map(|known| known.source_seq));
    let target = lengths.target.value().copied().max(known.and_then(|known| known.target_seq));
    let seen = lengths.source.at().max(known.map(|known| known.source_at));
    let seen = seen.filter(|_| lengths.source.unanswered.is_some());
    let age = seen.map(|seen| between(seen, deployment.now()));
    let behind = source.zip(target).map(|(source, target)| source.saturating_sub(target));
    Ok(behind.map(|events| Lag { events, age }))
}
