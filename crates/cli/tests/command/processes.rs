//! Two processes on the same files: one drives, another sends requests.

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{Place, Running, lines, payload, wait_for};

/// A slow migration, in a separate process.
fn slow(place: &Place, tenant: Uuid, more: &[&str]) -> (Running, String) {
    let id = tenant.to_string();
    let args = [
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--lag-events-max",
        "1",
        "--copy-rate-max",
        "500",
        "--json",
    ];
    let running = place.spawn(args.into_iter().chain(more.iter().copied()));
    let migration = place.migration_of(tenant);
    (running, migration)
}

fn copying(place: &Place, migration: &str) -> Value {
    place.until(migration, "copying", |found| {
        found["state"] == "bulk_copy" && found["events_copied"].as_u64() > Some(0)
    })
}

fn mirroring(place: &Place, migration: &str, events: u64) {
    place.until(migration, "mirrored and read back", |found| {
        found["state"] == "dual_write" && found["read_back_seq"] == events
    });
}

fn manual(place: &Place, tenant: Uuid) -> (Running, String) {
    let id = tenant.to_string();
    let args = [
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--cutover",
        "manual",
        "--json",
    ];
    let running = place.spawn(args);
    let migration = place.migration_of(tenant);
    (running, migration)
}

#[test]
fn another_process_pauses_and_resumes() {
    let (place, tenant) = Place::with_tenant(3_000);
    let before = place.history(tenant);
    let (mut running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    let paused = place.json(["migration", "pause", &migration]);
    assert_eq!(paused["state"], "paused");
    // Twice is once too often.
    assert_eq!(
        place.rehome(["migration", "pause", &migration, "--json"]).error(3)["state"],
        "paused"
    );
    // A write in progress may still arrive; then nothing moves.
    let mut last = Value::Null;
    wait_for("a standstill", || {
        let now = place.json(["migration", "show", &migration])["events_copied"].clone();
        let stands = now == last;
        last = now;
        stands.then_some(())
    });
    assert!(running.is_running());
    assert_eq!(place.history(tenant), before);
    let tuned = place.json(["migration", "tune", &migration, "--copy-rate-max", "0"]);
    assert_eq!(tuned["copy_rate_max"], 0);
    let resumed = place.json(["migration", "resume", &migration]);
    assert_ne!(resumed["state"], "paused");
    let ended = running.ends();
    assert_eq!(ended.document()["state"], "migrated", "{}", ended.stderr);
    assert_eq!(place.history(tenant), before);
}

#[test]
fn a_running_migration_is_tuned_and_watched() {
    let (place, tenant) = Place::with_tenant(3_000);
    let (running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    let watching = place.spawn(["migration", "watch", &migration, "--json"]);
    let refused = place.rehome(["migration", "resume", &migration, "--json"]).error(3);
    assert!(refused["message"].as_str().unwrap().contains("works on it"), "{refused}");
    place.rehome(["migration", "tune", &migration]).fails(2);
    place.rehome(["migration", "tune", &migration, "--batch-events", "0"]).fails(2);
    let tuned = place.rehome(["migration", "tune", &migration, "--copy-rate-max", "0"]).succeeds();
    let lines: Vec<Vec<&str>> =
        tuned.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["OPTION", "BEFORE", "AFTER"]);
    assert!(lines.len() == 2 && lines[1][0] == "copy_rate_max" && lines[1][2] == "0", "{tuned}");
    assert_eq!(running.ends().document()["state"], "migrated");
    let watched = watching.ends().succeeds();
    let states: Vec<Value> =
        watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(states.len() > 1);
    assert_eq!(states.last().unwrap()["state"], "migrated");
    assert!(
        states
            .windows(2)
            .all(|pair| { pair[0]["events_copied"].as_u64() <= pair[1]["events_copied"].as_u64() })
    );
    assert!(states.iter().all(|state| state["progress_percent"].as_f64() <= Some(100.0)));
    // It has ended: tune, pause, cutover and abort are refused.
    for command in ["pause", "cutover", "abort"] {
        place.rehome(["migration", command, &migration]).fails(3);
    }
    place.rehome(["migration", "resume", &migration]).fails(3);
    place.rehome(["migration", "tune", &migration, "--copy-rate-max", "1"]).fails(3);
}

#[test]
fn another_process_cuts_over() {
    let (place, tenant) = Place::with_tenant(400);
    let before = place.history(tenant);
    let (mut running, migration) = manual(&place, tenant);
    mirroring(&place, &migration, 400);
    assert!(running.is_running());
    let done = place.json(["migration", "cutover", &migration]);
    assert_eq!(done["state"], "migrated");
    assert_eq!(running.ends().document()["state"], "migrated");
    assert_eq!(place.history(tenant), before);
    // Done is done.
    place.rehome(["migration", "cutover", &migration]).fails(3);
}

#[test]
fn of_two_processes_that_cut_over_at_once_one_does_and_one_is_refused() {
    let (place, tenant) = Place::with_tenant(400);
    let (running, migration) = manual(&place, tenant);
    mirroring(&place, &migration, 400);
    let both = [(); 2].map(|()| place.spawn(["migration", "cutover", &migration, "--json"]));
    let mut codes = both.map(|one| one.ends().code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 3]);
    assert_eq!(running.ends().code, 0);
    let log = place.rehome(["migration", "log", &migration, "--json"]).succeeds();
    assert_eq!(log.matches("\"cutover_requested\"").count(), 1);
    assert_eq!(log.matches("\"switched\"").count(), 1);
}

