//! What all requests share.

use std::sync::Arc;
use std::time::Duration;

use rehome_api::{Baseline, Verification};
use rehome_app::config::ServerLimits;
use rehome_app::migrations::VerifyRequest;
use rehome_app::{CancellationToken, Deployment};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::admin::Tasks;
use crate::auth::Tokens;
use crate::gateway::Refused;

/// Longest that a request may take, unless appends may wait longer for a cutover.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// Bodies are accounted for in pieces of this size.
pub(crate) const PIECE_BYTES: usize = 1 << 10;

/// What all requests share.
pub(crate) struct State {
    pub(crate) deployment: Deployment,
    pub(crate) tokens: watch::Sender<Arc<Tokens>>,
    pub(crate) limits: ServerLimits,
    /// The secret of the console's forms, where there are no tokens.
    pub(crate) forms: Uuid,
    /// Longest that a request may take.
    pub(crate) request_within: Duration,
    /// Room for the bodies of requests, in pieces.
    pub(crate) bodies: Arc<Semaphore>,
    /// Room for followers.
    pub(crate) followers: Arc<Semaphore>,
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
            bodies: Arc::new(Semaphore::new(limits.bodies_bytes_max as usize / PIECE_BYTES)),
            followers: Arc::new(Semaphore::new(limits.followers_max as usize)),
            verifications: Tasks::new("verifying", "verification"),
            baselines: Tasks::new("taking_baseline", "baseline"),
            refused: Refused::default(),
            stopping: CancellationToken::new(),
            deployment,
        }
    }

    /// Whether the server is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}
