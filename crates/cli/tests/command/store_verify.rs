//! Compares one store's chains with its rows, without a migration: each possible damage of the file
//! is found, named and ends with exit code 5.

use rusqlite::Connection;
use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Ended, Place, Running, lines, wait_for};
use crate::serving::Serving;

/// A store with three tenants.
fn filled(events: u64) -> (Place, Vec<Uuid>) {
    let place = Place::new();
    let mut tenants: Vec<Uuid> = (0..3).map(|_| Uuid::new_v4()).collect();
    tenants.sort();
    for tenant in &tenants {
        place.write("events.ndjson", lines(*tenant, 1..=events));
        place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
    }
    (place, tenants)
}

fn verify(place: &Place, more: &[&str]) -> Ended {
    let args = ["store", "verify", "shared"].into_iter().chain(more.iter().copied());
    place.rehome(args)
}

fn damage(place: &Place, tenant: Uuid, sql: &str) {
    let store: Connection = place.sqlite("shared.db");
    let no: i64 = store
        .query_row("SELECT tenant_no FROM ledger WHERE tenant = ?1", [tenant.as_bytes()], |row| {
            row.get(0)
        })
        .unwrap();
    let sql = sql.replace("AT(", &format!("position = ({no} << 40) + ("));
    let changed = store.execute(&sql.replace("TENANT", &no.to_string()), []).unwrap();
    assert!(changed > 0, "{sql}");
}

#[test]
fn a_store_as_it_was_written_is_fine_at_every_level() {
    let (place, tenants) = filled(50);
    for level in ["count", "hash", "full"] {
        let report = verify(&place, &["--level", level, "--json"]).document();
        assert_eq!((&report["ok"], &report["complete"]), (&true.into(), &true.into()), "{report}");
        let counted = (&report["tenants_checked"], report["events_checked"].as_u64());
        assert_eq!(counted.0, &Value::from(3));
        assert!(counted.1 >= Some(150), "{report}");
    }
    let one = tenants[1].to_string();
    let report = verify(&place, &["--tenant", &one, "--json"]).document();
    assert_eq!((&report["tenants_checked"], &report["events_checked"]), (&1.into(), &50.into()));
    verify(&place, &["--after", "nothing"]).fails(2);
    place.rehome(["store", "verify", "nowhere"]).fails(4);
}

#[test]
fn every_damage_is_found_with_where_it_is_and_by_the_levels_that_can_see_it() {
    for (sql, kind, seq, levels) in [
        ("UPDATE events SET data = '{}' WHERE AT(7)", "content", Some(7), "hash full"),
        ("UPDATE events SET event_type = 'x' WHERE AT(50)", "content", Some(50), "hash full"),
        ("UPDATE events SET occurred_at = 1 WHERE AT(1)", "content", Some(1), "hash full"),
        ("UPDATE events SET digest = zeroblob(32) WHERE AT(9)", "content", Some(9), "hash full"),
        ("UPDATE events SET data = 'x' WHERE AT(8)", "content", Some(8), "hash full"),
        ("DELETE FROM events WHERE AT(5)", "missing", Some(5), "hash full"),
        ("DELETE FROM events WHERE AT(50)", "missing", Some(50), "hash full"),
        (
            "UPDATE ledger SET digest = zeroblob(32) WHERE tenant_no = TENANT",
            "ledger",
            Some(50),
            "hash full",
        ),
        (
            "UPDATE ledger SET seq = 49, digest = (SELECT digest FROM events WHERE AT(49)) \
             WHERE tenant_no = TENANT",
            "unexpected",
            Some(50),
            "count hash full",
        ),
        ("UPDATE streams SET version = 0 WHERE tenant_no = TENANT", "version", None, "count full"),
    ] {
        let (place, tenants) = filled(50);
        damage(&place, tenants[1], sql);
        for level in ["count", "hash", "full"] {
            let ended = verify(&place, &["--level", level, "--json"]);
            let report = ended.document();
            if !levels.contains(level) {
                continue;
            }
            assert_eq!(ended.code, 5, "{level} {sql}: {report}");
            assert_eq!((&report["damaged_total"], &report["ok"]), (&1.into(), &false.into()));
            let found = &report["damaged"][0];
            assert_eq!(found["tenant_id"], tenants[1].to_string(), "{sql}");
            assert_eq!(
                (&found["type"], &found["seq"]),
                (&kind.into(), &seq.into()),
                "{sql} {found}"
            );
            let error: Value = serde_json::from_str(&ended.stderr).unwrap();
            assert_eq!(error["error"]["type"], "damaged");
        }
        // The others are as they were.
        verify(&place, &["--tenant", &tenants[0].to_string()]).succeeds();
    }
}

#[test]
fn a_row_that_is_gone_is_counted_too() {
    let (place, tenants) = filled(50);
    damage(&place, tenants[2], "DELETE FROM events WHERE AT(5)");
    let ended = verify(&place, &["--level", "count"]);
    assert_eq!(ended.code, 5, "{}", ended.stdout);
    assert!(ended.stdout.contains(&tenants[2].to_string()), "{}", ended.stdout);
}

