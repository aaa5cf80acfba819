//! Whole migrations, in one process.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Ended, Place, Running, wait_for};

fn start<'a>(place: &Place, tenant: &'a str, more: impl IntoIterator<Item = &'a str>) -> Value {
    let args = ["migration", "start", "--tenant", tenant, "--to", "dedicated"];
    place.json(args.into_iter().chain(more))
}

#[test]
fn there_and_back_within_the_window_is_the_same_history() {
    let (place, tenant) = Place::with_tenant(2_345);
    let id = tenant.to_string();
    let before = place.history(tenant);
    let there = start(&place, &id, ["--rollback-window", "1h"]);
    assert_eq!(there["state"], "migrated");
    assert_eq!(there["source_store"], "shared");
    assert_eq!(there["progress_percent"], 100.0);
    assert_eq!(there["events_copied"], 2_345);
    assert_eq!(there["read_back_seq"], 2_345);
    assert_eq!(there["sync_lag_events"], 0);
    assert!(there["completed_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(there["error"], Value::Null);
    assert_eq!(place.history(tenant), before);

    let shown = place.json(["tenant", "show", &id]);
    assert_eq!(shown["store"], "dedicated");
    assert_eq!(shown["rollback_window_open"], true);
    // Not while the tenant may want to return, and never where it lives.
    let refused = place.rehome(["tenant", "purge", &id, "--store", "shared"]).fails(3);
    assert!(refused.contains("rollback window"), "{refused}");
    place.rehome(["tenant", "purge", &id, "--store", "dedicated"]).fails(3);

    let there = there["id"].as_str().unwrap();
    let back = place.json(["migration", "return", there]);
    assert_eq!(back["state"], "migrated");
    assert_eq!(back["target_store"], "shared");
    assert_eq!(place.history(tenant), before);
    assert_eq!(place.json(["tenant", "show", &id])["store"], "shared");
    // Once only.
    assert_eq!(
        place.rehome(["migration", "return", there, "--json"]).error(3)["type"],
        "no_return"
    );

    let purged = place.json(["tenant", "purge", &id, "--store", "dedicated"]);
    assert_eq!(purged["events_purged"], 2_345);
    assert_eq!(place.count("dedicated.db", "SELECT count(*) FROM events"), 0);
    assert_eq!(place.history(tenant), before);
}

#[test]
fn without_a_window_there_is_no_way_back_but_a_new_migration() {
    let (place, tenant) = Place::with_tenant(100);
    let there = start(&place, &tenant.to_string(), []);
    let there = there["id"].as_str().unwrap();
    place.rehome(["migration", "return", there]).fails(3);
    let id = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "shared"]).succeeds();
    assert_eq!(place.json(["tenant", "show", "--tenant", &id])["store"], "shared");
    // The first one is over, whatever happened since.
    assert_eq!(place.json(["migration", "show", there])["events_copied"], 100);
    let listed = place.json(["migration", "list", "--state", "migrated"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[1]["id"], there);
}

#[test]
fn a_window_can_be_given_up() {
    let (place, tenant) = Place::with_tenant(700);
    let id = tenant.to_string();
    start(&place, &id, ["--rollback-window", "1h"]);
    let args = ["tenant", "purge", &id, "--store", "shared", "--close-window"];
    assert_eq!(place.json(args)["events_purged"], 700);
    assert_eq!(place.json(["tenant", "show", &id])["rollback_window_open"], false);
}

#[test]
fn a_window_that_is_over_is_in_nobodys_way() {
    let (place, tenant) = Place::with_tenant(10);
    let id = tenant.to_string();
    // Kept until its end, which is soon.
    let over = start(&place, &id, ["--rollback-window", "300ms", "--keep-window"]);
    assert_eq!(over["state"], "migrated");
    assert_eq!(place.json(["tenant", "purge", &id, "--store", "shared"])["events_purged"], 10);
}

#[test]
fn a_migration_leaves_the_other_tenants_alone() {
    let (place, tenant) = Place::with_tenant(50);
    let other = Uuid::new_v4();
    place.write("other.ndjson", crate::kit::lines(other, 1..=60));
    place.rehome(["import", "other.ndjson"]).succeeds();
    let before = place.history(other);
    start(&place, &tenant.to_string(), []);
    assert_eq!(place.history(other), before);
    assert_eq!(place.json(["tenant", "show", &other.to_string()])["store"], "shared");
}

#[test]
fn the_log_tells_the_whole_story_as_one_document_per_line() {
    let (place, tenant) = Place::with_tenant(30);
    let done = start(&place, &tenant.to_string(), ["--rollback-window", "1h"]);
    let id = done["id"].as_str().unwrap();
    let log = place.rehome(["migration", "log", id, "--json"]).succeeds();
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = entries.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    let story = [
        "started",
        "copy_started",
        "copy_completed",
        "verified",
        "cutover_started",
        "switched",
        "target_activated",
    ];
    let mut seen = events.iter();
    for event in story {
        assert!(seen.any(|found| *found == event), "{event} is not in its place in {events:?}");
    }
    assert!((1_u64..).zip(&entries).all(|(index, entry)| entry["index"] == index));
    assert_eq!(entries[0]["details"]["options"]["rollback_window"], "1h");
    let people = place.rehome(["migration", "log", id, "--follow"]).succeeds();
    assert_eq!(people.lines().count(), entries.len());
}

#[test]
fn a_plan_says_what_would_happen_and_changes_nothing() {
    let (place, tenant) = Place::with_tenant(300);
    let id = tenant.to_string();
    let before = place.state();
    let plan = place.json(["plan", "--tenant", &id, "--to", "dedicated"]);
    assert_eq!(plan["possible"], true);
    assert_eq!(plan["events_to_copy"], 300);
    assert!(plan["estimate"]["total_estimate"].as_str().unwrap().ends_with(" minutes"));
    let ended = place.rehome(["plan", "--tenant", &id, "--to", "shared", "--json"]);
    assert_eq!(ended.document()["possible"], false);
    assert_eq!(ended.error(3)["type"], "refused");
    place.rehome(["plan", "--tenant", &id, "--to", "elsewhere"]).fails(4);
    place.rehome(["plan", "--tenant", &Uuid::new_v4().to_string(), "--to", "dedicated"]).fails(4);
    assert_eq!(place.state(), before);
}

#[test]
fn a_planted_change_is_found_at_every_level_that_can_see_it() {
    let (place, tenant) = Place::with_tenant(500);
    let done = start(&place, &tenant.to_string(), []);
    let id = done["id"].as_str().unwrap();
    for level in ["count", "hash", "full"] {
        let report = place.json(["migration", "verify", id, "--level", level]);
        assert_eq!(report["ok"], true);
        assert_eq!(report["events_checked"], 500);
        assert_eq!(
            (&report["authority"], &report["copy"]),
            (&"dedicated".into(), &"shared".into())
        );
    }
    // The length stays, the content does not.
    let plant = "UPDATE events SET data = replace(data, '123', '124') WHERE data LIKE '%:123}'";
    assert_eq!(place.sqlite("shared.db").execute(plant, []).unwrap(), 1);
    place.json(["migration", "verify", id, "--level", "count"]);
    for level in ["hash", "full"] {
        let ended = place.rehome(["migration", "verify", id, "--level", level, "--json"]);
        let report = ended.document();
        assert_eq!(report["ok"], false);
        assert_eq!(report["violations"][0]["type"], "content", "{report}");
        assert_eq!(report["violations"][0]["seq"], 123, "{report}");
        assert!(!report.to_string().contains(":124}"), "a payload is shown: {report}");
        assert_eq!(ended.error(5)["type"], "violations");
    }
    let log = place.rehome(["migration", "log", id, "--json"]).succeeds();
    assert!(log.lines().last().unwrap().contains("\"violations\":"), "{log}");
    place.sqlite("shared.db").execute("DELETE FROM events WHERE data LIKE '%:200}'", []).unwrap();
    let ended = place.rehome(["migration", "verify", id, "--json"]);
    let kinds = |n: usize| ended.document()["violations"][n]["type"].clone();
    assert_eq!((kinds(0), kinds(1)), ("content".into(), "missing".into()), "{}", ended.stdout);
    ended.fails(5);
}

#[test]
fn a_change_planted_before_the_cutover_stops_it() {
    let (place, tenant) = Place::with_tenant(500);
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--cutover", "manual"];
    let running = place.spawn(args);
    let migration = place.migration_of(tenant);
    place.until(&migration, "read back", |found| {
        found["state"] == "dual_write" && found["read_back_seq"] == 500
    });
    running.kill();
    let plant = "UPDATE events SET data = replace(data, '123', '124') WHERE data LIKE '%:123}'";
    assert_eq!(place.sqlite("dedicated.db").execute(plant, []).unwrap(), 1);
    // The read-back has passed it already; a verification on request finds it.
    place.rehome(["migration", "verify", &migration]).fails(5);
    place.rehome(["migration", "abort", &migration, "--purge-target"]).succeeds();
    assert_eq!(place.json(["tenant", "show", &id])["store"], "shared");
    assert_eq!(place.history(tenant).lines().count(), 500);
}

/// A command of a deployment that sets no rollback window.
fn with_defaults<'a>(place: &Place, args: impl IntoIterator<Item = &'a str>) -> Ended {
    let mut command = place.command(args);
    command.env_remove("REHOME_MIGRATION_ROLLBACK_WINDOW");
    Running::start(command).ends()
}

