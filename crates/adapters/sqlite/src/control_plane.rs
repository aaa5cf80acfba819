//! [`ControlPlane`] on its own file. [`rehome_domain::migration`] decides what may happen to a route;
//! this adapter calls it and writes the result in one transaction.

mod access;
mod fleet;
mod log;
mod tables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::{self, Fact, Migration};
use rehome_domain::removal::{self, Turn};
use rehome_domain::route::Route;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    ActiveLease, Beside, Change, Checkpoint, ControlError, ControlPlane, Fault, Lease,
    LeaseRequest, LeaseRow, LeaseWatch, LogEntry, Marks, Memo, Migrations, ReadBackMark, Recorded,
};
use rusqlite::Transaction;

use crate::error::Failure;
use crate::file::{File, FileOptions, Request};
use crate::schema::Kind;

type Answer<T> = Result<T, Failure<ControlError>>;

/// A [`ControlPlane`] in a SQLite file.
///
/// Leases use the injected clock, which also dates the log. Dropping the handle finishes submitted
/// work and closes the file, which may block for a moment; [`SqliteControlPlane::close`] does
/// the same without blocking the caller's thread.
pub struct SqliteControlPlane {
    clock: Arc<dyn Clock>,
    leases: Arc<LeaseWatch>,
    workers: Arc<LeaseWatch<(DrainId, String)>>,
    file: File,
}

impl SqliteControlPlane {
    /// Opens the control plane. With `create`, makes one, and a new deployment, if there is none.
    pub async fn open(path: PathBuf, create: bool, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        Self::open_with(path, create, clock, FileOptions::default()).await
    }

    /// The same, with other bounds than the default ones.
    pub async fn open_with(
        path: PathBuf,
        create: bool,
        clock: Arc<dyn Clock>,
        file: FileOptions,
    ) -> Result<Self, Fault> {
        let file = File::open(Request {
            what: "control plane".to_owned(),
            kind: Kind::ControlPlane,
            path,
            create,
            deployment: None,
            clock: Arc::clone(&clock),
            options: file,
        })
        .await?;
        Ok(Self { clock, leases: Arc::default(), workers: Arc::default(), file })
    }

