//! The alerts about drains.

use crate::scene::Scene;

/// A series of the drain, as one of two servers reports it.
fn of(name: &str, instance: &str) -> String {
    format!("{name}{{drain_id=\"d\",job=\"j\",instance=\"{instance}\"}}")
}

const LABELS: &str = "severity=\"warning\",drain_id=\"d\"";
const PROGRESS: &str = "drain_last_progress_timestamp_seconds";

/// A drain that got further for five minutes, and then does not.
fn stands_still(state: &str, window: &str) -> Scene {
    Scene::every("15s")
        .series(&of("drain_state", "a"), state)
        .series(&of("drain_state", "b"), state)
        .series(&of("drain_window_open", "a"), window)
        .series(&of(PROGRESS, "a"), "0+15x20 300+0x200")
        .series(&of(PROGRESS, "b"), "0+15x19 285+0x201")
}

#[test]
fn a_drain_that_may_go_on_and_does_not_is_stalled() {
    let alert = "RehomeDrainStalled";
    stands_still("0+0x220", "1+0x220")
        .silent("20m", alert)
        .fires("20m30s", alert, LABELS)
        .fires("50m", alert, LABELS)
        .check();
    // Its cancelling does not come to an end, window or not.
    stands_still("3+0x220", "0+0x220").fires("21m", alert, LABELS).check();
}

#[test]
fn a_drain_that_stands_still_as_it_should_is_not_stalled() {
    let alert = "RehomeDrainStalled";
    for (state, window) in [
        ("0+0x220", "0+0x220"), // outside of its window
        ("1+0x220", "1+0x220"), // paused
        ("2+0x220", "1+0x220"), // its budget is spent, which is another alert
        ("5+0x220", "1+0x220"), // finished
    ] {
        stands_still(state, window).silent("21m", alert).silent("50m", alert).check();
    }
}

#[test]
fn a_stalled_drain_that_gets_further_is_not_stalled_any_more() {
    let alert = "RehomeDrainStalled";
    Scene::every("15s")
        .series(&of("drain_state", "a"), "0+0x220")
        .series(&of("drain_window_open", "a"), "1+0x220")
        // Further after 30 minutes.
        .series(&of(PROGRESS, "a"), "0+0x119 1800+0x100")
        .fires("29m", alert, LABELS)
        .silent("31m", alert)
        .check();
}

/// Nobody reports for half a minute, as while a server is started again.
#[test]
fn a_spent_budget_is_reported_until_somebody_resumes_also_over_a_restart() {
    let alert = "RehomeDrainBudgetSpent";
    Scene::every("15s")
        .series(&of("drain_state", "a"), "0+0x20 2+0x20 _x2 2+0x20 0+0x40")
        .silent("4m", alert)
        .fires("6m", alert, LABELS)
        .fires("10m40s", alert, LABELS)
        .fires("15m", alert, LABELS)
        .silent("18m", alert)
        .check();
}

#[test]
fn a_window_that_passed_in_vain_is_reported_until_somebody_is_moved() {
    let alert = "RehomeDrainWindowMissed";
    Scene::every("15s")
        .series(&of("drain_window_missed", "a"), "0+0x20 1+0x40 0+0x40")
        .series(&of("drain_window_missed", "b"), "0+0x21 1+0x39 0+0x40")
        .silent("5m", alert)
        .fires("6m", alert, LABELS)
        .fires("15m", alert, LABELS)
        .silent("16m30s", alert)
        .check();
    // The drain ended, and its series with it.
    Scene::every("15s")
        .series(&of("drain_window_missed", "a"), "1+0x20 stale")
        .fires("5m", alert, LABELS)
        .silent("7m", alert)
        .check();
}
