//! Driving a migration in this process, until a goal is reached or the work is stopped.

use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{
    Cleanup, Migration, OpenViolation, Phase, Repair, State, Undone, Working,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::error::{AppError, Kind};

/// How long a stopped driver has to reach a safe point; then it is left where it is, which is
/// safe, but the lease has to expire.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How often to check whether another process continues the work that was stopped here.
const SUCCESSOR_POLL: Duration = Duration::from_millis(50);

/// When the work may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The tenant lives in the target, or the migration came to another end.
    Migrated,
    /// The requested cutover was done or rolled back. `attempts`: earlier cutovers.
    CutOver {
        /// Number of earlier cutovers.
        attempts: u32,
    },
    /// The copy was cut back, copied again and verified, and nothing is open.
    Repaired,
    /// Nothing is left to do: a rollback window is over, a target is cleaned up.
    NothingLeft,
}

impl Goal {
    fn reached(self, migration: &Migration) -> bool {
        match (self, migration.state) {
            (Self::NothingLeft, state) => nothing_left(state),
            _ if waits_for_operator(migration).is_some() => true,
            (Self::Repaired, _) if migration.violations.open.is_none() => true,
            (_, State::Migrated { activated, .. }) => activated,
            (_, State::Failed { .. }) => true,
            (_, State::RolledBack(cleanup)) => cleanup == Cleanup::Done,
            (Self::CutOver { attempts }, State::Working(working)) => {
                let asked = working == Working::DualWrite { cutover_requested: true };
                !asked
                    && (migration.cutover_attempts > attempts || ended_before_it_began(migration))
            }
            (Self::CutOver { .. }, State::Paused(_)) => true,
            _ => false,
        }
    }
}

/// The requested cutover was withdrawn or vetoed before it began.
fn ended_before_it_began(migration: &Migration) -> bool {
    matches!(migration.undone(), Some(Undone::Withdrawn | Undone::Vetoed))
}

/// An open violation that only an operator can resolve: the migration makes no progress.
fn waits_for_operator(migration: &Migration) -> Option<&OpenViolation> {
    let goes_on = !migration.state.phase().is_terminal();
    let open = migration.violations.open.as_ref().filter(|_| goes_on);
    open.filter(|open| open.repair == Repair::NotRequested)
}

pub(super) fn nothing_left(state: State) -> bool {
    matches!(state, State::Failed { .. }) || state.is_settled()
}

/// How the work ended.
#[derive(Clone, Debug)]
pub struct Worked {
    /// The migration as it is then.
    pub migration: Migration,
    /// Whether this process worked on it; otherwise it watched the one that did.
    pub here: bool,
    /// Whether it was stopped before the goal was reached.
    pub stopped: bool,
    /// If it was: the process that continues it, if any.
    pub goes_on: Option<String>,
}

/// Drives a migration, or watches the process that does and takes over when that one dies,
/// until `goal` is reached or `stop` is cancelled. A cutover that has started is finished first,
/// because writers wait for it.
pub async fn work(
    deployment: &Deployment,
    id: MigrationId,
    goal: Goal,
    stop: &CancellationToken,
) -> Result<Worked, AppError> {
    let supervisor = deployment.supervisor();
    let stopping = stop.clone();
    let enough = move |migration: &Migration| {
        let stopping = stopping.is_cancelled() && migration.state.phase() != Phase::CutoverPaused;
        stopping || goal.reached(migration)
    };
    let run = supervisor.run(id, enough);
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_WITHIN).await;
    };
    let supervised = tokio::select! {
        supervised = run => Some(supervised?),
        () = too_late => None,
    };
    let (migration, here) = if let Some(supervised) = supervised {
        (supervised.migration, supervised.drove)
    } else {
        let control = deployment.engine().control();
        control.release(id, deployment.holder()).await?;
        (control.migration(id).await?, true)
    };
    let stopped = stop.is_cancelled() && !goal.reached(&migration);
    let rests = matches!(migration.state, State::Paused(_) | State::Failed { .. });
    let goes_on = if stopped && !rests { successor(deployment, id).await } else { None };
    Ok(Worked { migration, here, stopped, goes_on })
}

/// The process that drives the migration now that this one does not. A server, or `migration
/// drive`, polls for such work three times in the length of a lease.
async fn successor(deployment: &Deployment, id: MigrationId) -> Option<String> {
    let until = Instant::now() + deployment.engine().config().lease_ttl * 2 / 3;
    while Instant::now() < until {
        let lease = deployment.engine().control().lease_holder(id).await;
        if let Ok(Some(lease)) = lease
            && lease.holder != deployment.holder()
        {
            return Some(lease.holder);
        }
        tokio::time::sleep(SUCCESSOR_POLL).await;
    }
    None
}

/// Whether the goal is reached, whichever process drives; and if so, whether as intended.
pub async fn outcome(
    deployment: &Deployment,
    id: MigrationId,
    goal: Goal,
) -> Result<Option<Result<(), AppError>>, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    if !goal.reached(&migration) {
        return Ok(None);
    }
    let worked = Worked { migration, here: false, stopped: false, goes_on: None };
    Ok(Some(worked.verdict(goal)))
}

