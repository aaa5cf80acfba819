//! Every item, each way.

use std::time::Duration;

use rehome_api::{Baseline, ChecklistItem, ItemStatus, Time};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{CutoverOutcome, Phase};
use rehome_domain::verification::Level;
use uuid::Uuid;

use super::evidence::{After, Before, Copying, Cutover, CuttingOver, During, Scrapes, Verified};
use super::judge;
use crate::baseline::Latency;
use crate::stats::Counts;
use crate::tools::{Alert, Asked, Rule};

use ItemStatus::{Fail, Pass, Unknown};

const ID: MigrationId = MigrationId::new(Uuid::from_u128(1));
const TENANT: TenantId = TenantId::new(Uuid::from_u128(2));

/// The guide's checklist, word for word, and what is added to it.
const GUIDE: [&[&str]; 4] = [
    &[
        "Prometheus scraping migration metrics",
        "Grafana dashboard accessible",
        "Alert rules configured",
        "Log aggregation working",
        "Baseline metrics captured (normal operation)",
    ],
    &[
        "Progress metric increasing (bulk copy)",
        "Sync lag acceptable (dual-write)",
        "No target write failures",
        "Latency within SLA",
        "No alerts firing",
    ],
    &[
        "Watch cutover_pause_duration closely",
        "Monitor blocked_writers count",
        "Verify cutover completes < timeout",
        "Check no errors in logs",
        "Verification passed",
    ],
    &[
        "Migration state is MIGRATED",
        "No active alerts",
        "Tenant reads/writes working",
        "Latency back to baseline",
        "Clean up monitoring for completed migration",
        "Verification passed",
    ],
];

fn latency(p99_ms: f64) -> Latency {
    Latency { p50_ms: p99_ms / 4.0, p99_ms, from: "this process" }
}

fn baseline(append_p99_ms: Option<f64>) -> Baseline {
    Baseline {
        taken_at: Time(0),
        state: "pending".to_owned(),
        events_per_s: 40.0,
        window_seconds: 60.0,
        append_p50_ms: append_p99_ms,
        append_p99_ms,
        latency_from: None,
        remark: None,
    }
}

fn all_rules() -> Vec<Rule> {
    let names = [
        "MigrationBulkCopyStuck",
        "MigrationHighSyncLag",
        "MigrationTargetWriteFailures",
        "MigrationCutoverSlow",
        "MigrationFailed",
        "MigrationHighDualWriteLatency",
    ];
    names.map(|name| Rule { name: name.to_owned(), healthy: true }).into()
}

fn alert(name: &str, migration_id: Option<MigrationId>, tenant_id: Option<TenantId>) -> Alert {
    Alert {
        name: name.to_owned(),
        migration_id: migration_id.map(|id| id.to_string()),
        tenant_id: tenant_id.map(|id| id.to_string()),
    }
}

fn before() -> Before {
    Before {
        scrapes: scrapes(Asked::Answered(Some(4.0)), Some(Asked::Answered(Some(4.0)))),
        dashboards: Asked::Answered(Some(vec![])),
        rules: Asked::Answered(all_rules()),
        lines: Asked::Answered(3),
        line_expected: true,
        baseline: Some(baseline(Some(4.0))),
    }
}

fn scrapes(of_process: Asked<Option<f64>>, of_migration: Option<Asked<Option<f64>>>) -> Scrapes {
    let read = Some(Duration::from_secs(1));
    Scrapes { this_process: true, of_process, of_migration, read }
}

fn during() -> During {
    During {
        id: ID,
        tenant: TENANT,
        phase: Phase::DualWrite,
        violated: None,
        copying: None,
        lag: Ok(1_000),
        mirrored: Counts { attempted: 10, failed: 0 },
        latency: Ok(latency(100.0)),
        latency_max_ms: 100,
        alerts: Asked::Answered(vec![]),
    }
}

fn cutover() -> CuttingOver {
    CuttingOver {
        cutovers: vec![Cutover {
            pause: Duration::from_millis(12),
            deadline: Duration::from_secs(5),
            end: Some(CutoverOutcome::Succeeded),
        }],
        blocked_here: None,
        blocked_anywhere: Asked::Answered(Some(0.0)),
        errors: Asked::Answered(0),
        failures: vec![],
        verified: Some(verified(0)),
    }
}

fn verified(violations: u64) -> Verified {
    Verified { level: Level::Hash, seq: 7, violations, at: Timestamp::from_micros(0) }
}

fn after() -> After {
    After {
        id: ID,
        tenant: TENANT,
        phase: Phase::Migrated,
        verified: Some(verified(0)),
        violated: None,
        alerts: Asked::Answered(vec![]),
        read: Ok(7),
        writable: Ok("store \"b\"".to_owned()),
        baseline: Some(baseline(Some(8.0))),
        latency: Ok(latency(10.0)),
        over_for: Some(Duration::from_secs(1_000)),
        retention: Duration::from_secs(900),
        series: Asked::Answered(None),
    }
}

