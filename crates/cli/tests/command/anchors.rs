//! Logs that were cut off or written anew as somebody could who may write to the control plane, so that the chain and the
//! migration's row fit. What has seen the logs from outside finds it: the route row, and the stores of the migration.

use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_ports::record::log_hash;
use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Place};

/// A deployment, and how to change its control plane behind its back.
struct Scene {
    place: Place,
    database: Option<rehome_cluster::Database>,
    id: Uuid,
    tenant: Uuid,
}

/// Both engines: control plane and target in files, and in a schema of a server.
fn scenes(events: u64) -> Vec<Scene> {
    let scene = |database: Option<rehome_cluster::Database>| {
        let place = Place::new();
        if let Some(database) = &database {
            let url = database.url();
            let config =
                CONFIG.replace("sqlite:control.db", &url).replace("sqlite:dedicated.db", &url);
            place.write("rehome.toml", config);
        }
        let tenant = Uuid::new_v4();
        place.write("events.ndjson", crate::kit::lines(tenant, 1..=events));
        place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
        let to = tenant.to_string();
        let started = place.json(["migration", "start", "--tenant", &to, "--to", "dedicated"]);
        let id = started["id"].as_str().unwrap().parse().unwrap();
        Scene { place, database, id, tenant }
    };
    vec![scene(None), scene(Some(rehome_cluster::shared().database().unwrap()))]
}

impl Scene {
    /// Runs statements on the control plane; `{id}` is the migration, `{s}` stands before each table.
    fn sql(&self, sql: &str) -> String {
        let Some(database) = &self.database else {
            let id = format!("X'{}'", self.id.simple());
            let conn = self.place.sqlite("control.db");
            let sql = sql.replace("{id}", &id).replace("{s}", "");
            if !sql.starts_with("SELECT") {
                conn.execute_batch(&sql).unwrap();
                return String::new();
            }
            let mut rows = conn.prepare(&sql).unwrap();
            let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
            return rows.map(Result::unwrap).collect::<Vec<_>>().join("\n");
        };
        let sql = sql.replace("{id}", &format!("'{}'", self.id)).replace("{s}", "rehome.");
        rehome_cluster::shared().sql(database.name(), &sql).unwrap()
    }

    fn bytes(&self, digest: &Digest) -> String {
        if self.database.is_some() { format!("'\\x{digest}'") } else { format!("X'{digest}'") }
    }

    /// Gives entry 3 another author and each hash behind it what it has to be then; answers the last entry and hash.
    fn write_anew(&self) -> (u64, Digest) {
        let mut previous = Digest::EMPTY;
        let mut entry = 0;
        let log = self.sql(
            "SELECT entry || '|' || at || '|' || actor || '|' || fact FROM {s}log \
             WHERE migration = {id} ORDER BY entry",
        );
        for line in log.lines() {
            let mut parts = line.splitn(4, '|');
            let mut part = || parts.next().unwrap();
            entry = part().parse().unwrap();
            let at = Timestamp::from_micros(part().parse().unwrap());
            let (actor, fact) = (part(), part());
            let actor = if entry == 3 { "eve" } else { actor };
            previous = log_hash(&previous, entry, at, actor, fact);
            let hash = self.bytes(&previous);
            self.sql(&format!(
                "UPDATE {{s}}log SET actor = '{actor}', hash = {hash} \
                 WHERE migration = {{id}} AND entry = {entry}"
            ));
        }
        assert!(entry > 4, "{log}");
        (entry, previous)
    }

    /// The log is found to be another than `place` has seen, by the check, by health and by an export.
    fn is_found(&self, what: &str, place: &str) {
        let checked = self.place.rehome(["audit", "verify", "--json"]);
        assert_eq!(checked.code, 5, "{what}: {} {}", checked.stdout, checked.stderr);
        let report = checked.document();
        assert_eq!((&report["ok"], &report["broken_total"]), (&false.into(), &1.into()));
        let broken = &report["broken"][0];
        assert_eq!(broken["migration_id"], self.id.to_string());
        assert_eq!(broken["tenant_id"], self.tenant.to_string());
        let detail = broken["detail"].as_str().unwrap();
        assert!(detail.contains(what) && detail.contains(place), "{what}, {place}: {detail}");

        let health = self.place.rehome(["health", "--json"]);
        assert_eq!(health.code, 1, "{}", health.stdout);
        let details = health.document()["details"].to_string().replace("\\\"", "\"");
        assert!(details.contains(&self.id.to_string()) && details.contains(what), "{details}");

        let exported = self.place.rehome(["audit", "export"]);
        assert_eq!(exported.code, 5, "{}", exported.stderr);
        let lines: Vec<Value> =
            exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let missed = lines.iter().find(|line| line["event"] == "anchor").unwrap();
        assert_eq!(missed["migration_id"], self.id.to_string());
        assert!(missed["chain_broken"].as_str().unwrap().contains(what), "{missed}");
    }

