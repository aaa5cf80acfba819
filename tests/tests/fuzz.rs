//! Every parser and decoder returns on any text or row, in time that is linear in the input,
//! and never panics; and it accepts its own output unchanged.
//!
//! Half of the inputs are random, half are valid ones with a few bytes changed, which get
//! further into a parser. A failing input is printed, minimized; add it to the list of good or bad ones
//! beside the test, which are tried first every time.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rehome_api::duration::Millis;
use rehome_api::ndjson;
use rehome_api::time::Time;
use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::Activation;
use rehome_domain::migration::{Fact, Options};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::json::{self, JsonLimits};
use rehome_ports::record::{
    read_fact, read_options, read_state, write_fact, write_options, write_state,
};
use rehome_ports::{
    BatchLimit, Change, ControlPlane as _, LeaseRequest, LedgerStore, Marks, Memo, Migrations,
};
use rehome_postgres::PostgresUrl;
use rehome_sqlite::{SqliteControlPlane, SqliteStore, SqliteStoreOptions};

/// Longest time for any one input, on a busy machine.
const IN_TIME: Duration = Duration::from_secs(5);

const LINES: &[&str] = &[
    r#"{"tenant_id":"7f5b0c1e-52a8-4c55-9d4e-0b6a1f6f2c11","stream_type":"order","stream_id":"1","event_id":"10000000-0000-4000-8000-000000000001","event_type":"Placed","occurred_at":"2025-03-01T00:00:00Z","data":{"a" :1,"a":1e4000,"b":"\u0000\ud83d\ude00"},"metadata":{}}"#,
    r#"{"tenant_id":"7f5b0c1e-52a8-4c55-9d4e-0b6a1f6f2c11","stream_type":"\u00e5\n","stream_id":"a b","event_id":"10000000-0000-4000-8000-000000000001","event_type":"T","occurred_at":"2025-03-01T00:00:00.123456+02:00","data":[[[]]],"metadata":{"x":null},"recorded_at":"1969-12-31T23:59:59.999999Z","version":1,"seq":18446744073709551615}"#,
    r#"{"tenant_id":"","data":nul"#,
    "\u{feff}{}",
];

const RECORDS: &[&str] = &[
    r#"{"fact":"cutover_started","deadline_ms":5000}"#,
    r#"{"fact":"failed","error":"\u0000 \" \\"}"#,
    r#"{"fact":"target_activated","epoch":18446744073709551615}"#,
    r#"{"state":"migrated","activated":true,"old_source":{"is":"window","m":3}}"#,
    r#"{"fact":"violated","level":"hash","after":0,"upto":9,"whole":true,"violations":2,"seq":7,"side":"copy","first":"missing at seq 7"}"#,
    r#"{"state":"violated","found":1,"repairs":0,"open":{"number":1,"repair":"requested","level":"full","after":0,"upto":9,"whole":true,"violations":1,"side":"authority","first":""},"is":{"state":"pending"}}"#,
    r#"{"batch_events":8000,"batch_bytes":8388608,"cutover":"auto"}"#,
    "{}",
    "null",
];

const TIMES: &[&str] = &[
    "2025-03-01T00:00:00Z",
    "2024-02-29t23:59:60.9999999z",
    "0000-01-01T00:00:00-23:59",
    "9999-12-31T23:59:59.999999+00:00",
    "2025-13-01T00:00:00Z",
];

const DURATIONS: &[&str] =
    &["250ms", "5s", "1h", "0", "18446744073709551615ms", "1h30m", "1e3s", " 5s"];

const URLS: &[&str] = &[
    "postgres://u:p%40@localhost:5432/db?schema=rehome&pool_size=4&pooler=transaction&direct=h:1",
    "postgresql://[::1]:5432/db?sslmode=verify-full&sslrootcert=/a&passfile=/b",
    "postgres://h1,h2:1/db?host=/tmp",
    "postgres://%",
    "postgres:///?",
];

