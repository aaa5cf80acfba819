//! The driver of one migration: observe, decide, act. The whole protocol is visible in the one
//! match of [`Driver::run`]; what each command does is in the file of its name under `steps/`.

use std::sync::Arc;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{
    Command, Fact, Migration, Observation, Phase, State, decide, return_until,
};
use rehome_ports::{Class, ControlError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::anchors::Anchors;
use super::control_time::ControlTime;
use super::steps::{Audited, Context, CutoverEnd, DualWrite, StepError, Window};
use super::waiting::Notes;
use crate::Engine;
use crate::brake::Brake;
use crate::config::Backoff;
use crate::hooks::Veto;
use crate::mirror::MirrorStatus;
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
    /// Held here, so that what it has measured outlives a step.
    _brake: Arc<Brake>,
    /// A hook's veto of the last cutover, while an automatic one is due.
    vetoed: Option<String>,
    /// Vetoes since the last cutover.
    vetoes: u32,
    /// Since when this driver has seen a switch that is dated in the future.
    dated_ahead: Option<Instant>,
    time: ControlTime,
    notes: Notes,
    anchors: Anchors,
    /// The last observation, and how long to wait until the next one while nothing changes.
    before: Option<(Migration, MirrorStatus, Audited)>,
    quiet: Backoff,
    /// The row as it was last read.
    seen: watch::Sender<Migration>,
    /// Before the migration's row was last read.
    looked: Moment,
}

/// What came of asking hooks before a cutover.
enum Answer {
    /// No hook has anything against it.
    GoOn,
    /// A hook vetoed it.
    Vetoed(Veto),
    /// Meanwhile it is no longer wanted, or this process has to stop.
    NotNow,
}

impl Driver {
    pub(crate) fn new(engine: Engine, taken: Migration, actor: String) -> Self {
        let id = taken.id;
        let looked = engine.router.moment();
        let brake = engine.brakes.of(id, engine.config.brake_goal);
        let quiet = Backoff::between(engine.config.driver_poll, engine.config.idle_poll);
        Self {
            before: None,
            quiet,
            engine,
            id,
            actor,
            dual_write: None,
            window: None,
            retry_at: None,
            _brake: brake,
            vetoed: None,
            vetoes: 0,
            dated_ahead: None,
            time: ControlTime::default(),
            notes: Notes::default(),
            anchors: Anchors::default(),
            seen: watch::Sender::new(taken),
            looked,
        }
    }

    /// The migration's row as it was last read.
    pub(crate) fn seen(&self) -> watch::Receiver<Migration> {
        self.seen.subscribe()
    }

