//! Tenants in files of another program: adopted, moved there and back, and released.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::kit::Place;

const TENANT: &str = "0190a5de-6f6b-7c3d-8a55-000000000001";

const CONFIG: &str = r#"
[control_plane]
url = "sqlite:control.db"

[[stores]]
id = "shared"
url = "sqlite:shared.db"
layout = "eventsource-py"
default = true

[[stores]]
id = "dedicated"
url = "sqlite:dedicated.db"
layout = "eventsource-py"

[[stores]]
id = "own"
url = "sqlite:own.db"
"#;

/// The table of eventsource-py 0.8.1, as its schema makes it.
const EVENTS: &str = "\
    CREATE TABLE events (
        global_position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, aggregate_id TEXT NOT NULL,
        aggregate_type TEXT NOT NULL, event_type TEXT NOT NULL, tenant_id TEXT, actor_id TEXT,
        version INTEGER NOT NULL, timestamp TEXT NOT NULL, payload TEXT NOT NULL,
        created_at TEXT NOT NULL DEFAULT (datetime('now')), UNIQUE (aggregate_id, aggregate_type, version));
    CREATE INDEX idx_events_tenant_id ON events (tenant_id) WHERE tenant_id IS NOT NULL;";

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(10)).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn
}

fn insert(conn: &Connection, stream: &str, version: i64) -> rusqlite::Result<usize> {
    conn.execute(
        "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, timestamp, payload) \
         VALUES (hex(randomblob(16)), ?1, 'Order', 'Changed', ?2, ?3, datetime('now'), '{\"n\":1}')",
        (stream, TENANT, version),
    )
}

/// Appends to one stream, wherever it is taken, until it is stopped. Answers how many were.
fn write(files: &[PathBuf; 2], stream: &str, stop: &AtomicBool) -> i64 {
    let files = [open(&files[0]), open(&files[1])];
    let (mut at, mut version) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        while let Err(error) = insert(&files[at], stream, version + 1) {
            let said = error.to_string();
            assert!(said.starts_with("RH001") || said.starts_with("RH003"), "{said}");
            assert!(began.elapsed() < Duration::from_secs(30), "nobody takes it: {said}");
            at = 1 - at;
        }
        version += 1;
        std::thread::yield_now();
    }
    version
}

fn schema(place: &Place, file: &str) -> Vec<String> {
    let conn = place.sqlite(file);
    let mut statement =
        conn.prepare("SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY rowid").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_tenant_of_another_program_moves_there_and_back_under_its_writers() {
    let place = Place::new();
    place.write("rehome.toml", CONFIG);
    let files = ["shared.db", "dedicated.db"].map(|name| place.path(name));
    for file in &files {
        open(file).execute_batch(EVENTS).unwrap();
    }
    for version in 1..=500 {
        insert(&place.sqlite("shared.db"), "old", version).unwrap();
    }
    let before = [schema(&place, "shared.db"), schema(&place, "dedicated.db")];
    let refused = place.rehome(["plan", "--tenant", TENANT, "--to", "dedicated"]);
    assert_ne!(refused.code, 0);

    for store in ["shared", "dedicated"] {
        let adopted = place.rehome(["store", "adopt", store]).succeeds();
        assert!(
            adopted.contains("rehome_guard_insert") && adopted.contains("is adopted"),
            "{adopted}"
        );
    }
    place.rehome(["store", "check", "shared"]).succeeds();
    let planned = place.rehome(["plan", "--tenant", TENANT, "--to", "dedicated"]).succeeds();
    assert!(planned.contains("500 events, which its own library writes"), "{planned}");
    let other = place.rehome(["plan", "--tenant", TENANT, "--to", "own"]);
    let said = format!("{}{}", other.stdout, other.stderr);
    assert!(other.code != 0 && said.contains("tables of rehome's own"), "{said}");

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = ["a", "b"]
        .map(|stream| {
            let (files, stop) = (files.clone(), Arc::clone(&stop));
            std::thread::spawn(move || write(&files, stream, &stop))
        })
        .into_iter()
        .collect();
    let there = place.json([
        "migration",
        "start",
        "--tenant",
        TENANT,
        "--to",
        "dedicated",
        "--rollback-window",
        "1h",
    ]);
    assert_eq!(there["state"], "migrated");
    let back = place.json(["migration", "return", there["id"].as_str().unwrap()]);
    assert_eq!(back["state"], "migrated");
    let again = place.json(["migration", "start", "--tenant", TENANT, "--to", "dedicated"]);
    assert_eq!(again["state"], "migrated");
    stop.store(true, Ordering::Relaxed);
    let written: Vec<i64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();

    // All that the writers were told, in the order of their versions.
    for (stream, last) in ["a", "b", "old"].into_iter().zip(written.into_iter().chain([500])) {
        let dedicated = place.sqlite("dedicated.db");
        let found: (i64, i64) = dedicated
            .query_row(
                "SELECT count(*), max(version) FROM events WHERE aggregate_id = ?1 AND tenant_id = ?2",
                (stream, TENANT),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(found, (last, last), "stream {stream}");
    }
    place.rehome(["store", "verify", "dedicated"]).succeeds();
    let stale = insert(&place.sqlite("shared.db"), "c", 1).unwrap_err().to_string();
    assert!(stale.starts_with("RH001"), "{stale}");

    // The old file is shut until somebody says that no writer is left.
    let kept = place.rehome(["store", "release", "shared"]);
    assert!(kept.code != 0 && kept.stderr.contains(TENANT), "{}", kept.stderr);
    place
        .rehome(["store", "release", "shared", "--no-writers-left", "--reason", "done"])
        .succeeds();
    place.rehome(["store", "release", "dedicated"]).succeeds();
    assert_eq!([schema(&place, "shared.db"), schema(&place, "dedicated.db")], before);
}
