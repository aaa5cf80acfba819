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

/// How long a migration would take, by a look at the tenant and at what was measured before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// Whose history.
    pub tenant_id: Uuid,
    /// Where it is.
    pub source_store: String,
    /// Where it would go.
    pub target_store: String,
    /// Events to copy; what the target already holds of them is not counted.
    pub events_to_copy: u64,
    /// Events per second that the source was read with, on a sample.
    pub read_events_per_s: f64,
    /// Events per second that the tenant writes.
    pub write_events_per_s: f64,
    /// Events per second that the copy would make.
    pub copy_events_per_s: RateRange,
    /// Where that comes from: `told`, `earlier migrations` or `reading`.
    pub copy_rate_from: String,
    /// Whether the copy is likely to be faster than the tenant writes.
    pub converges: bool,
    /// At the likely rate; `null` where it would never catch up.
    pub estimate: Option<Estimate>,
    /// At the high rate.
    pub best: Option<Estimate>,
    /// At the low rate.
    pub worst: Option<Estimate>,
    /// What to know about these numbers.
    pub remarks: Vec<String>,
}

/// Events per second, between bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RateRange {
    /// If it goes badly.
    pub low: f64,
    /// What to expect.
    pub likely: f64,
    /// If it goes well.
    pub high: f64,
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
            cutover_estimate: format!("{} seconds", as_python_prints(cutover)),
            total_estimate: format!("{:.1} minutes", total / 60.0),
            bulk_copy_seconds: bulk_copy,
            dual_write_seconds: dual_write,
            cutover_seconds: cutover,
            total_seconds: total,
        }
    }
}

/// A number as Python's `str(float)` has it, for which the guide's text is made: as many digits as it
/// takes, at least one after the point, and an exponent of two digits below 0.0001 and from 1e16 on.
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
        // Infinite, or no number: refused before it comes here.
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
        // Half a tenth goes to the even neighbour where it is exact, as in Python.
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
