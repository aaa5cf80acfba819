//! A long-running process drives every migration without a driver: those that were started and
//! left, and those of processes that died or hang.
//!
//! ```text
//! look: what is new, newest first ──▶ open ──▶ lease free? ──▶ a supervisor's task
//!                                      ▲                          │ ended, not over
//!                                      └──────────────────────────┘
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Migration, Phase, State};
use rehome_ports::{ControlError, Migrations};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Supervisor;
use crate::hooks::{Courier, Deliveries};
use crate::signal::Signal;

/// Migrations read at once.
const PAGE: usize = 200;
/// After this many polls the whole list is read: a clock that is behind can list a migration as older
/// than it is.
const WHOLE_EVERY: u64 = 60;
/// How long drivers have to reach a safe point when the process stops; the rest is
/// left as by a process that died.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The log of one that ended longer ago is of no interest to those who watch.
const RECENT: Duration = Duration::from_secs(3_600);

type Work = AbortOnDropHandle<()>;

/// The migrations of the deployment, as one process knows them.
struct Worker {
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
    /// Those of which hooks know all that there is to know.
    delivered: Arc<Mutex<HashSet<MigrationId>>>,
}

impl Supervisor {
    /// Drives every migration that no other process drives, until `stop` is cancelled; then brings
    /// running work to a safe point. During faults of the control plane it retries,
    /// and cached routes stay in use.
    pub async fn run_all(&self, stop: &CancellationToken) {
        let mut worker = Worker {
            supervisor: self.clone(),
            stop: stop.clone(),
            looks: 0,
            seen: HashSet::new(),
            open: BTreeMap::new(),
            read: HashMap::new(),
            unable: HashSet::new(),
            delivered: Arc::default(),
        };
        let every = self.engine().config.lease_ttl / 3;
        while !stop.is_cancelled() {
            if let Err(error) = worker.look().await {
                tracing::warn!(%error, "cannot list migrations without a driver");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.engine().asked.notified() => {}
                () = tokio::time::sleep(every) => {}
            }
        }
        worker.end().await;
    }
}

impl Worker {
    async fn look(&mut self) -> Result<(), ControlError> {
        self.find().await?;
        let idle: Vec<_> = self
            .open
            .iter()
            .filter(|(_, work)| work.as_ref().is_none_or(AbortOnDropHandle::is_finished))
            // A drain of this process works on it.
            .filter(|(id, _)| !self.supervisor.engine().claims.has(**id))
            .map(|(id, _)| *id)
            .collect();
        // One whose log cannot be read leaves the others alone.
        let mut failed = None;
        for id in idle {
            if let Err(error) = self.attend(id).await {
                tracing::debug!(migration_id = %id, %error, "cannot attend to a migration");
                failed.get_or_insert(error);
            }
        }
        self.supervisor.engine().tell(&Signal::Looked);
        failed.map_or(Ok(()), Err)
    }

