//! A process that lives long works on whatever nobody works on: migrations that were started and
//! left, and those of processes that died or hang.
//!
//! ```text
//! look: what is new, newest first ──▶ open ──▶ lease free? ──▶ a supervisor's task
//!                                      ▲                          │ ended, not over
//!                                      └──────────────────────────┘
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Cleanup, Migration, OldSource, Phase, State};
use rehome_ports::{ControlError, Migrations};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Supervisor;
use crate::signal::Signal;

/// Migrations read at once.
const PAGE: usize = 200;
/// Every so many looks the whole list is read: a migration may be listed as older than it is, by a
/// clock that is behind.
const WHOLE_EVERY: u64 = 60;
/// How long drivers have to come to a good place when the process stops; what is left then is
/// left as by a process that died.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The log of one that ended longer ago is of no interest to those who watch.
const RECENT: Duration = Duration::from_secs(3_600);

type Work = AbortOnDropHandle<()>;

/// What one process knows of the migrations of its deployment.
struct Caretaker {
    supervisor: Supervisor,
    stop: CancellationToken,
    looks: u64,
    seen: HashSet<MigrationId>,
    /// Those that are not over, and the task that works on them, if this process does.
    open: BTreeMap<MigrationId, Option<Work>>,
    /// Each as it was when its log was last read; of those that this process does not work on.
    read: HashMap<MigrationId, Migration>,
    /// Those that this process cannot work on: reported once.
    unable: HashSet<MigrationId>,
}

impl Supervisor {
    /// Works on every migration that nobody else works on, until `stop` is cancelled; then brings
    /// what is under way to a place where it can be left. Faults of the control plane are waited
    /// out: what is cached goes on meanwhile.
    pub async fn run_all(&self, stop: &CancellationToken) {
        let mut caretaker = Caretaker {
            supervisor: self.clone(),
            stop: stop.clone(),
            looks: 0,
            seen: HashSet::new(),
            open: BTreeMap::new(),
            read: HashMap::new(),
            unable: HashSet::new(),
        };
        let every = self.engine().config.lease_ttl / 3;
        while !stop.is_cancelled() {
            if let Err(error) = caretaker.look().await {
                tracing::warn!(%error, "cannot look for migrations that nobody works on");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.engine().asked.notified() => {}
                () = tokio::time::sleep(every) => {}
            }
        }
        caretaker.end().await;
    }
}

impl Caretaker {
    async fn look(&mut self) -> Result<(), ControlError> {
        self.find().await?;
        let idle: Vec<_> = self
            .open
            .iter()
            .filter(|(_, work)| work.as_ref().is_none_or(AbortOnDropHandle::is_finished))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.attend(id).await?;
        }
        self.supervisor.engine().tell(&Signal::Looked);
        Ok(())
    }

    /// Reads what was begun since the last look.
    async fn find(&mut self) -> Result<(), ControlError> {
        let whole = self.looks.is_multiple_of(WHOLE_EVERY);
        let engine = self.supervisor.engine().clone();
        let control = &engine.control;
        let mut which = Migrations { limit: PAGE, ..Migrations::default() };
        loop {
            let page = control.migrations(which).await?;
            let mut new = false;
            for migration in &page {
                if self.seen.insert(migration.id) {
                    new = true;
                    engine.tell(&Signal::Unattended { migration });
                    if !is_over(migration.state) {
                        self.open.insert(migration.id, None);
                    } else if is_recent(migration, engine.clock.now()) {
                        let log = self.supervisor.log(migration.id).await?;
                        engine.tell(&Signal::Logged { migration, log: &log });
                    }
                }
            }
            which.before = page.last().map(|migration| migration.id);
            if page.len() < PAGE || !(new || whole) {
                break;
            }
        }
        // Only now: a look that failed half way is made again in full.
        self.looks += 1;
        Ok(())
    }

    /// Works on a migration, if there is something to do and nobody does it.
    async fn attend(&mut self, id: MigrationId) -> Result<(), ControlError> {
        let control = Arc::clone(&self.supervisor.engine().control);
        let migration = control.migration(id).await?;
        if !is_over(migration.state) && control.lease_holder(id).await?.is_some() {
            self.supervisor.engine().tell(&Signal::Elsewhere { migration: &migration });
            return Ok(());
        }
        self.supervisor.engine().tell(&Signal::Unattended { migration: &migration });
        self.read(&migration).await?;
        if is_over(migration.state) {
            self.open.remove(&id);
            self.read.remove(&id);
            self.unable.remove(&id);
            return Ok(());
        }
        if rests(&migration) {
            return Ok(());
        }
        if let Err(error) = self.supervisor.can_drive(&migration) {
            if self.unable.insert(id) {
                let (migration, error) = (&migration, &error.to_string());
                self.supervisor.engine().tell(&Signal::Stopped { migration, error });
            }
            return Ok(());
        }
        // Its driver reads on from here.
        self.read.remove(&id);
        let (supervisor, stop) = (self.supervisor.clone(), self.stop.clone());
        let work: JoinHandle<()> = tokio::spawn(async move {
            let enough = |migration: &Migration| {
                // Writers wait for a cutover that has begun.
                let stopping =
                    stop.is_cancelled() && migration.state.phase() != Phase::CutoverPaused;
                stopping || is_over(migration.state) || rests(migration)
            };
            if let Err(error) = supervisor.run(id, enough).await {
                let (migration, error) = (&migration, &error.to_string());
                supervisor.engine().tell(&Signal::Stopped { migration, error });
            }
        });
        self.open.insert(id, Some(AbortOnDropHandle::new(work)));
        Ok(())
    }

    /// Tells of what is recorded of a migration that this process does not drive, if its row has changed
    /// since.
    async fn read(&mut self, migration: &Migration) -> Result<(), ControlError> {
        if self.read.get(&migration.id) == Some(migration) {
            return Ok(());
        }
        let log = self.supervisor.log(migration.id).await?;
        self.supervisor.engine().tell(&Signal::Logged { migration, log: &log });
        self.read.insert(migration.id, migration.clone());
        Ok(())
    }

    async fn end(self) {
        let work = self.open.into_values().flatten();
        let all = async {
            for task in work {
                // A task that panicked has said so; its lease runs out.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(STOP_WITHIN, all).await;
    }
}

/// It may be told of still, as one that has ended.
fn is_recent(migration: &Migration, now: Timestamp) -> bool {
    let hour = i64::try_from(RECENT.as_micros()).unwrap_or(i64::MAX);
    migration.completed_at.is_some_and(|at| now.micros().saturating_sub(at.micros()) < hour)
}

/// Nothing will ever be left to do for a driver.
fn is_over(state: State) -> bool {
    match state {
        State::RolledBack(cleanup) => cleanup == Cleanup::Done,
        State::Migrated { activated, old_source } => {
            activated && matches!(old_source, OldSource::Fenced { .. } | OldSource::Purged)
        }
        _ => false,
    }
}

/// Only an operator can bring it further.
fn rests(migration: &Migration) -> bool {
    matches!(migration.state, State::Failed { .. } | State::Paused(_))
}
