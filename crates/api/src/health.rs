//! The health of a deployment's migrations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The document of `GET /health/migration`, with the fields of the monitoring contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// The worst finding.
    pub status: HealthStatus,
    /// Migrations that have not ended: neither migrated nor failed nor rolled back.
    pub active_migrations: u64,
    /// Those in `bulk_copy` without progress for 15 minutes.
    pub stuck_migrations: u64,
    /// Those in `dual_write` whose target is more than 1,000 events behind.
    pub high_sync_lag_count: u64,
    /// Of the time in the last 5 minutes with something to mirror, the fraction in which the target
    /// did not accept it: 0 to 1; 0 without traffic.
    pub target_write_failure_rate: f64,
    /// A sentence for each reason.
    pub details: Vec<String>,
}

/// The status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// No action is needed.
    Healthy,
    /// Look at it soon.
    Degraded,
    /// Act now.
    Unhealthy,
}

impl HealthStatus {
    /// The value in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The HTTP status: 503 requires action, 200 does not.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Healthy | Self::Degraded => 200,
            Self::Unhealthy => 503,
        }
    }
}
