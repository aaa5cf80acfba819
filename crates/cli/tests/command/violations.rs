//! A row of the target is deleted directly, and the damage found: no cutover happens, for any
//! requester, until the copy is repaired.

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Place, Running, lines, wait_for};

const EVENTS: u64 = 2_000;

/// A migration that waits for its cutover, and the process that works on it.
fn waiting(place: &Place, tenant: Uuid) -> (Running, String) {
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--cutover", "manual"];
    let running = place.spawn(args);
    let migration = place.migration_of(tenant);
    place.until(&migration, "read back and verified", |found| {
        found["state"] == "dual_write" && found["read_back_seq"] == EVENTS
    });
    wait_for("its verification", || {
        let log = place.rehome(["migration", "log", &migration]).succeeds();
        log.contains("verified").then_some(())
    });
    (running, migration)
}

fn health(place: &Place) -> Value {
    place.rehome(["health", "--json"]).document()
}

fn is_refused(place: &Place, migration: &str, next: &str) {
    let error = place.rehome(["migration", "cutover", migration, "--json"]).error(3);
    assert_eq!(error["type"], "violation_open", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("at seq 700") && message.contains(next), "{message}");
    assert_eq!(place.json(["migration", "show", migration])["state"], "dual_write");
}

/// The scenario, for any engine of the target: `delete` removes row 700 from it.
fn no_cutover_with_a_known_violation(place: &Place, tenant: Uuid, delete: impl FnOnce()) {
    let before = place.history(tenant);
    let (running, migration) = waiting(place, tenant);
    delete();
    let ended = place.rehome(["migration", "verify", &migration, "--json"]);
    assert!(ended.document()["open_violation"].as_str().unwrap().contains("seq 700"));
    ended.fails(5);
    // From the driver, and from a process that takes over.
    let repair = format!("rehome migration repair {migration}");
    is_refused(place, &migration, &repair);
    running.kill();
    let other = place.spawn(["migration", "drive"]);
    wait_for("another process to work on it", || {
        let log = place.rehome(["migration", "log", &migration]).succeeds();
        (log.matches("lease_taken").count() >= 2).then_some(())
    });
    is_refused(place, &migration, &repair);

    let report = health(place);
    assert_eq!(report["status"], "degraded", "{report}");
    assert!(report["details"].to_string().contains(" open violation"), "{report}");
    let checklist = place.rehome(["checklist", "during", &migration, "--json"]).document();
    let failed = checklist["items"].as_array().unwrap().iter().filter(|it| it["status"] == "fail");
    assert!(failed.clone().any(|it| it["why"].to_string().contains("seq 700")), "{checklist}");

    place.rehome(["migration", "repair", &migration]).succeeds();
    let shown = place.json(["migration", "show", &migration]);
    assert_eq!((&shown["open_violation"], &shown["state"]), (&Value::Null, &"dual_write".into()));
    let log = place.rehome(["migration", "log", &migration]).succeeds();
    assert!(log.contains("cut_back") && log.contains("seq=699"), "{log}");
    assert_eq!(health(place)["status"], "healthy");
    place.rehome(["migration", "repair", &migration]).fails(3);
    place.rehome(["migration", "verify", &migration, "--level", "full"]).succeeds();

    place.rehome(["migration", "cutover", &migration]).succeeds();
    assert_eq!(place.json(["tenant", "show", &tenant.to_string()])["store"], "dedicated");
    assert_eq!(place.history(tenant), before);
    other.kill();
}

#[test]
fn a_row_that_is_missing_in_a_file_stops_the_cutover_and_is_repaired() {
    let (place, tenant) = Place::with_tenant(EVENTS);
    no_cutover_with_a_known_violation(&place, tenant, || {
        let sql = "DELETE FROM events WHERE position & 1099511627775 = 700";
        assert_eq!(place.sqlite("dedicated.db").execute(sql, []).unwrap(), 1);
    });
}

