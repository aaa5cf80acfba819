//! Layouts: files, drafts, and tables of other people.

use rehome_cluster::Database;
use serde_json::Value;

use crate::kit::Place;

const DOCS: &str = include_str!("../../../../docs/layouts.md");

fn database(sql: &str) -> Database {
    let database = rehome_cluster::shared().database().unwrap();
    let sql = format!("SET ROLE {}; {sql}", database.name());
    rehome_cluster::shared().sql(database.name(), &sql).unwrap();
    database
}

/// The blocks of code of a section of the document.
fn blocks(section: &str, language: &str) -> Vec<&'static str> {
    let (_, rest) = DOCS.split_once(&format!("\n## {section}\n")).expect(section);
    let text = rest.split("\n## ").next().unwrap();
    let begin = format!("```{language}\n");
    let parts = text.split(begin.as_str()).skip(1);
    parts.map(|part| part.split("```").next().unwrap()).collect()
}

/// The texts of the findings of one severity.
fn findings(check: &Value, severity: &str) -> Vec<String> {
    let all = check["findings"].as_array().unwrap().iter();
    let these = all.filter(|finding| finding["severity"] == severity);
    these.map(|finding| finding["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_documents_examples_are_layouts_of_their_tables() {
    let place = Place::new();
    place.write("whole.layout.toml", blocks("The file", "toml")[0]);
    let said = place.rehome(["store", "layout", "check", "whole.layout.toml"]).succeeds();
    assert!(said.contains("given anew"), "{said}");
    for (section, warned) in [
        ("Example: eventsource-py", &["\"tenant_id\" may be NULL"][..]),
        ("Example: your own table", &[]),
        ("Example: composite keys, quoted names, no position", &[]),
    ] {
        let database = database(blocks(section, "sql")[0]);
        place.write("example.layout.toml", blocks(section, "toml")[0]);
        let url = database.url();
        let check = ["store", "layout", "check", "example.layout.toml", "--url", &url];
        let check = place.json(check);
        assert_eq!(check["ok"], true, "{check:#}");
        assert_eq!(check["rows"], 0);
        let found = findings(&check, "warn");
        assert_eq!(found.len(), warned.len(), "{found:?}");
        assert!(found.iter().zip(warned).all(|(text, part)| text.contains(part)), "{found:?}");
    }
    let shown = place.rehome(["store", "layout", "show", "eventsource-py"]).succeeds();
    assert_eq!(shown.trim(), blocks("Example: eventsource-py", "toml")[0].trim());
    let listed = place.json(["store", "layout", "list"]);
    assert_eq!(listed[0]["name"], "eventsource-py");
}

#[test]
fn a_draft_is_a_layout_of_the_table_that_it_was_drafted_from() {
    let place = Place::new();
    for (section, table) in [
        ("Example: eventsource-py", "events"),
        ("Example: your own table", "public.ledger_events"),
        ("Example: composite keys, quoted names, no position", "Order Events"),
    ] {
        let database = database(blocks(section, "sql")[0]);
        let url = database.url();
        let guess = place.json(["store", "layout", "guess", &url, table]);
        assert_eq!(guess["complete"], true, "{guess:#}");
        place.write("guess.layout.toml", guess["toml"].as_str().unwrap());
        place.write("told.layout.toml", blocks(section, "toml")[0]);
        let columns = |file: &str| {
            let mut check = place.json(["store", "layout", "check", file, "--url", &url]);
            check["columns"].take()
        };
        assert_eq!(columns("guess.layout.toml"), columns("told.layout.toml"), "{table}");
    }
}

#[test]
fn the_type_of_a_stream_is_not_taken_for_that_of_its_events() {
    let (place, database) = (Place::new(), rehome_cluster::shared().database().unwrap());
    // As Axon Framework 4 makes it (JpaEventStorageEngine, domain_event_entry), with a tenant.
    let table = "CREATE TABLE public.domain_event_entry (global_index bigserial PRIMARY KEY, tenant_id text NOT NULL, \
                 aggregate_identifier varchar(255) NOT NULL, sequence_number bigint NOT NULL, type varchar(255), \
                 event_identifier varchar(255) NOT NULL UNIQUE, meta_data bytea, payload bytea NOT NULL, \
                 payload_revision varchar(255), payload_type varchar(255) NOT NULL, time_stamp varchar(255) NOT NULL, \
                 UNIQUE (aggregate_identifier, sequence_number))";
    let table = format!("SET ROLE {}; {table}", database.name());
    rehome_cluster::shared().sql(database.name(), &table).unwrap();
    let guess = place.json(["store", "layout", "guess", &database.url(), "domain_event_entry"]);
    let toml = guess["toml"].as_str().unwrap();
    for line in [
        "stream_type = \"type\"",
        "event_type = \"payload_type\"",
        "stream_id = \"aggregate_identifier\"",
        "version = \"sequence_number\"",
        "position = \"global_index\"",
    ] {
        assert!(toml.contains(line), "{line}: {toml}");
    }
}

#[test]
fn what_cannot_be_guessed_is_said_and_refused_until_it_is_told() {
    let place = Place::new();
    let database = database(
        "CREATE TABLE things (a uuid, b jsonb, n int); \
         CREATE TABLE \"Upper\" (tenant_id text NOT NULL, stream_id text NOT NULL, version int NOT NULL, \
            type text NOT NULL, data jsonb, tx bigint DEFAULT txid_current(), UNIQUE (stream_id, version)); \
         INSERT INTO \"Upper\" VALUES ('t', 's', 0, 'x', '{}');",
    );
    let url = database.url();
    let ended = place.rehome(["store", "layout", "guess", &url, "things"]);
    assert!(ended.stderr.contains("not guessed: tenant:"), "{}", ended.stderr);
    place.write("things.layout.toml", ended.succeeds());
    place.rehome(["store", "layout", "check", "things.layout.toml"]).succeeds();
    let check = ["store", "layout", "check", "things.layout.toml", "--url", &url];
    let ended = place.rehome(check);
    assert!(ended.stdout.contains("no column \"?tenant\" for the tenant"), "{}", ended.stdout);
    assert!(!ended.fails(3).contains("?stream_id\" holds"));

    let guess = place.json(["store", "layout", "guess", &url, "Upper"]);
    let toml = guess["toml"].as_str().unwrap();
    assert!(toml.contains("first_version = 0 "), "{toml}");
    assert!(toml.contains("anew = [\"tx\"]"), "{toml}");
    let error = place.rehome(["store", "layout", "guess", &url, "upper", "--json"]).error(4);
    assert!(error["message"].as_str().unwrap().contains("it has \"Upper\""), "{error}");
    for (url, table) in [("sqlite:a.db", "t"), (&*url, "a.b.c")] {
        place.rehome(["store", "layout", "guess", url, table]).fails(2);
    }
    place.rehome(["--server", "http://127.0.0.1:1", "store", "layout", "list"]).fails(2);
}

#[test]
fn rows_that_break_the_rules_already_are_named() {
    let place = Place::new();
    let database = database(
        "CREATE TABLE t (pos bigserial PRIMARY KEY, id uuid NOT NULL, tenant text, stream text NOT NULL, \
            version int NOT NULL, type text NOT NULL, data jsonb, UNIQUE (stream, version)); \
         INSERT INTO t (id, tenant, stream, version, type) VALUES \
            ('00000000-0000-0000-0000-000000000001', 'a', 'whole', 1, 'x'), \
            ('00000000-0000-0000-0000-000000000002', 'a', 'whole', 2, 'x'), \
            ('00000000-0000-0000-0000-000000000003', 'a', 'gap', 1, 'x'), \
            ('00000000-0000-0000-0000-000000000003', 'a', 'gap', 3, 'x'), \
            ('00000000-0000-0000-0000-000000000005', 'a', 'shared', 1, 'x'), \
            ('00000000-0000-0000-0000-000000000005', 'b', 'shared', 2, 'x'), \
            ('00000000-0000-0000-0000-000000000007', 'b', 'late', 3, 'x'), \
            ('00000000-0000-0000-0000-000000000008', 'b', 'back', 2, 'x'), \
            ('00000000-0000-0000-0000-000000000009', 'b', 'back', 1, 'x'), \
            ('00000000-0000-0000-0000-000000000010', NULL, 'nobody', 7, 'x')",
    );
    let layout = "name = \"t\"\ntable = \"t\"\n[columns]\ntenant = \"tenant\"\nstream_id = \"stream\"\n\
                  version = \"version\"\nposition = \"pos\"\nevent_id = \"id\"\nevent_type = \"type\"\n\
                  data = \"data\"\n";
    place.write("t.layout.toml", layout);
    let url = database.url();
    let ended =
        place.rehome(["store", "layout", "check", "t.layout.toml", "--url", &url, "--json"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let check: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert_eq!(
        (&check["rows"], &check["streams"], &check["tenants"]),
        (&10.into(), &6.into(), &2.into())
    );
    let expected = [
        "stream \"gap\" of tenant \"a\" has 2 events and the versions 1 to 3; it has a gap",
        "stream \"shared\" of tenant \"b\" also has rows of tenant \"a\"; a stream belongs to one tenant",
        "stream \"late\" of tenant \"b\" starts at version 3, but by the layout streams start at 1",
        "tenant \"a\" has 2 events with the id 00000000-0000-0000-0000-000000000003; ids must be unique",
    ];
    let mut refused = findings(&check, "refuse");
    let mut expected: Vec<_> = expected.map(str::to_owned).to_vec();
    refused.sort();
    expected.sort();
    assert_eq!(refused, expected);
    let warned = findings(&check, "warn").join("\n");
    assert!(warned.contains("1 rows belong to no tenant"), "{warned}");
    assert!(
        warned.contains(
            "\"back\" of tenant \"b\": version 2 has position 8, the version before it has 9"
        ),
        "{warned}"
    );
}
