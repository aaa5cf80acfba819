//! Who works on a migration: the holder of its lease.
//!
//! A lease gives liveness only. Two drivers at once do no harm: every step is a compare-and-set on
//! a revision, a head or an epoch.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Migration};
use rehome_ports::{Change, Class, ControlError, Lease, LeaseRequest, LogEntry};
use tokio_util::task::AbortOnDropHandle;

use super::driver::Driver;
use crate::config::Backoff;
use crate::signal::Signal;
use crate::{Engine, UnknownStore};

/// Takes leases, runs drivers, takes over from processes that died.
#[derive(Clone)]
pub struct Supervisor {
    engine: Engine,
    holder: Arc<str>,
}

/// The time in which this process drives a migration. Tells of its end, however it ends: also when
/// the work is dropped.
struct Tenure {
    engine: Engine,
    last: Migration,
    lost_to: Option<String>,
}

impl Drop for Tenure {
    fn drop(&mut self) {
        let (migration, lost_to) = (&self.last, self.lost_to.as_deref());
        self.engine.tell(&Signal::Left { migration, lost_to });
    }
}

/// Why a process does not work on a migration.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The control plane failed, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The process cannot reach one of the migration's stores, ever: it has not taken the lease.
    #[error("this process cannot work on the migration: {0}")]
    UnknownStore(#[from] UnknownStore),
}

impl DriveError {
    /// Whether waiting does not help. A store that this process does not know stays unknown to it.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Control(error) => error.is_final(),
            Self::UnknownStore(_) => true,
        }
    }

    /// What a caller does about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Control(error) => error.class(),
            Self::UnknownStore(_) => Class::Fatal,
        }
    }
}

/// How a wait on a migration ended.
#[derive(Debug)]
pub struct Supervised {
    /// The row, as the condition wanted it or as far as it could come.
    pub migration: Migration,
    /// Whether this process worked on it.
    pub drove: bool,
}

