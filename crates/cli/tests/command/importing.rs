//! Imports: from tables of other programs, and from files of other formats.

use std::io::{Read as _, Write as _};

use rehome_cluster::Database;
use serde_json::Value;

use crate::kit::{Place, Running, wait_for};
use crate::real_input::shared_data;

const TABLE: &str = "\
    CREATE TABLE public.entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL, \
        \"order\" text NOT NULL, rev int NOT NULL, kind text NOT NULL, body jsonb NOT NULL, \
        at timestamptz NOT NULL DEFAULT now(), UNIQUE (shop, \"order\", rev)); \
    INSERT INTO public.entries (shop, \"order\", rev, kind, body) \
        SELECT 'shop ' || n % 3, 'o-' || n % 7, n / 21 + 1, 'Changed', json_build_object('n', n, 'é', '\"') \
        FROM generate_series(0, 2099) AS n;";
const QUERY: &str = "\
    SELECT id AS position, shop AS tenant_id, \"order\" AS stream_id, rev AS version, kind AS event_type, \
        body AS data, at AS occurred_at FROM public.entries";

fn database() -> Database {
    let database = rehome_cluster::shared().database().expect("a database");
    sql(&database, TABLE);
    database
}

fn sql(database: &Database, statements: &str) -> String {
    let statements = format!("SET ROLE {}; {statements}", database.name());
    rehome_cluster::shared().sql(database.name(), &statements).expect("an answer")
}

fn import<'a>(url: &'a str, query: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["import", "--from", url, "--query", query][..], more].concat()
}

#[test]
fn a_table_is_imported_once_and_compared_row_by_row() {
    let (place, database) = (Place::new(), database());
    let url = database.url();
    let report = place.json(import(&url, QUERY, &[]));
    assert_eq!(report["events_imported"], 2_100);
    assert_eq!(
        (&report["verified"]["events"], &report["verified"]["tenants"]),
        (&2_100.into(), &3.into())
    );
    // Again is no change.
    let report = place.json(import(&url, QUERY, &[]));
    assert_eq!(
        (&report["events_imported"], &report["events_already_there"]),
        (&0.into(), &2_100.into())
    );
    // A tenant is known by its name.
    let exported = place.rehome(["export", "--tenant", "shop 1", "-"]).succeeds();
    assert_eq!(exported.lines().count(), 700);
    let first: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!((&first["stream_id"], &first["version"]), (&"o-1".into(), &1.into()));
    assert_eq!(first["data"]["n"], 1);
}

