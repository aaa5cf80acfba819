//! Whether there is anything left to watch: processes, stores, the control plane, and the metrics
//! themselves.

use super::{Alert, Severity};
use crate::thresholds::Thresholds;

pub(super) fn alerts(thresholds: &Thresholds) -> Vec<Alert> {
    let mut alerts = Vec::from(gone(thresholds));
    alerts.extend(unwell(thresholds));
    alerts
}

fn gone(thresholds: &Thresholds) -> [Alert; 3] {
    let memory = thresholds.remembered_for;
    [
        Alert {
            name: "RehomeMetricsAbsent",
            // Nobody has to tell under which job rehome is scraped: no series is left at all.
            expr: "absent(rehome_build_info or migration_state)".to_owned(),
            held: Some(thresholds.absent_for),
            severity: Severity::Critical,
            summary: "No metrics of rehome",
            description: "No process of rehome is scraped: nothing is known of any migration, and \
                          the other alerts are blind"
                .to_owned(),
        },
        Alert {
            name: "RehomeDown",
            expr: format!(
                "up == 0\n\
                 and on (job)\n\
                 max by (job) (max_over_time(rehome_build_info[{memory}]))"
            ),
            held: Some(thresholds.down_for),
            severity: Severity::Warning,
            summary: "rehome at {{ $labels.instance }} is down",
            description: "It cannot be scraped, and others of job {{ $labels.job }} could"
                .to_owned(),
        },
        Alert {
            name: "MigrationMetricsLost",
            // Its last process told of no end, and nobody tells of it any more.
            expr: format!(
                "max by (migration_id, tenant_id) (last_over_time(migration_state[{memory}]) != 4 != 5 != 6)\n\
                 unless on (migration_id, tenant_id)\n\
                 (migration_state or last_over_time(migration_state[{memory}]) > 3 < 7)"
            ),
            held: Some(thresholds.lost_for),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} is no longer told of",
            description: "It had not ended when it was last scraped".to_owned(),
        },
    ]
}

fn unwell(thresholds: &Thresholds) -> [Alert; 3] {
    [
        Alert {
            name: "RehomeStoreDown",
            expr: "min by (store_id) (store_up) == 0".to_owned(),
            held: Some(thresholds.down_for),
            severity: Severity::Critical,
            summary: "Store {{ $labels.store_id }} does not answer",
            description: "A process of rehome cannot reach it".to_owned(),
        },
        Alert {
            name: "RehomeControlPlaneDown",
            expr: "min by (job, instance) (control_plane_up) == 0".to_owned(),
            held: Some(thresholds.down_for),
            severity: Severity::Critical,
            summary: "The control plane does not answer {{ $labels.instance }}",
            description: "Migrations do not go on, and no new tenant can be routed".to_owned(),
        },
        Alert {
            name: "RehomeRestarting",
            expr: format!(
                "changes(process_start_time_seconds[{}]) >= {}\n\
                 and on (job, instance)\n\
                 rehome_build_info",
                thresholds.told_for, thresholds.restarts
            ),
            held: None,
            severity: Severity::Warning,
            summary: "rehome at {{ $labels.instance }} restarts again and again",
            description: format!(
                "{{{{ $value }}}} restarts within {}",
                thresholds.told_for.words()
            ),
        },
    ]
}