    /// Reads the migrations that were started since the last poll.
    async fn find(&mut self) -> Result<(), ControlError> {
        let whole = self.looks.is_multiple_of(WHOLE_EVERY);
        let engine = self.supervisor.engine().clone();
        let control = &engine.control;
        let mut which = Migrations { limit: PAGE, ..Migrations::default() };
        loop {
            let page = control.migrations(which).await?;
            let due = self.due_to_hooks(&page).await?;
            let mut new = false;
            for migration in &page {
                if self.seen.insert(migration.id) {
                    new = true;
                    engine.tell(&Signal::Unattended { migration });
                    if !migration.state.is_settled() || due.contains(&migration.id) {
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
        // Only now: a failed poll is repeated in full.
        self.looks += 1;
        Ok(())
    }

    /// Drives a migration, if there is something to do and no process does it.
    async fn attend(&mut self, id: MigrationId) -> Result<(), ControlError> {
        let control = Arc::clone(&self.supervisor.engine().control);
        let migration = control.migration(id).await?;
        if !migration.state.is_settled() && control.lease_holder(id).await?.is_some() {
            self.supervisor.engine().tell(&Signal::Elsewhere { migration: &migration });
            // What its driver records may be left to deliver.
            self.delivered().remove(&id);
            return Ok(());
        }
        self.supervisor.engine().tell(&Signal::Unattended { migration: &migration });
        self.read(&migration).await?;
        if (migration.state.is_settled() || rests(&migration)) && self.deliver(id).await? {
            return Ok(());
        }
        if migration.state.is_settled() {
            self.delivered().remove(&id);
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
        self.delivered().remove(&id);
        let (supervisor, stop) = (self.supervisor.clone(), self.stop.clone());
        let work: JoinHandle<()> = tokio::spawn(async move {
            let enough = |migration: &Migration| {
                // Writers wait for a cutover that has started.
                let stopping =
                    stop.is_cancelled() && migration.state.phase() != Phase::CutoverPaused;
                stopping || migration.state.is_settled() || rests(migration)
            };
            if let Err(error) = supervisor.run(id, enough).await {
                let (migration, error) = (&migration, &error.to_string());
                supervisor.engine().tell(&Signal::Stopped { migration, error });
            }
        });
        self.open.insert(id, Some(AbortOnDropHandle::new(work)));
        Ok(())
    }

    /// The ended migrations of a page with outstanding notifications of hooks.
    async fn due_to_hooks(&self, page: &[Migration]) -> Result<HashSet<MigrationId>, ControlError> {
        let engine = self.supervisor.engine();
        if !Courier::is_needed(engine) {
            return Ok(HashSet::new());
        }
        let over = |migration: &&Migration| {
            migration.state.is_settled() && !self.seen.contains(&migration.id)
        };
        let over: Vec<_> = page.iter().filter(over).cloned().collect();
        if over.is_empty() {
            return Ok(HashSet::new());
        }
        let beside = engine.control.beside(&over, Deliveries::MEMO).await?;
        let due = over.iter().zip(beside).filter(|(_, beside)| {
            let deliveries = beside.memo.as_ref().and_then(Deliveries::of_memo);
            deliveries.is_some_and(|deliveries| !deliveries.over)
        });
        Ok(due.map(|(migration, _)| migration.id).collect())
    }

    /// Delivers the outstanding notifications of a migration that is idle or has ended; false: there are none.
    async fn deliver(&mut self, id: MigrationId) -> Result<bool, ControlError> {
        let engine = self.supervisor.engine();
        if !Courier::is_needed(engine) || self.delivered().contains(&id) {
            return Ok(false);
        }
        let memo = engine.control.memo(id, Deliveries::MEMO).await?;
        let deliveries = memo.as_ref().and_then(Deliveries::of_memo);
        if deliveries.is_none_or(|deliveries| deliveries.over) {
            self.delivered().insert(id);
            return Ok(false);
        }
        let (supervisor, stop) = (self.supervisor.clone(), self.stop.clone());
        let delivered = Arc::clone(&self.delivered);
        let work: JoinHandle<()> = tokio::spawn(async move {
            if supervisor.deliver_left(id, &stop).await {
                delivered.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            }
        });
        self.open.insert(id, Some(AbortOnDropHandle::new(work)));
        Ok(true)
    }

    fn delivered(&self) -> MutexGuard<'_, HashSet<MigrationId>> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the log of a migration that this process does not drive, if its row has changed
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
                // A panic was already logged; its lease expires.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(STOP_WITHIN, all).await;
    }
}

/// It may still be reported, as one that has ended.
fn is_recent(migration: &Migration, now: Timestamp) -> bool {
    let hour = i64::try_from(RECENT.as_micros()).unwrap_or(i64::MAX);
    migration.completed_at.is_some_and(|at| now.micros().saturating_sub(at.micros()) < hour)
}

/// Only an operator can bring it further.
pub(super) fn rests(migration: &Migration) -> bool {
    matches!(migration.state, State::Failed { .. } | State::Paused(_))
}
