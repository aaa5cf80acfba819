//! The six alerts of the guide, with the guide's own series only, from any job and instance.

use serde_json::json;

use crate::scene::Scene;

const STATE: &str =
    "migration_state{migration_id=\"m\",tenant_id=\"t\",job=\"api\",instance=\"a\"}";
const COPIED: &str = "migration_events_copied_total{migration_id=\"m\",tenant_id=\"t\",job=\"worker\",instance=\"b\"}";
const LAG: &str = "dual_write_sync_lag_events{tenant_id=\"t\",job=\"worker\",instance=\"b\"}";
const FAILURES: &str =
    "dual_write_target_failures_total{tenant_id=\"t\",job=\"worker\",instance=\"b\"}";

const STUCK: &str = "MigrationBulkCopyStuck";
const HIGH_LAG: &str = "MigrationHighSyncLag";
const WRITE_FAILURES: &str = "MigrationTargetWriteFailures";
const SLOW: &str = "MigrationCutoverSlow";
const FAILED: &str = "MigrationFailed";
const LATENCY: &str = "MigrationHighDualWriteLatency";

const WARNS_M: &str = "severity=\"warning\",migration_id=\"m\",tenant_id=\"t\"";
const PAGES_M: &str = "severity=\"critical\",migration_id=\"m\",tenant_id=\"t\"";
const WARNS_T: &str = "severity=\"warning\",tenant_id=\"t\"";

#[test]
fn a_stuck_copy_is_told_of_15_minutes_after_the_last_event() {
    Scene::every("1m")
        .series(STATE, "1+0x60")
        .series(COPIED, "0+100x20 2000+0x40")
        .silent("20m", STUCK)
        .silent("33m", STUCK)
        .fires("36m", STUCK, WARNS_M)
        .fires("60m", STUCK, WARNS_M)
        .check();
}

#[test]
fn a_copy_that_never_began_is_stuck_too() {
    Scene::every("15s")
        .series(STATE, "1+0x100")
        .series(COPIED, "0+0x100")
        .silent("14m", STUCK)
        .fires("16m", STUCK, WARNS_M)
        .check();
    Scene::every("15s")
        .series(STATE, "1+0x100")
        .silent("14m", STUCK)
        .fires("16m", STUCK, WARNS_M)
        .check();
}

#[test]
fn a_fresh_start_is_not_stuck_however_long_it_was_pending() {
    Scene::every("1m")
        .series(STATE, "0+0x29 1+0x30")
        .series(COPIED, "_x30 0+0x30")
        .silent("29m", STUCK)
        .silent("31m", STUCK)
        .silent("44m", STUCK)
        .fires("46m", STUCK, WARNS_M)
        .check();
}

#[test]
fn a_paused_copy_is_not_stuck_and_has_its_time_after_the_resume() {
    Scene::every("1m")
        .series(STATE, "1+0x9 7+0x49 1+0x30")
        .series(COPIED, "0+100x9 1000+0x80")
        .silent("30m", STUCK)
        .silent("59m", STUCK)
        .silent("74m", STUCK)
        .fires("76m", STUCK, WARNS_M)
        .check();
}

#[test]
fn a_slow_copy_is_not_stuck() {
    Scene::every("1m")
        .series(STATE, "1+0x60")
        .series(COPIED, "0+0x9 1+0x9 2+0x9 3+0x9 4+0x9 5+0x9")
        .silent("19m", STUCK)
        .silent("29m", STUCK)
        .silent("39m", STUCK)
        .silent("58m", STUCK)
        .check();
}

#[test]
fn a_stuck_copy_stays_stuck_when_another_process_takes_it_over() {
    let state = |instance: &str| {
        format!("migration_state{{migration_id=\"m\",tenant_id=\"t\",instance=\"{instance}\"}}")
    };
    Scene::every("1m")
        .series(&state("a"), "1+0x8 stale")
        .series(&state("b"), "_x10 1+0x30")
        .series(COPIED, "500+0x9 stale")
        .silent("14m", STUCK)
        .fires("16m", STUCK, WARNS_M)
        .check();
}

#[test]
fn a_copy_that_is_complete_is_not_stuck() {
    Scene::every("1m")
        .series(STATE, "1+0x20 2+0x20")
        .series(COPIED, "0+100x4 400+0x37")
        .fires("20m", STUCK, WARNS_M)
        .silent("21m10s", STUCK)
        .silent("40m", STUCK)
        .check();
}

