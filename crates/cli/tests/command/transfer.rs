//! Import and export.

use std::fmt::Write as _;

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{Place, gunzip, gzip, line, lines, payload};

/// Lines that a careless reader or writer of JSON would spoil.
fn hostile(tenant: Uuid) -> String {
    let nested = format!("{}1{}", "[".repeat(127), "]".repeat(127));
    let large = format!("\"{}\"", "é".repeat(500_000));
    let payloads = [
        r#"{ "pretty" : [ 1 ,  2 ] , "x":{ } }"#,
        r#"{"a":1,"a":2,"A":3}"#,
        "123456789012345678901234567890.123456789e-400000",
        r#""\u0000 \ud800 \/ \" é 😀 \u00e9""#,
        "null",
        "-0.0",
        "1E400",
        "{\t\"tab\"\t:\ttrue\t}",
        &nested,
        &large,
        r#"{"\u0000":"","":[]}"#,
    ];
    let streams = [
        ".",
        "..",
        "a/b",
        "%2e%2e",
        " ",
        "O'Brien; DROP TABLE events;--",
        "é",
        "e\u{301}",
        "\u{202e}abc",
        "😀",
        "line\\nbreak",
    ];
    let mut text = String::new();
    for (n, (payload, stream)) in (1_u64..).zip(payloads.iter().zip(streams)) {
        let line = line(tenant, n)
            .replace(&format!("{{ \"n\":{n}}}"), payload)
            .replace(&format!("\"o-{}\"", n % 7), &format!("\"{stream}\""))
            .replace("\"metadata\":{}", r#""metadata":{ "m" : [ 1.0 , "\u0000" ] }"#);
        writeln!(text, "{line}").unwrap();
    }
    text
}

#[test]
fn what_was_imported_is_exported_byte_by_byte_and_in_order() {
    let (place, tenant) = (Place::new(), Uuid::new_v4());
    let text = hostile(tenant);
    place.write("in.ndjson", &text);
    place.rehome(["import", "--store", "shared", "in.ndjson"]).succeeds();
    let exported = place.history(tenant);
    assert_eq!(exported.lines().count(), text.lines().count());
    for (seq, (given, got)) in (1_u64..).zip(text.lines().zip(exported.lines())) {
        assert_eq!(payload(given), payload(got));
        let (given, got): (Value, Value) = (identity(given), identity(got));
        for field in ["tenant_id", "stream_type", "stream_id", "event_id", "event_type"] {
            assert_eq!(given[field], got[field]);
        }
        assert_eq!(got["seq"], seq);
        assert_eq!(got["version"], 1);
        assert!(got["occurred_at"].as_str().unwrap().starts_with("2024-06-15T08:30:00.0"));
    }
}

/// The line without its payload, which not every reader of JSON can read.
fn identity(line: &str) -> Value {
    serde_json::from_str(&line.replace(payload(line), "\"data\":0")).unwrap()
}

#[test]
fn an_export_imports_into_another_deployment_as_the_same_history() {
    let (one, other, tenant) = (Place::new(), Place::new(), Uuid::new_v4());
    one.write("in.ndjson", hostile(tenant) + &lines(tenant, 100..=2_500));
    one.rehome(["import", "in.ndjson"]).succeeds();
    let id = tenant.to_string();
    one.rehome(["export", "--tenant", &id, "out.ndjson.gz"]).succeeds();
    let exported = gunzip(&one.read("out.ndjson.gz"));
    other.write("in.ndjson.gz", one.read("out.ndjson.gz"));
    other.rehome(["import", "--store", "dedicated", "in.ndjson.gz"]).succeeds();
    // recorded_at, version and seq too.
    assert_eq!(other.history(tenant), exported);
    let digest = |place: &Place| place.json(["tenant", "show", &id])["digest"].clone();
    assert_eq!(digest(&one), digest(&other));
}

#[test]
fn importing_again_is_no_change_and_a_longer_file_adds_the_rest() {
    let (place, tenant) = Place::with_tenant(3_000);
    let before = place.state();
    let again = place.json(["import", "--store", "shared", "events.ndjson"]);
    assert_eq!(again["events_imported"], 0);
    assert_eq!(again["events_already_there"], 3_000);
    assert_eq!(place.state(), before);
    place.write("events.ndjson", lines(tenant, 1..=3_010));
    let more = place.json(["import", "events.ndjson"]);
    assert_eq!(more["events_imported"], 10);
    assert_eq!(more["events_already_there"], 3_000);
    assert_eq!(more["lines_complete"], 3_010);
}

#[test]
fn many_tenants_interleaved_keep_each_its_order() {
    let place = Place::new();
    let tenants: Vec<_> = (0..40).map(|_| Uuid::new_v4()).collect();
    let text: String =
        (1..=4_000_u64).map(|n| line(tenants[(n * 7 % 40) as usize], n) + "\n").collect();
    let report = place.rehome_with_input(["import", "--json", "-"], &gzip(text.as_bytes()));
    assert_eq!(report.document()["tenants"].as_array().unwrap().len(), 40);
    for tenant in tenants {
        let mine = text.lines().filter(|line| line.contains(&tenant.to_string()));
        let exported = place.history(tenant);
        assert!(mine.map(payload).eq(exported.lines().map(payload)));
    }
}

#[test]
fn line_ends_blank_lines_and_a_byte_order_mark_are_no_matter() {
    let (place, tenant) = (Place::new(), Uuid::new_v4());
    let text = format!(
        "\u{feff}{}\r\n\r\n  \n{}\r\n{}",
        line(tenant, 1),
        line(tenant, 2),
        line(tenant, 3)
    );
    let report = place.rehome_with_input(["import", "--json", "-"], text.as_bytes());
    assert_eq!(report.document()["events_imported"], 3, "{}", report.stderr);
    let exported = place.history(tenant);
    assert!(exported.lines().all(|line| !line.contains('\r')));
}

#[test]
fn an_empty_input_is_an_error_unless_it_is_allowed() {
    let place = Place::new();
    for input in [b"".to_vec(), b"\n \n".to_vec(), gzip(b"")] {
        let error = place.rehome_with_input(["import", "--json", "-"], &input).error(1);
        assert_eq!(error["type"], "empty_input");
        assert!(!place.path("control.db").exists());
    }
    for input in [b"".to_vec(), gzip(b"")] {
        let args = ["import", "--json", "--allow-empty", "-"];
        let report = place.rehome_with_input(args, &input);
        assert_eq!(report.document()["events_imported"], 0);
    }
}

#[test]
fn a_tenants_history_ends_before_its_first_refused_line_and_the_others_go_on() {
    let place = Place::new();
    let [bad, conflicting, good] = [(); 3].map(|()| Uuid::new_v4());
    let spoiled = line(bad, 2).replacen("\"order\"", "\"\"", 1);
    let version = |n: u64, version: u64| {
        line(conflicting, n)
            .replace("\"metadata\":{}", &format!("\"metadata\":{{}},\"version\":{version}"))
    };
    let mut all = vec![line(bad, 1), version(1, 1), line(good, 1), spoiled, version(2, 9)];
    for n in 3..=3_000 {
        all.extend([line(bad, n), line(conflicting, n), line(good, n)]);
    }
    place.write("mixed.ndjson", all.join("\n"));
    let error = place.rehome(["import", "mixed.ndjson", "--json"]).error(1);
    let imported = &error["imported"];
    let refused: Vec<_> = imported["refused"].as_array().unwrap().iter().collect();
    assert_eq!(refused.len(), 2, "{error}");
    assert_eq!((refused[0]["line"].clone(), refused[1]["line"].clone()), (4.into(), 5.into()));
    assert_eq!(refused[0]["tenant_id"], bad.to_string());
    assert!(refused[0]["why"].as_str().unwrap().contains("stream type is empty"), "{error}");
    assert_eq!(refused[1]["tenant_id"], conflicting.to_string());
    assert_eq!(imported["lines_complete"], 3);
    assert_eq!(place.history(bad).lines().count(), 1);
    assert_eq!(place.history(conflicting).lines().count(), 1);
    assert_eq!(place.history(good).lines().count(), 2_999);
    let words = place.rehome(["import", "mixed.ndjson"]).fails(1);
    assert!(words.contains("line 4") && words.contains("line 5"), "{words}");
}

#[test]
fn what_gunzip_takes_is_taken_and_what_it_does_not_is_told_apart() {
    let tenant = Uuid::new_v4();
    let two =
        [gzip(line(tenant, 1).as_bytes()), gzip(("\n".to_owned() + &line(tenant, 2)).as_bytes())];
    let whole = two.concat();
    let place = Place::new();
    let padded = [whole.clone(), vec![0; 1_000]].concat();
    place.rehome_with_input(["import", "-"], &padded).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 2);
    let junk = [&whole[..], b"junk"].concat();
    let error = place.rehome_with_input(["import", "--json", "-"], &junk).error(1);
    assert_eq!(error["type"], "trailing_junk", "{error}");
    let cut = &whole[..whole.len() - 3];
    let error = place.rehome_with_input(["import", "--json", "-"], cut).error(1);
    assert_eq!(error["type"], "truncated_input", "{error}");
}