    fn is_whole(&self, anchors: u64) {
        let checked = self.place.rehome(["audit", "verify", "--json"]);
        assert_eq!(checked.code, 0, "{} {}", checked.stdout, checked.stderr);
        assert_eq!(checked.document()["anchors_checked"], anchors);
        assert_eq!(self.place.json(["health"])["status"], "healthy");
    }
}

const NO_ROW_ANCHORS: &str = "UPDATE {s}routes SET log_entry = NULL, log_hash = NULL";

#[test]
fn what_has_seen_less_or_nothing_of_a_log_raises_no_alarm() {
    for scene in scenes(20) {
        scene.is_whole(3);
        // A process that died between an entry and its anchors leaves anchors that are older.
        let on_server = scene.database.is_some();
        let hex = if on_server { "encode(hash, 'hex')" } else { "lower(hex(hash))" };
        let second = "FROM {s}log WHERE migration = {id} AND entry = 2";
        let seen = scene.sql(&format!("SELECT {hex} {second}"));
        let older = format!("UPDATE log_anchors SET entry = 2, hash = X'{seen}'");
        assert_eq!(scene.place.sqlite("shared.db").execute(&older, []).unwrap(), 1);
        if on_server {
            scene.sql(&format!("UPDATE {{s}}log_anchors SET entry = 2, hash = '\\x{seen}'"));
        } else {
            assert_eq!(scene.place.sqlite("dedicated.db").execute(&older, []).unwrap(), 1);
        }
        scene.is_whole(3);
        // The row of an older rehome has no anchor.
        scene.sql(NO_ROW_ANCHORS);
        scene.is_whole(2);
        // Nor does a store that was not there yet.
        scene.place.sqlite("shared.db").execute("DELETE FROM log_anchors", []).unwrap();
        scene.is_whole(1);
    }
}

#[test]
fn an_end_that_was_cut_off_is_found_also_with_the_migrations_row() {
    let last = "entry = (SELECT max(entry) FROM {s}log WHERE migration = {id})";
    // Only an entry that moved nothing, and all from the third entry on with the row as it was then.
    let tail = format!("DELETE FROM {{s}}log WHERE migration = {{id}} AND {last}");
    let with_row = "DELETE FROM {s}log WHERE migration = {id} AND entry > 1; \
                    UPDATE {s}migrations SET phase = 'pending', state = '{\"state\":\"pending\"}', \
                        cutover_attempts = 0, completed_at = NULL WHERE id = {id}";
    let what = "the end of the log is missing";
    for scene in scenes(5) {
        scene.sql(&tail);
        scene.is_found(what, "");
    }
    for scene in scenes(5) {
        scene.sql(with_row);
        scene.is_found(what, &format!("the route row of tenant {} has seen it", scene.tenant));
        // With the route row's anchor gone too, the stores know.
        scene.sql(NO_ROW_ANCHORS);
        scene.is_found(what, "store \"");
    }
}

#[test]
fn a_log_that_was_written_anew_is_found_by_the_route_row_and_with_it_by_the_stores() {
    for scene in scenes(5) {
        let (entry, hash) = scene.write_anew();
        scene.is_found("written anew", &format!("the route row of tenant {}", scene.tenant));
        let hash = scene.bytes(&hash);
        scene.sql(&format!("UPDATE {{s}}routes SET log_entry = {entry}, log_hash = {hash}"));
        scene.is_found("written anew", "store \"");
    }
}