    /// Works until there is nothing left to do, or `enough` is true of the migration's row.
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
                    if let Ok(context) = Context::new(&self.engine, migration.clone(), &self.actor)
                    {
                        self.anchors.finish(&context).await;
                    }
                    return Ok(migration);
                }
                Ok(migration) => match self.step(migration, enough).await {
                    Ok(Some(done)) => {
                        self.notes.goes_on(&self.engine, self.id).await;
                        return Ok(done);
                    }
                    Ok(None) => {
                        refusals = 0;
                        backoff = Backoff::new(&self.engine.config);
                        self.note_work().await;
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => error.into(),
            };
            refusals += u32::from(error.class() == Class::Fenced);
            match error.class() {
                // Another process was first, or the ledger has changed: observe again. A ledger that
                // repeatedly refuses what its migration's row requires was lost or replaced.
                Class::Conflict | Class::Fenced if refusals < REFUSALS_MAX => {
                    self.stop_work().await;
                    tokio::time::sleep(backoff.next()).await;
                }
                // Whatever it is: unless it shows damage, it is waited out and reported.
                Class::Retry | Class::Fatal if !error.is_final() => {
                    let error = error.to_string();
                    self.engine.tell(&Signal::Retrying { migration: self.id, error: &error });
                    self.notes.waits(&self.engine, self.id, &error).await;
                    tokio::time::sleep(backoff.next()).await;
                }
                Class::Retry | Class::Conflict | Class::Fenced | Class::Fatal => {
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

    /// A step succeeded: the migration now waits for whatever the mirror or the auditor waits for, if
    /// anything.
    async fn note_work(&mut self) {
        let failing = self.dual_write.as_ref().and_then(DualWrite::failing);
        let failing = failing.or_else(|| self.window.as_ref().and_then(Window::failing));
        let failing = failing.or_else(|| self.vetoed.clone());
        match failing {
            Some(why) => self.notes.waits(&self.engine, self.id, &why).await,
            None => self.notes.goes_on(&self.engine, self.id).await,
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
        if !matches!(command, Command::CutOver | Command::ActivateTarget) {
            self.anchors.keep(&context).await;
        }
        match command {
            Command::Prepare => context.prepare().await?,
            Command::Repair => context.repair().await?,
            Command::Copy => context.copy(enough).await?,
            Command::Follow => self.follow(&context).await?,
            Command::CutOver => self.cut_over(&context, enough).await?,
            Command::ActivateTarget => context.activate_target().await?,
            Command::KeepWindow => self.keep_window(&context).await?,
            Command::CloseWindow => context.close_window().await?,
            Command::DropOldReplica => context.drop_old_replica().await?,
            Command::CleanUp => context.clean_up().await?,
            Command::Wait => self.idle(&context).await,
            Command::Done => {
                self.anchors.finish(&context).await;
                return Ok(Some(context.migration));
            }
        }
        Ok(None)
    }

    /// Waits for a moment, or until an operator or another driver has moved the route; longer and longer
    /// while nothing is seen to happen, or until the mirror or the auditor got further.
    async fn idle(&mut self, context: &Context) {
        let (router, poll) = (&self.engine.router, self.engine.config.driver_poll);
        let tenant = context.tenant();
        router.idle(tenant, self.looked, poll).await;
        let wait = self.quiet.next().saturating_sub(poll);
        let wait = self
            .retry_at
            .map_or(wait, |at| wait.min(at.saturating_duration_since(Instant::now()).max(poll)));
        let moved = router.idle(tenant, self.looked, wait);
        match &mut self.dual_write {
            Some(work) => tokio::select! {
                biased;
                () = moved => {}
                () = work.changed() => {}
            },
            None => moved.await,
        }
    }

    /// The time that a rollback window runs by. Where the switch is dated in the future, by a clock that was
    /// ahead, the window runs from when this driver first saw it: it is never longer than it was promised.
    fn in_window(&mut self, migration: &Migration, now: Timestamp) -> Timestamp {
        let dated = migration.completed_at.filter(|_| migration.state.phase() == Phase::Migrated);
        let Some(dated) = dated.filter(|dated| *dated > now) else { return now };
        let since = self.dated_ahead.get_or_insert_with(Instant::now).elapsed();
        let since = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(dated.micros().saturating_add(since))
    }

    /// Whether anything has changed since the last observation; if so, the next ones are frequent again.
    fn compare(&mut self, seen: (MirrorStatus, Audited), migration: &Migration) {
        let seen = Some((migration.clone(), seen.0, seen.1));
        if self.before != seen {
            self.before = seen;
            let config = &self.engine.config;
            self.quiet = Backoff::between(config.driver_poll, config.idle_poll);
        }
    }

    /// The next command, from the row, the mirror and the auditor.
    async fn observe(&mut self, context: &Context) -> Result<Command, StepError> {
        let work = match &mut self.dual_write {
            Some(work) => Some(work.status().await?),
            None => None,
        };
        let (mirror, audited) = work.unwrap_or_default();
        let now = self.time.now(&*self.engine.control).await?;
        let now = self.in_window(&context.migration, now);
        self.compare((mirror.clone(), audited.clone()), &context.migration);
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
            now,
        }))
    }

    /// Lets the mirror and the auditor run for a moment.
    async fn follow(&mut self, context: &Context) -> Result<(), StepError> {
        if !context.migration.wants_cutover() {
            self.vetoed = None;
        }
        match &self.dual_write {
            None => self.dual_write = Some(DualWrite::start(context).await?),
            Some(work) => {
                work.retune(context.migration.options);
                let fits = work.fits(&context.migration);
                let (mirror, _) = self.dual_write.as_mut().expect("just seen").status().await?;
                if mirror.ended.is_some() || !fits {
                    // The ledger has changed, or something else has to be verified; if the replica
                    // is still this migration's, start over.
                    self.stop_dual_write().await;
                }
            }
        }
        self.idle(context).await;
        Ok(())
    }

    /// Ends the mirror first, so that its last `extend` is not part of the pause.
    async fn cut_over(
        &mut self,
        context: &Context,
        enough: &(dyn Fn(&Migration) -> bool + Send + Sync),
    ) -> Result<(), StepError> {
        // While the mirror runs: a hook may take long.
        match self.ask_before_cutover(context, enough).await? {
            Answer::GoOn => {}
            Answer::NotNow => return Ok(()),
            Answer::Vetoed(veto) => {
                let wait = self.engine.config.cutover_retry * 2_u32.pow(self.vetoes.min(6));
                self.vetoes += 1;
                self.retry_at = Some(Instant::now() + wait);
                self.vetoed = context.vetoed(&veto).await?;
                return Ok(());
            }
        }
        (self.vetoed, self.vetoes) = (None, 0);
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

    /// What hooks have against the cutover.
    async fn ask_before_cutover(
        &self,
        context: &Context,
        enough: &(dyn Fn(&Migration) -> bool + Send + Sync),
    ) -> Result<Answer, StepError> {
        if self.engine.hooks.is_none() || context.migration.state.phase() != Phase::DualWrite {
            return Ok(Answer::GoOn);
        }
        // No hook is called for a cutover that cannot begin.
        context.can_publish().await?;
        let mut asked = std::pin::pin!(context.ask_before_cutover());
        loop {
            let answer =
                tokio::time::timeout(self.engine.config.stand_by_poll, &mut asked).await.ok();
            let row = self.engine.control.migration(self.id).await?;
            if enough(&row) || row.state.phase() != Phase::DualWrite || !row.wants_cutover() {
                return Ok(Answer::NotNow);
            }
            match answer {
                None => {}
                Some(None) => return Ok(Answer::GoOn),
                Some(Some(veto)) => return Ok(Answer::Vetoed(veto)),
            }
        }
    }

    async fn keep_window(&mut self, context: &Context) -> Result<(), StepError> {
        match &self.window {
            None => self.window = Window::start(context).await?,
            Some(window) if !window.check()? => self.stop_window().await,
            Some(_) => {}
        }
        self.rest(context).await;
        Ok(())
    }

    /// Waits in a window: for its end, for an operator, or until its mirror fails. Without notifications of requests the
    /// row is read as often as ever.
    async fn rest(&mut self, context: &Context) {
        let router = &self.engine.router;
        let calm = self.window.as_ref().filter(|window| window.failing().is_none());
        let (Some(window), true) = (calm, router.is_told()) else {
            return self.idle(context).await;
        };
        let left = self.time.until(return_until(&context.migration));
        let wait = left.clamp(self.engine.config.driver_poll, self.engine.config.rest_poll);
        tokio::select! {
            biased;
            () = router.idle(context.tenant(), self.looked, wait) => {}
            () = window.in_trouble() => {}
        }
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
            // `observe` has already read the auditor's result; here it only has to end.
            let _ = work.stop().await;
        }
    }

    async fn stop_window(&mut self) {
        if let Some(window) = self.window.take() {
            window.stop().await;
        }
    }
}