#[test]
fn a_bad_line_in_the_middle_is_named_and_what_was_imported_is_said() {
    let (place, tenant) = (Place::new(), Uuid::new_v4());
    let bad = lines(tenant, 1..=2_500) + "{\"tenant_id\":7}\n" + &lines(tenant, 2_501..=3_000);
    place.write("bad.ndjson", &bad);
    let error = place.rehome(["import", "bad.ndjson", "--json"]).error(1);
    assert_eq!(error["line"], 2_501);
    assert_eq!(error["type"], "bad_line");
    let imported = &error["imported"];
    let complete = imported["lines_complete"].as_u64().unwrap();
    assert!((1..=2_500).contains(&complete), "{imported}");
    assert_eq!(imported["events_imported"], complete);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("bad.ndjson, line 2501: tenant_id must be a UUID; missing field"),
        "{message}"
    );
    assert!(message.contains(&format!("up to {complete} are in the stores")), "{message}");
    // Whole batches, and nothing else.
    let count = "SELECT count(*) FROM events";
    assert_eq!(place.count("shared.db", count), complete);
    assert!(place.history(tenant).lines().map(payload).eq(bad.lines().take(2_000).map(payload)));

    place.write("good.ndjson", lines(tenant, 1..=3_000));
    let report = place.json(["import", "good.ndjson"]);
    assert_eq!(report["events_imported"], 3_000 - complete);
    assert!(
        place
            .history(tenant)
            .lines()
            .map(payload)
            .eq(lines(tenant, 1..=3_000).lines().map(payload))
    );
}