const CONFIGS: &[&str] = &[
    "[control_plane]\nurl = \"sqlite:control.db\"\n[[stores]]\nid = \"a\"\nurl = \"sqlite:a.db\"\ndefault = true\n[migration]\nlease_ttl_ms = 1000\nbatch_events = 10\n",
    "[control_plane]\nurl = \"postgres://u@h/db\"\n[[stores]]\nid = \"a\"\nurl = \"postgres://u@h/other\"\n",
    "[[stores]]\n[[stores]]\n",
    "control_plane = 1",
];

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// One change of a text, at a place of which only the remainder counts.
#[derive(Clone, Debug)]
enum Edit {
    Insert(usize, String),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bits = prop_oneof![
        "[\\x00-\\x7f]{1,3}",
        any::<char>().prop_map(String::from),
        proptest::sample::select(vec![
            "\\u0000",
            "\\ud800",
            "1e999",
            "-0",
            "\"",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "%",
            "=",
            "#",
            "18446744073709551616",
            "\u{feff}",
            "\r\n",
            "\0",
            "null",
            "+23:59",
            "60",
        ])
        .prop_map(str::to_owned),
    ];
    let edit = prop_oneof![
        (any::<usize>(), bits).prop_map(|(at, what)| Edit::Insert(at, what)),
        (any::<usize>(), 1_usize..9).prop_map(|(at, count)| Edit::Remove(at, count)),
        (any::<usize>(), 1_usize..40).prop_map(|(at, count)| Edit::Repeat(at, count)),
    ];
    proptest::collection::vec(edit, 1..5)
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for edit in edits {
        let place = |at: usize, chars: &[char]| at % (chars.len() + 1);
        match edit {
            Edit::Insert(at, what) => {
                let at = place(*at, &chars);
                chars.splice(at..at, what.chars());
            }
            Edit::Remove(at, count) => {
                let at = place(*at, &chars);
                chars.drain(at..(at + count).min(chars.len()));
            }
            Edit::Repeat(at, count) => {
                let at = place(*at, &chars);
                let again = chars[at..(at + count).min(chars.len())].to_vec();
                chars.splice(at..at, again);
            }
        }
    }
    chars.into_iter().collect()
}

/// Gives `parse` the good ones, then random texts, then good ones that were changed.
fn fuzz(cases: u32, good: &'static [&'static str], parse: impl Fn(&str)) {
    let timed = |text: &str| {
        let began = Instant::now();
        parse(text);
        assert!(began.elapsed() < IN_TIME, "it took {:?}: {text:?}", began.elapsed());
    };
    for text in good {
        timed(text);
    }
    let random = proptest::collection::vec(any::<char>(), 0..60)
        .prop_map(|chars| chars.into_iter().collect::<String>());
    let changed = (proptest::sample::select(good), edits()).prop_map(|(text, e)| edited(text, &e));
    let input = prop_oneof![random, changed];
    let ended = runner(cases).run(&input, |text| {
        timed(&text);
        Ok(())
    });
    if let Err(failed) = ended {
        panic!("{failed}");
    }
}