#[test]
fn a_log_that_was_taken_out_with_its_migration_is_found() {
    for scene in scenes(5) {
        scene.sql("DELETE FROM {s}log WHERE migration = {id}");
        scene.sql("DELETE FROM {s}migrations WHERE id = {id}");
        scene
            .is_found("the whole log is missing", &format!("route row of tenant {}", scene.tenant));
        scene.sql("UPDATE {s}routes SET migration = NULL, phase = NULL");
        scene.sql(NO_ROW_ANCHORS);
        scene.is_found("the whole log is missing", "store \"");
        // A control plane that was restored is an operator's to say.
        let tenant = scene.tenant.to_string();
        let error = scene.place.rehome(["recover", "--tenant", &tenant]).fails(5);
        assert!(error.contains("--yes") && error.contains("the whole log is missing"), "{error}");
        let taken = scene.place.json(["recover", "--tenant", &tenant, "--yes"]);
        assert_eq!(taken[0]["recovered"], true);
        assert!(taken[0]["missed_logs"][0].as_str().unwrap().contains("whole log"), "{taken}");
        scene.is_whole(0);
        assert_eq!(scene.place.json(["recover", "--tenant", &tenant]), serde_json::json!([]));
    }
}

#[test]
fn a_store_that_does_not_answer_is_named_and_no_alarm() {
    let scene = scenes(5).remove(0);
    std::fs::remove_file(scene.place.path("dedicated.db")).unwrap();
    let checked = scene.place.rehome(["audit", "verify", "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let unread = &checked.document()["anchors_unread"];
    assert!(unread[0].as_str().unwrap().contains("dedicated"), "{unread}");
}

#[test]
fn a_drains_log_that_was_changed_or_cut_off_is_found() {
    let last = "entry = (SELECT max(entry) FROM drain_log)";
    let cut = format!("DELETE FROM drain_log WHERE {last}");
    for (change, entry, what) in [
        ("UPDATE drain_log SET actor = 'eve' WHERE entry = 2", 2, "was changed"),
        ("DELETE FROM drain_log WHERE entry = 1", 1, "it is missing"),
        // The end, wherever that is.
        (&cut, 0, "by its row the log has"),
    ] {
        let (place, _) = Place::with_tenant(3);
        let start = ["--json", "drain", "start", "--from", "shared", "--to", "dedicated"];
        let looks = place.rehome(start).succeeds();
        let over: Value = serde_json::from_str(looks.lines().last().unwrap()).unwrap();
        let id = over["id"].as_str().unwrap();
        let checked = place.json(["audit", "verify"]);
        assert_eq!(checked["drains_checked"], 1);
        let exported = place.rehome(["audit", "export"]).succeeds();
        let lines = || exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_drain: Vec<_> = lines().filter(|line| line["drain_id"] == id).collect();
        let mut before = Value::from("00".repeat(32));
        for (line, index) in of_drain.iter().zip(1..) {
            assert_eq!((&line["index"], &line["previous_hash"]), (&index.into(), &before));
            before = line["hash"].clone();
        }
        let entries = place.count("control.db", "SELECT count(*) FROM drain_log");
        assert_eq!(of_drain.len() as u64, entries);
        assert!(entries > 2, "{entries}");
        let entry = if entry == 0 { entries } else { entry };
        assert_eq!(place.sqlite("control.db").execute(change, []).unwrap(), 1);
        let checked = place.rehome(["audit", "verify", "--json"]);
        assert_eq!(checked.code, 5, "{}", checked.stderr);
        let broken = &checked.document()["broken_drains"][0];
        assert_eq!((&broken["drain_id"], &broken["index"]), (&id.into(), &entry.into()));
        assert!(broken["detail"].as_str().unwrap().contains(what), "{broken}");
        let health = place.rehome(["health", "--json"]);
        assert_eq!(health.code, 1);
        assert!(health.document()["details"].to_string().contains(id), "{}", health.stdout);
        assert!(place.rehome(["audit", "verify"]).fails(5).contains(id));
        let exported = place.rehome(["audit", "export"]);
        let anchor = exported.stdout.lines().rfind(|line| line.contains(id)).unwrap();
        let anchor: Value = serde_json::from_str(anchor).unwrap();
        assert_eq!((&anchor["event"], &anchor["index"]), (&"anchor".into(), &entry.into()));
        assert!(anchor["chain_broken"].as_str().unwrap().contains(what), "{anchor}");
        assert!(exported.fails(5).contains(id));
    }
}