#[test]
fn bad_lines_are_named_and_nothing_after_them_is_imported() {
    let tenant = Uuid::new_v4();
    let good = line(tenant, 2);
    let id = tenant.to_string();
    let change = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let data = "{ \"n\":2}";
    for (bad, problem) in [
        (b"[]".to_vec(), "not a JSON object"),
        (b"{".to_vec(), "not JSON"),
        (change("}}", "}"), "not JSON"),
        (change(&id, "x"), "tenant_id must be a UUID"),
        (change("\"order\"", "5"), "stream_type must be a string"),
        (change("\"order\"", "\"\""), "stream type is empty"),
        (change("\"order\"", "\"\\u0000\""), "NUL"),
        (change("\"order\"", &format!("\"{}\"", "x".repeat(2_000))), "the maximum is 1024"),
        (change("\"OrderChanged\"", "null"), "event_type must be a string"),
        (change("\"OrderChanged\"", "\"\""), "an event type is 1 to 256 bytes"),
        (change("2024-06-15T10", "2024-06-15T25"), "occurred_at: no such hour"),
        (change("10:30:00.", "10:30:60."), "occurred_at: a leap second"),
        (change("\"2024-06-15T", "\"15.06.2024 "), "occurred_at: not a time"),
        (change("\"metadata\":{}", "\"metadata\":[]"), "metadata must be an object"),
        (change("\"metadata\":{}", "\"metadata\":{},\"version\":0"), "version must be a whole"),
        (change("\"metadata\":{}", "\"metadata\":{},\"version\":1.5"), "version must be a whole"),
        (change("\"metadata\":{}", "\"metadata\":{},\"colour\":1"), "unknown field \"colour\""),
        (change(data, &deep), "data: JSON is nested deeper than 128"),
        (change(data, &large), "data: 1048578 bytes of JSON; the maximum is 1048576"),
        (change("o-2", &"x".repeat(5 << 20)), "longer than 4194304 bytes"),
        (b"\xff\xfe{}".to_vec(), "not UTF-8"),
    ] {
        let place = Place::new();
        let after = line(tenant, 3);
        let input = [line(tenant, 1).as_bytes(), b"\n", &bad, b"\n", after.as_bytes()].concat();
        let error = place.rehome_with_input(["import", "--json", "-"], &input).error(1);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(problem), "{message}");
        assert!(message.contains("line 2"), "{message}");
        assert_eq!(error["line"], 2);
        if place.path("control.db").exists() {
            // Whose line it is can be read: the history of that tenant ends before it.
            assert!(message.contains("the lines up to 1 are in the stores"), "{message}");
            // A line with an unreadable tenant ends the import and belongs to no tenant.
            let refused = &error["imported"]["refused"];
            assert!(refused.is_null() || refused[0]["line"] == 2, "{error}");
            assert_eq!(place.history(tenant).lines().count(), 1);
        } else {
            assert!(message.ends_with("nothing was imported"), "{message}");
        }
    }
}

#[test]
fn a_file_that_was_cut_off_is_said_to_be() {
    let (place, tenant) = (Place::new(), Uuid::new_v4());
    let whole = gzip(lines(tenant, 1..=5_000).as_bytes());
    place.write("cut.ndjson.gz", &whole[..whole.len() * 9 / 10]);
    let error = place.rehome(["import", "cut.ndjson.gz", "--json"]).error(1);
    assert_eq!(error["type"], "truncated_input");
    let complete = error["imported"]["lines_complete"].as_u64().unwrap();
    assert_eq!(error["imported"]["events_imported"], complete);
    assert!(complete > 0 && complete < 5_000 && complete % 2_000 == 0, "{error}");

    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xaa);
    place.write("damaged.ndjson.gz", &damaged);
    let error = place.rehome(["import", "damaged.ndjson.gz", "--json"]).error(1);
    assert!(["bad_gzip", "bad_line"].contains(&error["type"].as_str().unwrap()), "{error}");

    place.write("whole.ndjson.gz", &whole);
    place.rehome(["import", "whole.ndjson.gz"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 5_000);
}