#[test]
fn a_line_of_ndjson_is_an_event_that_is_written_as_it_was_read_or_is_refused() {
    fuzz(3_000, LINES, |text| {
        let Ok(line) = ndjson::read(text) else { return };
        let mut written = Vec::new();
        stored(&line).write(&mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        let again = ndjson::read(written.trim_end()).unwrap();
        let mut twice = Vec::new();
        stored(&again).write(&mut twice).unwrap();
        assert_eq!(written.as_bytes(), twice);
        assert_eq!(again.data.get(), line.data.get());
        assert_eq!(
            (again.stream_id.as_ref(), again.version),
            (line.stream_id.as_ref(), line.version)
        );
    });
}

/// The event that a store would make of a line.
fn stored<'a>(line: &'a ndjson::NewLine<'a>) -> ndjson::EventLine<'a> {
    ndjson::EventLine {
        tenant_id: line.tenant_id,
        stream_type: line.stream_type.as_ref().into(),
        stream_id: line.stream_id.as_ref().into(),
        event_id: line.event_id.unwrap_or_default(),
        event_type: line.event_type.as_ref().into(),
        occurred_at: line.occurred_at.unwrap_or(Time(0)),
        data: line.data,
        metadata: line.metadata.unwrap_or(serde_json::value::RawValue::NULL),
        recorded_at: line.recorded_at,
        version: line.version,
        seq: None,
    }
}

#[test]
fn json_is_kept_on_one_line_or_refused_and_what_is_kept_is_kept_again() {
    fuzz(3_000, LINES, |text| {
        let Ok(kept) = json::parse(text, JsonLimits::default()) else { return };
        assert!(!kept.as_str().contains(['\n', '\r']));
        let again = json::parse(kept.as_str(), JsonLimits::default()).unwrap();
        assert_eq!(again.as_str(), kept.as_str());
    });
}

#[test]
fn json_that_is_nested_beyond_all_measure_is_refused_in_time() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[[{\"\":[", "]}]]")] {
        for depth in [127, 128, 129, 10_000, 100_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let began = Instant::now();
            let whole = json::parse(&text, JsonLimits::default());
            let torn = json::parse(&open.repeat(depth), JsonLimits::default());
            assert!(torn.is_err(), "depth {depth}");
            assert!(whole.is_err() || depth * open.matches(['[', '{']).count() <= 128);
            let line = LINES[0].replace("{\"a\" :1,", &format!("{{\"deep\":{text},"));
            // Refused or not: the limit of an event's depth is checked later.
            drop(ndjson::read(&line));
            assert!(began.elapsed() < IN_TIME, "depth {depth} took {:?}", began.elapsed());
        }
    }
}

#[test]
fn a_record_of_the_control_plane_is_read_as_it_was_written_or_is_refused() {
    fuzz(3_000, RECORDS, |text| {
        if let Ok(fact) = read_fact(text) {
            assert_eq!(read_fact(&write_fact(&fact)).unwrap(), fact);
        }
        if let Ok(options) = read_options(text) {
            assert_eq!(read_options(&write_options(&options)).unwrap(), options);
        }
        if let Ok((state, found)) = read_state(text) {
            assert_eq!(read_state(&write_state(state, &found)).unwrap(), (state, found));
        }
    });
}

#[test]
fn a_time_is_read_as_it_was_written_or_is_refused() {
    fuzz(3_000, TIMES, |text| {
        let Ok(time) = Time::from_str(text) else { return };
        if time.is_writable() {
            assert_eq!(Time::from_str(&time.to_string()).unwrap(), time);
        }
    });
}

#[test]
fn a_duration_is_read_as_it_was_written_or_is_refused() {
    fuzz(3_000, DURATIONS, |text| {
        if let Ok(duration) = Millis::from_str(text) {
            assert_eq!(Millis::from_str(&duration.to_string()).unwrap(), duration);
        }
    });
}

#[test]
fn a_name_is_taken_as_it_is_or_refused() {
    fuzz(2_000, &["a", "store-1", "", "\0", "é/ü", " "], |text| {
        if let Ok(id) = StoreId::from_str(text) {
            assert_eq!(id.as_str(), text);
        }
        if let Ok(name) = StreamName::new("order", text) {
            assert_eq!(name.stream_id(), text);
        }
        if let Ok(event_type) = EventType::new(text) {
            assert_eq!(&*event_type, text);
        }
    });
}

#[test]
fn the_url_of_a_postgresql_server_is_taken_or_refused_without_telling_its_password() {
    fuzz(3_000, URLS, |text| {
        drop(PostgresUrl::from_str(text));
    });
    fuzz(500, &["s3cr3tpassword"], |text| {
        // In a place where whatever follows makes the URL a bad one.
        let url = format!("postgres://user:s3cr3tpassword@host:0x{text}/db?pool_size=none");
        let refused = PostgresUrl::from_str(&url).err();
        let told = format!(
            "{refused:?} {}",
            refused.as_ref().map(ToString::to_string).unwrap_or_default()
        );
        assert!(refused.is_none() || !told.contains("s3cr3tpassword"), "{told}");
    });
}

#[test]
fn a_configuration_is_taken_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rehome.toml");
    fuzz(400, CONFIGS, |text| {
        std::fs::write(&path, text).unwrap();
        drop(rehome_app::config::Config::load_from(Some(&path), []));
        let variables = [("REHOME_CONTROL_PLANE_URL".to_owned(), text.to_owned())];
        drop(rehome_app::config::Config::load_from(Some(&path), variables));
    });
}

