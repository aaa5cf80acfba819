//! Tenants in files of another program: adopted, moved there and back, and released.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rusqlite::Connection;

use crate::kit::Place;
use crate::real_input::shared_data;

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

fn insert(conn: &Connection, tenant: &str, stream: &str, version: i64) -> rusqlite::Result<usize> {
    conn.execute(
        "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, timestamp, payload) \
         VALUES (hex(randomblob(16)), ?1, 'Order', 'Changed', ?2, ?3, datetime('now'), '{\"n\":1}')",
        (stream, tenant, version),
    )
}

/// Two writers of the tenant, each with a stream of its own.
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<i64>>,
}

impl Writers {
    fn start(files: &[PathBuf; 2], tenant: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = WRITTEN.map(|stream| {
            let (files, stop, tenant) = (files.clone(), Arc::clone(&stop), tenant.to_owned());
            std::thread::spawn(move || write(&files, &tenant, stream, &stop))
        });
        Self { stop, threads: threads.into_iter().collect() }
    }

    /// Ends them; returns how many events of each were accepted.
    fn stop(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

/// The streams of the writers.
const WRITTEN: [&str; 2] = ["a", "b"];

/// Appends to one stream, to the store that accepts it, until it is stopped. Returns the number of appends.
fn write(files: &[PathBuf; 2], tenant: &str, stream: &str, stop: &AtomicBool) -> i64 {
    let files = [open(&files[0]), open(&files[1])];
    let (mut at, mut version) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        while let Err(error) = insert(&files[at], tenant, stream, version + 1) {
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
        insert(&place.sqlite("shared.db"), TENANT, "old", version).unwrap();
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
    let url = ["store", "layout", "check", "eventsource-py", "--url", "sqlite:shared.db"];
    let told = place.rehome(url);
    assert!(told.code == 2 && told.stderr.contains("store adopt ID --dry-run"), "{}", told.stderr);
    let planned = place.rehome(["plan", "--tenant", TENANT, "--to", "dedicated"]).succeeds();
    assert!(planned.contains("500 events, written by its own library"), "{planned}");
    let own = place.rehome(["plan", "--tenant", TENANT, "--to", "own"]).succeeds();
    assert!(own.contains("rehome's own at the target"), "{own}");
    assert!(own.contains("neither in the API nor in an export: \"actor_id\""), "{own}");

    let writers = Writers::start(&files, TENANT);
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
    let written = writers.stop();

    // All acknowledgements of the writers, in the order of their versions.
    for (stream, last) in
        [WRITTEN[0], WRITTEN[1], "old"].into_iter().zip(written.into_iter().chain([500]))
    {
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
    let stale = insert(&place.sqlite("shared.db"), TENANT, "c", 1).unwrap_err().to_string();
    assert!(stale.starts_with("RH001"), "{stale}");

    // What an operator asks for is no warning, here as through a server.
    let to = ["tenant", "checkpoints", TENANT, "--from", "shared", "--to", "dedicated"];
    let moved = place.rehome(to);
    assert_eq!((moved.code, moved.stderr.as_str()), (0, ""), "{}", moved.stdout);

    // The old file stays closed until an operator confirms that no writer is left.
    let kept = place.rehome(["store", "release", "shared"]);
    assert!(kept.code != 0 && kept.stderr.contains(TENANT), "{}", kept.stderr);
    place
        .rehome(["store", "release", "shared", "--no-writers-left", "--reason", "done"])
        .succeeds();
    place.rehome(["store", "release", "dedicated"]).succeeds();
    assert_eq!([schema(&place, "shared.db"), schema(&place, "dedicated.db")], before);
}

/// A genuine file of eventsource-py, where it is there: nine tenants, of which the largest moves.
#[test]
fn the_largest_tenant_of_a_genuine_file_moves_there_and_back() {
    const NAME: &str = "eventsource-py.sqlite.gz";
    let Some(path) = shared_data(NAME) else {
        eprintln!("skipped: {NAME} is not on this machine");
        return;
    };
    let place = Place::new();
    place.write("rehome.toml", CONFIG);
    let mut whole = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut whole).unwrap();
    place.write("shared.db", whole);
    let files = ["shared.db", "dedicated.db"].map(|name| place.path(name));
    let (shared, dedicated) = (open(&files[0]), open(&files[1]));
    let made = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid";
    let made: Vec<String> = shared
        .prepare(made)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    dedicated.execute_batch(&made.join(";\n")).unwrap();
    let before = schema(&place, "shared.db");
    let largest = "SELECT tenant_id, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 1";
    let (tenant, count): (String, i64) =
        shared.query_row(largest, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows = |conn: &Connection, which: &str| -> Vec<String> {
        let sql = format!(
            "SELECT quote(event_id) || quote(aggregate_id) || quote(aggregate_type) || quote(event_type) || \
             quote(tenant_id) || quote(actor_id) || quote(version) || quote(timestamp) || quote(payload) || \
             quote(created_at) FROM events WHERE tenant_id {which} ?1 ORDER BY aggregate_type, aggregate_id, version"
        );
        let mut statement = conn.prepare(&sql).unwrap();
        statement.query_map([&tenant], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let (others, history) = (rows(&shared, "<>"), rows(&shared, "="));
    for store in ["shared", "dedicated"] {
        place.rehome(["store", "adopt", store]).succeeds();
    }
    let writers = Writers::start(&files, &tenant);
    for target in ["dedicated", "shared", "dedicated"] {
        let moved = place.json(["migration", "start", "--tenant", &tenant, "--to", target]);
        assert_eq!(moved["state"], "migrated");
    }
    let written: i64 = writers.stop().into_iter().sum();
    let now = rows(&dedicated, "=");
    assert_eq!(i64::try_from(now.len()).unwrap(), count + written);
    let known: HashSet<&String> = now.iter().collect();
    assert!(history.iter().all(|row| known.contains(row)));
    // The remaining rows are unchanged, row for row; the other tenants were not affected.
    let left = rows(&shared, "=");
    assert!(left.len() >= history.len() && left.iter().all(|row| known.contains(row)));
    assert_eq!(rows(&shared, "<>"), others);
    let shut = ["store", "release", "shared", "--no-writers-left", "--reason", "it was a test"];
    place.rehome(shut).succeeds();
    assert_eq!(schema(&place, "shared.db"), before);
}
