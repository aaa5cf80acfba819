//! A fleet with scripted faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::drain::{Drain, Notice, Tenant};
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::route::Route;

use super::op::ControlOp;
use super::script::Script;
use crate::{
    AttendRequest, Attendance, ControlError, DrainChange, DrainEntry, DrainTenants, Drains, Fleet,
    MigrationFilter, NewDrain, RouteFilter,
};

/// Passes every call to the inner fleet, by the script.
pub struct FaultyFleet {
    inner: Arc<dyn Fleet>,
    script: Arc<Script>,
}

impl FaultyFleet {
    /// `inner`, driven by `script`, which may be that of a control plane too.
    pub fn new(inner: Arc<dyn Fleet>, script: Arc<Script>) -> Self {
        Self { inner, script }
    }

    async fn run<T>(
        &self,
        inner: impl Future<Output = Result<T, ControlError>> + Send,
    ) -> Result<T, ControlError> {
        self.script.run("control plane", ControlOp::Fleet.into(), inner).await
    }
}

#[async_trait]
impl Fleet for FaultyFleet {
    async fn start_drain(&self, new: &NewDrain) -> Result<Drain, ControlError> {
        self.run(self.inner.start_drain(new)).await
    }

    async fn drain(&self, id: DrainId) -> Result<Drain, ControlError> {
        self.run(self.inner.drain(id)).await
    }

    async fn drains(&self, which: Drains) -> Result<Vec<Drain>, ControlError> {
        self.run(self.inner.drains(which)).await
    }

    async fn record_drain(&self, change: &DrainChange) -> Result<Drain, ControlError> {
        let inner = self.inner.record_drain(change);
        self.script.run("control plane", ControlOp::RecordDrain.into(), inner).await
    }

    async fn drain_log(
        &self,
        id: DrainId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DrainEntry>, ControlError> {
        self.run(self.inner.drain_log(id, after, limit)).await
    }

    async fn drain_tenants(&self, which: DrainTenants) -> Result<Vec<Tenant>, ControlError> {
        self.run(self.inner.drain_tenants(which)).await
    }

    async fn drain_tenant(
        &self,
        id: DrainId,
        tenant: TenantId,
    ) -> Result<Option<Tenant>, ControlError> {
        self.run(self.inner.drain_tenant(id, tenant)).await
    }

    async fn attend(&self, request: &AttendRequest) -> Result<Attendance, ControlError> {
        self.run(self.inner.attend(request)).await
    }

    async fn attending(&self, id: DrainId) -> Result<Attendance, ControlError> {
        self.run(self.inner.attending(id)).await
    }

    async fn leave(&self, id: DrainId, holder: &str) -> Result<(), ControlError> {
        self.run(self.inner.leave(id, holder)).await
    }

    async fn set_cordon(
        &self,
        store: &StoreId,
        cordon: Option<&Notice>,
    ) -> Result<(), ControlError> {
        self.run(self.inner.set_cordon(store, cordon)).await
    }

    async fn cordons(&self) -> Result<BTreeMap<StoreId, Notice>, ControlError> {
        self.run(self.inner.cordons()).await
    }

    async fn set_pin(&self, tenant: TenantId, pin: Option<&Notice>) -> Result<(), ControlError> {
        self.run(self.inner.set_pin(tenant, pin)).await
    }

    async fn pins_of(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, Notice>, ControlError> {
        self.run(self.inner.pins_of(tenants)).await
    }

    async fn find_routes(&self, which: &RouteFilter) -> Result<Vec<Route>, ControlError> {
        self.run(self.inner.find_routes(which)).await
    }

    async fn find_migrations(
        &self,
        which: &MigrationFilter,
    ) -> Result<Vec<Migration>, ControlError> {
        self.run(self.inner.find_migrations(which)).await
    }

    async fn pins(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, Notice)>, ControlError> {
        self.run(self.inner.pins(after, limit)).await
    }
}
