//! How a tenant did before it moved.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// What a tenant's appends looked like before its migration touched them; kept with the migration, to
/// be compared with what they look like afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Baseline {
    /// When it was taken.
    pub taken_at: Time,
    /// The state that the migration was in then.
    pub state: String,
    /// Events appended per second, by all writers, from the ledger.
    pub events_per_s: f64,
    /// The stretch of time that this is of, in seconds.
    pub window_seconds: f64,
    /// Half of the appends took at most this, in milliseconds; `null` where no appends were seen.
    pub append_p50_ms: Option<f64>,
    /// Ninety-nine of a hundred took at most this, in milliseconds.
    pub append_p99_ms: Option<f64>,
    /// Who saw the appends: `this process`, or `prometheus`.
    pub latency_from: Option<String>,
    /// Why what is not known is not known.
    pub remark: Option<String>,
}
