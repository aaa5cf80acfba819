//! Plans and estimates.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The plan of a migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The source store.
    pub source_store: String,
    /// The target store.
    pub target_store: String,
    /// Whether the migration is possible.
    pub possible: bool,
    /// Events to copy, without those that the target already has.
    pub events_to_copy: u64,
    /// The checks.
    pub findings: Vec<Finding>,
    /// Read rate of the source on a sample, in events per second.
    pub read_events_per_s: Option<f64>,
    /// The estimated duration; `null` if there was nothing to measure.
    pub estimate: Option<Estimate>,
}

/// One check of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// Whether it passed.
    pub ok: bool,
    /// The finding, and the remedy if it did not pass.
    pub detail: String,
}

/// An estimate of a migration, from the tenant and earlier measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The source store.
    pub source_store: String,
    /// The target store.
    pub target_store: String,
    /// Events to copy, without those that the target already has.
    pub events_to_copy: u64,
    /// Read rate of the source on a sample, in events per second.
    pub read_events_per_s: f64,
    /// Write rate of the tenant, in events per second.
    pub write_events_per_s: f64,
    /// Copy rate, in events per second.
    pub copy_events_per_s: RateRange,
    /// The source of the copy rate: `given`, `earlier migrations` or `reading`.
    pub copy_rate_from: String,
    /// Whether the copy is likely faster than the tenant writes.
    pub converges: bool,
    /// At the likely rate; `null` if it would never catch up.
    pub estimate: Option<Estimate>,
    /// At the high rate.
    pub best: Option<Estimate>,
    /// At the low rate.
    pub worst: Option<Estimate>,
    /// Remarks on these numbers.
    pub remarks: Vec<String>,
}

/// A range of rates, in events per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RateRange {
    /// The worst case.
    pub low: f64,
    /// The likely case.
    pub likely: f64,
    /// The best case.
    pub high: f64,
}

/// How long a migration will take: four texts for people, and the same numbers for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Copying, for example `2.5 minutes`.
    pub bulk_copy_estimate: String,
    /// Catching up, for example `5.0 seconds`.
    pub dual_write_estimate: String,
    /// The pause, for example `5.0 seconds`.
    pub cutover_estimate: String,
    /// The total with the buffer, for example `3.9 minutes`.
    pub total_estimate: String,
    /// Copying.
    pub bulk_copy_seconds: f64,
    /// Catching up.
    pub dual_write_seconds: f64,
    /// The pause.
    pub cutover_seconds: f64,
    /// The total with the buffer.
    pub total_seconds: f64,
}

impl Estimate {
    /// From numbers of seconds.
    pub fn new(bulk_copy: f64, dual_write: f64, cutover: f64, total: f64) -> Self {
        Self {
            bulk_copy_estimate: format!("{:.1} minutes", bulk_copy / 60.0),
            dual_write_estimate: format!("{dual_write:.1} seconds"),
            cutover_estimate: format!("{} seconds", as_python_prints(cutover)),
            total_estimate: format!("{:.1} minutes", total / 60.0),
            bulk_copy_seconds: bulk_copy,
            dual_write_seconds: dual_write,
            cutover_seconds: cutover,
            total_seconds: total,
        }
    }
}

/// A number as Python's `str(float)` prints it, the reference for this text: as many digits as
/// needed, at least one after the point, and an exponent of two digits below 0.0001 and from 1e16 on.
fn as_python_prints(value: f64) -> String {
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        // Infinite, or not a number: refused earlier.
        None => text,
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
        // Half a tenth is rounded to even where it is exact, as in Python.
        assert_eq!(Estimate::new(15.0, 0.25, 0.0, 45.0).bulk_copy_estimate, "0.2 minutes");
        assert_eq!(Estimate::new(15.0, 0.25, 0.0, 45.0).dual_write_estimate, "0.2 seconds");
        assert_eq!(Estimate::new(15.0, 0.25, 0.0, 45.0).total_estimate, "0.8 minutes");
    }

    #[test]
    fn the_pause_is_printed_as_python_prints_a_number() {
        for (value, text) in [
            (0.0, "0.0"),
            (5.0, "5.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
        ] {
            assert_eq!(as_python_prints(value), text);
        }
    }
}
