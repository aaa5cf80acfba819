//! The driver of one migration: observe, decide, act. The whole protocol is visible in the one
//! match of [`Driver::run`]; what each command does is in the file of its name under `steps/`.

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Command, Fact, Migration, Observation, Phase, State, decide};
use rehome_ports::{Class, ControlError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::control_time::ControlTime;
use super::steps::{Context, CutoverEnd, DualWrite, StepError, Window};
use crate::Engine;
use crate::config::Backoff;
use crate::router::Moment;
use crate::signal::Signal;

/// Refusals in a row after which a migration fails instead of being tried again.
const REFUSALS_MAX: u32 = 8;

/// Drives one migration while its lease is held.
pub(crate) struct Driver {
    engine: Engine,
    id: MigrationId,
    actor: String,
    dual_write: Option<DualWrite>,
    window: Option<Window>,
    retry_at: Option<Instant>,
    time: ControlTime,
    /// The row as it was last read.
    seen: watch::Sender<Migration>,
    /// Before the migration's row was last read.
    looked: Moment,
}

impl Driver {
    pub(crate) fn new(engine: Engine, taken: Migration, actor: String) -> Self {
        let id = taken.id;
        let looked = engine.router.moment();
        Self {
            engine,
            id,
            actor,
            dual_write: None,
            window: None,
            retry_at: None,
            time: ControlTime::default(),
            seen: watch::Sender::new(taken),
            looked,
        }
    }

    /// The migration's row as it was last read.
    pub(crate) fn seen(&self) -> watch::Receiver<Migration> {
        self.seen.subscribe()
    }

    /// Works until nothing is left to do, or `enough` says so of the migration's row.
    pub(crate) async fn run(
        &mut self,
        enough: &(dyn Fn(&Migration) -> bool + Send + Sync),
    ) -> Result<Migration, ControlError> {
        let mut backoff = Backoff::new(&self.engine.config);
        let mut refusals = 0;
        loop {
            self.looked = self.engine.router.moment();
            let migration = self.engine.control.migration(self.id).await;
            if let Ok(migration) = &migration {
                self.engine.tell(&Signal::Seen { migration });
                self.seen.send_replace(migration.clone());
            }
            let error = match migration {
                Ok(migration) if enough(&migration) => {
                    self.stop_work().await;
                    return Ok(migration);
                }
                Ok(migration) => match self.step(migration, enough).await {
                    Ok(Some(done)) => return Ok(done),
                    Ok(None) => {
                        refusals = 0;
                        backoff = Backoff::new(&self.engine.config);
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => error.into(),
            };
            refusals += u32::from(error.class() == Class::Fenced);
            match error.class() {
                // Somebody else was first, or the ledger moved on: observe again. A ledger that
                // refuses again and again what its migration's row asks for was lost or replaced.
                Class::Conflict | Class::Fenced if refusals < REFUSALS_MAX => {
                    self.stop_work().await;
                    tokio::time::sleep(backoff.next()).await;
                }
                Class::Retry => {
                    let error = error.to_string();
                    self.engine.tell(&Signal::Retrying { migration: self.id, error: &error });
                    tokio::time::sleep(backoff.next()).await;
                }
                Class::Conflict | Class::Fenced | Class::Fatal => {
                    if let StepError::Control(error @ ControlError::UnknownMigration(_)) = error {
                        return Err(error);
                    }
                    self.stop_work().await;
                    if !self.fail(&error).await? {
                        tokio::time::sleep(backoff.next()).await;
                    }
                }
            }
        }
    }

    /// Observes, decides, acts once. The migration, when nothing is left to do.
    async fn step(
        &mut self,
        migration: Migration,
        enough: &(dyn Fn(&Migration) -> bool + Send + Sync),
    ) -> Result<Option<Migration>, StepError> {
        let mut context = Context::new(&self.engine, migration, &self.actor)?;
        let command = self.observe(&context).await?;
        if command != Command::Follow && command != Command::CutOver {
            self.stop_dual_write().await;
        }
        if command != Command::KeepWindow {
            self.stop_window().await;
        }
        match command {
            Command::Prepare => context.prepare().await?,
            Command::Repair => context.repair().await?,
            Command::Copy => context.copy(enough).await?,
            Command::Follow => self.follow(&context).await?,
            Command::CutOver => self.cut_over(&context).await?,
            Command::ActivateTarget => context.activate_target().await?,
            Command::KeepWindow => self.keep_window(&context).await?,
            Command::CloseWindow => context.close_window().await?,
            Command::DropOldReplica => context.drop_old_replica().await?,
            Command::CleanUp => context.clean_up().await?,
            Command::Wait => self.idle(&context).await,
            Command::Done => return Ok(Some(context.migration)),
        }
        Ok(None)
    }

    /// Waits for a moment, or until an operator or another driver has moved the route.
    async fn idle(&self, context: &Context) {
        let poll = self.engine.config.driver_poll;
        self.engine.router.idle(context.tenant(), self.looked, poll).await;
    }

    /// What is to be done next, from the row, the mirror and the auditor.
    async fn observe(&mut self, context: &Context) -> Result<Command, StepError> {
        let work = match &mut self.dual_write {
            Some(work) => Some(work.status().await?),
            None => None,
        };
        let (mirror, audited) = work.unwrap_or_default();
        Ok(decide(&Observation {
            migration: &context.migration,
            source_seq: mirror.source_seq,
            target_seq: mirror.target_seq,
            read_back_seq: audited.read_back_seq,
            verified: audited.verified,
            target_healthy: self.dual_write.is_some()
                && mirror.failures == 0
                && mirror.ended.is_none(),
            retry_due: self.retry_at.is_none_or(|at| Instant::now() >= at),
            now: self.time.now(&*self.engine.control).await?,
        }))
    }

    /// Keeps the mirror and the auditor running for a moment.
    async fn follow(&mut self, context: &Context) -> Result<(), StepError> {
        match &self.dual_write {
            None => self.dual_write = Some(DualWrite::start(context).await?),
            Some(work) => {
                work.retune(context.migration.options);
                let fits = work.fits(&context.migration);
                let (mirror, _) = self.dual_write.as_mut().expect("just seen").status().await?;
                if mirror.ended.is_some() || !fits {
                    // The ledger moved on, or there is something else to be verified; if the replica
                    // is still ours, start over.
                    self.stop_dual_write().await;
                }
            }
        }
        self.idle(context).await;
        Ok(())
    }

    /// Ends the mirror first, so that its last `extend` is not part of the pause.
    async fn cut_over(&mut self, context: &Context) -> Result<(), StepError> {
        let audited = match self.dual_write.take() {
            Some(work) => work.stop().await?,
            None => None,
        };
        let read_back = match audited {
            Some(read_back) => read_back,
            None => context.read_back(&self.engine.control.marks(self.id).await?),
        };
        let ended = context.cut_over(read_back).await;
        if !matches!(ended, Ok(CutoverEnd::Switched | CutoverEnd::NotReady)) {
            let attempts = context.migration.cutover_attempts.min(6);
            let wait = self.engine.config.cutover_retry * 2_u32.pow(attempts);
            self.retry_at = Some(Instant::now() + wait);
        }
        ended.map(drop)
    }

    async fn keep_window(&mut self, context: &Context) -> Result<(), StepError> {
        match &self.window {
            None => self.window = Window::start(context).await?,
            Some(window) if !window.check()? => self.stop_window().await,
            Some(_) => {}
        }
        self.idle(context).await;
        Ok(())
    }

    /// Records that the migration failed; false when that is not possible now.
    async fn fail(&self, error: &StepError) -> Result<bool, ControlError> {
        let Ok(migration) = self.engine.control.migration(self.id).await else { return Ok(false) };
        let fails =
            matches!(migration.state, State::Pending | State::Working(_) | State::Paused(_));
        if !fails {
            let error = error.to_string();
            self.engine.tell(&Signal::Retrying { migration: self.id, error: &error });
            return Ok(false);
        }
        let Ok(context) = Context::new(&self.engine, migration, &self.actor) else {
            return Ok(false);
        };
        let Ok(route) = context.route().await else { return Ok(false) };
        if route.phase() == Some(Phase::CutoverPaused) {
            return Ok(false);
        }
        let fact = Fact::Failed { error: error.to_string().into() };
        Ok(context.record(route.rev, fact).await.is_ok())
    }

    async fn stop_work(&mut self) {
        self.stop_dual_write().await;
        self.stop_window().await;
    }

    async fn stop_dual_write(&mut self) {
        if let Some(work) = self.dual_write.take() {
            // How the auditor ended was asked for in `observe`; here it only has to end.
            let _ = work.stop().await;
        }
    }

    async fn stop_window(&mut self) {
        if let Some(window) = self.window.take() {
            window.stop().await;
        }
    }
}
