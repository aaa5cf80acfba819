use rehome_domain::ids::MigrationId;
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn before(time: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.micros() - i64::try_from(time.as_micros()).unwrap())
}

fn one(standing: Standing) -> Observed {
    Observed {
        id: MigrationId::new(Uuid::from_u128(7)),
        standing,
        violations: 0,
        mirrored: Counts::default(),
        unattended_since: None,
        waiting: None,
        lease_ahead: Duration::ZERO,
    }
}

fn said(migrations: Vec<Observed>) -> HealthReport {
    let seen = Observations { now: NOW, migrations, ..Observations::default() };
    report(&seen, &Thresholds::default())
}

fn copying(still: Duration) -> HealthReport {
    said(vec![one(Standing::Copying { last_progress: before(still) })])
}

fn level() -> Standing {
    Standing::Mirroring { lag: Some(Lag { events: 0, age: None }) }
}

fn mirroring(events: u64, age: Option<Duration>, mirrored: Counts) -> HealthReport {
    let lag = Some(Lag { events, age });
    said(vec![Observed { mirrored, ..one(Standing::Mirroring { lag }) }])
}

#[test]
fn nothing_at_all_is_healthy() {
    let report = said(vec![]);
    assert_eq!(report.status, HealthStatus::Healthy);
    assert_eq!((report.active_migrations, report.details.len()), (0, 0));
    assert!(report.target_write_failure_rate.abs() < f64::EPSILON);
}

#[test]
fn a_copy_is_stuck_after_exactly_15_minutes() {
    let bound = Duration::from_secs(900);
    let report = copying(bound.checked_sub(Duration::from_micros(1)).unwrap());
    assert_eq!((report.status, report.stuck_migrations), (HealthStatus::Healthy, 0));
    let report = copying(bound);
    assert_eq!((report.status, report.stuck_migrations), (HealthStatus::Unhealthy, 1));
    assert!(report.details[0].contains("for 15 minutes"), "{:?}", report.details);
}

#[test]
fn what_is_paused_or_in_another_phase_is_never_stuck() {
    let report = said(vec![one(Standing::Waiting), one(level()), one(Standing::InWindow)]);
    assert_eq!((report.status, report.stuck_migrations), (HealthStatus::Healthy, 0));
    assert_eq!(report.active_migrations, 2, "a migration in its window is over");
}

#[test]
fn a_clock_that_is_behind_the_mark_makes_nothing_stuck() {
    let ahead = Timestamp::from_micros(NOW.micros() + 3_600_000_000);
    let report = said(vec![one(Standing::Copying { last_progress: ahead })]);
    assert_eq!((report.status, report.stuck_migrations), (HealthStatus::Degraded, 0));
    assert!(report.details[0].contains("dated 3600 s in the future"), "{:?}", report.details);
    let ahead = Timestamp::from_micros(NOW.micros() + 59_000_000);
    let report = said(vec![one(Standing::Copying { last_progress: ahead })]);
    assert_eq!(report.status, HealthStatus::Healthy);
}

#[test]
fn a_lag_is_high_above_1000_events() {
    let report = mirroring(1_000, None, Counts::default());
    assert_eq!((report.status, report.high_sync_lag_count), (HealthStatus::Healthy, 0));
    let report = mirroring(1_001, None, Counts::default());
    assert_eq!((report.status, report.high_sync_lag_count), (HealthStatus::Degraded, 1));
    let id = Uuid::from_u128(7);
    assert_eq!(report.details, [format!("Migration {id}: sync lag 1001 events")]);
    let report = mirroring(40_050, Some(Duration::from_secs(7)), Counts::default());
    let said = format!("Migration {id}: sync lag 40050 events, as last known 7 s ago");
    assert_eq!((report.high_sync_lag_count, report.details), (1, vec![said]));
}

#[test]
fn failures_degrade_above_1_percent_and_are_unhealthy_above_10() {
    for (failed, expected) in [
        (0, HealthStatus::Healthy),
        (10, HealthStatus::Healthy),
        (11, HealthStatus::Degraded),
        (100, HealthStatus::Degraded),
        (101, HealthStatus::Unhealthy),
        (1_000, HealthStatus::Unhealthy),
    ] {
        let report = mirroring(0, None, Counts { attempted: 1_000, failed });
        assert_eq!(report.status, expected, "{failed}");
        assert!((report.target_write_failure_rate - failed as f64 / 1_000.0).abs() < 1e-12);
        assert_eq!(report.details.is_empty(), expected == HealthStatus::Healthy);
    }
}

