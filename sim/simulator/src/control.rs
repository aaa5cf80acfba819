//! The control plane as one process reaches it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::removal::Turn;
use rehome_domain::route::Route;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::memory::MemoryControlPlane;
use rehome_ports::{
    ActiveLease, Change, Checkpoint, ControlError, ControlPlane, Lease, LeaseRequest, LogEntry,
    Marks, Memo, Migrations, Recorded, RouteListener,
};

use crate::call::{Ask, Caller};
use crate::faults::Place;
use crate::mutant::Broken;

pub(crate) struct SimulatedControl {
    pub(crate) caller: Caller,
    pub(crate) inner: Arc<MemoryControlPlane>,
    /// Without notifications of routes.
    pub(crate) deaf: bool,
}

impl SimulatedControl {
    async fn call<T: Send + 'static, F>(
        &self,
        op: &'static str,
        with: String,
        tell: fn(&T) -> String,
        inner: impl FnOnce(Arc<MemoryControlPlane>) -> F,
    ) -> Result<T, ControlError>
    where
        F: Future<Output = Result<T, ControlError>> + Send + 'static,
    {
        let ask = Ask { place: Place::Control, op, with, tell };
        self.caller.call(ask, inner(Arc::clone(&self.inner))).await
    }

    fn broken(&self) -> Arc<Broken> {
        Arc::clone(&self.caller.stage.broken)
    }

    fn name(&self, id: MigrationId) -> String {
        self.caller.stage.trace.name(id)
    }
}

fn route(route: &Route) -> String {
    let phase = route.phase().map_or("-", rehome_domain::migration::Phase::as_str);
    format!(
        "rev {} {} {}@{} n {} m {}",
        route.rev,
        phase,
        route.store.as_str(),
        route.epoch,
        route.n,
        route.m
    )
}

fn phase(migration: &Migration) -> String {
    format!("{:?}", migration.state)
}

fn done<T>(_: &T) -> String {
    "answered".to_owned()
}

fn lease(lease: &Lease) -> String {
    match lease {
        Lease::Held { taken_over } => format!("held, taken over: {taken_over}"),
        Lease::HeldBy(other) => format!("held by {}", other.holder),
    }
}

#[async_trait]
impl ControlPlane for SimulatedControl {
    fn deployment(&self) -> &str {
        self.inner.deployment()
    }

