//! A control plane with scripted faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::removal::Turn;
use rehome_domain::route::Route;

use super::op::{ControlOp, Op};
use super::script::Script;
use crate::log_chain::LogAnchor;
use crate::{
    ActiveLease, Change, Checkpoint, ControlError, ControlPlane, Lease, LeaseRequest, LogEntry,
    Marks, Memo, Migrations, Recorded, RouteListener,
};

/// Passes every call to the inner control plane, by the script.
pub struct FaultyControlPlane {
    inner: Arc<dyn ControlPlane>,
    script: Arc<Script>,
    deaf: bool,
}

impl FaultyControlPlane {
    /// `inner`, driven by `script`.
    pub fn new(inner: Arc<dyn ControlPlane>, script: Arc<Script>) -> Self {
        Self { inner, script, deaf: false }
    }

    /// The same, without notifications of route changes.
    pub fn deaf(inner: Arc<dyn ControlPlane>, script: Arc<Script>) -> Self {
        Self { inner, script, deaf: true }
    }

    /// What drives it.
    pub fn script(&self) -> &Arc<Script> {
        &self.script
    }

    async fn run<T>(
        &self,
        op: impl Into<Op>,
        inner: impl Future<Output = Result<T, ControlError>> + Send,
    ) -> Result<T, ControlError> {
        self.script.run("control plane", op.into(), inner).await
    }
}

#[async_trait]
impl ControlPlane for FaultyControlPlane {
    fn deployment(&self) -> &str {
        self.inner.deployment()
    }

    fn listen(&self) -> Option<RouteListener> {
        if self.deaf { None } else { self.inner.listen() }
    }

    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError> {
        self.run(ControlOp::Route, self.inner.route(tenant)).await
    }

    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError> {
        self.run(ControlOp::Routes, self.inner.routes(after, limit)).await
    }

    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError> {
        self.run(ControlOp::Create, self.inner.create_route(tenant, store)).await
    }

    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError> {
        self.run(ControlOp::MarkCreated, self.inner.mark_created(tenant, epoch)).await
    }

    async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        let op = Op::record(change.fact.name());
        self.run(op, self.inner.record(change)).await
    }

    async fn remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Result<Route, ControlError> {
        self.run(ControlOp::Remove, self.inner.remove(tenant, rev, turn)).await
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
        let inner = self.inner.recover(tenant, rev, store, n, base, actor);
        self.run(ControlOp::Recover, inner).await
    }

    async fn now(&self) -> Result<Timestamp, ControlError> {
        self.run(ControlOp::Now, self.inner.now()).await
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, ControlError> {
        self.run(ControlOp::Migration, self.inner.migration(id)).await
    }

    async fn migrations(&self, which: Migrations) -> Result<Vec<Migration>, ControlError> {
        self.run(ControlOp::Migrations, self.inner.migrations(which)).await
    }

    async fn log(
        &self,
        id: MigrationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ControlError> {
        self.run(ControlOp::Log, self.inner.log(id, after, limit)).await
    }

    async fn log_anchors(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, ControlError> {
        self.run(ControlOp::LogAnchors, self.inner.log_anchors(after, limit)).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, ControlError> {
        self.run(ControlOp::Lease, self.inner.lease(request)).await
    }

    async fn lease_holder(&self, id: MigrationId) -> Result<Option<ActiveLease>, ControlError> {
        self.run(ControlOp::LeaseHolder, self.inner.lease_holder(id)).await
    }

    async fn leases(&self) -> Result<BTreeMap<MigrationId, ActiveLease>, ControlError> {
        self.run(ControlOp::Leases, self.inner.leases()).await
    }

    async fn release(&self, id: MigrationId, holder: &str) -> Result<(), ControlError> {
        self.run(ControlOp::Release, self.inner.release(id, holder)).await
    }

    async fn marks(&self, id: MigrationId) -> Result<Marks, ControlError> {
        self.run(ControlOp::Marks, self.inner.marks(id)).await
    }

    async fn set_marks(&self, id: MigrationId, marks: &Marks) -> Result<(), ControlError> {
        self.run(ControlOp::SetMarks, self.inner.set_marks(id, marks)).await
    }

    async fn memo(&self, id: MigrationId, name: &str) -> Result<Option<Memo>, ControlError> {
        self.run(ControlOp::Memo, self.inner.memo(id, name)).await
    }

    async fn set_memo(&self, id: MigrationId, name: &str, memo: &Memo) -> Result<(), ControlError> {
        self.run(ControlOp::SetMemo, self.inner.set_memo(id, name, memo)).await
    }

    async fn checkpoint(&self, tenant: TenantId, name: &str) -> Result<u64, ControlError> {
        self.run(ControlOp::Checkpoint, self.inner.checkpoint(tenant, name)).await
    }

    async fn checkpoints(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        self.run(ControlOp::Checkpoints, self.inner.checkpoints(tenant, limit)).await
    }

    async fn furthest_checkpoints(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        let asked = self.inner.furthest_checkpoints(after, limit);
        self.run(ControlOp::FurthestCheckpoints, asked).await
    }

    async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ControlError> {
        self.run(ControlOp::SetCheckpoint, self.inner.set_checkpoint(tenant, name, seq)).await
    }
}
