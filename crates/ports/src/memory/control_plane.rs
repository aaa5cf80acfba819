//! A control plane in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::{self, Fact, Migration};
use rehome_domain::removal::{self, Turn};
use rehome_domain::route::Route;

use super::lock;
use crate::clock::Clock;
use crate::log_chain::{Followed, LogAnchor};
use crate::record::{log_hash, write_fact};
use crate::{
    ActiveLease, Change, Checkpoint, ControlError, ControlPlane, Lease, LeaseRequest, LeaseRow,
    LeaseWatch, LogEntry, Marks, Memo, Migrations, Recorded, RouteListener, RouteNews, RouteTeller,
};

/// A [`ControlPlane`] whose rows are in memory.
pub struct MemoryControlPlane {
    deployment: String,
    pub(super) clock: Arc<dyn Clock>,
    rows: Mutex<Snapshot>,
    pub(super) access: Mutex<super::access::Rows>,
    pub(super) fleet: Mutex<super::fleet::Rows>,
    leases: LeaseWatch,
    news: RouteTeller,
}

/// All that a control plane held at one moment; see [`MemoryControlPlane::restore`].
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    routes: BTreeMap<TenantId, Route>,
    /// How far the log of each tenant's last migration was written.
    anchors: BTreeMap<TenantId, LogAnchor>,
    migrations: HashMap<MigrationId, MigrationRows>,
    /// Oldest first.
    order: Vec<MigrationId>,
    checkpoints: BTreeMap<(TenantId, String), u64>,
}

#[derive(Clone, Debug)]
struct MigrationRows {
    migration: Migration,
    log: Vec<LogEntry>,
    lease: Option<LeaseRow>,
    marks: Marks,
    memos: HashMap<String, Memo>,
}

impl MemoryControlPlane {
    /// An empty control plane. `clock` dates the log and measures the leases.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            deployment: "memory".to_owned(),
            clock,
            rows: Mutex::default(),
            access: Mutex::default(),
            fleet: Mutex::default(),
            leases: LeaseWatch::default(),
            news: RouteTeller::new(true),
        }
    }

    /// The sender of route notifications, for tests that suppress or forge them.
    pub fn news(&self) -> &RouteTeller {
        &self.news
    }

    fn tell(&self, route: &Route) {
        self.news.tell(RouteNews::Changed { tenant: route.tenant, rev: route.rev });
    }

    /// All that it holds now.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.rows).clone()
    }

    /// Puts back what it held: a control plane that loses time, as one restored from a backup.
    pub fn restore(&self, snapshot: Snapshot) {
        *lock(&self.rows) = snapshot;
        self.news.tell(RouteNews::Listening);
    }

    /// Changes one route without any rule, for tests that plant what must never be.
    pub fn tamper(&self, tenant: TenantId, change: impl FnOnce(&mut Route)) {
        if let Some(route) = lock(&self.rows).routes.get_mut(&tenant) {
            change(route);
        }
    }
}

impl Snapshot {
    fn route(&self, tenant: TenantId) -> Result<&Route, ControlError> {
        self.routes.get(&tenant).ok_or(ControlError::UnknownTenant(tenant))
    }

    /// The tenant's last migration.
    fn last(&self, tenant: TenantId) -> Option<&Migration> {
        let (id, _) = self.routes.get(&tenant)?.migration?;
        self.migrations.get(&id).map(|rows| &rows.migration)
    }

    fn rows(&self, id: MigrationId) -> Result<&MigrationRows, ControlError> {
        self.migrations.get(&id).ok_or(ControlError::UnknownMigration(id))
    }

    fn rows_mut(&mut self, id: MigrationId) -> Result<&mut MigrationRows, ControlError> {
        self.migrations.get_mut(&id).ok_or(ControlError::UnknownMigration(id))
    }

    /// The migration that `change` is about, `None` if it is to be its beginning.
    fn subject(&self, change: &Change) -> Result<Option<&Migration>, ControlError> {
        match self.migrations.get(&change.migration) {
            Some(rows) if rows.migration.tenant == change.tenant => Ok(Some(&rows.migration)),
            None if matches!(change.fact, Fact::Started { .. }) => Ok(None),
            _ => Err(ControlError::UnknownMigration(change.migration)),
        }
    }

    fn record(&mut self, change: Change, at: Timestamp) -> Result<Recorded, ControlError> {
        let route = self.route(change.tenant)?;
        let subject = self.subject(&change)?;
        if change.fact.routes() && change.rev != Some(route.rev) {
            return Err(ControlError::Stale(Box::new(route.clone())));
        }
        let (route, migration) = migration::apply(route, subject, &change.fact, at)?;
        self.routes.insert(route.tenant, route.clone());
        if subject_is_new(&change.fact) {
            self.order.push(migration.id);
        }
        let rows = self.migrations.entry(migration.id).or_insert_with(|| MigrationRows {
            migration: migration.clone(),
            log: Vec::new(),
            lease: None,
            marks: Marks::default(),
            memos: HashMap::new(),
        });
        rows.migration = migration.clone();
        let seen = rows.log(at, change.actor, change.fact);
        if route.migration.is_some_and(|(last, _)| last == migration.id) {
            let anchor = LogAnchor { tenant: route.tenant, migration: migration.id, seen };
            self.anchors.insert(route.tenant, anchor);
        }
        Ok(Recorded { route, migration })
    }
}

