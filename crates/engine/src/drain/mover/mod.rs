//! One tenant of a drain: its migration is started, driven, and aborted if necessary. Only this task
//! waits for the tenant's stores.

mod sight;

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::drain::{Settings, Stay, Tenant};
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{CutoverPolicy, Migration, Options, Phase, State as Migrating};
use rehome_ports::{Class, ControlError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Claim;
use crate::Engine;
use crate::config::Backoff;
use crate::migration::{OperationError, Operations, Supervisor};

/// How often a mover reads its migration.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A move without progress for so long gives its place to another.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// What the worker wants of all its movers.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    /// What the drain runs with.
    pub(super) settings: Arc<Settings>,
    /// The move's share of the copy rates, in events and bytes per second.
    pub(super) rates: (u32, u32),
    /// The window is open, and the drain runs.
    pub(super) may_cut_over: bool,
    /// The drain was cancelled.
    pub(super) cancelled: bool,
}

/// How a mover sees its migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// It has made no progress for a while.
    pub(super) stalled: bool,
    /// All is done that comes before the cutover.
    pub(super) ready: bool,
}

/// How a move ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The tenant is at its target.
    Moved,
    /// It was aborted.
    SetAside(String),
    /// The drain was cancelled.
    PutBack,
    /// The tenant is not where the drain found it.
    Stays(Stay, String),
}

/// One move.
pub(super) struct Mover {
    pub(super) engine: Engine,
    pub(super) holder: Arc<str>,
    pub(super) row: Tenant,
    pub(super) id: MigrationId,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) released: watch::Receiver<bool>,
    pub(super) look: watch::Sender<Look>,
    /// The process stops: a migration before its cutover is left to others.
    pub(super) stop: CancellationToken,
    pub(super) _claim: Claim,
}

/// Why the driving of a migration ended.
enum End {
    /// Its row, as far as it could come.
    At(Box<Migration>),
    GiveUp(String),
    Cancel,
}

impl Mover {
    fn operations(&self) -> Operations {
        Operations::new(&self.engine, self.holder.to_string())
    }

    /// Moves the tenant, or finds out that it cannot be moved. `None`: the process stops.
    pub(super) async fn run(mut self) -> Option<Outcome> {
        let stop = self.stop.clone();
        let started = tokio::select! {
            biased;
            started = self.start() => started,
            () = stop.cancelled() => return None,
        };
        if started.is_some() {
            return started;
        }
        let ended = Box::pin(self.drive()).await;
        if stop.is_cancelled() {
            return None;
        }
        Some(Box::pin(self.end(ended)).await)
    }

