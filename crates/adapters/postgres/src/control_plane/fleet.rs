//! Drains, cordons and pins. A change of a drain is read, decided, and written in one statement if nothing
//! was changed in between; no lock is held from one round trip to the next.

mod drains;
mod lists;
mod notices;
mod record;
mod rows;

use std::collections::BTreeMap;

use async_trait::async_trait;
use rehome_domain::drain::{Drain, Notice, Tenant};
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::route::Route;
use rehome_ports::{
    AttendRequest, Attendance, ControlError, DrainChange, DrainEntry, DrainTenants, Drains, Fleet,
    MigrationFilter, NewDrain, RouteFilter,
};

use super::PgControlPlane;

/// Lends a connection to one operation, and answers as the port does.
macro_rules! ask {
    ($plane:ident, $room:ident::$operation:ident($($argument:expr),*)) => {{
        let answer = match $plane.client().await {
            Ok(mut client) => $room::$operation(&mut client, $($argument),*).await,
            Err(failure) => Err(failure),
        };
        $plane.answer(answer)
    }};
}

#[async_trait]
impl Fleet for PgControlPlane {
    async fn start_drain(&self, new: &NewDrain) -> Result<Drain, ControlError> {
        ask!(self, record::start(new, self.told()))
    }

    async fn drain(&self, id: DrainId) -> Result<Drain, ControlError> {
        ask!(self, drains::known(id))
    }

    async fn drains(&self, which: Drains) -> Result<Vec<Drain>, ControlError> {
        ask!(self, drains::list(which))
    }

    async fn record_drain(&self, change: &DrainChange) -> Result<Drain, ControlError> {
        ask!(self, record::record(change, self.told()))
    }

    async fn drain_log(
        &self,
        id: DrainId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DrainEntry>, ControlError> {
        ask!(self, drains::log(id, after, limit))
    }

    async fn drain_tenants(&self, which: DrainTenants) -> Result<Vec<Tenant>, ControlError> {
        ask!(self, drains::tenants(which))
    }

    async fn drain_tenant(
        &self,
        id: DrainId,
        tenant: TenantId,
    ) -> Result<Option<Tenant>, ControlError> {
        ask!(self, drains::tenant(id, tenant))
    }

    async fn attend(&self, request: &AttendRequest) -> Result<Attendance, ControlError> {
        ask!(self, drains::attend(request, &self.workers, self.told()))
    }

    async fn attending(&self, id: DrainId) -> Result<Attendance, ControlError> {
        ask!(self, drains::attending(id, &self.workers, self.told()))
    }

    async fn leave(&self, id: DrainId, holder: &str) -> Result<(), ControlError> {
        ask!(self, drains::leave(id, holder))
    }

    async fn set_cordon(
        &self,
        store: &StoreId,
        cordon: Option<&Notice>,
    ) -> Result<(), ControlError> {
        ask!(self, notices::set_cordon(store, cordon))
    }

    async fn cordons(&self) -> Result<BTreeMap<StoreId, Notice>, ControlError> {
        ask!(self, notices::cordons())
    }

    async fn set_pin(&self, tenant: TenantId, pin: Option<&Notice>) -> Result<(), ControlError> {
        ask!(self, notices::set_pin(tenant, pin))
    }

    async fn pins_of(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, Notice>, ControlError> {
        ask!(self, notices::pins_of(tenants))
    }

    async fn find_routes(&self, which: &RouteFilter) -> Result<Vec<Route>, ControlError> {
        ask!(self, lists::routes(which))
    }

    async fn find_migrations(
        &self,
        which: &MigrationFilter,
    ) -> Result<Vec<Migration>, ControlError> {
        ask!(self, lists::migrations(which))
    }

    async fn pins(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, Notice)>, ControlError> {
        ask!(self, notices::pins(after, limit))
    }
}
