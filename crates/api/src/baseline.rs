//! The load of a tenant before its move.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// A tenant's appends before its migration, for comparison afterwards; stored with the
/// migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Baseline {
    /// When it was recorded.
    pub taken_at: Time,
    /// The migration's state at that time.
    pub state: String,
    /// Append rate of all writers, in events per second, from the ledger.
    pub events_per_s: f64,
    /// The length of the measurement, in seconds.
    pub window_seconds: f64,
    /// Median append latency, in milliseconds; `null` without appends.
    pub append_p50_ms: Option<f64>,
    /// 99th percentile of the append latency, in milliseconds.
    pub append_p99_ms: Option<f64>,
    /// The source of the latency: `this process`, or `prometheus`.
    pub latency_from: Option<String>,
    /// Why a value is missing.
    pub remark: Option<String>,
}
