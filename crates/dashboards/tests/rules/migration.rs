//! The further alerts about migrations and tenants.

use crate::scene::Scene;

const STATE: &str = "migration_state{migration_id=\"m\",tenant_id=\"t\",job=\"j\",instance=\"a\"}";
const WARNS_M: &str = "severity=\"warning\",migration_id=\"m\"";
const PAGES_M: &str = "severity=\"critical\",migration_id=\"m\"";
const WARNS_BOTH: &str = "severity=\"warning\",migration_id=\"m\",tenant_id=\"t\"";
const PAGES_BOTH: &str = "severity=\"critical\",migration_id=\"m\",tenant_id=\"t\"";
const WARNS_T: &str = "severity=\"warning\",tenant_id=\"t\"";
const PAGES_T: &str = "severity=\"critical\",tenant_id=\"t\"";

#[test]
fn a_cutover_timeout_is_told_of_for_15_minutes() {
    let timeouts = "cutover_timeout_total{migration_id=\"m\",instance=\"a\"}";
    let alert = "MigrationCutoverTimeout";
    Scene::every("15s")
        .series(timeouts, "0+0x19 1+0x200")
        .silent("4m", alert)
        .fires("6m", alert, WARNS_M)
        .silent("25m", alert)
        .check();
    Scene::every("15s").series(timeouts, "_x20 1+0x100").fires("6m", alert, WARNS_M).check();
}

#[test]
fn writers_that_wait_at_every_scrape_are_told_of_whoever_they_ask() {
    let blocked = |instance: &str| {
        format!("cutover_blocked_writers{{migration_id=\"m\",instance=\"{instance}\"}}")
    };
    let alert = "MigrationWritersBlocked";
    Scene::every("5s")
        .series(&blocked("a"), "0+0x12 3+0x2 0+0x20")
        .series(&blocked("b"), "0+0x15 2+0x20")
        .silent("60s", alert)
        .fires("90s", alert, PAGES_M)
        .check();
    // Seen waiting once: a cutover as it should be.
    Scene::every("5s")
        .series(&blocked("a"), "0+0x11 9 0+0x30")
        .series(&blocked("b"), "0+0x40")
        .silent("60s", alert)
        .silent("70s", alert)
        .silent("90s", alert)
        .check();
}

#[test]
fn violations_are_told_of_while_they_are_open_and_when_they_were_found() {
    let found = "verification_violations_total{migration_id=\"m\",type=\"content\"}";
    let open = "verification_open_violations{migration_id=\"m\"}";
    let alert = "MigrationVerificationViolations";
    Scene::every("15s")
        .series(found, "0+0x19 2+0x200")
        .series(open, "0+0x19 2+0x200")
        .silent("4m", alert)
        .fires("5m30s", alert, PAGES_M)
        .fires("50m", alert, PAGES_M)
        .check();
    // Repaired since.
    Scene::every("15s")
        .series(found, "0+0x19 2+0x200")
        .series(open, "0+0x19 2+0x10 0+0x190")
        .fires("10m", alert, PAGES_M)
        .silent("25m", alert)
        .check();
    // Visible in the counter only, from its first scrape on.
    Scene::every("15s").series(found, "_x20 1+0x100").fires("6m", alert, PAGES_M).check();
    Scene::every("15s")
        .series(found, "0+0x100")
        .series(open, "0+0x100")
        .silent("20m", alert)
        .check();
}

#[test]
fn a_long_pause_and_a_long_wait_for_the_start_are_told_of() {
    let since = "migration_state_since_timestamp_seconds{migration_id=\"m\",tenant_id=\"t\",job=\"j\",instance=\"a\"}";
    let (paused, pending) = ("MigrationPausedLong", "MigrationPendingLong");
    Scene::every("1m")
        .series(STATE, "0+0x20 7+0x70 1+0x5")
        .series(since, "0+0x20 1260+0x70 5520+0x5")
        .silent("14m", pending)
        .fires("18m", pending, WARNS_BOTH)
        .silent("22m", pending)
        .silent("75m", paused)
        .fires("85m", paused, WARNS_BOTH)
        .silent("93m", paused)
        .check();
    // A process that is started again every ten minutes, and is away for three of them.
    let again = "7+0x6 stale _x2 ".repeat(8);
    Scene::every("1m")
        .series(STATE, &again)
        .series(since, &again.replace('7', "0"))
        .silent("55m", paused)
        .fires("65m", paused, WARNS_BOTH)
        .check();
}

#[test]
fn a_migration_that_nobody_works_on_is_told_of_after_two_minutes() {
    let unattended = |instance: &str| {
        format!(
            "migration_unattended{{migration_id=\"m\",tenant_id=\"t\",instance=\"{instance}\"}}"
        )
    };
    let alert = "MigrationUnattended";
    Scene::every("10s")
        .series(&unattended("a"), "0+0x5 1+0x30")
        .series(&unattended("b"), "0+0x5 1+0x30")
        .silent("2m", alert)
        .fires("4m", alert, PAGES_BOTH)
        .check();
    // Between the death of one process and the next one's takeover.
    Scene::every("10s")
        .series(&unattended("b"), "0+0x5 1+0x4 0+0x30")
        .silent("90s", alert)
        .silent("4m", alert)
        .check();
}

