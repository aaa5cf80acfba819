//! Plans and estimates.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a migration would meet, and how long it would take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Whose history.
    pub tenant_id: Uuid,
    /// Where it is.
    pub source_store: String,
    /// Where it would go.
    pub target_store: String,
    /// Whether nothing stands in the way.
    pub possible: bool,
    /// Events to copy; what the target already holds of them is not counted.
    pub events_to_copy: u64,
    /// What was looked at.
    pub findings: Vec<Finding>,
    /// Events per second that the source was read with, on a sample.
    pub read_events_per_s: Option<f64>,
    /// How long it would take; `null` when there was nothing to measure.
    pub estimate: Option<Estimate>,
}

/// One thing that the preflight looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was seen, and what to do if it stands in the way.
    pub detail: String,
}

/// How long a migration will take: four texts for people, the same as numbers for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Copying, for example `2.5 minutes`.
    pub bulk_copy_estimate: String,
    /// Catching up, for example `5.0 seconds`.
    pub dual_write_estimate: String,
    /// The pause, for example `5.0 seconds`.
    pub cutover_estimate: String,
    /// All of it with the buffer, for example `3.9 minutes`.
    pub total_estimate: String,
    /// Copying.
    pub bulk_copy_seconds: f64,
    /// Catching up.
    pub dual_write_seconds: f64,
    /// The pause.
    pub cutover_seconds: f64,
    /// All of it with the buffer.
    pub total_seconds: f64,
}

impl Estimate {
    /// From numbers of seconds.
    pub fn new(bulk_copy: f64, dual_write: f64, cutover: f64, total: f64) -> Self {
        Self {
            bulk_copy_estimate: format!("{:.1} minutes", bulk_copy / 60.0),
            dual_write_estimate: format!("{dual_write:.1} seconds"),
            // As many digits as it takes, at least one.
            cutover_estimate: format!("{cutover:?} seconds"),
            total_estimate: format!("{:.1} minutes", total / 60.0),
            bulk_copy_seconds: bulk_copy,
            dual_write_seconds: dual_write,
            cutover_seconds: cutover,
            total_seconds: total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_the_monitoring_guide() {
        let estimate = Estimate::new(150.0, 5.0, 5.0, 234.0);
        assert_eq!(estimate.bulk_copy_estimate, "2.5 minutes");
        assert_eq!(estimate.dual_write_estimate, "5.0 seconds");
        assert_eq!(estimate.cutover_estimate, "5.0 seconds");
        assert_eq!(estimate.total_estimate, "3.9 minutes");
        assert_eq!(Estimate::new(0.0, 0.0, 0.05, 0.0).cutover_estimate, "0.05 seconds");
    }
}