#[test]
fn a_tenant_can_return_for_a_day_and_every_screen_says_so() {
    let (place, tenant) = Place::with_tenant(100);
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let ended = with_defaults(&place, start);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let announced = "it switches once it is verified; the tenant can return for 1d afterwards";
    assert!(ended.stderr.contains(announced), "{}", ended.stderr);
    let id = place.migration_of(tenant.parse().unwrap());
    let shown = place.json(["migration", "show", &id]);
    let time = |value: &Value| -> rehome_api::Time { value.as_str().unwrap().parse().unwrap() };
    let window = time(&shown["return_until"]).0 - time(&shown["completed_at"]).0;
    assert_eq!(window, 24 * 3_600 * 1_000_000);
    assert_eq!(shown["needs"], json!([]));

    // One write pause, wherever it is shown.
    let cutover = &shown["last_cutover"];
    assert_eq!(cutover["outcome"], "succeeded");
    let pause = cutover["pause_ms"].as_f64().unwrap();
    let log = place.rehome(["migration", "log", &id, "--json"]).succeeds();
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pauses: Vec<_> =
        entries.filter_map(|entry| entry["details"]["pause_ms"].as_f64()).collect();
    assert_eq!(pauses, [pause]);
    let written = rehome_api::duration::pause(pause);
    for args in [["checklist", "cutover", &id], ["migration", "show", &id]] {
        let shown = place.rehome(args);
        assert!(shown.stdout.contains(&written), "{written}: {}", shown.stdout);
    }

    let can_return = format!("rehome migration return {id}");
    for args in [["migration", "show", &id], ["tenant", "show", &tenant]] {
        let text = place.rehome(args).succeeds();
        let line = text.lines().find(|line| line.starts_with("can return")).expect(&text);
        assert!(line.contains("UTC (23 h 59 min left)") && line.contains(&can_return), "{line}");
    }
    assert!(ended.stdout.contains("write pause") && ended.stdout.contains("can return"));
}

