//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rehome_api::{Baseline, Verification};
use rehome_app::config::ServerLimits;
use rehome_app::migrations::VerifyRequest;
use rehome_app::{CancellationToken, Deployment};
use rehome_engine::metrics::Front;
use tokio::sync::watch;
use uuid::Uuid;

use crate::admin::{Tasks, WatchLooks};
use crate::auth::Tokens;
use crate::console::Shown;
use crate::gateway::Refused;
use crate::health::Readiness;
use crate::listen::Places;
use crate::rooms::{Proxies, Rooms};

/// Longest that a request may take, unless appends may wait longer for a cutover.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// What all requests share.
pub(crate) struct State {
    pub(crate) deployment: Deployment,
    pub(crate) tokens: watch::Sender<Arc<Tokens>>,
    pub(crate) limits: ServerLimits,
    /// The secret of the console's forms, where there are no tokens.
    pub(crate) forms: Uuid,
    /// Longest that a request may take.
    pub(crate) request_within: Duration,
    /// What requests hold while they are under way.
    pub(crate) rooms: Rooms,
    /// The places of connections.
    pub(crate) places: Arc<Places>,
    /// Clients that were left because they did not take their answers, and because they did not send
    /// their bodies.
    pub(crate) too_slow: Arc<AtomicU64>,
    pub(crate) bodies_too_slow: AtomicU64,
    /// The proxies that say who a client is.
    pub(crate) proxies: Proxies,
    /// Migrations that are watched, and pages that are live.
    pub(crate) watched: WatchLooks,
    pub(crate) shown: Shown,
    /// Whether the control plane answers, for all who ask at once.
    pub(crate) readiness: Readiness,
    pub(crate) verifications: Tasks<VerifyRequest, Verification>,
    pub(crate) baselines: Tasks<Duration, Baseline>,
    /// What was written lately about appends that were not taken.
    pub(crate) refused: Refused,
    /// Cancelled when the server stops: those who follow are sent home.
    pub(crate) stopping: CancellationToken,
}

impl State {
    pub(crate) fn new(deployment: Deployment) -> Self {
        let config = deployment.config();
        let limits = config.server.limits;
        let pause = config.migration.write_pause_timeout_ms.unwrap_or(0);
        // Let in, sent, and found out about: each may take the pause's time.
        let patience = Duration::from_millis(u64::from(pause) * 3) + Duration::from_secs(5);
        let tokens = Tokens::new(&config.tokens);
        Self {
            tokens: watch::Sender::new(Arc::new(tokens)),
            limits,
            forms: crate::console::secret(),
            request_within: patience.max(REQUEST_WITHIN),
            rooms: Rooms::new(&limits),
            places: Places::new(limits.connections_max, limits.per_caller.connections_max),
            too_slow: Arc::default(),
            bodies_too_slow: AtomicU64::default(),
            proxies: Proxies::new(&config.server.trusted_proxies),
            watched: WatchLooks::default(),
            shown: Shown::default(),
            readiness: Readiness::default(),
            verifications: Tasks::new("verifying", "verification"),
            baselines: Tasks::new("taking_baseline", "baseline"),
            refused: Refused::default(),
            stopping: CancellationToken::new(),
            deployment,
        }
    }

    /// What a scrape reports of connections and requests.
    pub(crate) fn front(&self) -> Front {
        let mut rooms = vec![self.places.count()];
        rooms.extend(self.rooms.counts());
        Front {
            rooms,
            slow_answers: self.too_slow.load(Ordering::Relaxed),
            slow_bodies: self.bodies_too_slow.load(Ordering::Relaxed),
        }
    }

    /// Whether the server is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}