    /// The outcome of the move, after everything that was started has ended.
    async fn end(self, mut ended: End) -> Outcome {
        loop {
            let why = match &ended {
                End::At(migration) => match migration.state {
                    Migrating::Migrated { .. } => return Outcome::Moved,
                    Migrating::RolledBack(_) if self.orders.borrow().cancelled => {
                        return Outcome::PutBack;
                    }
                    Migrating::RolledBack(_) => {
                        return Outcome::SetAside("its migration was aborted".to_owned());
                    }
                    _ => {
                        let why = migration.error.as_deref().unwrap_or("its migration failed");
                        Some(why.to_owned())
                    }
                },
                End::GiveUp(why) => Some(why.clone()),
                End::Cancel => None,
            };
            // What has passed its switch has moved, and is driven to its end.
            match self.abort(why.is_none()).await {
                Ok(migration) if migration.state.phase() != Phase::Migrated => {
                    return why.map_or(Outcome::PutBack, Outcome::SetAside);
                }
                Ok(_) => ended = self.finish().await,
                Err(error) if error.is_final() => {
                    return Outcome::SetAside(format!("{error}"));
                }
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Starts the migration, if it was not started yet; `None`: it is there.
    async fn start(&mut self) -> Option<Outcome> {
        let began = Instant::now();
        let mut backoff = Backoff::new(&self.engine.config);
        loop {
            if self.orders.borrow().cancelled && !self.is_there().await {
                return Some(Outcome::PutBack);
            }
            let patience = Duration::from_millis(self.orders.borrow().settings.patience_ms);
            let left = patience.saturating_sub(began.elapsed());
            let hangs = "its stores do not answer, so its migration cannot start";
            // A store that hangs times out; whether the start was recorded is read again below.
            let Ok(tried) = tokio::time::timeout(left, self.try_start()).await else {
                return self.unless_there(hangs).await;
            };
            match tried {
                Ok(()) => return None,
                Err(StartError::Outcome(outcome)) => return Some(outcome),
                Err(StartError::Operation(error)) if error.may_pass() => {
                    if left.is_zero() {
                        return self.unless_there(&error.to_string()).await;
                    }
                    self.look.send_if_modified(|look| {
                        let stalled = began.elapsed() > STALLED_AFTER;
                        std::mem::replace(&mut look.stalled, stalled) != stalled
                    });
                    let wait = backoff.next();
                    let _ = tokio::time::timeout(wait, self.orders.changed()).await;
                }
                Err(StartError::Operation(error)) => {
                    return self.unless_there(&error.to_string()).await;
                }
            }
        }
    }

    async fn is_there(&self) -> bool {
        self.engine.control.migration(self.id).await.is_ok()
    }

    /// Set aside, unless the migration was recorded all the same.
    async fn unless_there(&self, why: &str) -> Option<Outcome> {
        match self.engine.control.migration(self.id).await {
            Ok(_) => None,
            Err(_) => Some(Outcome::SetAside(why.to_owned())),
        }
    }

    async fn try_start(&self) -> Result<(), StartError> {
        match self.engine.control.migration(self.id).await {
            Ok(_) => return Ok(()),
            Err(ControlError::UnknownMigration(_)) => {}
            Err(error) => return Err(OperationError::from(error).into()),
        }
        let route =
            self.engine.control.route(self.row.tenant).await.map_err(OperationError::from)?;
        if let Some(route) = route.filter(|route| route.store != self.row.source) {
            let why = format!("its history is in store {}", route.store);
            return Err(StartError::Outcome(Outcome::Stays(Stay::Gone, why)));
        }
        let Some(target) = &self.row.target else {
            let why = "it has no target".to_owned();
            return Err(StartError::Outcome(Outcome::SetAside(why)));
        };
        let options = options(&self.orders.borrow());
        self.operations().start_as(self.id, self.row.tenant, target, options).await?;
        crate::failpoint::hit("drain.started");
        Ok(())
    }

    /// Drives the migration until it ends, is aborted or cancelled.
    async fn drive(&mut self) -> End {
        let supervisor = Supervisor::new(&self.engine, Arc::clone(&self.holder));
        let id = self.id;
        let stop = self.stop.clone();
        let enough = |migration: &Migration| {
            // Writers wait for a cutover that has started.
            let leaves = stop.is_cancelled() && migration.state.phase() != Phase::CutoverPaused;
            leaves || is_over(migration)
        };
        let run = supervisor.run(id, enough);
        tokio::select! {
            biased;
            ended = run => match ended {
                Ok(supervised) => End::At(Box::new(supervised.migration)),
                Err(error) => End::GiveUp(error.to_string()),
            },
            end = self.look_on() => end,
        }
    }

    /// Drives what has passed its switch until its target is active.
    async fn finish(&self) -> End {
        let supervisor = Supervisor::new(&self.engine, Arc::clone(&self.holder));
        match supervisor.run(self.id, is_over).await {
            Ok(supervised) => End::At(Box::new(supervised.migration)),
            Err(error) => End::GiveUp(error.to_string()),
        }
    }

    /// Ends the migration; answers it as it is then, which may be past its switch.
    async fn abort(&self, purge: bool) -> Result<Migration, OperationError> {
        let migration = self.operations().end_cutover(self.id).await?;
        if migration.state.phase().is_terminal() {
            return Ok(migration);
        }
        let aborted = self.operations().abort(self.id, purge).await;
        // Any process that can reach the target may clean it up.
        let _ = self.engine.control.release(self.id, &self.holder).await;
        match aborted {
            // It has advanced between the read and the abort.
            Err(OperationError::Control(ControlError::Refused(_))) => {
                Ok(self.engine.control.migration(self.id).await?)
            }
            aborted => aborted,
        }
    }
}

/// Nothing is left to do that the drain waits for.
fn is_over(migration: &Migration) -> bool {
    matches!(
        migration.state,
        Migrating::Migrated { activated: true, .. }
            | Migrating::RolledBack(_)
            | Migrating::Failed { .. }
    )
}

/// What a migration of the drain runs with.
fn options(orders: &Orders) -> Options {
    let settings = &orders.settings;
    let cutover =
        if settings.bounds_cutovers() { CutoverPolicy::Manual } else { settings.options.cutover };
    let (copy_rate_max, copy_bytes_rate_max) = orders.rates;
    Options { cutover, copy_rate_max, copy_bytes_rate_max, ..settings.options }
}

enum StartError {
    Outcome(Outcome),
    Operation(OperationError),
}

impl From<OperationError> for StartError {
    fn from(error: OperationError) -> Self {
        Self::Operation(error)
    }
}

impl OperationError {
    /// Whether the same may be done later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Control(error) => error.class() == Class::Retry,
            Self::Store(error) => error.class() == Class::Retry,
            _ => false,
        }
    }

    fn is_final(&self) -> bool {
        !self.may_pass()
    }
}