#[test]
fn an_input_that_is_not_there_is_said_to_be_before_anything_is_made() {
    let place = Place::new();
    let error = place.rehome(["import", "nothing.ndjson", "--json"]).error(1);
    assert_eq!(error["type"], "unreadable_input");
    place.rehome(["import", "."]).fails(1);
    assert!(!place.path("control.db").exists());
}

#[test]
fn a_version_that_is_not_the_next_one_is_named_by_its_line() {
    let (place, tenant) = Place::with_tenant(14);
    let versioned = |n: u64, version: u64| {
        line(tenant, n)
            .replace("\"metadata\":{}", &format!("\"metadata\":{{}},\"version\":{version}"))
    };
    // Streams 1 and 2 have two events each.
    let text = format!("{}\n{}\n", versioned(15, 3), versioned(16, 7));
    let error = place.rehome_with_input(["import", "--json", "-"], text.as_bytes()).error(1);
    assert_eq!(error["line"], 2);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("version 7 of stream order/o-2, whose next version is 3"),
        "{message}"
    );
    assert!(
        message.contains("the lines up to 1 are in the stores (1 events imported"),
        "{message}"
    );
    assert_eq!(place.history(tenant).lines().count(), 15);

    // Stored already, but at another place than in the line.
    let text = versioned(8, 1);
    let error = place.rehome_with_input(["import", "--json", "-"], text.as_bytes()).error(1);
    assert!(
        error["message"].as_str().unwrap().contains("already present, as version 2"),
        "{error}"
    );
    let right = versioned(8, 2);
    let report = place.rehome_with_input(["import", "--json", "-"], right.as_bytes());
    assert_eq!(report.document()["events_already_there"], 1);
}

#[test]
fn an_id_with_other_content_is_named_by_its_line() {
    let (place, tenant) = Place::with_tenant(5);
    let before = place.state();
    let text = line(tenant, 3).replace("\"n\":3", "\"n\":4");
    let error = place.rehome_with_input(["import", "--json", "-"], text.as_bytes()).error(1);
    assert_eq!(error["line"], 1);
    assert!(error["message"].as_str().unwrap().contains("already present, with other content"));
    assert_eq!(place.state(), before);
}

#[test]
fn a_tenant_of_another_store_is_not_imported_there() {
    let (place, tenant) = Place::with_tenant(5);
    let before = place.state();
    let error =
        place.rehome(["import", "--store", "dedicated", "events.ndjson", "--json"]).error(3);
    assert_eq!(error["tenant_id"], tenant.to_string());
    assert!(error["message"].as_str().unwrap().contains("lives in store \"shared\""), "{error}");
    place.rehome(["import", "--store", "elsewhere", "events.ndjson"]).fails(4);
    assert_eq!(place.state(), before);
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    let (place, tenant) = Place::with_tenant(5);
    let id = tenant.to_string();
    let nobody = Uuid::new_v4().to_string();
    place.rehome(["export", "--tenant", &nobody, "out.ndjson"]).fails(4);
    place.rehome(["export", "--tenant", &nobody, "--store", "dedicated", "out.ndjson"]).fails(4);
    let error =
        place.rehome(["export", "--tenant", &id, "--store", "dedicated", "out.ndjson"]).fails(4);
    assert!(error.contains("it lives in store \"shared\""), "{error}");
    place.rehome(["export", "--tenant", &id, "no/such/folder/out.ndjson"]).fails(1);
    // A row that went missing.
    place.sqlite("shared.db").execute("DELETE FROM events WHERE position & 1023 = 3", []).unwrap();
    place.rehome(["export", "--tenant", &id, "out.ndjson"]).fails(1);
    let left: Vec<_> =
        std::fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("out.ndjson")), "{left:?}");
}

#[test]
fn an_export_replaces_a_file_and_leaves_what_is_no_file_alone() {
    let (place, tenant) = Place::with_tenant(5);
    let id = tenant.to_string();
    place.write("out.ndjson", "old");
    place.rehome(["export", "--tenant", &id, "out.ndjson"]).succeeds();
    assert_eq!(place.read("out.ndjson"), place.history(tenant).into_bytes());
    place.rehome(["export", "--tenant", &id, "/dev/null"]).succeeds();
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (place, tenant) = Place::with_tenant(5_000);
    let mut command = place.command(["export", "--tenant", &tenant.to_string(), "-"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert!(ended.status.success());
}
