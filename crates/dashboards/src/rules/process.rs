//! Whether there is anything left to watch: processes, stores, the control plane, and the metrics
//! themselves.

use super::{Alert, Severity};
use crate::query::{MT, now};
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
            // The rule needs no job name: no series is left at all, of a
            // deployment that existed, or of any. The second part fires before the first one
            // forgets, so that the alert does not end while nothing is repaired.
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
            description:
                "No process of rehome is scraped: the state of migrations is unknown, and \
                          the other alerts cannot fire"
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
            description:
                "It cannot be scraped; rehome in job {{ $labels.job }} could be scraped before"
                    .to_owned(),
        },
        Alert {
            name: "MigrationMetricsLost",
            // Its last process reported no end, no process reports it any more, and no server has
            // listed the migrations: a server that has would report it if it were running.
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
            summary: "Migration {{ $labels.migration_id }} is no longer reported",
            description: "It had not ended when it was last scraped".to_owned(),
        },
    ]
}

fn unwell(thresholds: &Thresholds) -> [Alert; 5] {
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
            name: "RehomeStoreDamaged",
            // After a restart, a process that has not verified the store again reports nothing: the last
            // result applies until then.
            expr: "(max by (deployment, store_id) (store_damaged_tenants) or \
                   max by (deployment, store_id) (last_over_time(store_damaged_tenants[7d]))) > 0"
                .to_owned(),
            held: None,
            severity: Severity::Critical,
            summary: "Store {{ $labels.store_id }} has damaged tenants",
            description: "The rows of {{ $value }} tenants contradict their ledgers".to_owned(),
        },
        Alert {
            name: "RehomeRemovalInterrupted",
            expr: format!(
                "{} > 0",
                now("tenant_removals_interrupted", "deployment", thresholds.silent_for)
            ),
            held: Some(thresholds.unattended_for),
            severity: Severity::Warning,
            summary: "A removal of a tenant is not complete",
            description: "{{ $value }} removals of tenants stand still; their tenants have neither readers nor \
                          writers"
                .to_owned(),
        },
        Alert {
            name: "RehomeControlPlaneDown",
            expr: format!("{} == 0", least("control_plane_up", process)),
            held: Some(thresholds.down_for),
            severity: Severity::Critical,
            summary: "The control plane does not answer {{ $labels.instance }}",
            description: "Migrations stop, and no new tenant can be routed".to_owned(),
        },
        Alert {
            name: "RehomeRestarting",
            expr: format!(
                "changes(process_start_time_seconds[{}]) >= {}\n\
                 and on ({process})\n\
                 last_over_time(rehome_build_info[{gap}])",
                thresholds.reported_for, thresholds.restarts
            ),
            held: None,
            severity: Severity::Warning,
            summary: "rehome at {{ $labels.instance }} restarts repeatedly",
            description: format!(
                "{{{{ $value }}}} restarts within {}",
                thresholds.reported_for.words()
            ),
        },
    ]
}
