//! Drains, cordons and pins.

mod drains;
mod lists;
mod notices;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::drain::{Drain, Notice, Tenant};
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::route::Route;
use rehome_ports::{
    AttendRequest, Attendance, ControlError, DrainChange, DrainEntry, DrainTenants, Drains, Fleet,
    MigrationFilter, NewDrain, RouteFilter,
};
use rusqlite::Transaction;

use super::{Answer, SqliteControlPlane};
pub(super) use notices::cordon;

fn known(tx: &Transaction<'_>, id: DrainId) -> Answer<Drain> {
    let found = drains::drain(tx, id)?;
    Ok(found.map(|(drain, _)| drain).ok_or(ControlError::UnknownDrain(id))?)
}

#[async_trait]
impl Fleet for SqliteControlPlane {
    async fn start_drain(&self, new: &NewDrain) -> Result<Drain, ControlError> {
        let (new, clock) = (new.clone(), Arc::clone(&self.clock));
        self.write(move |tx| {
            if let Some((known, _)) = drains::drain(tx, new.id)? {
                return Ok(known);
            }
            Ok(drains::start(tx, &new, clock.now())?)
        })
        .await
    }

    async fn drain(&self, id: DrainId) -> Result<Drain, ControlError> {
        self.read(move |tx| known(tx, id)).await
    }

    async fn drains(&self, which: Drains) -> Result<Vec<Drain>, ControlError> {
        self.read(move |tx| Ok(drains::list(tx, which)?)).await
    }

    async fn record_drain(&self, change: &DrainChange) -> Result<Drain, ControlError> {
        let (change, clock) = (change.clone(), Arc::clone(&self.clock));
        self.write(move |tx| drains::record(tx, &change, clock.now())).await
    }

    async fn drain_log(
        &self,
        id: DrainId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DrainEntry>, ControlError> {
        self.read(move |tx| {
            known(tx, id)?;
            Ok(drains::log(tx, id, after, limit)?)
        })
        .await
    }

    async fn drain_tenants(&self, which: DrainTenants) -> Result<Vec<Tenant>, ControlError> {
        self.read(move |tx| {
            known(tx, which.drain)?;
            Ok(drains::tenants(tx, which)?)
        })
        .await
    }

    async fn drain_tenant(
        &self,
        id: DrainId,
        tenant: TenantId,
    ) -> Result<Option<Tenant>, ControlError> {
        self.read(move |tx| {
            known(tx, id)?;
            Ok(drains::tenant(tx, id, tenant)?)
        })
        .await
    }

    async fn attend(&self, request: &AttendRequest) -> Result<Attendance, ControlError> {
        let (request, clock) = (request.clone(), Arc::clone(&self.clock));
        let watch = Arc::clone(&self.workers);
        self.write(move |tx| {
            known(tx, request.drain)?;
            let now = clock.now();
            drains::attend(tx, &request, now)?;
            Ok(drains::attending(tx, request.drain, &watch, now)?)
        })
        .await
    }

    async fn attending(&self, id: DrainId) -> Result<Attendance, ControlError> {
        let (clock, watch) = (Arc::clone(&self.clock), Arc::clone(&self.workers));
        self.read(move |tx| {
            known(tx, id)?;
            Ok(drains::attending(tx, id, &watch, clock.now())?)
        })
        .await
    }

    async fn leave(&self, id: DrainId, holder: &str) -> Result<(), ControlError> {
        let holder = holder.to_owned();
        self.write(move |tx| {
            known(tx, id)?;
            Ok(drains::leave(tx, id, &holder)?)
        })
        .await
    }

    async fn set_cordon(
        &self,
        store: &StoreId,
        cordon: Option<&Notice>,
    ) -> Result<(), ControlError> {
        let (store, cordon) = (store.clone(), cordon.cloned());
        self.write(move |tx| Ok(notices::set_cordon(tx, &store, cordon.as_ref())?)).await
    }

    async fn cordons(&self) -> Result<BTreeMap<StoreId, Notice>, ControlError> {
        self.read(|tx| Ok(notices::cordons(tx)?)).await
    }

    async fn set_pin(&self, tenant: TenantId, pin: Option<&Notice>) -> Result<(), ControlError> {
        let pin = pin.cloned();
        self.write(move |tx| Ok(notices::set_pin(tx, tenant, pin.as_ref())?)).await
    }

    async fn pins_of(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, Notice>, ControlError> {
        let tenants = tenants.to_vec();
        self.read(move |tx| Ok(notices::pins_of(tx, tenants)?)).await
    }

    async fn find_routes(&self, which: &RouteFilter) -> Result<Vec<Route>, ControlError> {
        let which = which.clone();
        self.read(move |tx| Ok(lists::routes(tx, &which)?)).await
    }

    async fn find_migrations(
        &self,
        which: &MigrationFilter,
    ) -> Result<Vec<Migration>, ControlError> {
        let which = which.clone();
        self.read(move |tx| Ok(lists::migrations(tx, &which)?)).await
    }

    async fn pins(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, Notice)>, ControlError> {
        self.read(move |tx| Ok(notices::pins(tx, after, limit)?)).await
    }
}
