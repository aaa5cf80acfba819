//! How the migrations of a deployment are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /health/migration`, field by field the monitoring guide's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// The worst that was found.
    pub status: HealthStatus,
    /// Migrations that are not over: neither migrated nor failed nor rolled back.
    pub active_migrations: u64,
    /// Those in `bulk_copy` without progress for 15 minutes.
    pub stuck_migrations: u64,
    /// Those in `dual_write` whose target is more than 1,000 events behind.
    pub high_sync_lag_count: u64,
    /// Of the time in the last 5 minutes in which something was to be mirrored, the part in which the target
    /// did not take it: 0 to 1; 0 without traffic.
    pub target_write_failure_rate: f64,
    /// A sentence for each reason.
    pub details: Vec<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Nothing has to be done.
    Healthy,
    /// Somebody should look.
    Degraded,
    /// Somebody has to act.
    Unhealthy,
}

impl HealthStatus {
    /// The word in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The status code of the HTTP answer: 503 asks for action, 200 does not.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Healthy | Self::Degraded => 200,
            Self::Unhealthy => 503,
        }
    }
}