    fn listen(&self) -> Option<RouteListener> {
        if self.deaf { None } else { self.inner.listen() }
    }

    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError> {
        let (broken, process) = (self.broken(), self.caller.process);
        let tell = |found: &Option<Route>| found.as_ref().map_or_else(|| "none".to_owned(), route);
        self.call("route", String::new(), tell, move |plane| async move {
            broken.route(&plane, process, tenant).await
        })
        .await
    }

    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError> {
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.routes(after, limit).await };
        self.call("routes", String::new(), done, inner).await
    }

    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError> {
        let store = store.clone();
        self.call("create_route", String::new(), route, |plane| async move {
            plane.create_route(tenant, &store).await
        })
        .await
    }

    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError> {
        let inner = move |plane: Arc<MemoryControlPlane>| async move {
            plane.mark_created(tenant, epoch).await
        };
        self.call("mark_created", String::new(), route, inner).await
    }

    async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        let rev = change.rev.map_or_else(String::new, |rev| format!(" on rev {rev}"));
        let with = format!("of {}{rev}", self.name(change.migration));
        let tell = |recorded: &Recorded| route(&recorded.route);
        let broken = self.broken();
        self.call(change.fact.name(), with, tell, |plane| async move {
            broken.record(&plane, change).await
        })
        .await
    }

    async fn remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Result<Route, ControlError> {
        let inner = move |plane: Arc<MemoryControlPlane>| async move {
            plane.remove(tenant, rev, turn).await
        };
        self.call("remove", format!("{turn:?} on rev {rev}"), route, inner).await
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
        let (store, actor) = (store.clone(), actor.to_owned());
        self.call("recover", String::new(), route, |plane| async move {
            plane.recover(tenant, rev, &store, n, base, &actor).await
        })
        .await
    }

    async fn now(&self) -> Result<Timestamp, ControlError> {
        let inner = |plane: Arc<MemoryControlPlane>| async move { plane.now().await };
        self.call("now", String::new(), done, inner).await
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, ControlError> {
        let inner = move |plane: Arc<MemoryControlPlane>| async move { plane.migration(id).await };
        self.call("migration", self.name(id), phase, inner).await
    }

    async fn migrations(&self, which: Migrations) -> Result<Vec<Migration>, ControlError> {
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.migrations(which).await };
        self.call("migrations", String::new(), done, inner).await
    }

    async fn log(
        &self,
        id: MigrationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ControlError> {
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.log(id, after, limit).await };
        self.call("log", self.name(id), done, inner).await
    }

    async fn log_anchors(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, ControlError> {
        self.inner.log_anchors(after, limit).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, ControlError> {
        let (request, with) = (request.clone(), self.name(request.migration));
        let broken = self.broken();
        self.call("lease", with, lease, |plane| async move { broken.lease(&plane, &request).await })
            .await
    }

    async fn lease_holder(&self, id: MigrationId) -> Result<Option<ActiveLease>, ControlError> {
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.lease_holder(id).await };
        self.call("lease_holder", self.name(id), done, inner).await
    }

    async fn leases(&self) -> Result<BTreeMap<MigrationId, ActiveLease>, ControlError> {
        let inner = |plane: Arc<MemoryControlPlane>| async move { plane.leases().await };
        self.call("leases", String::new(), done, inner).await
    }

    async fn release(&self, id: MigrationId, holder: &str) -> Result<(), ControlError> {
        let holder = holder.to_owned();
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.release(id, &holder).await };
        self.call("release", self.name(id), done, inner).await
    }

    async fn marks(&self, id: MigrationId) -> Result<Marks, ControlError> {
        let inner = move |plane: Arc<MemoryControlPlane>| async move { plane.marks(id).await };
        self.call("marks", self.name(id), done, inner).await
    }

    async fn set_marks(&self, id: MigrationId, marks: &Marks) -> Result<(), ControlError> {
        let marks = *marks;
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.set_marks(id, &marks).await };
        self.call("set_marks", self.name(id), done, inner).await
    }

    async fn memo(&self, id: MigrationId, name: &str) -> Result<Option<Memo>, ControlError> {
        let memo = name.to_owned();
        let inner =
            move |plane: Arc<MemoryControlPlane>| async move { plane.memo(id, &memo).await };
        self.call("memo", self.name(id), done, inner).await
    }

    async fn set_memo(&self, id: MigrationId, name: &str, memo: &Memo) -> Result<(), ControlError> {
        let (name, memo) = (name.to_owned(), memo.clone());
        let inner = move |plane: Arc<MemoryControlPlane>| async move {
            plane.set_memo(id, &name, &memo).await
        };
        self.call("set_memo", self.name(id), done, inner).await
    }

    async fn checkpoint(&self, tenant: TenantId, name: &str) -> Result<u64, ControlError> {
        let name = name.to_owned();
        let inner = move |plane: Arc<MemoryControlPlane>| async move {
            plane.checkpoint(tenant, &name).await
        };
        self.call("checkpoint", String::new(), u64::to_string, inner).await
    }

    async fn checkpoints(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        let inner = move |plane: Arc<MemoryControlPlane>| async move {
            plane.checkpoints(tenant, limit).await
        };
        self.call("checkpoints", String::new(), done, inner).await
    }

    async fn furthest_checkpoints(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        let inner = move |plane: Arc<MemoryControlPlane>| async move {
            plane.furthest_checkpoints(after, limit).await
        };
        self.call("furthest_checkpoints", String::new(), done, inner).await
    }

    async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ControlError> {
        let (name, broken) = (name.to_owned(), self.broken());
        self.call("set_checkpoint", seq.to_string(), done, |plane| async move {
            plane.set_checkpoint(tenant, &name, broken.checkpoint(seq)).await
        })
        .await
    }
}