/// Cleans up the target of an aborted migration, or waits for the process that does.
pub async fn clean_up(
    deployment: &Deployment,
    id: MigrationId,
    stop: &CancellationToken,
) -> Result<Worked, AppError> {
    can_clean_up(deployment, id).await?;
    work(deployment, id, Goal::NothingLeft, stop).await
}

/// Refuses when the target of an aborted migration cannot be cleaned up now.
pub async fn can_clean_up(deployment: &Deployment, id: MigrationId) -> Result<(), AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let target = deployment.store(&migration.target).map_err(AppError::from);
    let answers = match target {
        Ok(target) => target.ledger(migration.tenant).await.map(drop).map_err(AppError::from),
        Err(error) => Err(error),
    };
    if let Err(error) = answers {
        let why = format!(
            "aborted, the tenant stays at store \"{}\"; the target is not cleaned up yet \
                 ({error}); `rehome migration resume {id}` does it once the target is back",
            migration.source
        );
        return Err(AppError::failed("not_cleaned_up", why)
            .migration(id)
            .tenant(migration.tenant)
            .state(migration.state.phase()));
    }
    Ok(())
}

/// The process that drives the migration, if any. The lease of a process
/// that died is recognised by not being renewed, which takes as long as it runs.
pub async fn worker(deployment: &Deployment, id: MigrationId) -> Result<Option<String>, AppError> {
    Ok(super::worker::worker(&**deployment.engine().control(), id).await?)
}

impl Worked {
    /// Nothing if the goal was reached as it was meant to be, else why not and what to do next.
    pub fn verdict(&self, goal: Goal) -> Result<(), AppError> {
        let migration = &self.migration;
        let (id, phase) = (migration.id, migration.state.phase());
        let about = |error: AppError| error.migration(id).tenant(migration.tenant).state(phase);
        let why = migration.error.as_deref().unwrap_or("no reason was recorded");
        if let Some(holder) = &self.goes_on {
            let message = format!(
                "this command no longer drives or watches it; it is {phase}, and {holder} continues it; \
                 `rehome migration pause {id}` pauses it, `rehome migration watch {id}` watches it, \
                 `rehome migration abort {id}` aborts it",
            );
            return Err(about(AppError::failed("stopped", message)));
        }
        if self.stopped {
            let message = format!(
                "stopped in {phase}; the migration waits, writes continue at {}; \
                 `rehome migration resume {id}` continues, `rehome migration abort {id}` aborts it",
                self.authority(),
            );
            return Err(about(AppError::failed("stopped", message)));
        }
        if goal != Goal::NothingLeft
            && phase != Phase::Failed
            && let Some(open) = waits_for_operator(migration)
        {
            let message = format!(
                "is {phase} and makes no progress: {}; the tenant stays at {}",
                open.advice(id),
                self.authority()
            );
            return Err(about(AppError::new(Kind::Violated, "violation_open", message)));
        }
        match (goal, phase) {
            (_, Phase::Failed) if goal != Goal::NothingLeft => {
                let repair = match &migration.violations.open {
                    Some(open) => format!("; {}", open.advice(id)),
                    None => String::new(),
                };
                let message = format!(
                    "failed: {why}; the tenant stays at {}; `rehome migration abort {id}` cleans \
                     up{repair}",
                    self.authority()
                );
                Err(about(AppError::failed("migration_failed", message)))
            }
            (Goal::Migrated | Goal::CutOver { .. } | Goal::Repaired, Phase::RolledBack) => {
                let message = format!("was aborted; the tenant stays at {}", self.authority());
                Err(about(AppError::failed("aborted", message)))
            }
            (Goal::CutOver { .. }, Phase::Paused) => {
                let message = format!(
                    "was paused before the cutover; `rehome migration resume {id}` continues it"
                );
                Err(about(AppError::failed("paused", message)))
            }
            (Goal::CutOver { .. }, phase)
                if phase != Phase::Migrated && ended_before_it_began(migration) =>
            {
                let vetoed = migration.undone() == Some(Undone::Vetoed);
                let code = if vetoed { "cutover_vetoed" } else { "cutover_withdrawn" };
                let message = format!(
                    "is {phase}: {why}; writes continue at {}, the target stays up to date; `rehome migration \
                     cutover {id}` requests it again",
                    self.authority()
                );
                Err(about(AppError::failed(code, message)))
            }
            (Goal::CutOver { .. }, phase) if phase != Phase::Migrated => {
                let message = format!(
                    "the cutover was rolled back ({why}); writes continue at {}, the target stays \
                     up to date; `rehome migration cutover {id}` tries again",
                    self.authority()
                );
                Err(about(AppError::failed("cutover_rolled_back", message)))
            }
            _ => Ok(()),
        }
    }

    /// Where the tenant's writes go.
    fn authority(&self) -> String {
        let migration = &self.migration;
        let store = match migration.state {
            State::Migrated { .. } => &migration.target,
            _ => &migration.source,
        };
        format!("store \"{store}\"")
    }
}
