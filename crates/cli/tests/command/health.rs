//! The output of `rehome health`, from a process that does not drive the deployment's migrations.

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{Place, Running};

const MINUTE_US: i64 = 60_000_000;

/// A migration that copies, slowly, in a process of its own.
fn copying(place: &Place, tenant: Uuid) -> (Running, String) {
    let tenant = tenant.to_string();
    let args = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let running = place.spawn(args.into_iter().chain(["--copy-rate-max", "20"]));
    let id = place.migration_of(tenant.parse().unwrap());
    place.until(&id, "the copy", |shown| shown["events_copied"].as_u64() > Some(0));
    (running, id)
}

/// The output, and the exit code.
fn health(place: &Place) -> (Value, i32) {
    let ended = place.rehome(["health", "--json"]);
    (ended.document(), ended.code)
}

fn details(report: &Value) -> String {
    report["details"].to_string()
}

/// Makes all records of migrations this much older.
fn age(place: &Place, minutes: i64) {
    let control = place.sqlite("control.db");
    let micros = minutes * MINUTE_US;
    control.execute("UPDATE log SET at = at - ?1", [micros]).unwrap();
    chain_anew(&control);
    // Nobody has seen the log as it was before.
    control.execute("UPDATE routes SET log_entry = NULL, log_hash = NULL", []).unwrap();
    for store in ["shared.db", "dedicated.db"] {
        let _ = place.sqlite(store).execute("DELETE FROM log_anchors", []);
    }
    control.execute("UPDATE leases SET expires_at = expires_at - ?1", [micros]).unwrap();
    control.execute("UPDATE marks SET updated_at = updated_at - ?1", [micros]).unwrap();
}