    /// Finishes the writes that were handed in and closes the file.
    pub async fn close(self) {
        // A panic in a drop cannot be reported.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Answer<T> + Send + 'static,
    ) -> Result<T, ControlError> {
        let answer = self.file.write(|tx, _| work(tx)).await;
        answer.map_err(|failure| failure.control_error(self.file.what()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Answer<T> + Send + 'static,
    ) -> Result<T, ControlError> {
        let answer = self.file.read(work).await;
        answer.map_err(|failure| failure.control_error(self.file.what()))
    }
}

fn known_route(tx: &Transaction<'_>, tenant: TenantId) -> Answer<Route> {
    Ok(tables::route(tx, tenant)?.ok_or(ControlError::UnknownTenant(tenant))?)
}

fn known_migration(tx: &Transaction<'_>, id: MigrationId) -> Answer<Migration> {
    Ok(tables::migration(tx, id)?.ok_or(ControlError::UnknownMigration(id))?)
}

/// The migration that `change` is about, `None` if it is to be its beginning.
fn subject(tx: &Transaction<'_>, change: &Change) -> Answer<Option<Migration>> {
    match tables::migration(tx, change.migration)? {
        Some(migration) if migration.tenant == change.tenant => Ok(Some(migration)),
        None if matches!(change.fact, Fact::Started { .. }) => Ok(None),
        _ => Err(ControlError::UnknownMigration(change.migration).into()),
    }
}

/// A compare-and-set on `rev`, with the fact in the log, in the caller's transaction.
fn record(tx: &Transaction<'_>, change: &Change, at: Timestamp) -> Answer<Recorded> {
    let route = known_route(tx, change.tenant)?;
    let migration = subject(tx, change)?;
    if change.fact.routes() && change.rev != Some(route.rev) {
        return Err(ControlError::Stale(Box::new(route)).into());
    }
    if let (Fact::Started { target, .. }, None) = (&change.fact, &migration)
        && let Some(cordon) = fleet::cordon(tx, target)?
    {
        let last = route.migration.map(|(id, _)| known_migration(tx, id)).transpose()?;
        if migration::arrives(target, last.as_ref()) {
            let (store, why) = (target.clone(), cordon.why);
            return Err(ControlError::Cordoned { store, why }.into());
        }
    }
    let applied = migration::apply(&route, migration.as_ref(), &change.fact, at);
    let (route, migration) = applied.map_err(ControlError::from)?;
    tables::put_route(tx, &route)?;
    tables::put_migration(tx, &migration)?;
    let seen = log::append(tx, migration.id, at, &change.actor, &change.fact)?;
    tables::anchor_log(tx, &LogAnchor { tenant: route.tenant, migration: migration.id, seen })?;
    Ok(Recorded { route, migration })
}

fn recover(
    tx: &Transaction<'_>,
    (tenant, rev): (TenantId, u64),
    fact: Fact,
    actor: String,
    at: Timestamp,
) -> Answer<Route> {
    let route = known_route(tx, tenant)?;
    if let Some((migration, _)) = route.migration {
        let change = Change { tenant, migration, rev: Some(rev), fact, actor };
        return Ok(record(tx, &change, at)?.route);
    }
    if route.rev != rev {
        return Err(ControlError::Stale(Box::new(route)).into());
    }
    let Fact::Recovered { store, n, base } = fact else { return Ok(route) };
    let mut route = migration::recovered(route, &store, n, base);
    route.rev += 1;
    tables::put_route(tx, &route)?;
    Ok(route)
}

/// Takes or renews a lease that is free or the holder's.
fn lease(
    tx: &Transaction<'_>,
    request: &LeaseRequest,
    watch: &LeaseWatch,
    now: Timestamp,
) -> Answer<Lease> {
    known_migration(tx, request.migration)?;
    let last = tables::lease(tx, request.migration)?;
    let taken_over = last.as_ref().is_some_and(|last| last.holder != request.holder);
    let other = last.filter(|_| taken_over);
    if let Some(other) = watch.active(request.migration, other, now) {
        return Ok(Lease::HeldBy(other));
    }
    let ttl_us = i64::try_from(request.ttl_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    let expires_at = Timestamp::from_micros(now.micros().saturating_add(ttl_us));
    let (holder, length_ms) = (request.holder.clone(), Some(request.ttl_ms));
    let lease = LeaseRow { holder, expires_at, length_ms };
    tables::put_lease(tx, request.migration, &lease)?;
    Ok(Lease::Held { taken_over })
}

/// The mark that is further: of the later epoch, and within one epoch of the later position.
fn further(old: Option<ReadBackMark>, new: Option<ReadBackMark>) -> Option<ReadBackMark> {
    [old, new].into_iter().flatten().max_by_key(|mark| (mark.m, mark.head.seq))
}

#[async_trait]
impl ControlPlane for SqliteControlPlane {
    fn deployment(&self) -> &str {
        &self.file.meta().deployment
    }

    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError> {
        self.read(move |tx| Ok(tables::route(tx, tenant)?)).await
    }

    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError> {
        self.read(move |tx| Ok(tables::routes(tx, after, limit)?)).await
    }

    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError> {
        let new = Route::create(tenant, store.clone());
        self.write(move |tx| {
            let known = tables::route(tx, tenant)?;
            let new = match known.as_ref().map(|known| removal::reborn(known, &new.store)) {
                None => new,
                Some(Some(reborn)) => reborn,
                Some(None) => return Ok(known.unwrap_or(new)),
            };
            if let Some(cordon) = fleet::cordon(tx, &new.store)? {
                let (store, why) = (new.store, cordon.why);
                return Err(ControlError::Cordoned { store, why }.into());
            }
            tables::put_route(tx, &new)?;
            Ok(new)
        })
        .await
    }

    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError> {
        self.write(move |tx| {
            let mut route = known_route(tx, tenant)?;
            if !route.created && route.epoch == epoch {
                route.created = true;
                tables::put_route(tx, &route)?;
            }
            Ok(route)
        })
        .await
    }

    async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        let clock = Arc::clone(&self.clock);
        self.write(move |tx| record(tx, &change, clock.now())).await
    }

    async fn remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Result<Route, ControlError> {
        self.write(move |tx| {
            let route = known_route(tx, tenant)?;
            if route.rev != rev {
                return Err(ControlError::Stale(Box::new(route)).into());
            }
            let after = removal::apply(&route, turn).map_err(ControlError::from)?;
            if after.is_removed() {
                tables::remove_checkpoints(tx, tenant)?;
            }
            tables::put_route(tx, &after)?;
            Ok(after)
        })
        .await
    }

    async fn recover(
        &self,
        tenant: TenantId,
        rev: u64,
        store: &StoreId,
        n: Epoch,
        base: u64,
        actor: &str,
    ) -> Result<Route, ControlError> {
        let fact = Fact::Recovered { store: store.clone(), n, base };
        let (actor, clock) = (actor.to_owned(), Arc::clone(&self.clock));
        self.write(move |tx| recover(tx, (tenant, rev), fact, actor, clock.now())).await
    }

    async fn now(&self) -> Result<Timestamp, ControlError> {
        Ok(self.clock.now())
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, ControlError> {
        self.read(move |tx| known_migration(tx, id)).await
    }

    async fn migrations(&self, which: Migrations) -> Result<Vec<Migration>, ControlError> {
        self.read(move |tx| Ok(tables::migrations(tx, which)?)).await
    }

    async fn log(
        &self,
        id: MigrationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ControlError> {
        self.read(move |tx| {
            known_migration(tx, id)?;
            Ok(log::read(tx, id, after, limit)?)
        })
        .await
    }

    async fn log_anchors(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, ControlError> {
        self.read(move |tx| Ok(tables::log_anchors(tx, after, limit)?)).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, ControlError> {
        let (request, clock) = (request.clone(), Arc::clone(&self.clock));
        let watch = Arc::clone(&self.leases);
        self.write(move |tx| lease(tx, &request, &watch, clock.now())).await
    }

    async fn lease_all(
        &self,
        requests: &[LeaseRequest],
    ) -> Result<Vec<Option<Lease>>, ControlError> {
        let (requests, clock) = (requests.to_vec(), Arc::clone(&self.clock));
        let watch = Arc::clone(&self.leases);
        self.write(move |tx| {
            let mut found = Vec::with_capacity(requests.len());
            for request in &requests {
                found.push(match lease(tx, request, &watch, clock.now()) {
                    Ok(lease) => Some(lease),
                    Err(Failure::Rule(_)) => None,
                    Err(failure) => return Err(failure),
                });
            }
            Ok(found)
        })
        .await
    }

    async fn lease_holder(&self, id: MigrationId) -> Result<Option<ActiveLease>, ControlError> {
        let (clock, watch) = (Arc::clone(&self.clock), Arc::clone(&self.leases));
        self.read(move |tx| {
            known_migration(tx, id)?;
            Ok(watch.active(id, tables::lease(tx, id)?, clock.now()))
        })
        .await
    }

    async fn leases(&self) -> Result<BTreeMap<MigrationId, ActiveLease>, ControlError> {
        let (clock, watch) = (Arc::clone(&self.clock), Arc::clone(&self.leases));
        self.read(move |tx| {
            let now = clock.now();
            let rows = tables::leases(tx, now)?.into_iter();
            let active = rows.filter_map(|(id, row)| Some((id, watch.active(id, Some(row), now)?)));
            Ok(active.collect())
        })
        .await
    }

    async fn release(&self, id: MigrationId, holder: &str) -> Result<(), ControlError> {
        let holder = holder.to_owned();
        self.write(move |tx| {
            known_migration(tx, id)?;
            Ok(tables::remove_lease(tx, id, &holder)?)
        })
        .await
    }

    async fn marks(&self, id: MigrationId) -> Result<Marks, ControlError> {
        self.read(move |tx| {
            known_migration(tx, id)?;
            Ok(tables::marks(tx, id)?.unwrap_or_default())
        })
        .await
    }

    async fn set_marks(&self, id: MigrationId, marks: &Marks) -> Result<(), ControlError> {
        let marks = *marks;
        self.write(move |tx| {
            known_migration(tx, id)?;
            let held = tables::marks(tx, id)?.unwrap_or_default();
            let read_back = further(held.read_back, marks.read_back);
            Ok(tables::put_marks(tx, id, &Marks { read_back, ..marks })?)
        })
        .await
    }

    async fn memo(&self, id: MigrationId, name: &str) -> Result<Option<Memo>, ControlError> {
        let name = name.to_owned();
        self.read(move |tx| {
            known_migration(tx, id)?;
            Ok(tables::memo(tx, id, &name)?)
        })
        .await
    }

    async fn set_memo(&self, id: MigrationId, name: &str, memo: &Memo) -> Result<(), ControlError> {
        let (name, memo) = (name.to_owned(), memo.clone());
        self.write(move |tx| {
            known_migration(tx, id)?;
            Ok(tables::put_memo(tx, id, &name, &memo)?)
        })
        .await
    }

    async fn beside(
        &self,
        migrations: &[Migration],
        memo: &str,
    ) -> Result<Vec<Beside>, ControlError> {
        let (migrations, name) = (migrations.to_vec(), memo.to_owned());
        let (clock, watch) = (Arc::clone(&self.clock), Arc::clone(&self.leases));
        self.read(move |tx| {
            let mut found = Vec::with_capacity(migrations.len());
            for Migration { id, tenant, .. } in migrations {
                let last = tables::route(tx, tenant)?.and_then(|route| route.migration);
                found.push(Beside {
                    marks: tables::marks(tx, id)?.unwrap_or_default(),
                    lease: watch.active(id, tables::lease(tx, id)?, clock.now()),
                    memo: tables::memo(tx, id, &name)?,
                    is_last: last.is_some_and(|(last, _)| last == id),
                });
            }
            Ok(found)
        })
        .await
    }

    async fn checkpoint(&self, tenant: TenantId, name: &str) -> Result<u64, ControlError> {
        let name = name.to_owned();
        self.read(move |tx| Ok(tables::checkpoint(tx, tenant, &name)?)).await
    }

    async fn checkpoints(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        self.read(move |tx| Ok(tables::checkpoints(tx, tenant, limit)?)).await
    }

    async fn furthest_checkpoints(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        self.read(move |tx| Ok(tables::furthest_checkpoints(tx, after, limit)?)).await
    }

    async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ControlError> {
        let name = name.to_owned();
        self.write(move |tx| Ok(tables::put_checkpoint(tx, tenant, &name, seq)?)).await
    }
}
