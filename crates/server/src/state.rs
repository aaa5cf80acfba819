//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use rehome_api::{Baseline, Verification};
use rehome_app::CancellationToken;
use rehome_app::config::ServerLimits;
use rehome_app::migrations::VerifyRequest;
use rehome_engine::metrics::Front;
use rehome_observe::Observed;
use uuid::Uuid;

use crate::admin::{Tasks, WatchLooks};
use crate::auth::{AccessLog, Roll};
use crate::console::Shown;
use crate::gateway::Refused;
use crate::health::Readiness;
use crate::listen::{Connection, Places};
use crate::rooms::{Proxies, Rooms};

/// Maximum time of a request, unless appends may wait longer for a cutover.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// What all requests share.
pub(crate) struct State {
    pub(crate) deployment: Observed,
    /// Who may enter, and who did.
    pub(crate) roll: Roll,
    pub(crate) access_log: AccessLog,
    pub(crate) limits: ServerLimits,
    /// The secret of the console's forms, where there are no tokens.
    pub(crate) forms: Uuid,
    /// Maximum time of a request.
    pub(crate) request_within: Duration,
    /// What requests hold while they are under way.
    pub(crate) rooms: Rooms,
    /// The places of connections.
    pub(crate) places: Arc<Places>,
    /// Clients that were disconnected because they did not read their responses, or did not send
    /// their bodies.
    pub(crate) too_slow: Arc<AtomicU64>,
    pub(crate) bodies_too_slow: AtomicU64,
    /// The proxies that report clients' addresses.
    pub(crate) proxies: Proxies,
    /// Migrations that are watched, and pages that are live.
    pub(crate) watched: WatchLooks,
    pub(crate) shown: Shown,
    /// Whether the control plane answers, shared by concurrent requests.
    pub(crate) readiness: Readiness,
    pub(crate) verifications: Tasks<VerifyRequest, Verification>,
    pub(crate) baselines: Tasks<Duration, Baseline>,
    /// What was logged recently about failed appends.
    pub(crate) refused: Refused,
    /// Cancelled when the server stops: those who follow are sent home.
    pub(crate) stopping: CancellationToken,
}

impl State {
    pub(crate) fn new(deployment: Observed, roll: Roll) -> Self {
        let config = deployment.config();
        let limits = config.server.limits;
        let pause = config.migration.write_pause_timeout_ms.unwrap_or(0);
        // Admission, write and outcome may each take the pause's time.
        let patience = Duration::from_millis(u64::from(pause) * 3) + Duration::from_secs(5);
        Self {
            roll,
            access_log: AccessLog::default(),
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

    /// Whether the client's connection is encrypted: with the server's own TLS, or with that of a trusted
    /// proxy that reports it.
    pub(crate) fn is_encrypted(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<Arc<Connection>>().map(|one| one.peer());
        let is_believed = peer.is_some_and(|peer| self.proxies.has(peer));
        self.deployment.config().server.tls.is_some()
            || is_believed && says_https(request.headers())
    }

    /// Whether the server is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}

/// Whether the sender reports that the request came with TLS.
pub(crate) fn says_https(headers: &HeaderMap) -> bool {
    let says = headers.get("x-forwarded-proto");
    says.is_some_and(|says| says.as_bytes().eq_ignore_ascii_case(b"https"))
}