#[test]
fn a_cutover_is_refused_while_there_is_nothing_to_cut_over_to() {
    let (place, tenant) = Place::with_tenant(3_000);
    let (_running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    let error = place.rehome(["migration", "cutover", &migration, "--json"]).error(3);
    assert_eq!(error["type"], "not_in_this_state");
    assert_eq!(error["state"], "bulk_copy");
}

#[test]
fn a_cutover_at_a_time_waits_for_it() {
    let (place, tenant) = Place::with_tenant(50);
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--json", "--cutover"];
    let running = place.spawn(args.into_iter().chain(["at", "2099-01-01T00:00:00Z"]));
    let migration = place.migration_of(tenant);
    mirroring(&place, &migration, 50);
    place.json(["migration", "tune", &migration, "--cutover", "at", "2024-01-01T00:00:00Z"]);
    assert_eq!(running.ends().document()["state"], "migrated");
}

#[test]
fn another_process_aborts_and_the_target_is_clean() {
    let (place, tenant) = Place::with_tenant(3_000);
    let before = place.history(tenant);
    let (running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    let aborted = place.json(["migration", "abort", &migration, "--purge-target"]);
    assert_eq!(aborted["state"], "rolled_back");
    assert_eq!(running.ends().error(1)["type"], "aborted");
    assert_eq!(place.count("dedicated.db", "SELECT count(*) FROM events"), 0);
    assert_eq!(place.history(tenant), before);
    // And again from the beginning.
    let id = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    assert_eq!(place.history(tenant), before);
}

#[test]
fn an_abort_without_a_purge_keeps_what_was_copied_for_the_next_one() {
    let (place, tenant) = Place::with_tenant(3_000);
    let (running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    place.json(["migration", "abort", &migration]);
    running.ends().fails(1);
    let kept = place.count("dedicated.db", "SELECT count(*) FROM events");
    assert!(kept > 0);
    let id = tenant.to_string();
    let plan = place.json(["plan", "--tenant", &id, "--to", "dedicated"]);
    assert_eq!(plan["events_to_copy"], 3_000 - kept);
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 3_000);
}

#[test]
fn what_a_process_that_died_left_is_taken_over() {
    let (place, tenant) = Place::with_tenant(3_000);
    let before = place.history(tenant);
    let (running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    running.kill();
    place.json(["migration", "tune", &migration, "--copy-rate-max", "0"]);
    let done = place.json(["migration", "resume", &migration]);
    assert_eq!(done["state"], "migrated");
    assert_eq!(place.history(tenant), before);
}

#[test]
fn a_process_that_drives_takes_over_from_one_that_died_and_ends_when_told() {
    let (place, tenant) = Place::with_tenant(3_000);
    let before = place.history(tenant);
    let (running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    let mut driving = place.spawn(["migration", "drive"]);
    running.kill();
    place.json(["migration", "tune", &migration, "--copy-rate-max", "0"]);
    place.until(&migration, "migrated", |found| found["state"] == "migrated");
    assert!(driving.is_running());
    driving.signal("TERM");
    driving.ends().succeeds();
    assert_eq!(place.history(tenant), before);
}

#[test]
fn a_paused_migration_whose_process_died_is_resumed_here() {
    let (place, tenant) = Place::with_tenant(2_000);
    let (running, migration) = slow(&place, tenant, &["--verification", "full"]);
    copying(&place, &migration);
    place.json(["migration", "pause", &migration]);
    running.kill();
    place.json(["migration", "tune", &migration, "--copy-rate-max", "0"]);
    assert_eq!(place.json(["migration", "resume", &migration])["state"], "migrated");
    assert_eq!(place.history(tenant).lines().count(), 2_000);
}

#[test]
fn whoever_cuts_over_or_aborts_does_it_if_nobody_else_is_left() {
    let (place, tenant) = Place::with_tenant(300);
    let (running, migration) = manual(&place, tenant);
    mirroring(&place, &migration, 300);
    running.kill();
    assert_eq!(place.json(["migration", "cutover", &migration])["state"], "migrated");

    let (place, tenant) = Place::with_tenant(300);
    let (running, migration) = manual(&place, tenant);
    mirroring(&place, &migration, 300);
    running.kill();
    let aborted = place.json(["migration", "abort", &migration, "--purge-target"]);
    assert_eq!(aborted["state"], "rolled_back");
    assert_eq!(place.count("dedicated.db", "SELECT count(*) FROM events"), 0);
}

#[test]
fn a_stopped_command_says_that_the_migration_waits_and_how_to_go_on() {
    for signal in ["INT", "TERM"] {
        let (place, tenant) = Place::with_tenant(3_000);
        let (running, migration) = slow(&place, tenant, &[]);
        copying(&place, &migration);
        running.signal(signal);
        let error = running.ends().error(1);
        assert_eq!(error["type"], "stopped");
        assert_eq!(error["state"], "bulk_copy");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("rehome migration resume {migration}")), "{message}");
        // The lease was released: no process has to wait for it.
        assert_eq!(place.count("control.db", "SELECT count(*) FROM leases"), 0);
        assert_eq!(place.history(tenant).lines().count(), 3_000);
    }
}

#[test]
fn a_second_migration_of_the_same_tenant_is_refused() {
    let (place, tenant) = Place::with_tenant(3_000);
    let (_running, migration) = slow(&place, tenant, &[]);
    copying(&place, &migration);
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--json"];
    let error = place.rehome(args).error(3);
    assert!(error["message"].as_str().unwrap().contains("finish or abort it"), "{error}");
    assert_eq!(place.json(["migration", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn two_starts_at_once_are_one_migration() {
    let (place, tenant) = Place::with_tenant(200);
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--cutover", "manual"];
    let mut both = [(); 2].map(|()| place.spawn(args));
    wait_for("one to be refused", || both.iter_mut().any(|one| !one.is_running()).then_some(()));
    let migration = place.migration_of(tenant);
    mirroring(&place, &migration, 200);
    assert_eq!(place.json(["migration", "list"]).as_array().unwrap().len(), 1);
    place.json(["migration", "cutover", &migration]);
    let mut codes = both.map(|one| one.ends().code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 3]);
}

#[test]
fn an_export_goes_on_across_a_cutover() {
    let (place, tenant) = Place::with_tenant(5_000);
    let before = place.history(tenant);
    let id = tenant.to_string();
    let migrating = place.spawn(["migration", "start", "--tenant", &id, "--to", "dedicated"]);
    let mut exports = 0;
    let mut running = migrating;
    while running.is_running() {
        assert_eq!(place.history(tenant), before);
        exports += 1;
    }
    running.ends().succeeds();
    assert!(exports > 0);
    assert_eq!(place.history(tenant), before);
}

#[test]
fn an_import_goes_on_across_a_cutover_in_the_order_of_its_file() {
    let (place, tenant) = Place::with_tenant(500);
    let all = lines(tenant, 1..=30_000);
    place.write("all.ndjson", &all);
    let id = tenant.to_string();
    let importing = place.spawn(["import", "all.ndjson", "--json"]);
    wait_for("the import to begin", || {
        let seq = place.json(["tenant", "show", &id])["seq"].as_u64();
        (seq > Some(500)).then_some(())
    });
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    let imported = importing.ends();
    assert_eq!(imported.document()["events_imported"], 29_500, "{}", imported.stderr);
    let history = place.history(tenant);
    assert!(history.lines().map(payload).eq(all.lines().map(payload)));
    assert_eq!(place.json(["tenant", "show", &id])["store"], "dedicated");
}

#[test]
fn a_tenant_returns_while_another_process_keeps_its_old_source_level() {
    let (place, tenant) = Place::with_tenant(800);
    let id = tenant.to_string();
    let keeping = place.spawn([
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--rollback-window",
        "1h",
        "--keep-window",
        "--json",
    ]);
    let migration = place.migration_of(tenant);
    let shared = || {
        let found = place.json(["tenant", "show", &id]);
        let stores = found["stores"].as_array().unwrap();
        stores.iter().find(|store| store["store"] == "shared").unwrap().clone()
    };
    wait_for("a replica", || (shared()["role"] == "replica").then_some(()));
    place.write("more.ndjson", lines(tenant, 1..=900));
    place.rehome(["import", "more.ndjson"]).succeeds();
    wait_for("a level replica", || (shared()["seq"] == 900).then_some(()));
    // Only one holds it.
    place.rehome(["migration", "resume", &migration, "--keep-window"]).fails(3);
    let back = place.json(["migration", "return", &migration]);
    assert_eq!(back["target_store"], "shared");
    assert_eq!(keeping.ends().document()["id"], migration);
    assert_eq!(shared()["role"], "active");
    assert_eq!(place.history(tenant).lines().count(), 900);
}