fn statuses(items: &[ChecklistItem]) -> Vec<ItemStatus> {
    items.iter().map(|item| item.status).collect()
}

/// The item that differs from a checklist where all pass.
fn only(items: &[ChecklistItem], index: usize) -> (ItemStatus, &str) {
    for (at, item) in items.iter().enumerate().filter(|(at, _)| *at != index) {
        assert_eq!(item.status, Pass, "{at}: {}", item.why);
    }
    assert!(!items[index].why.is_empty());
    (items[index].status, &items[index].why)
}

#[test]
fn the_texts_are_the_guides_and_all_can_pass() {
    let lists = [
        judge::before(&before()),
        judge::during(&during()),
        judge::cutover(&cutover()),
        judge::after(&after()),
    ];
    for (items, texts) in lists.iter().zip(GUIDE) {
        let found: Vec<_> = items.iter().map(|item| item.text.as_str()).collect();
        assert_eq!(found, texts);
        assert_eq!(statuses(items), vec![Pass; texts.len()]);
    }
}

#[test]
fn what_is_not_configured_is_not_known() {
    let prometheus = || "prometheus_url";
    let seen = Before {
        scrapes: scrapes(Asked::NotConfigured(prometheus()), None),
        dashboards: Asked::NotConfigured("grafana_url"),
        rules: Asked::NotConfigured(prometheus()),
        lines: Asked::NotConfigured("loki_url"),
        line_expected: false,
        baseline: None,
    };
    let items = judge::before(&seen);
    assert_eq!(statuses(&items), [Unknown; 5]);
    assert!(items[1].why.contains("monitoring.grafana_url is not configured"));
    let alerts = || Asked::NotConfigured(prometheus());
    assert_eq!(only(&judge::during(&During { alerts: alerts(), ..during() }), 4).0, Unknown);
    assert_eq!(only(&judge::after(&After { alerts: alerts(), ..after() }), 1).0, Unknown);
    let errors = Asked::NotConfigured("loki_url");
    let items = judge::cutover(&CuttingOver { errors, ..cutover() });
    let (status, why) = only(&items, 3);
    assert_eq!(status, Unknown);
    assert!(why.contains("own log has no failure"), "{why}");
}

#[test]
fn a_scrape_counts_while_it_goes_on() {
    let judged = |of_process, of_migration| {
        let scrapes = scrapes(of_process, of_migration);
        let items = judge::before(&Before { scrapes, ..before() });
        (only(&items, 0).0, items[0].why.clone())
    };
    let fresh = || Asked::Answered(Some(60.0));
    let (old, none) = (|| Asked::Answered(Some(61.0)), || Asked::Answered(None));
    assert_eq!(judged(fresh(), None).0, Pass);
    assert_eq!(judged(fresh(), Some(fresh())).0, Pass);
    // Another server is scraped, or this one is and exports nothing of the migration.
    for (of_process, of_migration, what) in [
        (none(), Some(fresh()), "no sample of this process"),
        (old(), Some(fresh()), "last sample of this process"),
        (fresh(), Some(none()), "no sample of this migration"),
        (fresh(), Some(old()), "last sample of this migration"),
        (Asked::Failed("refused".to_owned()), None, "refused"),
    ] {
        let (status, why) = judged(of_process, of_migration);
        assert_eq!(status, Fail, "{why}");
        assert!(why.contains(what), "{why}");
    }
    // The reader of this process's metrics is not known to be a Prometheus.
    let (status, why) = judged(Asked::NotConfigured("prometheus_url"), None);
    assert_eq!(status, Unknown);
    assert!(why.contains("1 s ago"), "{why}");
}

#[test]
fn dashboards_rules_and_lines_have_to_be_there() {
    let judged = |dashboards| only(&judge::before(&Before { dashboards, ..before() }), 1).0;
    assert_eq!(judged(Asked::Answered(Some(vec!["Migration Overview"]))), Fail);
    assert_eq!(judged(Asked::Answered(None)), Unknown);
    assert_eq!(judged(Asked::Failed("no route".to_owned())), Fail);

    let judged = |rules| only(&judge::before(&Before { rules, ..before() }), 2).0;
    let mut five = all_rules();
    five.pop();
    assert_eq!(judged(Asked::Answered(five)), Fail);
    let mut broken = all_rules();
    broken[0].healthy = false;
    assert_eq!(judged(Asked::Answered(broken)), Fail);

    let judged = |lines, line_expected| {
        only(&judge::before(&Before { lines, line_expected, ..before() }), 3).0
    };
    assert_eq!(judged(Asked::Answered(0), true), Fail);
    assert_eq!(judged(Asked::Answered(0), false), Unknown);
    assert_eq!(judged(Asked::Failed("refused".to_owned()), true), Fail);

    let judged = |baseline| only(&judge::before(&Before { baseline, ..before() }), 4).0;
    assert_eq!(judged(None), Fail);
    assert_eq!(judged(Some(baseline(None))), Unknown);
}

