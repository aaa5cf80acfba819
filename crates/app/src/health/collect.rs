//! What the rules are about: rows, logs, leases, marks and memos from the control plane, lags from the
//! ledgers, and whether the stores answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::migration::{Fact, Migration, OldSource, Phase, State, Working, timeline};
use rehome_ports::{ControlError, ControlPlane, LogEntry, Migrations, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::report::{Observations, Observed, Standing};
use crate::deployment::Deployment;

/// How long a store may take to answer.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// Migrations looked at side by side.
const SIDE_BY_SIDE: usize = 16;
/// Rows and log entries read at once.
const PAGE: usize = 500;

/// Questions to stores that are still open: a store that hangs is not asked again before it has
/// answered.
#[derive(Default)]
pub(super) struct Probes(HashMap<StoreId, (Instant, JoinHandle<Result<(), StoreError>>)>);

impl Drop for Probes {
    fn drop(&mut self) {
        for (_, question) in self.0.values() {
            question.abort();
        }
    }
}

impl Probes {
    /// Asks all stores at once; answers why those that did not answer did not.
    async fn ask(&mut self, deployment: &Deployment) -> HashMap<StoreId, String> {
        for store in deployment.engine().stores().iter() {
            self.0.entry(store.id().clone()).or_insert_with(|| {
                let store = Arc::clone(store);
                // A tenant that is nobody: one look into an index.
                let nobody = TenantId::new(Uuid::nil());
                let asked = async move { store.ledger(nobody).await.map(drop) };
                (Instant::now(), tokio::spawn(asked))
            });
        }
        let until = Instant::now() + STORE_WITHIN;
        let mut unanswered = HashMap::new();
        for (id, (since, mut question)) in std::mem::take(&mut self.0) {
            let why = match tokio::time::timeout_at(until, &mut question).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(ended)) => format!("store \"{id}\" could not be asked: {ended}"),
                Err(_) => {
                    let waited = since.elapsed().as_secs_f64();
                    self.0.insert(id.clone(), (since, question));
                    format!("store \"{id}\" has not answered for {waited:.1} s")
                }
            };
            unanswered.insert(id, why);
        }
        unanswered
    }
}

/// Looks at everything. An error is the control plane's: without it nothing is known.
pub(super) async fn observe(
    deployment: &Deployment,
    probes: &mut Probes,
) -> Result<Observations, ControlError> {
    let (migrations, unanswered) =
        tokio::join!(worth_a_look(&**deployment.engine().control()), probes.ask(deployment));
    let looks = stream::iter(migrations?);
    let looks = looks.map(|migration| look(deployment, migration, &unanswered));
    let looks: Vec<_> = looks.buffer_unordered(SIDE_BY_SIDE).collect().await;
    let mut seen = Observations { now: deployment.now(), ..Observations::default() };
    let mut reasons: Vec<_> = unanswered.into_iter().collect();
    reasons.sort();
    seen.unanswered = reasons.into_iter().map(|(_, why)| why).collect();
    for looked in looks {
        let (observed, reason) = looked?;
        seen.migrations.push(observed);
        seen.unanswered.extend(reason);
    }
    seen.migrations.sort_by_key(|one| one.id);
    Ok(seen)
}

/// What is not over, what failed, and what can still return.
async fn worth_a_look(control: &dyn ControlPlane) -> Result<Vec<Migration>, ControlError> {
    let mut found = Vec::new();
    for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()) {
        found.extend(in_phase(control, phase).await?);
    }
    // An open window is its tenant's last migration, and the newest ones are looked at: of what was
    // migrated long ago there is no end.
    let migrated =
        Migrations { phase: Some(Phase::Migrated), limit: PAGE, ..Migrations::default() };
    let migrated = control.migrations(migrated).await?;
    found.extend(migrated.into_iter().filter(|one| {
        matches!(one.state, State::Migrated { old_source: OldSource::Window { .. }, .. })
    }));
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

/// One migration; and why its lag is not known, unless that was said of a store already.
async fn look(
    deployment: &Deployment,
    migration: Migration,
    unanswered: &HashMap<StoreId, String>,
) -> Result<(Observed, Option<String>), ControlError> {
    let migration = &migration;
    let control = &**deployment.engine().control();
    let id = migration.id;
    let log = deployment.read_log(id).await?;
    let mut reason = None;
    let standing = match migration.state {
        State::Pending | State::Paused(_) | State::RolledBack(_) => Standing::Waiting,
        State::Working(Working::BulkCopy) => {
            let marked = control.marks(id).await?.updated_at;
            let entered = entered(&log).unwrap_or(migration.created_at);
            Standing::Copying { last_progress: entered.max(marked) }
        }
        State::Working(Working::DualWrite { .. }) => {
            let lag = lag(deployment, migration, unanswered).await;
            let lag_events = lag.unwrap_or_else(|why| {
                reason = Some(format!("Migration {id}: its lag is not known: {why}"));
                None
            });
            Standing::Mirroring { lag_events }
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
        State::Migrated { .. } => Standing::InWindow,
    };
    let works =
        matches!(migration.state, State::Pending | State::Working(_) | State::CutoverPaused);
    let unattended = works && control.lease_holder(id).await?.is_none();
    let observed = Observed {
        id,
        standing,
        violations: open_violations(&log),
        mirrored: deployment.mirrored(migration).await?,
        unattended_since: log.last().map(|entry| entry.at).filter(|_| unattended),
    };
    Ok((observed, reason))
}

/// When the phase was entered that the migration is in: started, or resumed.
fn entered(log: &[LogEntry]) -> Option<Timestamp> {
    timeline(log.iter().map(|entry| (entry.at, &entry.fact))).last().map(|stay| stay.from)
}

/// What the last verification found.
fn open_violations(log: &[LogEntry]) -> u64 {
    let found = log.iter().rev().find_map(|entry| match entry.fact {
        Fact::Verified { violations, .. } => Some(violations),
        _ => None,
    });
    found.unwrap_or(0)
}

/// By how many events the target is behind; nothing where a store was said not to answer.
async fn lag(
    deployment: &Deployment,
    migration: &Migration,
    unanswered: &HashMap<StoreId, String>,
) -> Result<Option<u64>, String> {
    if [&migration.source, &migration.target].iter().any(|id| unanswered.contains_key(*id)) {
        return Ok(None);
    }
    let seq = async |id: &StoreId| {
        let store = deployment.store(id).map_err(|error| error.to_string())?;
        let ledger = timeout(STORE_WITHIN, store.ledger(migration.tenant)).await;
        match ledger {
            Ok(Ok(ledger)) => Ok(ledger.head.seq),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("store \"{id}\" did not answer within 2 s")),
        }
    };
    // The target first: what is written in between is a lag that is too large, never one too small.
    let target = seq(&migration.target).await?;
    let source = seq(&migration.source).await?;
    Ok(Some(source.saturating_sub(target)))
}