#[test]
fn a_switch_that_is_not_published_is_told_of_after_half_a_minute() {
    let unpublished = "migration_unpublished{migration_id=\"m\",tenant_id=\"t\",instance=\"a\"}";
    let alert = "MigrationUnpublished";
    Scene::every("10s")
        .series(unpublished, "0+0x5 1+0x30 0+0x10")
        .silent("1m10s", alert)
        .fires("2m", alert, PAGES_BOTH)
        .silent("7m", alert)
        .check();
    // The usual duration.
    Scene::every("10s")
        .series(unpublished, "0+0x5 1+0x1 0+0x30")
        .silent("80s", alert)
        .silent("3m", alert)
        .check();
}

#[test]
fn a_lost_lease_is_told_of() {
    let lost = "migration_lease_lost_total{migration_id=\"m\",instance=\"a\"}";
    let alert = "MigrationLeaseLost";
    Scene::every("15s")
        .series(lost, "0+0x19 1+0x200")
        .silent("4m", alert)
        .fires("6m", alert, WARNS_M)
        .silent("25m", alert)
        .check();
}

#[test]
fn a_migration_that_goes_from_process_to_process_is_told_of() {
    let takeovers = |instance: &str| {
        format!("migration_lease_takeovers_total{{migration_id=\"m\",instance=\"{instance}\"}}")
    };
    let alert = "MigrationLeaseFlapping";
    // Each series is born with its first takeover.
    Scene::every("15s")
        .series(&takeovers("a"), "_x8 1+0x7 2+0x200")
        .series(&takeovers("b"), "_x12 1+0x200")
        .silent("3m", alert)
        .fires("5m", alert, WARNS_M)
        .silent("25m", alert)
        .check();
    Scene::every("15s")
        .series(&takeovers("a"), "_x8 1+0x60")
        .series(&takeovers("b"), "_x12 1+0x60")
        .silent("5m", alert)
        .silent("10m", alert)
        .check();
}

#[test]
fn a_tenant_whose_writes_are_held_too_long_is_told_of() {
    let wait = |instance: &str| {
        format!("append_longest_wait_seconds{{tenant_id=\"t\",instance=\"{instance}\"}}")
    };
    let alert = "TenantWritesBlocked";
    Scene::every("10s")
        .series(&wait("a"), "0+0x100")
        .series(&wait("b"), "0+0x10 0.8 0+0x10 8 0+0x60")
        .silent("115s", alert)
        .fires("235s", alert, PAGES_T)
        .silent("300s", alert)
        .check();
    // Writers that give up after two seconds and retry: none of them waits long.
    let blocked = "append_blocked_seconds{tenant_id=\"t\",instance=\"b\"}";
    Scene::every("10s")
        .series(&wait("b"), "0+0x10 2+0x60 0+0x20")
        .series(blocked, "0+0x10 0+10x60 0+0x20")
        .silent("100s", alert)
        .fires("150s", alert, PAGES_T)
        .fires("10m", alert, PAGES_T)
        .silent("13m", alert)
        .check();
    let paused = "append_duration_seconds_count{tenant_id=\"t\",outcome=\"paused\",instance=\"b\"}";
    let ok = "append_duration_seconds_count{tenant_id=\"t\",outcome=\"ok\",instance=\"b\"}";
    Scene::every("10s")
        .series(ok, "0+50x100")
        .series(paused, "0+0x10 4+0x90")
        .silent("100s", alert)
        .fires("150s", alert, PAGES_T)
        .silent("8m", alert)
        .check();
    Scene::every("10s")
        .series(ok, "0+50x100")
        .series(paused, "0+0x100")
        .silent("8m", alert)
        .check();
}

#[test]
fn appends_that_no_store_answers_are_told_of_and_conflicts_are_not() {
    let alert = "TenantAppendsFailing";
    let appends = |outcome: &str| {
        format!(
            "append_duration_seconds_count{{tenant_id=\"t\",outcome=\"{outcome}\",instance=\"b\"}}"
        )
    };
    for outcome in ["unavailable", "unknown"] {
        Scene::every("10s")
            .series(&appends(outcome), "0+0x10 1+0x90")
            .silent("100s", alert)
            .fires("150s", alert, WARNS_T)
            .silent("8m", alert)
            .check();
    }
    for outcome in ["ok", "conflict", "invalid"] {
        Scene::every("10s").series(&appends(outcome), "0+5x100").silent("8m", alert).check();
    }
}

#[test]
fn slow_appends_are_told_of_while_the_tenant_moves() {
    let slow = |scene: Scene, tenant: &str| {
        [("0.1", 900), ("0.25", 1_000), ("+Inf", 1_000)].into_iter().fold(
            scene,
            |scene, (le, each)| {
                let labels =
                    format!("tenant_id=\"{tenant}\",outcome=\"ok\",instance=\"b\",le=\"{le}\"");
                scene.series(
                    &format!("append_duration_seconds_bucket{{{labels}}}"),
                    &format!("0+{each}x60"),
                )
            },
        )
    };
    let alert = "TenantAppendLatencyHigh";
    let scene = slow(slow(Scene::every("15s"), "t"), "stays");
    scene.series(STATE, "2+0x60").silent("4m", alert).fires("8m", alert, WARNS_T).check();
    slow(Scene::every("15s"), "t").series(STATE, "4+0x60").silent("8m", alert).check();
}