#[test]
fn a_copy_increases_or_was_still_for_less_than_a_minute() {
    let judged = |still, grown| {
        let copying = Some(Copying { still: Duration::from_secs(still), grown });
        judge::during(&During { phase: Phase::BulkCopy, copying, ..during() })[0].status
    };
    assert_eq!(judged(0, 0), Pass);
    assert_eq!(judged(59, 0), Pass);
    assert_eq!(judged(60, 0), Fail);
    assert_eq!(judged(3_600, 1), Pass);
    let phase = |phase| judge::during(&During { phase, ..during() })[0].status;
    assert_eq!(phase(Phase::Paused), Unknown);
    assert_eq!(phase(Phase::Failed), Fail);
}

#[test]
fn lag_failures_and_latency_have_bounds() {
    let items = judge::during(&During { lag: Ok(1_001), ..during() });
    assert_eq!(only(&items, 1).0, Fail);
    let items = judge::during(&During { lag: Err("down".to_owned()), ..during() });
    assert_eq!(only(&items, 1), (Unknown, "down"));
    let mirrored = Counts { attempted: 10, failed: 1 };
    let items = judge::during(&During { mirrored, ..during() });
    assert_eq!(only(&items, 2), (Fail, "1 of 10 in the last 5 minutes"));
    let items = judge::during(&During { latency: Ok(latency(100.1)), ..during() });
    assert_eq!(only(&items, 3).0, Fail);
    let items = judge::during(&During { latency: Err("nobody knows".to_owned()), ..during() });
    assert_eq!(only(&items, 3), (Unknown, "nobody knows"));
}

#[test]
fn only_alerts_that_concern_the_migration_count() {
    let other_id = MigrationId::new(Uuid::from_u128(8));
    let other_tenant = TenantId::new(Uuid::from_u128(9));
    let firing =
        |alerts| only(&judge::during(&During { alerts: Asked::Answered(alerts), ..during() }), 4).0;
    assert_eq!(firing(vec![alert("MigrationFailed", Some(ID), None)]), Fail);
    assert_eq!(firing(vec![alert("MigrationHighSyncLag", None, Some(TENANT))]), Fail);
    assert_eq!(firing(vec![alert("MigrationExporterGone", None, None)]), Fail);
    assert_eq!(firing(vec![alert("MigrationFailed", Some(other_id), Some(TENANT))]), Pass);
    assert_eq!(firing(vec![alert("MigrationHighSyncLag", None, Some(other_tenant))]), Pass);
    assert_eq!(firing(vec![alert("NodeDiskFull", None, None)]), Pass);
    let items = judge::during(&During { alerts: Asked::Failed("refused".to_owned()), ..during() });
    assert_eq!(only(&items, 4), (Unknown, "refused"));
}

#[test]
fn a_cutover_is_judged_by_its_deadline() {
    let judged = |ms, end| {
        let deadline = Duration::from_secs(5);
        let cutovers = vec![Cutover { pause: Duration::from_millis(ms), deadline, end }];
        let items = judge::cutover(&CuttingOver { cutovers, ..cutover() });
        (items[0].status, items[2].status)
    };
    assert_eq!(judged(5_000, Some(CutoverOutcome::Succeeded)), (Pass, Pass));
    assert_eq!(judged(5_001, Some(CutoverOutcome::TimedOut)), (Fail, Fail));
    assert_eq!(judged(20, Some(CutoverOutcome::RolledBack)), (Pass, Fail));
    assert_eq!(judged(20, None), (Pass, Unknown));
    assert_eq!(judged(5_001, None), (Fail, Fail));
    let items = judge::cutover(&CuttingOver { cutovers: vec![], ..cutover() });
    assert_eq!(statuses(&items), [Unknown, Pass, Unknown, Pass, Pass]);
}

#[test]
fn blocked_writers_are_for_a_cutover_that_is_under_way() {
    let under_way = || {
        let end = None;
        vec![Cutover { pause: Duration::ZERO, deadline: Duration::from_secs(5), end }]
    };
    let judged = |cutovers, blocked_anywhere, blocked_here| {
        let seen = CuttingOver { cutovers, blocked_here, blocked_anywhere, ..cutover() };
        judge::cutover(&seen)[1].status
    };
    assert_eq!(judged(under_way(), Asked::Answered(Some(8.0)), None), Pass);
    assert_eq!(judged(cutover().cutovers, Asked::Answered(Some(8.0)), None), Fail);
    let not_configured = || Asked::NotConfigured("prometheus_url");
    assert_eq!(judged(cutover().cutovers, not_configured(), Some(0)), Pass);
    assert_eq!(judged(cutover().cutovers, not_configured(), Some(2)), Fail);
    assert_eq!(judged(cutover().cutovers, not_configured(), None), Unknown);
    assert_eq!(judged(cutover().cutovers, Asked::Answered(None), None), Unknown);
}