fn subject_is_new(fact: &Fact) -> bool {
    matches!(fact, Fact::Started { .. })
}

impl MigrationRows {
    fn log(&mut self, at: Timestamp, actor: String, fact: Fact) -> Followed {
        let (index, previous) =
            self.log.last().map_or((1, Digest::EMPTY), |last| (last.index + 1, last.hash));
        let text = write_fact(&fact);
        let hash = log_hash(&previous, index, at, &actor, &text);
        self.log.push(LogEntry { index, at, actor, fact, text, hash });
        Followed { index, hash }
    }
}

#[async_trait]
impl ControlPlane for MemoryControlPlane {
    fn deployment(&self) -> &str {
        &self.deployment
    }

    fn listen(&self) -> Option<RouteListener> {
        Some(self.news.listen())
    }

    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError> {
        Ok(lock(&self.rows).routes.get(&tenant).cloned())
    }

    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = lock(&self.rows);
        Ok(rows
            .routes
            .range((start, Bound::Unbounded))
            .take(limit)
            .map(|(_, r)| r.clone())
            .collect())
    }

    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError> {
        let cordon = lock(&self.fleet).cordons.get(store).cloned();
        let mut rows = lock(&self.rows);
        let known = rows.routes.get(&tenant);
        if let Some(known) = known.filter(|known| !known.is_removed()) {
            return Ok(known.clone());
        }
        if let Some(cordon) = cordon {
            return Err(ControlError::Cordoned { store: store.clone(), why: cordon.why });
        }
        let reborn = known.and_then(|known| removal::reborn(known, store));
        if let Some(reborn) = &reborn {
            self.tell(reborn);
        }
        let new = reborn.unwrap_or_else(|| Route::create(tenant, store.clone()));
        rows.routes.insert(tenant, new.clone());
        Ok(new)
    }

    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError> {
        let mut rows = lock(&self.rows);
        let route = rows.routes.get_mut(&tenant).ok_or(ControlError::UnknownTenant(tenant))?;
        route.created |= route.epoch == epoch;
        Ok(route.clone())
    }

    async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        let routes = change.fact.routes();
        // Held until the start is recorded.
        let fleet = lock(&self.fleet);
        let mut rows = lock(&self.rows);
        if let Fact::Started { target, .. } = &change.fact
            && let Some(cordon) = fleet.cordons.get(target)
            && !rows.migrations.contains_key(&change.migration)
            && migration::arrives(target, rows.last(change.tenant))
        {
            let (store, why) = (target.clone(), cordon.why.clone());
            return Err(ControlError::Cordoned { store, why });
        }
        let recorded = rows.record(change, self.clock.now())?;
        drop((rows, fleet));
        if routes {
            self.tell(&recorded.route);
        }
        Ok(recorded)
    }

    async fn remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Result<Route, ControlError> {
        let mut rows = lock(&self.rows);
        let route = rows.route(tenant)?;
        if route.rev != rev {
            return Err(ControlError::Stale(Box::new(route.clone())));
        }
        let after = removal::apply(route, turn)?;
        if after.is_removed() {
            rows.anchors.remove(&tenant);
            rows.checkpoints.retain(|(of, _), _| *of != tenant);
        }
        rows.routes.insert(tenant, after.clone());
        drop(rows);
        self.tell(&after);
        Ok(after)
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
        let mut rows = lock(&self.rows);
        let route = rows.route(tenant)?.clone();
        if let Some((migration, _)) = route.migration {
            let fact = Fact::Recovered { store: store.clone(), n, base };
            let actor = actor.to_owned();
            let change = Change { tenant, migration, rev: Some(rev), fact, actor };
            let route = rows.record(change, self.clock.now())?.route;
            self.tell(&route);
            return Ok(route);
        }
        if route.rev != rev {
            return Err(ControlError::Stale(Box::new(route)));
        }
        let mut route = migration::recovered(route, store, n, base);
        route.rev += 1;
        rows.routes.insert(tenant, route.clone());
        self.tell(&route);
        Ok(route)
    }

    async fn now(&self) -> Result<Timestamp, ControlError> {
        Ok(self.clock.now())
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, ControlError> {
        Ok(lock(&self.rows).rows(id)?.migration.clone())
    }

    async fn migrations(&self, which: Migrations) -> Result<Vec<Migration>, ControlError> {
        let rows = lock(&self.rows);
        let end = match which.before {
            None => rows.order.len(),
            Some(id) => rows.order.iter().position(|other| *other == id).unwrap_or(0),
        };
        let wanted = |migration: &&Migration| {
            which.tenant.is_none_or(|tenant| tenant == migration.tenant)
                && which.phase.is_none_or(|phase| phase == migration.state.phase())
        };
        let newest_first = rows.order[..end].iter().rev();
        let all = newest_first.filter_map(|id| rows.migrations.get(id)).map(|rows| &rows.migration);
        Ok(all.filter(wanted).take(which.limit).cloned().collect())
    }

    async fn log(
        &self,
        id: MigrationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ControlError> {
        let rows = lock(&self.rows);
        let entries = rows.rows(id)?.log.iter();
        Ok(entries.filter(|entry| entry.index > after).take(limit).cloned().collect())
    }

    async fn log_anchors(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, ControlError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = lock(&self.rows);
        Ok(rows.anchors.range((start, Bound::Unbounded)).take(limit).map(|(_, a)| *a).collect())
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, ControlError> {
        let now = self.clock.now();
        let mut rows = lock(&self.rows);
        let lease = &mut rows.rows_mut(request.migration)?.lease;
        let taken_over = lease.as_ref().is_some_and(|last| last.holder != request.holder);
        let other = lease.clone().filter(|_| taken_over);
        if let Some(other) = self.leases.active(request.migration, other, now) {
            return Ok(Lease::HeldBy(other));
        }
        let ttl_us = i64::try_from(request.ttl_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        let expires_at = Timestamp::from_micros(now.micros().saturating_add(ttl_us));
        let (holder, length_ms) = (request.holder.clone(), Some(request.ttl_ms));
        *lease = Some(LeaseRow { holder, expires_at, length_ms });
        Ok(Lease::Held { taken_over })
    }

    async fn lease_holder(&self, id: MigrationId) -> Result<Option<ActiveLease>, ControlError> {
        let now = self.clock.now();
        let lease = lock(&self.rows).rows(id)?.lease.clone();
        Ok(self.leases.active(id, lease, now))
    }

    async fn leases(&self) -> Result<BTreeMap<MigrationId, ActiveLease>, ControlError> {
        let now = self.clock.now();
        let rows = lock(&self.rows);
        let held = rows.migrations.iter().filter_map(|(id, rows)| {
            Some((*id, self.leases.active(*id, rows.lease.clone(), now)?))
        });
        Ok(held.collect())
    }

    async fn release(&self, id: MigrationId, holder: &str) -> Result<(), ControlError> {
        let mut rows = lock(&self.rows);
        rows.rows_mut(id)?.lease.take_if(|lease| lease.holder == holder);
        Ok(())
    }

    async fn marks(&self, id: MigrationId) -> Result<Marks, ControlError> {
        Ok(lock(&self.rows).rows(id)?.marks)
    }

    async fn set_marks(&self, id: MigrationId, marks: &Marks) -> Result<(), ControlError> {
        let mut rows = lock(&self.rows);
        let held = &mut rows.rows_mut(id)?.marks;
        *held = held.moved_to(marks);
        Ok(())
    }

    async fn memo(&self, id: MigrationId, name: &str) -> Result<Option<Memo>, ControlError> {
        Ok(lock(&self.rows).rows(id)?.memos.get(name).cloned())
    }

    async fn set_memo(&self, id: MigrationId, name: &str, memo: &Memo) -> Result<(), ControlError> {
        lock(&self.rows).rows_mut(id)?.memos.insert(name.to_owned(), memo.clone());
        Ok(())
    }

    async fn checkpoint(&self, tenant: TenantId, name: &str) -> Result<u64, ControlError> {
        let key = (tenant, name.to_owned());
        Ok(lock(&self.rows).checkpoints.get(&key).copied().unwrap_or(0))
    }

    async fn checkpoints(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        let rows = lock(&self.rows);
        let of = rows.checkpoints.range((tenant, String::new())..).take(limit);
        let of = of.take_while(|((of, _), _)| *of == tenant);
        Ok(of
            .map(|((_, name), seq)| Checkpoint { tenant, name: name.clone(), seq: *seq })
            .collect())
    }

    async fn furthest_checkpoints(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        let rows = lock(&self.rows);
        let mut found: Vec<Checkpoint> = Vec::new();
        for ((tenant, name), seq) in &rows.checkpoints {
            let new = Checkpoint { tenant: *tenant, name: name.clone(), seq: *seq };
            let of_last = found.last().is_some_and(|last| last.tenant == *tenant);
            if after.is_some_and(|after| *tenant <= after) {
                continue;
            }
            if of_last {
                if let Some(last) = found.last_mut().filter(|last| last.seq < *seq) {
                    *last = new;
                }
            } else if found.len() == limit {
                break;
            } else {
                found.push(new);
            }
        }
        Ok(found)
    }

    async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ControlError> {
        lock(&self.rows).checkpoints.insert((tenant, name.to_owned()), seq);
        Ok(())
    }
}