const TENANT: u128 = 0x7e;

async fn store(path: &std::path::Path) -> SqliteStore {
    let options = SqliteStoreOptions {
        id: "a".parse().unwrap(),
        path: path.to_owned(),
        deployment: "test".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    };
    SqliteStore::open(options).await.unwrap()
}

/// A value of any type, to be put where a row has another.
fn value() -> impl Strategy<Value = rusqlite::types::Value> {
    use rusqlite::types::Value::{Blob, Integer, Text};
    prop_oneof![
        any::<i64>().prop_map(Integer),
        proptest::sample::select(vec![0, -1, i64::MAX, i64::MIN, 1 << 40]).prop_map(Integer),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Blob),
        "[a-z\\x00]{0,12}".prop_map(Text),
    ]
}

/// Where a value that makes no sense is put, and whether it could be.
struct Plant {
    outsider: rusqlite::Connection,
    sql: String,
    keep: rusqlite::types::Value,
}

impl Plant {
    /// Puts the value into the last row of the table, past all checks; `None`: of a type that the table
    /// cannot have at all.
    fn put(
        path: &std::path::Path,
        (table, column): (&str, &str),
        value: &rusqlite::types::Value,
    ) -> Option<Self> {
        let outsider = rusqlite::Connection::open(path).unwrap();
        outsider.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
        let (order, key) = match table {
            "ledger" | "events" | "streams" => ("rowid", "rowid"),
            "routes" | "checkpoints" => ("tenant", "tenant"),
            "migrations" => ("id", "id"),
            // The last entry of a log, or a row beside one.
            "log" => ("entry", "entry"),
            _ => ("migration", "migration"),
        };
        let read = format!("SELECT {column} FROM {table} ORDER BY {order} DESC LIMIT 1");
        let keep = outsider.query_row(&read, [], |row| row.get(0)).unwrap();
        let sql = format!(
            "UPDATE {table} SET {column} = ?1 WHERE {key} = (SELECT max({order}) FROM {table})"
        );
        outsider.execute(&sql, [value]).is_ok().then_some(Self { outsider, sql, keep })
    }

    fn take_back(self) {
        self.outsider.execute(&self.sql, [&self.keep]).unwrap();
    }
}