#[test]
fn errors_are_found_in_the_log_store_and_in_the_migrations_log() {
    let items = judge::cutover(&CuttingOver { errors: Asked::Answered(2), ..cutover() });
    assert_eq!(only(&items, 3).0, Fail);
    let failures = vec!["a cutover was rolled back: no".to_owned()];
    let items = judge::cutover(&CuttingOver { failures, ..cutover() });
    assert_eq!(only(&items, 3).0, Fail);
}

#[test]
fn a_tenant_works_when_it_can_be_read_and_written() {
    let items = judge::after(&After { phase: Phase::RolledBack, ..after() });
    assert_eq!(only(&items, 0), (Fail, "is rolled_back"));
    let items = judge::after(&After { read: Err("no".to_owned()), ..after() });
    assert_eq!(only(&items, 2), (Fail, "a read failed: no"));
    let items = judge::after(&After { writable: Err("is fenced".to_owned()), ..after() });
    assert_eq!(only(&items, 2), (Fail, "is fenced"));
}

#[test]
fn a_latency_is_back_within_a_quarter_or_a_millisecond() {
    let judged = |before, now| {
        let baseline = Some(baseline(before));
        only(&judge::after(&After { baseline, latency: Ok(latency(now)), ..after() }), 3).0
    };
    assert_eq!(judged(Some(8.0), 10.0), Pass);
    assert_eq!(judged(Some(8.0), 10.1), Fail);
    assert_eq!(judged(Some(0.5), 1.5), Pass);
    assert_eq!(judged(Some(0.5), 1.6), Fail);
    assert_eq!(judged(None, 1.0), Unknown);
    let items = judge::after(&After { latency: Err("nobody".to_owned()), ..after() });
    assert_eq!(only(&items, 3).0, Unknown);
}

#[test]
fn the_series_are_gone_once_the_retention_is_over() {
    let judged = |series, over_for: Option<u64>| {
        let over_for = over_for.map(Duration::from_secs);
        let items = judge::after(&After { over_for, series, ..after() });
        let (status, why) = only(&items, 4);
        (status, why.to_owned())
    };
    let (status, why) = judged(Asked::Answered(Some(5.0)), Some(600));
    assert_eq!(status, Fail);
    assert!(why.contains("another 300 s"), "{why}");
    assert_eq!(judged(Asked::Answered(Some(5.0)), Some(901)).0, Fail);
    assert_eq!(judged(Asked::Answered(None), Some(901)).0, Pass);
    assert_eq!(judged(Asked::NotConfigured("prometheus_url"), Some(901)).0, Unknown);
    assert_eq!(judged(Asked::Answered(None), None).0, Fail);
    let alerts = Asked::Answered(vec![alert("MigrationFailed", Some(ID), None)]);
    let items = judge::after(&After { alerts, ..after() });
    assert_eq!(statuses(&items), [Pass, Fail, Pass, Pass, Fail, Pass]);
}

#[test]
fn the_last_verification_tells_its_level_and_what_it_found() {
    let judged = |verified| {
        let during = judge::cutover(&CuttingOver { verified, ..cutover() });
        let after = judge::after(&After { verified, ..after() });
        assert_eq!(only(&during, 4), only(&after, 5));
        (during[4].status, during[4].why.clone())
    };
    let passed = "level hash up to event 7 found no violation, at 1970-01-01T00:00:00.000000Z";
    assert_eq!(judged(Some(verified(0))), (Pass, passed.to_owned()));
    let (status, why) = judged(Some(verified(3)));
    assert_eq!(status, Fail);
    assert!(why.contains("found 3 violations"), "{why}");
    assert_eq!(judged(None).0, Unknown);
}

/// Whatever the tools say, or if there are none.
#[test]
fn no_checklist_passes_while_a_violation_is_open() {
    let violated = || Some("1 open violation (hash), the first: missing at seq 7".to_owned());
    for alerts in [Asked::Answered(vec![]), Asked::NotConfigured("prometheus_url")] {
        let items = judge::during(&During { violated: violated(), alerts, ..during() });
        assert_eq!(only(&items, 4).0, Fail);
        assert!(items[4].why.contains("missing at seq 7"), "{}", items[4].why);
    }
    let items = judge::after(&After { violated: violated(), ..after() });
    assert_eq!(only(&items, 1).0, Fail);
}
