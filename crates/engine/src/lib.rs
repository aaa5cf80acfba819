//! The machinery that moves a tenant while its writers keep writing.
//!
//! ```text
//!   application ──▶ Router ──▶ writer (one per tenant, group commit) ──▶ LedgerStore
//!                     ▲                          │ wakes
//!        refresh/help │                          ▼
//!   operator ──▶ Operations ──▶ ControlPlane   Mirror ──▶ the other LedgerStore
//!                                    ▲
//!                  Supervisor ──▶ Driver: observe, decide, act, record
//! ```
//!
//! This room knows the ports and the domain and nothing else: no adapter, no HTTP, no files.
//!
//! Nothing here throws dice: every `select!` is `biased`, so that the simulator can play the same
//! schedule again.

pub mod appends;
mod auditor;
mod brake;
mod config;
pub mod drain;
mod failpoint;
mod follow;
mod heads;
mod histogram;
mod hooks;
mod mirror;
mod progress;
mod publish;
mod replica;
mod rest;
mod router;
mod signal;
mod stores;
mod subscriptions;
mod throttle;

pub mod metrics;
pub mod migration;
pub mod telemetry;
pub mod verifier;

use std::sync::Arc;

use rehome_ports::clock::Clock;
use rehome_ports::{ControlPlane, Fleet};
use tokio::sync::Notify;

pub use brake::{Braked, Slowed};
pub use config::EngineConfig;
pub use follow::Follower;
pub use heads::Heads;
pub use histogram::{Histogram, Snapshot};
pub use hooks::{Deliveries, Hooks, Occasion, On, Veto};
pub use mirror::MirrorStatus;
pub use progress::{Progress, Status};
pub use publish::{Moved, Publisher};
pub use router::TenantRouter;
pub use signal::{CutoverPart, Observer, Observers, Signal, Way};
pub use stores::{Stores, UnknownStore, holds_history};
pub use subscriptions::Subscription;

/// Everything a process needs to route and to migrate. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) control: Arc<dyn ControlPlane>,
    pub(crate) stores: Stores,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: EngineConfig,
    pub(crate) observers: Observers,
    pub(crate) heads: heads::Known,
    /// Open rollback windows.
    pub(crate) windows: rest::Windows,
    /// Notified when an operator has made a request that a driver has to act on.
    pub(crate) asked: Arc<Notify>,
    pub(crate) renewals: migration::Renewals,
    /// What drains of this process work on.
    pub(crate) claims: drain::Claims,
    /// Notified when an operator has changed a drain.
    pub(crate) drains_asked: Arc<Notify>,
    /// Drains, cordons and pins, where the control plane is known to keep them.
    pub(crate) fleet: Option<Arc<dyn Fleet>>,
    /// Reports switches to applications.
    pub(crate) publisher: Option<Arc<dyn Publisher>>,
    /// How hard the migrations of this process work.
    pub(crate) brakes: brake::Brakes,
    /// The conditions of the stores between which they work.
    pub(crate) conditions: brake::Conditions,
    /// The hooks, which are called before and after the steps of a migration.
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
    router: TenantRouter,
}

impl Engine {
    /// An engine over these stores and this control plane. Starts nothing yet.
    pub fn new(
        control: Arc<dyn ControlPlane>,
        stores: Stores,
        clock: Arc<dyn Clock>,
        config: EngineConfig,
    ) -> Self {
        Self::watched(control, stores, clock, config, Observers::default())
    }

    /// The same, with `observers`.
    pub fn watched(
        control: Arc<dyn ControlPlane>,
        stores: Stores,
        clock: Arc<dyn Clock>,
        config: EngineConfig,
        observers: Observers,
    ) -> Self {
        let heads = heads::Known::new(Arc::clone(&clock));
        let observers = observers.and(Arc::new(heads.clone()));
        let router = TenantRouter::new(
            Arc::clone(&control),
            stores.clone(),
            Arc::clone(&clock),
            &config,
            observers.clone(),
        );
        let asked = Arc::default();
        let renewals = migration::Renewals::default();
        let (claims, drains_asked) = Default::default();
        let (publisher, fleet, hooks) = (None, None, None);
        Self {
            control,
            stores,
            clock,
            config,
            observers,
            heads,
            windows: rest::Windows::default(),
            asked,
            renewals,
            claims,
            drains_asked,
            fleet,
            publisher,
            hooks,
            brakes: brake::Brakes::default(),
            conditions: brake::Conditions::default(),
            router,
        }
    }

    /// The same, and every switch is published.
    #[must_use]
    pub fn publishing(self, publisher: Arc<dyn Publisher>) -> Self {
        Self { publisher: Some(publisher), ..self }
    }

    /// The same, with hooks.
    #[must_use]
    pub fn hooked(self, hooks: Arc<dyn Hooks>) -> Self {
        Self { hooks: Some(hooks), ..self }
    }

    /// The same, with cordons of stores.
    #[must_use]
    pub fn with_fleet(self, fleet: Arc<dyn Fleet>) -> Self {
        Self { fleet: Some(fleet), ..self }
    }

    pub(crate) fn tell(&self, signal: &Signal<'_>) {
        self.observers.tell(signal);
    }

    /// What this process runs with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What applications append to and read from.
    pub fn router(&self) -> &TenantRouter {
        &self.router
    }

    /// The stores of the deployment.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The control plane.
    pub fn control(&self) -> &Arc<dyn ControlPlane> {
        &self.control
    }

    /// Waits for accepted appends, and accepts no more.
    pub async fn shutdown(&self) {
        self.router.shutdown().await;
    }
}
