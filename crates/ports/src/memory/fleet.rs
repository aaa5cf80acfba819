//! Drains, cordons and pins of a control plane in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use rehome_domain::digest::Digest;
use rehome_domain::drain::{Drain, Fact, Notice, Tenant};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::route::Route;

use super::control_plane::MemoryControlPlane;
use super::lock;
use crate::fleet_record::write_drain_fact;
use crate::record::log_hash;
use crate::{
    AttendRequest, Attendance, ControlError, ControlPlane as _, DrainChange, DrainEntry,
    DrainTenants, Drains, Fleet, Follow, LeaseRow, LeaseWatch, MigrationFilter, Migrations,
    NewDrain, RouteFilter,
};

/// The stored data.
#[derive(Debug, Default)]
pub(super) struct Rows {
    drains: BTreeMap<DrainId, DrainRows>,
    /// Oldest first.
    order: Vec<DrainId>,
    pub(super) cordons: BTreeMap<StoreId, Notice>,
    pins: BTreeMap<TenantId, Notice>,
    watch: LeaseWatch<(DrainId, String)>,
}

#[derive(Debug)]
struct DrainRows {
    drain: Drain,
    tenants: BTreeMap<TenantId, Tenant>,
    log: Vec<DrainEntry>,
    workers: BTreeMap<String, LeaseRow>,
}

impl DrainRows {
    fn log(&mut self, at: Timestamp, actor: &str, fact: &Fact) {
        let (index, previous) =
            self.log.last().map_or((1, Digest::EMPTY), |last| (last.index + 1, last.hash));
        let text = write_drain_fact(fact);
        let hash = log_hash(&previous, index, at, actor, &text);
        let (actor, fact) = (actor.to_owned(), fact.clone());
        self.log.push(DrainEntry { index, at, actor, fact, text, hash });
    }
}

impl Rows {
    fn of(&self, id: DrainId) -> Result<&DrainRows, ControlError> {
        self.drains.get(&id).ok_or(ControlError::UnknownDrain(id))
    }

    fn attending(&self, id: DrainId, now: Timestamp) -> Result<Attendance, ControlError> {
        let live = self.of(id)?.workers.iter().filter(|(holder, row)| {
            let key = (id, (*holder).clone());
            self.watch.active(key, Some((*row).clone()), now).is_some()
        });
        Ok(live.map(|(holder, _)| holder.clone()).collect())
    }
}

#[async_trait]
impl Fleet for MemoryControlPlane {
    async fn start_drain(&self, new: &NewDrain) -> Result<Drain, ControlError> {
        let mut rows = lock(&self.fleet);
        if let Some(known) = rows.drains.get(&new.id) {
            return Ok(known.drain.clone());
        }
        let at = self.clock.now();
        let (drain, fact) = new.begin(at);
        let tenants = new.tenants.iter().map(|row| (row.tenant, row.clone())).collect();
        let mut kept =
            DrainRows { drain: drain.clone(), tenants, log: Vec::new(), workers: BTreeMap::new() };
        kept.log(at, &new.actor, &fact);
        rows.order.push(new.id);
        rows.drains.insert(new.id, kept);
        Ok(drain)
    }

    async fn drain(&self, id: DrainId) -> Result<Drain, ControlError> {
        Ok(lock(&self.fleet).of(id)?.drain.clone())
    }

    async fn drains(&self, which: Drains) -> Result<Vec<Drain>, ControlError> {
        let rows = lock(&self.fleet);
        let end = match which.before {
            None => rows.order.len(),
            Some(id) => rows.order.iter().position(|other| *other == id).unwrap_or(0),
        };
        let all = rows.order[..end].iter().rev().filter_map(|id| rows.drains.get(id));
        let wanted = all.filter(|rows| !(which.open && rows.drain.state.is_over()));
        Ok(wanted.take(which.limit).map(|rows| rows.drain.clone()).collect())
    }

    async fn record_drain(&self, change: &DrainChange) -> Result<Drain, ControlError> {
        let at = self.clock.now();
        let mut guard = lock(&self.fleet);
        let rows = &mut *guard;
        let unknown = || ControlError::UnknownDrain(change.drain);
        let kept = rows.drains.get_mut(&change.drain).ok_or_else(unknown)?;
        let about = change.facts.iter().filter_map(Fact::tenant);
        let about = about.filter_map(|id| Some((id, kept.tenants.get(&id)?.clone()))).collect();
        let pinned = |tenant| rows.pins.contains_key(&tenant);
        let followed = Follow::apply(&kept.drain, about, pinned, &change.facts, at)?;
        kept.drain = followed.drain.clone();
        kept.tenants.extend(followed.rows);
        for fact in &change.facts {
            kept.log(at, &change.actor, fact);
        }
        Ok(followed.drain)
    }

