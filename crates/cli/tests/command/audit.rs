//! Logs of migrations that were changed directly in the file: every display of one says so, and every full check
//! finds it.

use std::io::{BufRead as _, BufReader};

use rusqlite::{Connection, params};
use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Place};
use crate::serving::Serving;

/// A deployment with one migration that is over, and its id.
fn migrated() -> (Place, String) {
    let (place, tenant) = Place::with_tenant(20);
    let id = tenant.to_string();
    let moved =
        place.json(["migration", "start", "--tenant", &id, "--to", "dedicated", "--reason", "why"]);
    (place, moved["id"].as_str().unwrap().to_owned())
}

fn change(place: &Place, id: &str, sql: &str) {
    let control = Connection::open(place.path("control.db")).unwrap();
    let id: Uuid = id.parse().unwrap();
    let changed = control.execute(sql, params![id.as_bytes().as_slice()]).unwrap();
    assert!(changed > 0);
}

const ACTOR: &str = "UPDATE log SET actor = 'eve' WHERE migration = ?1 AND entry = 3";

#[test]
fn logs_as_they_were_recorded_are_fine() {
    let (place, id) = migrated();
    let report = place.json(["audit", "verify"]);
    assert_eq!((&report["ok"], &report["logs_checked"]), (&true.into(), &1.into()));
    assert!(report["entries_checked"].as_u64().unwrap() > 4);
    let shown = place.rehome(["migration", "log", &id]);
    assert!(shown.code == 0 && !shown.stdout.contains("BROKEN"), "{}", shown.stdout);
}

#[test]
fn whatever_shows_a_changed_log_says_that_it_is_broken_and_where() {
    let (place, id) = migrated();
    change(&place, &id, ACTOR);
    // The command, on the stores and through a server, and the API.
    let server = Serving::start(&place);
    for more in [&[][..], &["--server", &server.url]] {
        let args = ["migration", "log", &id].into_iter().chain(more.iter().copied());
        let shown = place.rehome(args.clone());
        assert_eq!(shown.code, 5, "{}", shown.stderr);
        let lines: Vec<_> = shown.stdout.lines().collect();
        assert!(
            lines[3].contains("BROKEN: the chain of the log is broken at entry 3"),
            "{lines:?}"
        );
        assert_eq!(lines.iter().filter(|line| line.contains("BROKEN")).count(), 1);
        let shown = place.rehome(args.chain(["--json"]));
        let broken: Vec<bool> = shown
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|entry| entry["chain_broken"].is_string())
            .collect();
        assert_eq!(broken.iter().position(|broken| *broken), Some(2));
    }
    // In the middle of the log too, where its beginning is not read.
    for (after, broken) in [(2, true), (3, false)] {
        let path = format!("/v1/migrations/{id}/log?after={after}");
        let (_, page) = server.ask("GET", &path, None, "");
        assert_eq!(page["entries"][0]["chain_broken"].is_string(), broken, "{page}");
    }
    // The console.
    let page = server.text(&format!("/migrations/{id}"));
    assert!(page.contains("This log is not as it was recorded"), "{page}");
}

#[test]
fn every_way_of_changing_a_log_is_found_with_its_first_bad_entry() {
    for (sql, entry, what) in [
        (ACTOR, 3, "was changed after it was recorded"),
        (
            "UPDATE log SET at = at + 1 WHERE migration = ?1 AND entry = 2",
            2,
            "was changed after it was recorded",
        ),
        (
            "UPDATE log SET fact = replace(fact, '\"violations\":0', '\"violations\":7') \
             WHERE migration = ?1 AND fact LIKE '%\"verified\"%'",
            5,
            "was changed after it was recorded",
        ),
        ("UPDATE log SET hash = zeroblob(32) WHERE migration = ?1 AND entry = 4", 4, "changed"),
        ("DELETE FROM log WHERE migration = ?1 AND entry = 1", 1, "it is missing"),
        ("DELETE FROM log WHERE migration = ?1 AND entry = 3", 3, "it is missing"),
        ("DELETE FROM log WHERE migration = ?1", 1, "it is missing"),
        // The end, with the switch in it, and with the last cutover.
        (
            "DELETE FROM log WHERE migration = ?1 AND entry >= (SELECT min(entry) FROM log WHERE \
             migration = ?1 AND fact LIKE '%\"switched\"%')",
            0,
            "the end of the log is missing",
        ),
        ("UPDATE log SET fact = '{}' WHERE migration = ?1 AND entry = 2", 2, "cannot be read"),
    ] {
        let (place, id) = migrated();
        change(&place, &id, sql);
        let checked = place.rehome(["audit", "verify", "--json"]);
        assert_eq!(checked.code, 5, "{sql}: {}", checked.stderr);
        let report = checked.document();
        assert_eq!((&report["ok"], &report["broken_total"]), (&false.into(), &1.into()));
        let broken = &report["broken"][0];
        assert_eq!(broken["migration_id"], id.as_str());
        // 0: wherever the end was.
        assert!(entry == 0 || broken["index"] == entry, "{sql}: {broken}");
        assert!(broken["detail"].as_str().unwrap().contains(what), "{sql}: {broken}");
        let error: Value = serde_json::from_str(&checked.stderr).unwrap();
        assert_eq!(error["error"]["type"], "chain_broken");
    }
}

