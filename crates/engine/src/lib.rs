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
mod config;
mod failpoint;
mod follow;
mod heads;
mod histogram;
mod mirror;
mod progress;
mod publish;
mod read_back;
mod replica;
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

use rehome_ports::ControlPlane;
use rehome_ports::clock::Clock;
use tokio::sync::Notify;

pub use config::EngineConfig;
pub use follow::Follower;
pub use heads::Heads;
pub use histogram::{Histogram, Snapshot};
pub use mirror::MirrorStatus;
pub use progress::{Progress, Status};
pub use publish::{Moved, Publisher};
pub use router::TenantRouter;
pub use signal::{CutoverPart, Observer, Observers, Signal, Way};
pub use stores::{Stores, UnknownStore};
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
    /// Told when an operator has asked for something that somebody has to do.
    pub(crate) asked: Arc<Notify>,
    pub(crate) renewals: migration::Renewals,
    /// Who tells applications where a tenant has gone.
    pub(crate) publisher: Option<Arc<dyn Publisher>>,
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

    /// The same, and tells `observers` what happens.
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
        let publisher = None;
        Self {
            control,
            stores,
            clock,
            config,
            observers,
            heads,
            asked,
            renewals,
            publisher,
            router,
        }
    }

    /// The same, and every switch is published.
    #[must_use]
    pub fn publishing(self, publisher: Arc<dyn Publisher>) -> Self {
        Self { publisher: Some(publisher), ..self }
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

    /// Waits for the appends that were accepted, and takes no more.
    pub async fn shutdown(&self) {
        self.router.shutdown().await;
    }
}