/// Gives each entry of the only log the hash that it would have been recorded with.
fn chain_anew(control: &rusqlite::Connection) {
    let mut read =
        control.prepare("SELECT entry, at, actor, fact FROM log ORDER BY entry").unwrap();
    let mut entries = read.query([]).unwrap();
    let mut hash = rehome_domain::digest::Digest::EMPTY;
    while let Some(row) = entries.next().unwrap() {
        let (entry, at): (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        let (actor, fact): (String, String) = (row.get(2).unwrap(), row.get(3).unwrap());
        let at = rehome_domain::event::Timestamp::from_micros(at);
        hash = rehome_ports::record::log_hash(&hash, entry.unsigned_abs(), at, &actor, &fact);
        let update = "UPDATE log SET hash = ?2 WHERE entry = ?1";
        control.execute(update, rusqlite::params![entry, hash.as_bytes().as_slice()]).unwrap();
    }
}

#[test]
fn a_deployment_at_rest_is_healthy_with_the_guides_fields() {
    let place = Place::with_tenant(10).0;
    let (report, code) = health(&place);
    let fields: Vec<_> = report.as_object().unwrap().keys().cloned().collect();
    let mut guide = [
        "status",
        "active_migrations",
        "stuck_migrations",
        "high_sync_lag_count",
        "target_write_failure_rate",
        "details",
    ];
    guide.sort_unstable();
    let mut sorted = fields;
    sorted.sort_unstable();
    assert_eq!(sorted, guide);
    assert_eq!((report["status"].as_str(), code), (Some("healthy"), 0));
    assert_eq!(report["active_migrations"], 0);
    assert_eq!(report["target_write_failure_rate"], 0.0);
    assert_eq!(report["details"], serde_json::json!([]));
}

#[test]
fn a_copy_that_stopped_15_minutes_ago_is_stuck_and_a_paused_one_is_not() {
    let (place, tenant) = Place::with_tenant(2_000);
    let (running, id) = copying(&place, tenant);
    let (report, code) = health(&place);
    assert_eq!((report["active_migrations"].as_u64(), code), (Some(1), 0), "{report}");
    assert_eq!(report["stuck_migrations"], 0);
    // Its process dies, and time goes by.
    running.kill();
    age(&place, 14);
    assert_eq!(health(&place).0["stuck_migrations"], 0);
    age(&place, 1);
    let (report, code) = health(&place);
    assert_eq!((report["status"].as_str(), code), (Some("unhealthy"), 1), "{report}");
    assert_eq!(report["stuck_migrations"], 1);
    assert!(details(&report).contains(&format!("Migration {id}: no progress")), "{report}");
    assert!(details(&report).contains("no process works on it"), "{report}");

    place.rehome(["migration", "pause", &id]).succeeds();
    age(&place, 60);
    let (report, code) = health(&place);
    assert_eq!((report["status"].as_str(), code), (Some("healthy"), 0), "{report}");
    assert_eq!(report["active_migrations"], 1);
    // Resumed, it has another 15 minutes.
    let resumed = place.spawn(["migration", "resume", &id]);
    place.until(&id, "bulk_copy", |shown| shown["state"] == "bulk_copy");
    assert_eq!(health(&place).0["stuck_migrations"], 0);
    drop(resumed);
}

#[test]
fn a_store_that_is_gone_degrades() {
    let (place, _) = Place::with_tenant(10);
    place.rehome(["store", "check"]);
    std::fs::remove_file(place.path("dedicated.db")).unwrap();
    let (report, code) = health(&place);
    assert_eq!((report["status"].as_str(), code), (Some("degraded"), 0), "{report}");
    assert!(details(&report).contains("dedicated"), "{report}");
}

#[test]
fn what_the_mirrors_of_another_process_failed_at_is_seen_for_five_minutes() {
    let (place, tenant) = Place::with_tenant(100);
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let running = place.spawn(start.into_iter().chain(["--cutover", "manual"]));
    let id = place.migration_of(tenant.parse().unwrap());
    place.until(&id, "dual_write", |shown| shown["state"] == "dual_write");
    let report = |failed: i64, ago: i64| {
        let control = place.sqlite("control.db");
        let sql = "INSERT OR REPLACE INTO memos (migration, name, at, text) \
                   SELECT id, 'mirror', 0, printf('[[%d,200,%d]]', unixepoch() - ?1, ?2) \
                   FROM migrations";
        control.execute(sql, (ago, failed)).unwrap();
        health(&place)
    };
    let (degraded, code) = report(3, 20);
    assert_eq!((degraded["status"].as_str(), code), (Some("degraded"), 0), "{degraded}");
    assert_eq!(degraded["target_write_failure_rate"], 0.015);
    let (unhealthy, code) = report(21, 20);
    assert_eq!((unhealthy["status"].as_str(), code), (Some("unhealthy"), 1), "{unhealthy}");
    assert!(details(&unhealthy).contains("writes to the target failed for"), "{unhealthy}");
    assert_eq!(report(200, 320).0["target_write_failure_rate"], 0.0);
    drop(running);
}

#[test]
fn a_failure_is_told_until_somebody_acknowledges_it() {
    let (place, tenant) = Place::with_tenant(2_000);
    let (running, id) = copying(&place, tenant);
    // The source does not have what was written: there is nothing to copy it from.
    let spoil = "UPDATE events SET data = '{}' WHERE position & 1099511627775 = 1900";
    assert_eq!(place.sqlite("shared.db").execute(spoil, []).unwrap(), 1);
    place.rehome(["migration", "tune", &id, "--copy-rate-max", "0"]).succeeds();
    let ended = running.ends();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    place.until(&id, "its failure", |shown| shown["state"] == "failed");
    let (report, code) = health(&place);
    assert_eq!((report["status"].as_str(), code), (Some("degraded"), 0), "{report}");
    assert_eq!(report["active_migrations"], 0);
    assert!(details(&report).contains("failed and not acknowledged"), "{report}");

    place.rehome(["migration", "acknowledge", &id]).succeeds();
    assert_eq!(health(&place).0["status"], "healthy");
    // Who and when is in the log, once.
    place.rehome(["migration", "acknowledge", &id]).succeeds();
    let log = place.rehome(["migration", "log", &id]).succeeds();
    assert_eq!(log.matches("acknowledged").count(), 1, "{log}");
    place.rehome(["migration", "abort", &id]).succeeds();
    place.rehome(["migration", "acknowledge", &id]).fails(3);
}

#[test]
fn an_abort_whose_clean_up_was_interrupted_is_reported_until_it_is_done() {
    let (place, tenant) = Place::with_tenant(2_000);
    let (running, id) = copying(&place, tenant);
    running.kill();
    let (target, away) = (place.path("dedicated.db"), place.path("away.db"));
    for end in ["", "-wal", "-shm"] {
        let file = |path: &std::path::Path| format!("{}{end}", path.display());
        let _ = std::fs::rename(file(&target), file(&away));
    }
    let said = place.rehome(["migration", "abort", &id, "--purge-target"]).fails(1);
    assert!(said.contains("the target is not cleaned up yet"), "{said}");
    for end in ["", "-wal", "-shm"] {
        let file = |path: &std::path::Path| format!("{}{end}", path.display());
        let _ = std::fs::rename(file(&away), file(&target));
    }
    age(&place, 1);
    let (report, code) = health(&place);
    assert_eq!((report["status"].as_str(), code), (Some("degraded"), 0), "{report}");
    assert!(details(&report).contains(&format!("rehome migration resume {id}")), "{report}");
    place.rehome(["migration", "resume", &id]).succeeds();
    let (report, _) = health(&place);
    assert_eq!(report["status"].as_str(), Some("healthy"), "{report}");
}
