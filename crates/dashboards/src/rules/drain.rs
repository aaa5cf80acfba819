//! What can go wrong with a drain. The moves in it have the alerts of migrations.

use super::{Alert, Severity};
use crate::query::{D, now};
use crate::thresholds::Thresholds;

pub(super) fn alerts(thresholds: &Thresholds) -> Vec<Alert> {
    let gap = thresholds.silent_for;
    let of = |series: &str| now(series, D, gap);
    let stalled = thresholds.drain_stalled;
    vec![
        Alert {
            name: "RehomeDrainStalled",
            // One that runs and may cut over, or one that is being cancelled: outside of its window, and while
            // it is paused, a drain stands still as it should.
            expr: format!(
                "time() - {} > {}\n\
                 and on ({D})\n\
                 ({state} == 3 or {state} == 0 and on ({D}) {} == 1)",
                of("drain_last_progress_timestamp_seconds"),
                stalled.number(),
                of("drain_window_open"),
                state = of("drain_state"),
            ),
            held: None,
            severity: Severity::Warning,
            summary: "Drain {{ $labels.drain_id }} makes no progress",
            description: format!(
                "For more than {} no move of it started, finished, failed or made progress, although \
                 cutovers may begin",
                stalled.words()
            ),
        },
        Alert {
            name: "RehomeDrainBudgetSpent",
            expr: format!("{} == 2", of("drain_state")),
            held: None,
            severity: Severity::Warning,
            summary: "Drain {{ $labels.drain_id }} has spent its budget of failures",
            description:
                "The maximum number of moves has failed; it is paused until an operator resumes it"
                    .to_owned(),
        },
        Alert {
            name: "RehomeDrainWindowMissed",
            expr: format!("{} == 1", of("drain_window_missed")),
            held: None,
            severity: Severity::Warning,
            summary: "Drain {{ $labels.drain_id }} moved no tenant in its last window",
            description:
                "The window opened and closed again without a move, and tenants are still to \
                          be moved"
                    .to_owned(),
        },
    ]
}