#[test]
fn a_row_that_is_missing_on_a_server_stops_the_cutover_and_is_repaired() {
    let cluster = rehome_cluster::shared();
    let database = cluster.database().unwrap();
    let place = Place::new();
    let url = database.url();
    let config = CONFIG.replace("sqlite:control.db", &url).replace("sqlite:dedicated.db", &url);
    place.write("rehome.toml", config);
    let tenant = Uuid::new_v4();
    place.write("events.ndjson", lines(tenant, 1..=EVENTS));
    place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
    no_cutover_with_a_known_violation(&place, tenant, || {
        let sql = "DELETE FROM rehome.events WHERE position % 1099511627776 = 700";
        cluster.sql(database.name(), sql).unwrap();
    });
}

/// All that a copy can lack, and be copied again over.
#[test]
fn a_copy_that_lacks_rows_and_streams_is_repaired_or_purged() {
    for (spoil, purged) in [
        ("DELETE FROM events WHERE position & 1099511627775 IN (500, 1000, 1500)", false),
        ("UPDATE events SET data = '{}' WHERE position & 1099511627775 > 1990", false),
        ("DELETE FROM events WHERE stream_no = (SELECT max(stream_no) FROM streams)", false),
        ("UPDATE streams SET version = version - 1", false),
        ("UPDATE ledger SET digest = zeroblob(32)", false),
        ("DELETE FROM events WHERE position & 1099511627775 IN (500, 1000, 1500)", true),
    ] {
        let (place, tenant) = Place::with_tenant(EVENTS);
        let before = place.history(tenant);
        let (running, migration) = waiting(&place, tenant);
        running.kill();
        place.sqlite("dedicated.db").execute_batch(spoil).unwrap();
        let level = if spoil.contains("streams SET") { "count" } else { "hash" };
        place.rehome(["migration", "verify", &migration, "--level", level]).fails(5);
        if purged {
            place.rehome(["migration", "abort", &migration, "--purge-target"]).succeeds();
            assert_eq!(place.count("dedicated.db", "SELECT count(*) FROM events"), 0, "{spoil}");
            continue;
        }
        place.rehome(["migration", "repair", &migration]).succeeds();
        place.rehome(["migration", "cutover", &migration]).succeeds();
        assert_eq!(place.history(tenant), before, "{spoil}");
        place.rehome(["migration", "verify", &migration, "--level", "count"]).succeeds();
    }
}

#[test]
fn damage_in_the_source_is_named_and_is_not_repaired() {
    let (place, tenant) = Place::with_tenant(EVENTS);
    let (running, migration) = waiting(&place, tenant);
    let sql = "UPDATE events SET data = '{}' WHERE position & 1099511627775 = 700";
    assert_eq!(place.sqlite("shared.db").execute(sql, []).unwrap(), 1);
    place.rehome(["migration", "verify", &migration]).fails(5);
    is_refused(&place, &migration, "authority's own rows");
    let error = place.rehome(["migration", "repair", &migration, "--json"]).error(3);
    assert_eq!(error["type"], "not_repairable", "{error}");
    running.kill();
}

/// Found after the switch, also after the end of the rollback window: reported until it is repaired.
#[test]
fn what_a_verification_finds_after_the_switch_degrades_health_until_it_is_clean() {
    let (place, tenant) = Place::with_tenant(50);
    let id = tenant.to_string();
    let done = place.json(["migration", "start", "--tenant", &id, "--to", "dedicated"]);
    let migration = done["id"].as_str().unwrap();
    assert_eq!(health(&place)["status"], "healthy");
    let spoil = |from: &str, to: &str| {
        let sql = "UPDATE events SET event_type = ?2 WHERE event_type = ?1 AND position & \
                   1099511627775 = 7";
        assert_eq!(place.sqlite("shared.db").execute(sql, (from, to)).unwrap(), 1);
    };
    let kind: String = place
        .sqlite("shared.db")
        .query_row("SELECT event_type FROM events LIMIT 1", [], |row| row.get(0))
        .unwrap();
    spoil(&kind, "Forged");
    place.rehome(["migration", "verify", migration]).fails(5);
    let report = health(&place);
    assert_eq!(report["status"], "degraded", "{report}");
    let after = place.rehome(["checklist", "after", migration, "--json"]).document();
    assert!(after["items"].to_string().contains("seq 7"), "{after}");
    spoil("Forged", &kind);
    place.rehome(["migration", "verify", migration]).succeeds();
    assert_eq!(health(&place)["status"], "healthy");
}