#[test]
fn one_stuck_copy_among_others_is_named() {
    let of =
        |name: &str, m: &str, t: &str| format!("{name}{{migration_id=\"{m}\",tenant_id=\"{t}\"}}");
    Scene::every("1m")
        .series(&of("migration_state", "m", "t"), "1+0x30")
        .series(&of("migration_state", "n", "u"), "1+0x30")
        .series(&of("migration_events_copied_total", "m", "t"), "7+0x30")
        .series(&of("migration_events_copied_total", "n", "u"), "0+5x30")
        .fires("20m", STUCK, WARNS_M)
        .check();
}

#[test]
fn a_high_lag_is_told_of_in_dual_write_only() {
    Scene::every("15s")
        .series(STATE, "2+0x40")
        .series(LAG, "1500+0x40")
        .silent("4m", HIGH_LAG)
        .fires("6m", HIGH_LAG, WARNS_T)
        .check();
    for state in ["1+0x40", "3+0x40", "4+0x40", "7+0x40", "_x40"] {
        Scene::every("15s")
            .series(STATE, state)
            .series(LAG, "1500+0x40")
            .silent("6m", HIGH_LAG)
            .silent("10m", HIGH_LAG)
            .check();
    }
}

#[test]
fn a_lag_within_bounds_or_for_a_short_time_is_fine() {
    Scene::every("15s")
        .series(STATE, "2+0x80")
        .series(LAG, "1000+0x80")
        .silent("15m", HIGH_LAG)
        .check();
    Scene::every("15s")
        .series(STATE, "2+0x80")
        .series(LAG, "5000+0x16 3+0x60")
        .silent("4m", HIGH_LAG)
        .silent("8m", HIGH_LAG)
        .check();
}

#[test]
fn an_earlier_migration_of_the_tenant_hides_no_lag() {
    let earlier = "migration_state{migration_id=\"earlier\",tenant_id=\"t\",instance=\"c\"}";
    Scene::every("15s")
        .series(earlier, "6+0x40")
        .series(STATE, "2+0x40")
        .series(LAG, "1500+0x40")
        .fires("6m", HIGH_LAG, WARNS_T)
        .check();
}

#[test]
fn one_burst_of_failures_between_two_scrapes_is_told_of_and_forgotten() {
    Scene::every("15s")
        .series(FAILURES, "0+0x19 40+0x200")
        .silent("4m", WRITE_FAILURES)
        .fires("5m30s", WRITE_FAILURES, WARNS_T)
        .fires("15m", WRITE_FAILURES, WARNS_T)
        .silent("21m", WRITE_FAILURES)
        .check();
}

#[test]
fn a_rare_but_steady_failure_is_told_of_all_the_time() {
    Scene::every("1m")
        .series(FAILURES, "0+0x4 1+0x9 2+0x9 3+0x9 4+0x9 5+0x9")
        .silent("4m", WRITE_FAILURES)
        .fires("10m", WRITE_FAILURES, WARNS_T)
        .fires("14m", WRITE_FAILURES, WARNS_T)
        .fires("24m", WRITE_FAILURES, WARNS_T)
        .fires("34m", WRITE_FAILURES, WARNS_T)
        .fires("50m", WRITE_FAILURES, WARNS_T)
        .check();
}

#[test]
fn failures_of_a_series_born_above_zero_are_told_of() {
    Scene::every("15s")
        .series(FAILURES, "_x20 3+0x200")
        .silent("4m", WRITE_FAILURES)
        .fires("5m30s", WRITE_FAILURES, WARNS_T)
        .silent("25m", WRITE_FAILURES)
        .check();
}

#[test]
fn failures_after_a_restart_count_and_old_ones_do_not_come_back() {
    Scene::every("1m")
        .series(FAILURES, "50+0x80 0+0x1 3+0x20")
        .silent("80m", WRITE_FAILURES)
        .fires("85m", WRITE_FAILURES, WARNS_T)
        .check();
    // Ten minutes without a scrape.
    Scene::every("1m")
        .series(FAILURES, "50+0x59 _x10 50+0x60")
        .silent("72m", WRITE_FAILURES)
        .silent("78m", WRITE_FAILURES)
        .silent("83m", WRITE_FAILURES)
        .check();
}

#[test]
fn no_failure_is_no_alert() {
    Scene::every("15s")
        .series(FAILURES, "0+0x100")
        .silent("1m", WRITE_FAILURES)
        .silent("20m", WRITE_FAILURES)
        .check();
}