#[test]
fn a_look_that_was_stopped_goes_on_where_it_came_to() {
    let (place, tenants) = filled(3_000);
    damage(&place, tenants[0], "UPDATE events SET data = '{}' WHERE AT(2)");
    // The part before it is not read again.
    let after = format!("{}:1000", tenants[1]);
    let report = verify(&place, &["--after", &after, "--json"]).document();
    assert_eq!((&report["ok"], &report["events_checked"]), (&true.into(), &5_000.into()));

    let mut slow = place.command(["store", "verify", "shared", "--rate", "500"]);
    slow.args(["--tenant", &tenants[1].to_string()]);
    // Its first word on how far it is.
    let (running, progress) = Running::announced_on_stderr(slow);
    assert!(progress.starts_with("checked "), "{progress}");
    running.signal("INT");
    let ended = running.ends();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stdout.contains(", not to the end"), "{}", ended.stdout);
    let (_, next) = ended.stderr.split_once("stopped; continue with --after ").unwrap();
    let (tenant, seq) = next.trim().split_once(':').unwrap();
    assert_eq!(tenant, tenants[1].to_string());
    let seq: u64 = seq.parse().unwrap();
    assert!((1..3_000).contains(&seq), "{seq}");
    let rest = verify(&place, &["--after", next.trim(), "--json"]).document();
    assert_eq!((&rest["events_checked"], &rest["complete"]), (&(6_000 - seq).into(), &true.into()));
    // Where the history does not go on, there is nothing to be found in order.
    let after = format!("{tenant}:3001");
    let error = verify(&place, &["--after", &after, "--json"]).error(3);
    assert_eq!(error["type"], "position_beyond_end", "{error}");
    assert!(error["message"].as_str().unwrap().contains("which is 3000"), "{error}");
    let after = format!("{}:1", uuid::Uuid::new_v4());
    assert_eq!(
        verify(&place, &["--after", &after, "--json"]).error(3)["type"],
        "position_beyond_end"
    );
}

#[test]
fn an_export_of_a_damaged_history_says_so() {
    let (place, tenants) = filled(50);
    let id = tenants[0].to_string();
    place.rehome(["export", "--tenant", &id, "good.ndjson"]).succeeds();
    damage(&place, tenants[0], "UPDATE events SET data = '{\"n\": 1}' WHERE AT(7)");
    for more in [&[][..], &["--store", "shared"]] {
        let args = ["export", "--tenant", &id, "bad.ndjson", "--json"];
        let error = place.rehome(args.into_iter().chain(more.iter().copied())).error(5);
        assert_eq!(error["type"], "damaged");
        assert!(error["message"].as_str().unwrap().contains("from seq 7 on"), "{error}");
        // It is all there, for the repair.
        let written = String::from_utf8(place.read("bad.ndjson")).unwrap();
        assert_eq!(written.lines().count(), 50);
    }
}

/// A server that verifies regularly finds the damage, reports it in its metrics, health and log, and revokes the
/// report when the row is restored.
#[test]
fn a_server_that_verifies_its_stores_reports_damage_and_its_end() {
    let (place, tenants) = filled(50);
    let config = format!("{CONFIG}\n[server]\nverify_stores_every = \"1s\"\n");
    place.write("rehome.toml", config);
    let server = Serving::start(&place);
    let series = |name: &str| server.series(name, "store_id=\"shared\"");
    wait_for("a verification of the store", || {
        series("store_verified_timestamp_seconds").filter(|at| *at > 0.0)
    });
    assert_eq!(series("store_damaged_tenants"), Some(0.0));
    assert!(series("store_verification_events_checked_total") >= Some(150.0));

    let data: String = place
        .sqlite("shared.db")
        .query_row("SELECT data FROM events WHERE position % 1099511627776 = 7", [], |row| {
            row.get(0)
        })
        .unwrap();
    damage(&place, tenants[1], "UPDATE events SET data = '{}' WHERE AT(7)");
    wait_for("the damage", || series("store_damaged_tenants").filter(|n| (*n - 1.0).abs() < 0.5));
    let (status, health) = server.ask("GET", "/health/migration", None, "");
    let details = health["details"].to_string();
    assert_eq!((status, &health["status"]), (503, &"unhealthy".into()), "{health}");
    assert!(details.contains(&tenants[1].to_string()) && details.contains("seq 7"), "{details}");

    // As it was: the payloads of a position are the same in all three.
    let back = format!("UPDATE events SET data = '{data}' WHERE AT(7)");
    damage(&place, tenants[1], &back);
    wait_for("the end of the damage", || series("store_damaged_tenants").filter(|n| *n == 0.0));
}

#[test]
fn a_server_that_verifies_nothing_by_itself_tells_of_no_store() {
    let (place, _) = filled(1);
    let server = Serving::start(&place);
    assert_eq!(server.series("store_damaged_tenants", "store_id=\"shared\""), None);
    server.stop();
}