#[test]
fn health_reports_a_broken_log_also_of_what_is_long_over() {
    let (place, id) = migrated();
    assert_eq!(place.json(["health"])["status"], "healthy");
    change(&place, &id, ACTOR);
    let health = place.rehome(["health", "--json"]);
    assert_eq!(health.code, 1);
    let details = health.document()["details"].to_string();
    assert!(details.contains(&id) && details.contains("broken at entry 3"), "{details}");
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_export_has_every_entry_and_a_signature_of_each() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, id) = migrated();
    let exported = place.rehome(["audit", "export"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    let unsigned = lines(&exported.stdout);
    let shown = lines(&place.rehome(["migration", "log", &id, "--json"]).stdout);
    assert_eq!(unsigned.len(), shown.len());
    let mut before = Value::from("00".repeat(32));
    for (line, entry) in unsigned.iter().zip(&shown) {
        assert_eq!((&line["hash"], &line["index"]), (&entry["hash"], &entry["index"]));
        assert_eq!((&line["previous_hash"], &line["migration_id"]), (&before, &id.as_str().into()));
        assert!(line.get("signature").is_none() && line.get("chain_broken").is_none());
        before = line["hash"].clone();
    }
    assert!(unsigned[0]["actor"].as_str().unwrap().ends_with(": why"));
    // Only later entries.
    let after = unsigned[1]["at"].as_str().unwrap();
    let later = lines(&place.rehome(["audit", "export", "--after", after]).stdout);
    assert_eq!(later, unsigned[2..]);

    place.write("rehome.toml", format!("{CONFIG}[audit]\nkey_file = \"audit.key\"\n"));
    let refused = |what: &str| {
        let error = place.rehome(["audit", "export", "--json"]).error(2);
        assert!(error["message"].as_str().unwrap().contains(what), "{error}");
    };
    refused("cannot be read");
    place.write("audit.key", "short\n");
    let only_ours = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(place.path("audit.key"), only_ours).unwrap();
    refused("must hold 32 to");
    place.write("audit.key", [b'k'; 32]);
    let signed = lines(&place.rehome(["audit", "export"]).stdout);
    let again = lines(&place.rehome(["audit", "export"]).stdout);
    assert_eq!(signed, again);
    for (line, plain) in signed.iter().zip(&unsigned) {
        assert_eq!(line["hash"], plain["hash"]);
        assert_eq!(line["signature"].as_str().unwrap().len(), 64);
    }
    place.write("audit.key", [b'l'; 32]);
    let other = lines(&place.rehome(["audit", "export"]).stdout);
    assert!(signed.iter().zip(&other).all(|(one, other)| one["signature"] != other["signature"]));
    std::fs::set_permissions(place.path("audit.key"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    refused("others can read");
}

#[test]
fn an_export_of_a_broken_log_says_where_and_goes_on() {
    let (place, id) = migrated();
    change(&place, &id, ACTOR);
    let exported = place.rehome(["audit", "export"]);
    assert_eq!(exported.code, 5);
    let lines = lines(&exported.stdout);
    let broken = lines.iter().position(|line| line["chain_broken"].is_string());
    assert_eq!(broken, Some(2));
    assert!(lines.len() > 4);
}

/// What is recorded until then would be skipped.
#[test]
fn an_export_after_a_time_in_the_future_is_refused() {
    let (place, _) = migrated();
    let refused = place.rehome(["audit", "export", "--after", "2999-01-01T00:00:00Z"]).fails(2);
    assert!(refused.contains("in the future"), "{refused}");
}

#[test]
fn an_export_that_follows_has_what_is_recorded_meanwhile() {
    let (place, _) = migrated();
    let before = lines(&place.rehome(["audit", "export"]).stdout).len();
    let mut command = place.command(["audit", "export", "--follow", "--quiet"]);
    let mut following = command.spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    for _ in 0..before {
        lines.next().unwrap().unwrap();
    }
    let tenant = Uuid::new_v4();
    place.write("more.ndjson", crate::kit::lines(tenant, 1..=5));
    place.rehome(["import", "--store", "shared", "more.ndjson"]).succeeds();
    let tenant = tenant.to_string();
    place.json(["migration", "start", "--tenant", &tenant, "--to", "dedicated"]);
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["tenant_id"]), (&"started".into(), &tenant.as_str().into()));
    following.kill().unwrap();
    following.wait().unwrap();
}
