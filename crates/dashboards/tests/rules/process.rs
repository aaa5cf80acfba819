//! The alerts about the watched processes, and about the monitoring itself.

use crate::scene::Scene;

const BUILD: &str = "rehome_build_info{version=\"1\",job=\"j\",instance=\"a\"}";
const STATE: &str = "migration_state{migration_id=\"m\",tenant_id=\"t\",job=\"j\",instance=\"a\"}";

#[test]
fn metrics_that_are_not_there_at_all_are_missed() {
    let alert = "RehomeMetricsAbsent";
    Scene::every("15s")
        .series(BUILD, "1+0x20 stale")
        .series("up{job=\"j\",instance=\"a\"}", "1+0x20 0+0x60")
        .silent("9m", alert)
        .fires("12m", alert, "severity=\"critical\"")
        .check();
    Scene::every("15s").series(BUILD, "1+0x60").silent("12m", alert).check();
    // A process that only reports states is present.
    Scene::every("15s").series(STATE, "1+0x60").silent("12m", alert).check();
}

#[test]
fn a_process_that_cannot_be_scraped_is_missed_and_those_of_others_are_not() {
    let alert = "RehomeDown";
    Scene::every("15s")
        .series(BUILD, "1+0x20 stale")
        .series("up{job=\"j\",instance=\"a\"}", "1+0x20 0+0x200")
        .series("up{job=\"j\",instance=\"b\"}", "1+0x220")
        .series("up{job=\"other\",instance=\"c\"}", "0+0x220")
        .silent("5m30s", alert)
        .fires("7m", alert, "severity=\"warning\",job=\"j\",instance=\"a\"")
        .fires("40m", alert, "severity=\"warning\",job=\"j\",instance=\"a\"")
        .check();
}

#[test]
fn a_migration_that_vanishes_before_its_end_is_missed() {
    let alert = "MigrationMetricsLost";
    let labels = "severity=\"critical\",migration_id=\"m\",tenant_id=\"t\"";
    for state in ["1+0x20 stale", "3+0x20 stale", "7+0x20 stale"] {
        Scene::every("15s")
            .series(STATE, state)
            .silent("5m", alert)
            .fires("8m", alert, labels)
            .fires("50m", alert, labels)
            .check();
    }
}

#[test]
fn a_migration_that_ended_or_went_to_another_process_is_not_missed() {
    let alert = "MigrationMetricsLost";
    for state in ["2+0x18 4+0x3 stale", "2+0x18 5+0x3 stale", "7+0x18 6+0x3 stale"] {
        Scene::every("15s").series(STATE, state).silent("8m", alert).silent("30m", alert).check();
    }
    let elsewhere = "migration_state{migration_id=\"m\",tenant_id=\"t\",job=\"j\",instance=\"b\"}";
    Scene::every("15s")
        .series(STATE, "7+0x20 stale")
        .series(elsewhere, "_x24 2+0x20 4+0x10 stale")
        .silent("8m", alert)
        .silent("13m", alert)
        .silent("30m", alert)
        .check();
}

/// An operator who is faster than a scrape, or another process that does not serve, is no loss.
#[test]
fn a_migration_is_not_missed_while_somebody_looks_which_there_are() {
    let alert = "MigrationMetricsLost";
    let labels = "severity=\"critical\",migration_id=\"m\",tenant_id=\"t\"";
    let looked = "migration_last_look_timestamp_seconds{job=\"j\",instance=\"a\"}";
    Scene::every("15s")
        .series(STATE, "2+0x20 stale")
        .series(looked, "0+15x200")
        .silent("8m", alert)
        .silent("40m", alert)
        .check();
    // It serves, and has lost the control plane.
    Scene::every("15s")
        .series(STATE, "2+0x20 stale")
        .series(looked, "0+15x20 300+0x100")
        .silent("5m", alert)
        .fires("11m", alert, labels)
        .check();
}