#[test]
fn a_cutover_is_slow_after_30_seconds() {
    Scene::every("5s")
        .series(STATE, "2+0x11 3+0x20 4+0x20")
        .silent("85s", SLOW)
        .fires("105s", SLOW, PAGES_M)
        // Ended, and reported as such: at once.
        .silent("180s", SLOW)
        .check();
}

#[test]
fn a_cutover_that_ends_in_time_is_not_slow() {
    Scene::every("5s")
        .series(STATE, "2+0x11 3+0x3 2+0x11 3+0x3 4+0x40")
        .silent("60s", SLOW)
        .silent("80s", SLOW)
        .silent("140s", SLOW)
        .silent("200s", SLOW)
        .check();
}

#[test]
fn a_failed_migration_is_told_of_while_its_state_is() {
    Scene::every("10s")
        .series(STATE, "2+0x5 5+0x90 stale")
        .silent("90s", FAILED)
        .fires("130s", FAILED, PAGES_M)
        .fires("15m", FAILED, PAGES_M)
        // The retention has passed, and it is no process that is started again.
        .silent("17m30s", FAILED)
        .check();
    for state in ["4+0x60", "6+0x60", "7+0x60"] {
        Scene::every("10s").series(STATE, state).silent("5m", FAILED).check();
    }
}

/// A histogram of the dual write's latency: `fast` writes take 5 ms each minute, `slow` ones half a second.
fn latency(scene: Scene, tenant: &str, instance: &str, fast: u32, slow: u32) -> Scene {
    let all = fast + slow;
    let buckets = [("0.005", fast), ("0.1", fast), ("0.25", fast), ("0.5", all), ("+Inf", all)];
    buckets.into_iter().fold(scene, |scene, (le, each)| {
        let labels = format!("tenant_id=\"{tenant}\",instance=\"{instance}\",le=\"{le}\"");
        scene.series(
            &format!("dual_write_latency_seconds_bucket{{{labels}}}"),
            &format!("0+{each}x30"),
        )
    })
}

#[test]
fn the_latency_is_that_of_a_tenant_over_all_instances() {
    let mut scene = Scene::every("1m");
    // Slow in one process, where hardly any of its writes are.
    scene = latency(scene, "fine", "a", 1_000, 0);
    scene = latency(scene, "fine", "b", 0, 5);
    // Fine in one process, and slow together.
    scene = latency(scene, "t", "a", 1_000, 0);
    scene = latency(scene, "t", "b", 0, 20);
    scene.silent("5m", LATENCY).fires("10m", LATENCY, WARNS_T).check();
}

#[test]
fn no_writes_have_no_latency() {
    latency(Scene::every("1m"), "t", "a", 0, 0).silent("20m", LATENCY).check();
}

#[test]
fn the_annotations_are_the_guides() {
    let m = |severity: &str| json!({"severity": severity, "migration_id": "m", "tenant_id": "t"});
    let t = json!({"severity": "warning", "tenant_id": "t"});
    Scene::every("1m")
        .series(STATE, "1+0x30")
        .says(
            "20m",
            STUCK,
            &m("warning"),
            ["Migration m stuck in bulk copy", "No events copied in the last 15 minutes"],
        )
        .check();
    Scene::every("15s")
        .series(STATE, "2+0x80")
        .series(LAG, "1500+0x80")
        .series(FAILURES, "0+1x80")
        .says("10m", HIGH_LAG, &t, ["High sync lag for tenant t", "Sync lag is 1500 events"])
        .says(
            "10m",
            WRITE_FAILURES,
            &t,
            ["Target write failures for tenant t", "Target store write failures detected"],
        )
        .check();
    Scene::every("10s")
        .series(STATE, "3+0x30")
        .says(
            "2m",
            SLOW,
            &m("critical"),
            [
                "Migration m cutover taking too long",
                "Cutover has been paused for more than 30 seconds",
            ],
        )
        .check();
    Scene::every("10s")
        .series(STATE, "5+0x30")
        .says(
            "3m",
            FAILED,
            &m("critical"),
            ["Migration m failed", "Migration has entered failed state"],
        )
        .check();
    latency(Scene::every("1m"), "t", "a", 0, 100)
        .says(
            "15m",
            LATENCY,
            &t,
            ["High dual-write latency for tenant t", "p99 latency is 0.4975s"],
        )
        .check();
}