#[test]
fn a_row_that_was_changed_or_lost_after_it_was_imported_is_found_by_the_comparison() {
    let (place, database) = (Place::new(), database());
    let url = database.url();
    place.rehome(import(&url, QUERY, &[])).succeeds();
    sql(&database, "UPDATE public.entries SET body = '{}' WHERE id = 5");
    let refused = place.rehome(import(&url, QUERY, &[])).fails(1);
    assert!(refused.contains("is already present, with other content"), "{refused}");
    sql(&database, "DELETE FROM public.entries WHERE id = 5");
    let refused = place.rehome(import(&url, QUERY, &[])).fails(5);
    assert!(refused.contains("699 rows in the source, 700 events in the store"), "{refused}");
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was_and_follows_to_the_end() {
    let (place, database) = (Place::new(), database());
    let url = database.url();
    let follow = ["--follow", "--idle", "1s", "--state", "shop.state"];
    let first =
        Running::start(place.command(import(&url, QUERY, &["--follow", "--state", "shop.state"])));
    wait_for("a state", || place.path("shop.state").exists().then_some(()));
    first.kill();
    let more = "INSERT INTO public.entries (shop, \"order\", rev, kind, body) \
                SELECT 'shop 0', 'late', n, 'Changed', '{}' FROM generate_series(1, 50) AS n";
    sql(&database, more);
    let report = place.json(import(&url, QUERY, &follow));
    assert_eq!(report["verified"]["events"], 2_150);
    let state: Value = serde_json::from_slice(&place.read("shop.state")).unwrap();
    assert_eq!(state["position"], 2_150);
    // A table that was restored from a backup ends before what was read of it.
    place.json(import(&url, QUERY, &["--state", "shop.state"]));
    sql(&database, "DELETE FROM public.entries WHERE id > 2149");
    for more in [&["--state", "shop.state"][..], &follow] {
        let error = place.rehome(import(&url, QUERY, &[more, &["--json"]].concat())).error(3);
        assert_eq!(error["type"], "position_beyond_end", "{error}");
    }
    // Another query is another import.
    let other = QUERY.replace("shop AS", "'x' AS");
    let refused = place.rehome(import(&url, &other, &follow)).fails(1);
    assert!(refused.contains("another table or query"), "{refused}");
}

#[test]
fn a_dry_run_reads_everything_and_writes_nothing() {
    let (place, database) = (Place::new(), database());
    sql(
        &database,
        "INSERT INTO public.entries (shop, \"order\", rev, kind, body) VALUES ('shop 2', 'o', 0, '', '1')",
    );
    let url = database.url();
    let ended = place.rehome(import(&url, QUERY, &["--json", "--dry-run"]));
    let look = ended.document();
    assert_eq!((&look["events"], &look["tenants"]), (&2_100.into(), &3.into()));
    assert!(look["refused"][0]["why"].as_str().unwrap().contains("version is 0"), "{look}");
    ended.fails(1);
    assert!(!place.path("control.db").exists());
}

#[test]
fn an_array_and_a_table_of_commas_are_the_same_events_as_lines() {
    let tenant = "824a8fcf-0c14-513f-bd3a-4c35d1078706";
    let array = format!(
        "\u{feff} [ {{\"tenant_id\":\"{tenant}\",\"stream_type\":\"s\",\"stream_id\":\"a,b]\",\"event_type\":\"E\",\n\
         \"data\":{{\"x\":[1,\"]}}\\\"\"]}},\"version\":1}} ,{{\"tenant_id\":\"{tenant}\",\"stream_type\":\"s\",\
         \"stream_id\":\"a,b]\",\"event_type\":\"E\",\"data\":null,\"version\":2}}]\n"
    );
    let csv = format!(
        "tenant_id,stream_type,stream_id,event_type,data,version\r\n\
         {tenant},s,\"a,b]\",E,\"{{\"\"x\"\":[1,\"\"]}}\\\"\"\"\"]}}\",1\r\n{tenant},s,\"a,b]\",E,null,2\r\n"
    );
    let events = |name: &str, content: &str| {
        let place = Place::new();
        place.write(name, content);
        place.rehome(["import", name]).succeeds();
        let again = place.json(["import", name]);
        assert_eq!(again["events_already_there"], 2, "{name}");
        let exported = place.rehome(["export", "--tenant", tenant, "-"]).succeeds();
        let events = exported.lines().map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| event[name].to_string();
            ["stream_id", "event_id", "version", "data", "metadata"].map(field)
        });
        events.collect::<Vec<_>>()
    };
    let of_array = events("events.json", &array);
    assert_eq!(of_array.len(), 2);
    assert_eq!(of_array[0][3], "{\"x\":[1,\"]}\\\"\"]}");
    assert_eq!(of_array, events("events.csv", &csv));
}

#[test]
fn a_file_that_is_cut_off_or_has_a_wrong_header_is_refused() {
    let place = Place::new();
    for (name, content, why) in [
        (
            "a.csv",
            "tenant_id,stream_typ,stream_id,event_type,data\n",
            "perhaps stream_type; column stream_type is missing",
        ),
        (
            "b.csv",
            "tenant_id,stream_type,stream_id,event_type,data,data\n",
            "column data appears twice",
        ),
        (
            "c.csv",
            "tenant_id,stream_type,stream_id,event_type,data\na,b\n",
            "it has 2 cells, the header has 5",
        ),
        ("d.json", "[{\"a\":1}", "the file is truncated"),
        ("e.json", "[1 2]", "element 1"),
        ("f.json", "[] x", "something follows the array"),
        ("g.json", "[1,]", "not a JSON object"),
    ] {
        place.write(name, content);
        let refused = place.rehome(["import", "--allow-empty", name]).fails(1);
        assert!(refused.contains(why), "{name}: {refused}");
        let text = place.rehome(["import", "--dry-run", name]).fails(1);
        assert!(text.contains(why), "{name}: {text}");
    }
    assert!(!place.path("control.db").exists());
}

#[test]
fn a_text_that_is_no_json_is_refused_with_its_line_and_the_rest_of_the_other_tenants_goes_on() {
    let place = Place::new();
    let (one, other) =
        ("824a8fcf-0c14-513f-bd3a-4c35d1078706", "824a8fcf-0c14-513f-bd3a-4c35d1078707");
    let mut csv = b"tenant_id,stream_type,stream_id,event_type,data\n".to_vec();
    writeln!(csv, "{one},s,1,E,1\n{one},s,1,E,hello\n{one},s,1,E,3\n{other},s,1,E,4").unwrap();
    place.write("e.csv", csv);
    let refused = place.rehome(["import", "e.csv"]).fails(1);
    assert!(
        refused.contains("line 3: data is not JSON") && refused.contains("2 events imported"),
        "{refused}"
    );
}