impl Supervisor {
    /// A supervisor that holds leases under this name, unique per process.
    pub fn new(engine: &Engine, holder: impl Into<Arc<str>>) -> Self {
        Self { engine: engine.clone(), holder: holder.into() }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Works on the migration, or watches the process that does and takes over when its lease runs
    /// out, until `enough` is true of the migration's row or nothing is left to do. Dropping the
    /// future ends the work at the next await; another process, or a later call, goes on.
    pub async fn run(
        &self,
        id: MigrationId,
        enough: impl Fn(&Migration) -> bool + Send + Sync,
    ) -> Result<Supervised, DriveError> {
        let mut backoff = Backoff::new(&self.engine.config);
        loop {
            // Before the row is read: what changes after it is not slept through.
            let looked = self.engine.router.moment();
            match self.try_run(id, &enough).await {
                Ok(Outcome::Drove(migration)) => {
                    return Ok(Supervised { migration: *migration, drove: true });
                }
                Ok(Outcome::HeldByAnother) => {
                    let migration = self.engine.control.migration(id).await?;
                    if enough(&migration) {
                        return Ok(Supervised { migration, drove: false });
                    }
                    let config = &self.engine.config;
                    let told = self.engine.router.is_told();
                    let poll = if told { config.stand_by_poll } else { config.driver_poll };
                    self.engine.router.idle(migration.tenant, looked, poll).await;
                }
                Ok(Outcome::LostLease) => {}
                Err(error) if error.class() == Class::Retry || !error.is_final() => {
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_run(
        &self,
        id: MigrationId,
        enough: &(dyn Fn(&Migration) -> bool + Send + Sync),
    ) -> Result<Outcome, DriveError> {
        let control = &self.engine.control;
        let found = control.migration(id).await?;
        if let Err(unknown) = self.can_drive(&found) {
            // The lease is left to a process that can.
            if enough(&found) || control.lease_holder(id).await?.is_some() {
                return Ok(Outcome::HeldByAnother);
            }
            return Err(unknown.into());
        }
        let request = LeaseRequest {
            migration: id,
            holder: self.holder.to_string(),
            ttl_ms: u64::try_from(self.engine.config.lease_ttl.as_millis()).unwrap_or(u64::MAX),
        };
        let taken_over = match control.lease(&request).await? {
            Lease::HeldBy(_) => return Ok(Outcome::HeldByAnother),
            Lease::Held { taken_over } => taken_over,
        };
        let migration = control.migration(id).await?;
        if enough(&migration) {
            control.release(id, &self.holder).await?;
            return Ok(Outcome::Drove(Box::new(migration)));
        }
        self.note_lease(&migration).await?;
        let log = self.log(id).await?;
        self.engine.tell(&Signal::Taken { migration: &migration, log: &log, taken_over });
        let last = migration.clone();
        let mut tenure = Tenure { engine: self.engine.clone(), last, lost_to: None };
        let mut driver = Driver::new(self.engine.clone(), migration, self.holder.to_string());
        let seen = driver.seen();
        let renewals = self.renew(request, log.last().map_or(0, |entry| entry.index));
        let ended = tokio::select! {
            biased;
            ended = driver.run(enough) => Ok(ended),
            lost_to = renewals => Err(lost_to),
            never = self.engine.watch_heads(&seen) => match never {},
        };
        tenure.last = seen.borrow().clone();
        match ended {
            Ok(ended) => {
                // A lease that cannot be given up runs out by itself.
                let _ = control.release(id, &self.holder).await;
                Ok(Outcome::Drove(Box::new(ended?)))
            }
            Err(holder) => {
                tenure.lost_to = Some(holder);
                Ok(Outcome::LostLease)
            }
        }
    }

    /// Renews until the lease is another's; answers whose. Reads what others recorded meanwhile: those
    /// who watch this process are to see the whole migration.
    async fn renew(&self, request: LeaseRequest, mut read: u64) -> String {
        let every = self.engine.config.lease_ttl / 3;
        let renewals = &self.engine.renewals;
        loop {
            renewals.due(every).await;
            let renewed = renewals.renew(&*self.engine.control, &request).await;
            if let Some(Lease::HeldBy(other)) = renewed {
                return other.holder;
            }
            // Whoever only watches can wait for the next time; the lease cannot.
            let reading = self.read_on(request.migration, read);
            if let Ok(Ok(last)) = tokio::time::timeout(every / 2, reading).await {
                read = last;
            }
        }
    }

    /// Tells of the log if it has more than `read` entries; answers how many it has.
    async fn read_on(&self, id: MigrationId, read: u64) -> Result<u64, ControlError> {
        if self.engine.control.log(id, read, 1).await?.is_empty() {
            return Ok(read);
        }
        let log = self.log(id).await?;
        let migration = self.engine.control.migration(id).await?;
        self.engine.tell(&Signal::Logged { migration: &migration, log: &log });
        Ok(log.last().map_or(read, |entry| entry.index))
    }

    /// Whether both stores of a migration are in the configuration of this process.
    pub(super) fn can_drive(&self, migration: &Migration) -> Result<(), UnknownStore> {
        self.engine.stores.get(&migration.source)?;
        self.engine.stores.get(&migration.target).map(drop)
    }

    /// All that was recorded of the migration.
    pub(super) async fn log(&self, id: MigrationId) -> Result<Vec<LogEntry>, ControlError> {
        const PAGE: usize = 1_000;
        let mut log = Vec::new();
        loop {
            let after = log.last().map_or(0, |entry: &LogEntry| entry.index);
            let page = self.engine.control.log(id, after, PAGE).await?;
            let over = page.len() < PAGE;
            log.extend(page);
            if over {
                return Ok(log);
            }
        }
    }

    async fn note_lease(&self, migration: &Migration) -> Result<(), ControlError> {
        let change = Change {
            tenant: migration.tenant,
            migration: migration.id,
            rev: None,
            fact: Fact::LeaseTaken { holder: Box::from(&*self.holder) },
            actor: self.holder.to_string(),
        };
        self.engine.router.record(change).await.map(drop)
    }

    /// Runs the migration in a task of its own, ended when the handle is dropped.
    pub fn spawn(
        &self,
        id: MigrationId,
        enough: impl Fn(&Migration) -> bool + Send + Sync + 'static,
    ) -> AbortOnDropHandle<Result<Supervised, DriveError>> {
        let supervisor = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { supervisor.run(id, enough).await }))
    }

    /// Watches a migration without ever working on it.
    pub async fn watch(
        &self,
        id: MigrationId,
        every: Duration,
        mut seen: impl FnMut(&Migration) -> bool + Send,
    ) -> Result<Migration, ControlError> {
        loop {
            let migration = self.engine.control.migration(id).await?;
            if seen(&migration) {
                return Ok(migration);
            }
            tokio::time::sleep(every).await;
        }
    }
}

enum Outcome {
    Drove(Box<Migration>),
    HeldByAnother,
    LostLease,
}