#[test]
fn the_failure_rate_is_that_of_all_mirrors_together() {
    let mirrored = [Counts { attempted: 10, failed: 5 }, Counts { attempted: 90, failed: 0 }];
    let report = said(mirrored.map(|mirrored| Observed { mirrored, ..one(level()) }).into());
    assert!((report.target_write_failure_rate - 0.05).abs() < 1e-12);
    assert_eq!((report.status, report.details.len()), (HealthStatus::Degraded, 1));
}

#[test]
fn a_cutover_degrades_past_its_deadline() {
    let deadline = Duration::from_secs(5);
    let after =
        |time| said(vec![one(Standing::CuttingOver { since: before(time), deadline })]).status;
    assert_eq!(after(deadline), HealthStatus::Healthy);
    assert_eq!(after(deadline + Duration::from_millis(1)), HealthStatus::Degraded);
}

#[test]
fn a_failure_degrades_until_it_is_acknowledged() {
    let failed = |acknowledged, violations| {
        let error = "the disk is full".to_owned();
        said(vec![Observed { violations, ..one(Standing::Failed { acknowledged, error }) }])
    };
    let report = failed(false, 0);
    assert_eq!((report.status, report.active_migrations), (HealthStatus::Degraded, 0));
    assert!(report.details[0].contains("the disk is full"));
    assert_eq!(failed(false, 3).details.len(), 2);
    assert_eq!(failed(true, 3).status, HealthStatus::Healthy);
}

#[test]
fn open_violations_degrade() {
    let report = said(vec![Observed { violations: 1, ..one(level()) }]);
    assert_eq!(report.status, HealthStatus::Degraded);
    assert!(report.details[0].contains("1 open violation, "));
}

#[test]
fn work_that_nobody_does_degrades_after_a_moment() {
    let bound = Duration::from_secs(10);
    let left = |time| {
        let unattended_since = Some(before(time));
        said(vec![Observed { unattended_since, ..one(Standing::Waiting) }]).status
    };
    let almost = bound.checked_sub(Duration::from_micros(1)).unwrap();
    assert_eq!(left(almost), HealthStatus::Healthy);
    assert_eq!(left(bound), HealthStatus::Degraded);
}

#[test]
fn a_store_that_does_not_answer_degrades_and_a_worse_finding_stays() {
    let migrations = vec![one(Standing::Copying { last_progress: NOW })];
    let unanswered = vec!["store \"b\" did not answer within 2 s".to_owned()];
    let mut seen = Observations {
        now: NOW,
        migrations,
        unanswered: unanswered.clone(),
        ..Observations::default()
    };
    let report = super::report(&seen, &Thresholds::default());
    assert_eq!((report.status, &report.details), (HealthStatus::Degraded, &unanswered));
    let last_progress = Timestamp::from_micros(0);
    seen.migrations[0].standing = Standing::Copying { last_progress };
    let report = super::report(&seen, &Thresholds::default());
    assert_eq!((report.status, report.details.len()), (HealthStatus::Unhealthy, 2));
}

#[test]
fn a_log_that_is_not_as_it_was_recorded_is_unhealthy() {
    let broken_logs = vec!["the chain is broken".to_owned()];
    let seen = Observations { broken_logs: broken_logs.clone(), ..Observations::default() };
    let report = super::report(&seen, &Thresholds::default());
    assert_eq!((report.status, report.details), (HealthStatus::Unhealthy, broken_logs));
}

#[test]
fn a_removal_that_stands_still_degrades() {
    let removals = vec!["its removal is not complete".to_owned()];
    let seen = Observations { removals: removals.clone(), ..Observations::default() };
    let report = super::report(&seen, &Thresholds::default());
    assert_eq!((report.status, report.details), (HealthStatus::Degraded, removals));
}

#[test]
fn a_check_that_failed_is_unhealthy_and_says_why() {
    let report = unknown("the control plane cannot be reached");
    assert_eq!(report.status.http_status(), 503);
    assert_eq!(report.details, ["the control plane cannot be reached"]);
}
