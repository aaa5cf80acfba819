//! Three drains: one that runs, one whose budget is spent, one that is finished; reported by two servers.

use super::history::{History, NOW};
use super::{A, B};

pub(super) fn add(history: &mut History) {
    let now = NOW as f64;
    for instance in [A, B] {
        let mut flat = |series: &str, value: f64| {
            history.flat(instance, series, value);
        };
        for (id, state) in [("e1", 0.0), ("e2", 2.0), ("e3", 5.0)] {
            let stores = "source_stores=\"shared\",target_stores=\"big,new\"";
            flat(&format!("drain_state{{drain_id=\"{id}\"}}"), state);
            flat(&format!("drain_info{{drain_id=\"{id}\",{stores}}}"), 1.0);
        }
        for (id, state, count) in [
            ("e1", "waiting", 46.0),
            ("e1", "moving", 4.0),
            ("e1", "moved", 40.0),
            ("e2", "again", 7.0),
            ("e2", "moved", 20.0),
            ("e2", "set_aside", 2.0),
            ("e3", "moved", 10.0),
        ] {
            flat(&format!("drain_tenants{{drain_id=\"{id}\",state=\"{state}\"}}"), count);
        }
        for (name, id, value) in [
            ("drain_needs", "e1", 0.0),
            ("drain_needs", "e2", 3.0),
            ("drain_remaining_seconds", "e1", 600.0),
            ("drain_events", "e1", 1_000.0),
            ("drain_events_moved_total", "e1", 250.0),
            ("drain_failures", "e1", 1.0),
            ("drain_failures_max", "e1", 20.0),
            ("drain_failures", "e2", 20.0),
            ("drain_failures_max", "e2", 20.0),
            ("drain_window_open", "e1", 1.0),
            ("drain_window_open", "e2", 0.0),
            ("drain_workers", "e1", 2.0),
            ("drain_workers", "e2", 0.0),
            ("drain_last_progress_timestamp_seconds", "e1", now - 20.0),
            ("drain_last_progress_timestamp_seconds", "e2", now - 4_000.0),
        ] {
            flat(&format!("{name}{{drain_id=\"{id}\"}}"), value);
        }
        let moves = |id: &str, step: &str| {
            format!("drain_moves_total{{drain_id=\"{id}\",step=\"{step}\"}}")
        };
        history
            .grows(instance, &moves("e1", "begun"), 0.1)
            .grows(instance, &moves("e1", "finished"), 0.05)
            .flat(instance, &moves("e2", "failed"), 20.0);
    }
    let bytes = "drain_bytes_copied_total{drain_id=\"e1\"}";
    history.grows(A, bytes, 1_000.0).grows(B, bytes, 2_000.0);
}
