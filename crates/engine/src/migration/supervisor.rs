//! Who works on a migration: the holder of its lease.
//!
//! A lease gives liveness only. Two drivers at once do no harm: every step is a compare-and-set on
//! a revision, a head or an epoch.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Migration};
use rehome_ports::{Change, Class, ControlError, Lease, LeaseRequest, LogEntry};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::driver::Driver;
use super::worker::rests;
use crate::config::Backoff;
use crate::heads::is_window;
use crate::hooks::Courier;
use crate::signal::Signal;
use crate::{Engine, UnknownStore};

/// Takes leases, runs drivers, takes over from processes that died.
#[derive(Clone)]
pub struct Supervisor {
    engine: Engine,
    holder: Arc<str>,
}

/// The time in which this process drives a migration. Reports its end, however it ends: also when
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
    /// The process can never reach one of the migration's stores: it has not taken the lease.
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

    /// Drives the migration, or watches the process that does and takes over when its lease
    /// expires, until `enough` is true of the migration's row or there is nothing left to do. Dropping the
    /// future ends the work at the next await; another process, or a later call, continues it.
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
        let courier = Courier::of(&self.engine, id, &self.holder);
        if let Some(courier) = &courier {
            courier.open().await?;
        }
        self.note_lease(&migration).await?;
        let log = self.log(id).await?;
        self.engine.tell(&Signal::Taken { migration: &migration, log: &log, taken_over });
        let last = migration.clone();
        let mut tenure = Tenure { engine: self.engine.clone(), last, lost_to: None };
        let mut driver = Driver::new(self.engine.clone(), migration, self.holder.to_string());
        let seen = driver.seen();
        let renewals = self.renew(request, log.last().map_or(0, |entry| entry.index), Some(&seen));
        let work = async {
            let ended = Box::pin(driver.run(enough)).await;
            if let Some(courier) = &courier {
                Box::pin(courier.finish()).await;
            }
            ended
        };
        let deliveries = async {
            match &courier {
                Some(courier) => Box::pin(courier.follow(&seen)).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = work => Ok(ended),
            lost_to = renewals => Err(lost_to),
            never = self.engine.watch_heads(&seen) => match never {},
            never = deliveries => match never {},
        };
        tenure.last = seen.borrow().clone();
        match ended {
            Ok(ended) => {
                // A lease that cannot be released expires.
                let _ = control.release(id, &self.holder).await;
                Ok(Outcome::Drove(Box::new(ended?)))
            }
            Err(holder) => {
                tenure.lost_to = Some(holder);
                Ok(Outcome::LostLease)
            }
        }
    }

    /// Delivers the outstanding notifications of a migration without a driver, until `stop` or until there is something to
    /// drive. Takes the lease without a log entry, because it does nothing else.
    pub(super) async fn deliver_left(&self, id: MigrationId, stop: &CancellationToken) -> bool {
        let Some(courier) = Courier::of(&self.engine, id, &self.holder) else { return true };
        let request = LeaseRequest {
            migration: id,
            holder: self.holder.to_string(),
            ttl_ms: u64::try_from(self.engine.config.lease_ttl.as_millis()).unwrap_or(u64::MAX),
        };
        let Ok(Lease::Held { .. }) = self.engine.control.lease(&request).await else {
            return false;
        };
        let delivers = async {
            let mut backoff = Backoff::new(&self.engine.config);
            while !matches!(courier.deliver().await, Ok(true)) {
                tokio::time::sleep(backoff.next()).await;
            }
        };
        let needed = async {
            loop {
                tokio::time::sleep(self.engine.config.stand_by_poll).await;
                let row = self.engine.control.migration(id).await;
                if row.is_ok_and(|row| !row.state.is_settled() && !rests(&row)) {
                    break;
                }
            }
        };
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = needed => false,
            () = delivers => true,
            _ = self.renew(request, u64::MAX, None) => false,
        };
        let _ = self.engine.control.release(id, &self.holder).await;
        done
    }

    /// Renews until the lease is another's; answers whose. Reads what others recorded meanwhile: those
    /// who watch this process are to see the whole migration. In a window, where next to nothing is recorded, it
    /// reads less often.
    async fn renew(
        &self,
        request: LeaseRequest,
        mut read: u64,
        seen: Option<&watch::Receiver<Migration>>,
    ) -> String {
        let every = self.engine.config.lease_ttl / 3;
        let renewals = &self.engine.renewals;
        let mut read_at = Instant::now();
        loop {
            renewals.due(every).await;
            let renewed = renewals.renew(&*self.engine.control, &request).await;
            if let Some(Lease::HeldBy(other)) = renewed {
                return other.holder;
            }
            let rests = seen.is_some_and(|seen| is_window(&seen.borrow()));
            if rests && read_at.elapsed() < self.engine.config.rest_poll {
                continue;
            }
            read_at = Instant::now();
            // A process that only watches can wait for the next read; the lease cannot.
            let reading = self.read_on(request.migration, read);
            if let Ok(Ok(last)) = tokio::time::timeout(every / 2, reading).await {
                read = last;
            }
        }
    }

    /// Reports the log if it has more than `read` entries; returns their number.
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