/// The same of a control plane: routes, migrations, logs, leases, marks, memos, checkpoints.
#[test]
fn rows_of_a_control_plane_that_make_no_sense_are_refused() {
    const ID: MigrationId = MigrationId::new(uuid::Uuid::from_u128(5));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let tenant = TenantId::new(uuid::Uuid::from_u128(TENANT));
    let open = || SqliteControlPlane::open(path.clone(), true, Arc::new(SystemClock));
    let change = |rev, fact| {
        let actor = "a test".to_owned();
        Change { tenant, migration: ID, rev: Some(rev), fact, actor }
    };
    runtime.block_on(async {
        let plane = open().await.unwrap();
        let route = plane.create_route(tenant, &"a".parse().unwrap()).await.unwrap();
        let route = plane.mark_created(tenant, route.epoch).await.unwrap();
        let options = Options::default();
        let started = Fact::Started { migration: ID, target: "b".parse().unwrap(), options };
        let route = plane.record(change(route.rev, started)).await.unwrap().route;
        plane.record(change(route.rev, Fact::CopyStarted)).await.unwrap();
        let lease = LeaseRequest { migration: ID, holder: "me".to_owned(), ttl_ms: 3_600_000 };
        plane.lease(&lease).await.unwrap();
        plane.set_marks(ID, &Marks::default()).await.unwrap();
        let memo = Memo { at: Timestamp::from_micros(1), text: "{}".to_owned() };
        plane.set_memo(ID, "a", &memo).await.unwrap();
        plane.set_checkpoint(tenant, "all", 7).await.unwrap();
        plane.close().await;
    });
    let places = proptest::sample::select(vec![
        ("routes", "rev"),
        ("routes", "store"),
        ("routes", "epoch"),
        ("routes", "n"),
        ("routes", "base"),
        ("routes", "migration"),
        ("routes", "phase"),
        ("migrations", "source"),
        ("migrations", "m"),
        ("migrations", "phase"),
        ("migrations", "state"),
        ("migrations", "options"),
        ("migrations", "cutover_attempts"),
        ("migrations", "created_at"),
        ("log", "at"),
        ("log", "fact"),
        ("log", "hash"),
        ("leases", "expires_at"),
        ("marks", "copy_rate"),
        ("marks", "read_back_seq"),
        ("memos", "at"),
        ("memos", "text"),
        ("checkpoints", "seq"),
    ]);
    let ended = runner(200).run(&(places, value()), |(place, value)| {
        let Some(planted) = Plant::put(&path, place, &value) else { return Ok(()) };
        runtime.block_on(async {
            let plane = open().await.unwrap();
            drop(plane.route(tenant).await);
            drop(plane.routes(None, 10).await);
            drop(plane.migration(ID).await);
            let which = Migrations { limit: 10, ..Migrations::default() };
            drop(plane.migrations(which).await);
            drop(plane.log(ID, 0, 10).await);
            drop(plane.lease_holder(ID).await);
            drop(plane.marks(ID).await);
            drop(plane.memo(ID, "a").await);
            drop(plane.checkpoint(tenant, "all").await);
            // Decided by the existing state, and refused: nothing begins twice.
            let options = Options::default();
            let again = Fact::Started { migration: ID, target: "b".parse().unwrap(), options };
            assert!(plane.record(change(0, again)).await.is_err());
            plane.close().await;
        });
        planted.take_back();
        Ok(())
    });
    if let Err(failed) = ended {
        panic!("{failed}");
    }
}

/// Rows that rehome has not written are reported as such; reading them never ends a process.
#[test]
fn rows_of_a_store_that_make_no_sense_are_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let tenant = TenantId::new(uuid::Uuid::from_u128(TENANT));
    let stream = StreamName::new("order", "1").unwrap();
    runtime.block_on(async {
        let store = store(&path).await;
        let route = Activation { epoch: Epoch(1), base: 0, created: false };
        store.activate(tenant, route).await.unwrap();
        let events = (1..=5_u128).map(|n| NewEvent {
            id: EventId::new(uuid::Uuid::from_u128(n)),
            event_type: EventType::new("T").unwrap(),
            occurred_at: None,
            recorded_at: None,
            data: Json::trusted("{}"),
            metadata: Json::trusted("{}"),
        });
        let (stream, expected) = (stream.clone(), ExpectedVersion::Any);
        let append = Append { stream, expected, events: events.collect() };
        store.append(tenant, Epoch(1), &[append]).await.unwrap();
    });
    let places = proptest::sample::select(vec![
        ("ledger", "role"),
        ("ledger", "epoch"),
        ("ledger", "seq"),
        ("ledger", "digest"),
        ("events", "version"),
        ("events", "event_id"),
        ("events", "event_type"),
        ("events", "occurred_at"),
        ("events", "data"),
        ("events", "digest"),
        ("events", "stream_no"),
        ("streams", "stream_id"),
        ("streams", "version"),
    ]);
    let ended = runner(120).run(&(places, value()), |((table, column), value)| {
        let Some(planted) = Plant::put(&path, (table, column), &value) else { return Ok(()) };
        runtime.block_on(async {
            let store = store(&path).await;
            let limit = BatchLimit { events: 100, bytes: 1 << 20 };
            // Each returns the contents or an error.
            drop(store.ledger(tenant).await);
            drop(store.read_feed(tenant, 0, limit).await);
            drop(store.read_stream(tenant, &stream, 1, limit).await);
            drop(store.digest_at(tenant, 5).await);
            drop(store.streams(tenant, 5, None, 10).await);
            drop(store.tenants(None, 10).await);
            drop(store.append(tenant, Epoch(1), &[]).await);
            store.close().await;
        });
        planted.take_back();
        Ok(())
    });
    if let Err(failed) = ended {
        panic!("{failed}");
    }
}