/// Deployments that share a Prometheus, and even the names of what they have.
#[test]
fn one_deployment_neither_hides_nor_raises_an_alert_of_another() {
    let of = |name: &str, deployment: &str| {
        format!("{name}{{deployment=\"{deployment}\",job=\"j\",instance=\"{deployment}\"}}")
    };
    let state = |deployment: &str| {
        format!("migration_state{{migration_id=\"m\",tenant_id=\"t\",deployment=\"{deployment}\"}}")
    };
    let store =
        |deployment: &str| format!("store_up{{store_id=\"s\",deployment=\"{deployment}\"}}");
    let of_one =
        |severity: &str, more: &str| format!("severity=\"{severity}\",deployment=\"one\"{more}");
    let both = ",migration_id=\"m\",tenant_id=\"t\"";
    Scene::every("15s")
        .series(&of("rehome_build_info", "one"), "1+0x20 stale")
        .series(&of("rehome_build_info", "two"), "1+0x300")
        .series(&of("up", "one"), "1+0x20 0+0x280")
        .series(&of("up", "two"), "1+0x300")
        .series(&of("migration_last_look_timestamp_seconds", "two"), "0+15x300")
        .series(&state("one"), "2+0x20 stale")
        .series(&state("two"), "2+0x300")
        .series(&store("one"), "0+0x300")
        .series(&store("two"), "1+0x300")
        .fires("12m", "RehomeMetricsAbsent", &of_one("critical", ""))
        .fires("12m", "RehomeDown", &of_one("warning", ",job=\"j\",instance=\"one\""))
        .fires("12m", "MigrationMetricsLost", &of_one("critical", both))
        .fires("12m", "RehomeStoreDown", &of_one("critical", ",store_id=\"s\""))
        .silent("12m", "MigrationCutoverSlow")
        .check();
}

#[test]
fn a_store_and_a_control_plane_that_do_not_answer_are_told_of() {
    let (store, control) = ("RehomeStoreDown", "RehomeControlPlaneDown");
    Scene::every("15s")
        .series("store_up{store_id=\"s\",job=\"j\",instance=\"a\"}", "1+0x8 0+0x40")
        .series("store_up{store_id=\"s\",job=\"j\",instance=\"b\"}", "1+0x48")
        .series("store_up{store_id=\"r\",job=\"j\",instance=\"b\"}", "1+0x8 0 1+0x40")
        .series("control_plane_up{job=\"j\",instance=\"a\"}", "1+0x8 0+0x40")
        .series("control_plane_up{job=\"j\",instance=\"b\"}", "1+0x48")
        .silent("3m", store)
        .silent("3m", control)
        .fires("5m", store, "severity=\"critical\",store_id=\"s\"")
        .fires("5m", control, "severity=\"critical\",job=\"j\",instance=\"a\"")
        .check();
}

#[test]
fn damage_of_a_store_is_reported_until_it_is_found_whole_and_over_a_restart() {
    let alert = "RehomeStoreDamaged";
    let damaged = |instance: &str| {
        format!("store_damaged_tenants{{store_id=\"s\",job=\"j\",instance=\"{instance}\"}}")
    };
    Scene::every("15s")
        .series(&damaged("a"), "0+0x8 2+0x20 _x40 0+0x40")
        .silent("1m30s", alert)
        .fires("2m30s", alert, "severity=\"critical\",store_id=\"s\"")
        // A restart: the process has not been through the store again.
        .fires("15m", alert, "severity=\"critical\",store_id=\"s\"")
        .silent("20m", alert)
        .check();
    // What one process has found is not made good by another that found it whole before.
    Scene::every("15s")
        .series(&damaged("a"), "0+0x8 2+0x20 0+0x40")
        .series(&damaged("b"), "0+0x68")
        .fires("2m30s", alert, "severity=\"critical\",store_id=\"s\"")
        .silent("15m", alert)
        .check();
}

#[test]
fn a_removal_that_stands_still_is_reported_until_it_is_complete() {
    let alert = "RehomeRemovalInterrupted";
    let series = |instance: &str| {
        format!("tenant_removals_interrupted{{job=\"j\",instance=\"{instance}\"}}")
    };
    Scene::every("15s")
        .series(&series("a"), "0+0x8 1+0x20 0+0x40")
        .series(&series("b"), "0+0x68")
        .silent("3m30s", alert)
        .fires("5m", alert, "severity=\"warning\"")
        .silent("9m", alert)
        .check();
    // One that an operator completes at once.
    Scene::every("15s").series(&series("a"), "0+0x8 1+0x4 0+0x40").silent("5m", alert).check();
}

#[test]
fn a_process_that_starts_again_and_again_is_told_of() {
    let alert = "RehomeRestarting";
    let labels = "severity=\"warning\",job=\"j\",instance=\"a\"";
    let started = |job: &str| format!("process_start_time_seconds{{job=\"{job}\",instance=\"a\"}}");
    Scene::every("15s")
        .series(BUILD, "1+0x120")
        .series(&started("j"), "10+0x9 20+0x9 30+0x9 40+0x90")
        .series(&started("other"), "10+0x9 20+0x9 30+0x9 40+0x90")
        .silent("6m", alert)
        .fires("8m", alert, labels)
        .silent("25m", alert)
        .check();
    Scene::every("15s")
        .series(BUILD, "1+0x120")
        .series(&started("j"), "10+0x9 20+0x9 30+0x99")
        .silent("8m", alert)
        .check();
}