    async fn drain_log(
        &self,
        id: DrainId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DrainEntry>, ControlError> {
        let rows = lock(&self.fleet);
        let entries = rows.of(id)?.log.iter().filter(|entry| entry.index > after);
        Ok(entries.take(limit).cloned().collect())
    }

    async fn drain_tenants(&self, which: DrainTenants) -> Result<Vec<Tenant>, ControlError> {
        let rows = lock(&self.fleet);
        let all = rows.of(which.drain)?.tenants.values();
        let wanted = all.filter(|row| {
            row.place > which.after && which.state.is_none_or(|state| state == row.state.as_str())
        });
        let mut found: Vec<_> = wanted.cloned().collect();
        found.sort_by_key(|row| row.place);
        found.truncate(which.limit);
        Ok(found)
    }

    async fn drain_tenant(
        &self,
        id: DrainId,
        tenant: TenantId,
    ) -> Result<Option<Tenant>, ControlError> {
        Ok(lock(&self.fleet).of(id)?.tenants.get(&tenant).cloned())
    }

    async fn attend(&self, request: &AttendRequest) -> Result<Attendance, ControlError> {
        let now = self.clock.now();
        let mut rows = lock(&self.fleet);
        let unknown = ControlError::UnknownDrain(request.drain);
        let kept = rows.drains.get_mut(&request.drain).ok_or(unknown)?;
        let ttl_us = i64::try_from(request.ttl_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        let expires_at = Timestamp::from_micros(now.micros().saturating_add(ttl_us));
        let (holder, length_ms) = (request.holder.clone(), Some(request.ttl_ms));
        let row = LeaseRow { holder: holder.clone(), expires_at, length_ms };
        kept.workers.insert(holder, row);
        rows.attending(request.drain, now)
    }

    async fn attending(&self, id: DrainId) -> Result<Attendance, ControlError> {
        lock(&self.fleet).attending(id, self.clock.now())
    }

    async fn leave(&self, id: DrainId, holder: &str) -> Result<(), ControlError> {
        let mut rows = lock(&self.fleet);
        let kept = rows.drains.get_mut(&id).ok_or(ControlError::UnknownDrain(id))?;
        kept.workers.remove(holder);
        Ok(())
    }

    async fn set_cordon(
        &self,
        store: &StoreId,
        cordon: Option<&Notice>,
    ) -> Result<(), ControlError> {
        let mut rows = lock(&self.fleet);
        match cordon {
            Some(cordon) => rows.cordons.insert(store.clone(), cordon.clone()),
            None => rows.cordons.remove(store),
        };
        Ok(())
    }

    async fn cordons(&self) -> Result<BTreeMap<StoreId, Notice>, ControlError> {
        Ok(lock(&self.fleet).cordons.clone())
    }

    async fn set_pin(&self, tenant: TenantId, pin: Option<&Notice>) -> Result<(), ControlError> {
        let mut rows = lock(&self.fleet);
        match pin {
            Some(pin) => rows.pins.insert(tenant, pin.clone()),
            None => rows.pins.remove(&tenant),
        };
        Ok(())
    }

    async fn pins_of(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, Notice>, ControlError> {
        let rows = lock(&self.fleet);
        Ok(tenants.iter().filter_map(|id| Some((*id, rows.pins.get(id)?.clone()))).collect())
    }

    async fn find_routes(&self, which: &RouteFilter) -> Result<Vec<Route>, ControlError> {
        let pinned = |tenant| !which.pinned || lock(&self.fleet).pins.contains_key(&tenant);
        let all = self.routes(None, usize::MAX).await?.into_iter();
        Ok(all.filter(|r| which.takes(r) && pinned(r.tenant)).take(which.limit).collect())
    }

    async fn find_migrations(
        &self,
        which: &MigrationFilter,
    ) -> Result<Vec<Migration>, ControlError> {
        let (before, limit) = (which.before, usize::MAX);
        let all = self.migrations(Migrations { before, limit, ..Migrations::default() }).await?;
        let wanted = all.into_iter().filter(|migration| which.takes(migration));
        Ok(wanted.take(which.limit).collect())
    }

    async fn pins(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, Notice)>, ControlError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = lock(&self.fleet);
        let found = rows.pins.range((start, Bound::Unbounded)).take(limit);
        Ok(found.map(|(id, pin)| (*id, pin.clone())).collect())
    }
}
