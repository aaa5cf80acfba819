//! Whether there is anything left to watch: processes, stores, the control plane, and the metrics
//! themselves.

use super::{Alert, Severity};
use crate::query::MT;
use crate::thresholds::Thresholds;

pub(super) fn alerts(thresholds: &Thresholds) -> Vec<Alert> {
    let mut alerts = Vec::from(gone(thresholds));
    alerts.extend(unwell(thresholds));
    alerts
}

fn gone(thresholds: &Thresholds) -> [Alert; 3] {
    let memory = thresholds.remembered_for;
    let half = memory.divided_by(2);
    let lost = thresholds.lost_for;
    [
        Alert {
            name: "RehomeMetricsAbsent",
            // Nobody has to tell under which job rehome is scraped: no series is left at all, of a
            // deployment that was there, or of any. The second part is there before the first one
            // forgets, so that the alert does not end while nothing is mended.
            expr: format!(
                "max by (deployment) (last_over_time(rehome_build_info[{memory}]))\n\
                 unless on (deployment)\n\
                 (rehome_build_info or migration_state)\n\
                 or\n\
                 absent(last_over_time(rehome_build_info[{half}]) or last_over_time(migration_state[{half}]))"
            ),
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
                 and on (deployment, job)\n\
                 max by (deployment, job) (max_over_time(rehome_build_info[{memory}]))"
            ),
            held: Some(thresholds.down_for),
            severity: Severity::Warning,
            summary: "rehome at {{ $labels.instance }} is down",
            description: "It cannot be scraped, and others of job {{ $labels.job }} could"
                .to_owned(),
        },
        Alert {
            name: "MigrationMetricsLost",
            // Its last process told of no end, nobody tells of it any more, and nobody else has looked
            // which migrations there are: one who has would tell of it if it went on.
            expr: format!(
                "max by ({MT}) (last_over_time(migration_state[{memory}]) != 4 != 5 != 6)\n\
                 unless on ({MT})\n\
                 (migration_state or last_over_time(migration_state[{memory}]) > 3 < 7)\n\
                 unless on (deployment)\n\
                 time() - max by (deployment) (migration_last_look_timestamp_seconds) < {}",
                lost.number()
            ),
            held: Some(lost),
            severity: Severity::Critical,
            summary: "Migration {{ $labels.migration_id }} is no longer told of",
            description: "It had not ended when it was last scraped".to_owned(),
        },
    ]
}

fn unwell(thresholds: &Thresholds) -> [Alert; 3] {
    let gap = thresholds.silent_for;
    let least = |series: &str, by: &str| {
        format!("(min by ({by}) ({series}) or min by ({by}) (last_over_time({series}[{gap}])))")
    };
    let process = "deployment, job, instance";
    [
        Alert {
            name: "RehomeStoreDown",
            expr: format!("{} == 0", least("store_up", "deployment, store_id")),
            held: Some(thresholds.down_for),
            severity: Severity::Critical,
            summary: "Store {{ $labels.store_id }} does not answer",
            description: "A process of rehome cannot reach it".to_owned(),
        },
        Alert {
            name: "RehomeControlPlaneDown",
            expr: format!("{} == 0", least("control_plane_up", process)),
            held: Some(thresholds.down_for),
            severity: Severity::Critical,
            summary: "The control plane does not answer {{ $labels.instance }}",
            description: "Migrations do not go on, and no new tenant can be routed".to_owned(),
        },
        Alert {
            name: "RehomeRestarting",
            expr: format!(
                "changes(process_start_time_seconds[{}]) >= {}\n\
                 and on ({process})\n\
                 last_over_time(rehome_build_info[{gap}])",
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
