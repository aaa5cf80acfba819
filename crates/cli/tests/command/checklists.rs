//! Checklists, baselines and probes, by the command.

use serde_json::Value;
use uuid::Uuid;

use crate::kit::Place;

fn statuses(checklist: &Value) -> Vec<&str> {
    let items = checklist["items"].as_array().unwrap();
    items.iter().map(|item| item["status"].as_str().unwrap()).collect()
}

fn migrated(place: &Place, tenant: Uuid) -> String {
    let tenant = tenant.to_string();
    let there = place.json(["migration", "start", "--tenant", &tenant, "--to", "dedicated"]);
    there["id"].as_str().unwrap().to_owned()
}

#[test]
fn without_tools_only_what_rehome_knows_itself_is_judged() {
    let (place, tenant) = Place::with_tenant(500);
    let before = place.json(["checklist", "before"]);
    assert_eq!(statuses(&before), ["unknown"; 5]);
    assert_eq!(before["migration_id"], Value::Null);
    assert_eq!(before["status"], "unknown");

    let id = migrated(&place, tenant);
    let during = place.json(["checklist", "during", &id]);
    assert_eq!(statuses(&during), ["pass", "pass", "pass", "unknown", "unknown"]);
    let cutover = place.json(["checklist", "cutover", &id]);
    assert_eq!(statuses(&cutover), ["pass", "unknown", "pass", "unknown", "pass"], "{cutover}");
    let after = place.json(["checklist", "after", &id]);
    assert_eq!(
        statuses(&after),
        ["pass", "unknown", "pass", "unknown", "unknown", "pass"],
        "{after}"
    );
    assert_eq!(after["items"][0]["text"], "Migration state is MIGRATED");
    assert!(after["items"][2]["why"].as_str().unwrap().contains("returned event 500"), "{after}");
    let shown = place.rehome(["checklist", "after", &id]).succeeds();
    assert!(shown.starts_with("After Migration\n"), "{shown}");
}

#[test]
fn an_item_that_fails_is_the_commands_failure() {
    let (place, tenant) = Place::with_tenant(100);
    let id = migrated(&place, tenant);
    // The store is fenced directly, without the route.
    let fence = "UPDATE ledger SET role = 'fenced' WHERE role = 'active'";
    assert_eq!(place.sqlite("dedicated.db").execute(fence, []).unwrap(), 1);
    let ended = place.rehome(["checklist", "after", &id, "--json"]);
    assert_eq!(ended.document()["items"][2]["status"], "fail", "{}", ended.stdout);
    assert_eq!(ended.error(1)["type"], "checklist_failed");
    place.rehome(["checklist", "during"]).fails(2);
    place.rehome(["checklist", "later", &id]).fails(2);
    place.rehome(["checklist", "after", &Uuid::new_v4().to_string()]).fails(4);
}

#[test]
fn a_baseline_is_taken_at_the_start_and_can_be_taken_again() {
    let (place, tenant) = Place::with_tenant(100);
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let running = place.spawn(start.into_iter().chain(["--cutover", "manual"]));
    let id = place.migration_of(tenant.parse().unwrap());
    place.until(&id, "dual_write", |shown| shown["state"] == "dual_write");
    let first = place.json(["migration", "baseline", &id, "--show"]);
    assert_eq!(first["state"], "pending");
    // Imported a moment ago: that is not what the tenant writes.
    assert_eq!(first["events_per_s"].as_f64(), Some(0.0), "{first}");
    assert!(first["remark"].as_str().unwrap().contains("100 events"), "{first}");
    assert_eq!(first["append_p99_ms"], Value::Null);
    assert!(first["remark"].as_str().unwrap().contains("prometheus_url"), "{first}");

    let again = place.json(["migration", "baseline", &id, "--window", "1s"]);
    assert_eq!(
        (again["state"].as_str(), again["events_per_s"].as_f64()),
        (Some("dual_write"), Some(0.0))
    );
    assert_eq!(place.json(["migration", "baseline", &id, "--show"]), again);
    place.rehome(["migration", "baseline", &id, "--window", "2h"]).fails(2);
    place.json(["migration", "cutover", &id]);
    running.ends().succeeds();
    place.rehome(["migration", "baseline", &id, "--window", "1s"]).fails(3);
}

#[test]
fn a_probe_gives_a_range_and_writes_nothing() {
    let (place, tenant) = Place::with_tenant(3_000);
    place.rehome(["store", "check"]);
    let id = tenant.to_string();
    let before = place.state();
    let args = ["estimate", "--tenant", &id, "--to", "dedicated", "--probe"];
    // A tenant that rests: that it was imported a moment ago does not count as its writing.
    let probe = place.json(args);
    assert_eq!(probe["write_events_per_s"].as_f64(), Some(0.0), "{probe}");
    assert_eq!(place.state(), before);
    assert_eq!(probe["events_to_copy"], 3_000);
    assert_eq!(probe["copy_rate_from"], "reading");
    assert!(probe["remarks"][0].as_str().unwrap().contains("no earlier migration"), "{probe}");
    let seconds = |which: &str| probe[which]["total_seconds"].as_f64().unwrap();
    assert!(seconds("best") <= seconds("estimate"), "{probe}");
    assert!(seconds("estimate") <= seconds("worst"), "{probe}");

    // A given rate, and a tenant that writes faster than that.
    let told = ["--rate", "10", "--write-rate", "10", "--json"];
    let ended = place.rehome(args.into_iter().chain(told));
    let probe = ended.document();
    assert_eq!((&probe["converges"], &probe["estimate"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(ended.error(1)["type"], "never_catches_up");
    for bad in ["0", "-1", "inf", "nan"] {
        place.rehome(args.into_iter().chain(["--rate", bad])).fails(2);
    }
    place.rehome(["estimate", "--probe"]).fails(2);
    place.rehome(["estimate"]).fails(2);
}