#[test]
fn what_waits_for_a_person_says_so_with_the_command() {
    let (place, tenant) = Place::with_tenant(100);
    let tenant = tenant.to_string();
    let args =
        ["migration", "start", "--tenant", &tenant, "--to", "dedicated", "--cutover", "manual"];
    let running = place.spawn(args);
    let id = wait_for("the migration", || {
        let listed = place.json(["migration", "list"]);
        Some(listed[0]["id"].as_str()?.to_owned())
    });
    let cutover = format!("ready to switch: `rehome migration cutover {id}` begins the cutover");
    wait_for("the copy to be ready", || {
        let shown = place.json(["migration", "show", &id]);
        (shown["needs"] == json!([cutover])).then_some(())
    });
    let listed = place.rehome(["migration", "list"]).succeeds();
    assert!(listed.contains(&format!("1 needs you:\n  {cutover}")), "{listed}");
    let shown = place.rehome(["migration", "show", &id]).succeeds();
    assert!(shown.contains(&format!("needs you   {cutover}")), "{shown}");
    place.rehome(["migration", "pause", &id]).succeeds();
    let resume = format!("paused: `rehome migration resume {id}` continues it");
    assert_eq!(place.json(["migration", "show", &id])["needs"], json!([resume]));
    place.rehome(["migration", "abort", &id]).succeeds();
    assert_eq!(place.json(["migration", "show", &id])["needs"], json!([]));
    running.ends();
}