#[test]
fn a_file_of_another_program_is_imported_by_its_layout_and_by_a_query() {
    let place = Place::new();
    let theirs = place.sqlite("theirs.db");
    theirs
        .execute_batch(
            "CREATE TABLE events (global_position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, \
                 event_type TEXT NOT NULL, aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL, tenant_id TEXT, \
                 actor_id TEXT, version INTEGER NOT NULL, timestamp TEXT NOT NULL, payload TEXT NOT NULL, \
                 created_at TEXT NOT NULL, UNIQUE (aggregate_id, aggregate_type, version)); \
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500) \
             INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id, tenant_id, version, timestamp, payload, \
                 created_at) \
             SELECT lower(printf('%08x-0000-4000-8000-000000000000', n)), 'Changed', 'Order', 'o-' || (n % 5), 'acme', \
                 (n + 4) / 5, '2024-01-02 03:04:05.5+01:00', json_object('n', n), '2024-01-02T02:04:06' FROM n;",
        )
        .unwrap();
    let layout = place.json(["import", "--from", "sqlite:theirs.db", "--layout", "eventsource-py"]);
    assert_eq!(
        (&layout["events_imported"], &layout["verified"]["events"]),
        (&1_500.into(), &1_500.into())
    );
    let first: Value = place
        .rehome(["export", "--tenant", "acme", "-"])
        .succeeds()
        .lines()
        .next()
        .map(|line| serde_json::from_str(line).unwrap())
        .unwrap();
    assert_eq!(first["occurred_at"], "2024-01-02T02:04:05.500000Z");
    // The same rows by a query are the same events.
    let query = "SELECT global_position AS position, tenant_id, aggregate_type AS stream_type, aggregate_id AS stream_id, \
                 event_id, version, event_type, timestamp AS occurred_at, created_at AS recorded_at, payload AS data \
                 FROM events;";
    let again = place.json(import("sqlite:theirs.db", query, &[]));
    assert_eq!(again["events_already_there"], 1_500);
    // It cannot change anything, and missing objects are named.
    for (query, why) in
        [("DELETE FROM events RETURNING *", "is not a query"), ("SELECT 1 FROM nothing", "nothing")]
    {
        let refused = place.rehome(import("sqlite:theirs.db", query, &[])).fails(1);
        assert!(refused.contains(why), "{refused}");
    }
    let count: i64 = theirs.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1_500);
}

#[test]
fn a_genuine_file_of_another_library_is_imported_row_by_row() {
    const NAME: &str = "eventsource-py.sqlite.gz";
    let Some(path) = shared_data(NAME) else {
        eprintln!("skipped: {NAME} is not on this machine");
        return;
    };
    let place = Place::new();
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut file)
        .unwrap();
    place.write("genuine.db", file);
    let report =
        place.json(["import", "--from", "sqlite:genuine.db", "--layout", "eventsource-py"]);
    assert_eq!(
        (&report["verified"]["events"], &report["verified"]["tenants"]),
        (&20_004.into(), &9.into())
    );
    // Their own rows determine the required columns.
    let theirs = place.sqlite("genuine.db");
    let mut rows = theirs
        .prepare("SELECT tenant_id, event_id, aggregate_id, version, payload FROM events ORDER BY tenant_id, global_position")
        .unwrap();
    let rows = rows.query_map([], |row| {
        Ok([0, 1, 2, 3, 4].map(|n| match row.get_ref(n).unwrap() {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            value => value.as_str().unwrap().to_owned(),
        }))
    });
    let rows: Vec<[String; 5]> = rows.unwrap().map(Result::unwrap).collect();
    for tenant in rows.chunk_by(|a, b| a[0] == b[0]) {
        let exported = place.rehome(["export", "--tenant", &tenant[0][0], "-"]).succeeds();
        assert_eq!(exported.lines().count(), tenant.len());
        for (line, row) in exported.lines().zip(tenant) {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["event_id"].as_str(), Some(&*row[1]));
            assert_eq!(event["stream_id"].as_str(), Some(&*row[2]));
            assert_eq!(event["version"].to_string(), row[3]);
            assert!(line.contains(&format!("\"data\":{}", row[4])), "{line}");
        }
    }
}

#[test]
fn a_table_whose_positions_are_drawn_in_advance_is_imported_once_and_not_followed() {
    let (place, database) = (Place::new(), database());
    let url = database.url();
    let guess = place.json(["store", "layout", "guess", &url, "entries"]);
    let layout =
        guess["toml"].as_str().unwrap().replace("tenant = \"?tenant\"", "tenant = \"shop\"");
    place.write("entries.layout.toml", layout);
    let from = ["import", "--from", &url, "--layout", "entries.layout.toml"];
    sql(&database, "ALTER SEQUENCE public.entries_id_seq CACHE 20");
    for more in [&["--follow"][..], &["--state", "entries.state"]] {
        let refused = place.rehome([&from, more].concat()).fails(3);
        assert!(refused.contains("would be skipped") && refused.contains("CACHE 1"), "{refused}");
    }
    assert!(!place.path("entries.state").exists());
    assert_eq!(place.json(from)["verified"]["events"], 2_100);
}
