//! Nothing that came from elsewhere reaches a terminal as it is: not from a server, not from a log, not from
//! an argument.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Ended, Place};

/// Sets the title, clears the screen, begins an OSC of C1, turns the reading order, forges a line.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9d}0;x\u{9c}\u{202e}exe.gnp\u{2066}\r\u{7f}";

/// Whether a terminal would obey any of it.
fn obeyed(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// A server that answers every request with this, until the test ends.
fn hostile(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            let _ = lines.read_line(&mut first);
            loop {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) < 3 {
                    break;
                }
                if let Some(told) = line.to_lowercase().strip_prefix("content-length:") {
                    length = told.trim().parse().unwrap();
                }
            }
            let _ = lines.take(length).read_to_end(&mut Vec::new());
            let (status, body) = answer(first.split(' ').nth(1).unwrap_or_default());
            let (kind, body) = match status {
                200 => ("application/json", body.to_string()),
                _ => ("application/problem+json", body.to_string()),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

fn problem(_: &str) -> (u16, Value) {
    let code = format!("urn:rehome:problem:refused{HOSTILE}");
    (409, json!({"type": code, "title": HOSTILE, "status": 409, "detail": HOSTILE}))
}

fn documents(path: &str) -> (u16, Value) {
    let migration = json!({
        "id": Uuid::nil(), "tenant_id": Uuid::nil(), "source_store": HOSTILE, "target_store": HOSTILE,
        "state": HOSTILE, "created_at": "2026-01-01T00:00:00Z", "error": HOSTILE,
        "open_violation": HOSTILE,
    });
    let path_alone = path.split('?').next().unwrap();
    let document = if path_alone.ends_with("/migrations") {
        json!({"migrations": [migration], "next_cursor": null})
    } else if path_alone.ends_with("/log") {
        let entry = json!({
            "index": 1, "at": "2026-01-01T00:00:00Z", "event": HOSTILE, "actor": HOSTILE,
            "reason": HOSTILE, "hash": "00".repeat(32), "details": {HOSTILE: HOSTILE},
        });
        let entries = if path.contains("after=0") { vec![entry] } else { Vec::new() };
        json!({"entries": entries, "next_after": 1})
    } else if path_alone.ends_with("/migration") {
        json!({
            "status": "unhealthy", "active_migrations": 1, "stuck_migrations": 0,
            "high_sync_lag_count": 0, "target_write_failure_rate": 0.0, "details": [HOSTILE],
        })
    } else if path_alone.ends_with("/worker") {
        json!({"holder": HOSTILE})
    } else {
        migration
    };
    (200, document)
}

fn shows_nothing_that_is_obeyed(what: &[&str], ended: &Ended) {
    assert!(!obeyed(&ended.stdout), "{what:?}: {:?}", ended.stdout);
    assert!(!obeyed(&ended.stderr), "{what:?}: {:?}", ended.stderr);
}

#[test]
fn what_a_hostile_server_says_is_shown_escaped_by_every_command() {
    let place = Place::new();
    let id = Uuid::nil().to_string();
    let commands: [&[&str]; 10] = [
        &["migration", "list"],
        &["migration", "show", &id],
        &["migration", "log", &id],
        &["migration", "abort", &id],
        &["migration", "baseline", &id],
        &["checklist", "before"],
        &["store", "check"],
        &["tenant", "show", &id],
        &["health"],
        &["plan", "--tenant", &id, "--to", "dedicated"],
    ];
    for answer in [problem as fn(&str) -> (u16, Value), documents] {
        let url = hostile(answer);
        for command in commands {
            for more in [&["--server", url.as_str()][..], &["--server", url.as_str(), "--json"]] {
                let args: Vec<&str> = command.iter().chain(more).copied().collect();
                shows_nothing_that_is_obeyed(&args, &place.rehome(args.iter().copied()));
            }
        }
    }
    let url = hostile(documents);
    let list = place.rehome(["migration", "list", "--server", &url]);
    assert!(list.stdout.contains("\\u{1b}]0;owned\\u{7}"), "{}", list.stdout);
    assert_eq!(list.stdout.lines().count(), 2, "{}", list.stdout);
    let log = place.rehome(["migration", "log", &id, "--server", &url]);
    assert!(log.stdout.contains("\\u{202e}exe.gnp"), "{}", log.stdout);
}

#[test]
fn json_stays_json_with_the_same_values() {
    let place = Place::new();
    let url = hostile(documents);
    let list = place.rehome(["migration", "list", "--server", &url, "--json"]);
    assert!(!obeyed(&list.stdout), "{:?}", list.stdout);
    assert_eq!(list.document()[0]["error"], HOSTILE);
    let url = hostile(problem);
    let refused = place.rehome(["migration", "list", "--server", &url, "--json"]);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["error"]["message"], HOSTILE);
}

#[test]
fn names_of_files_arguments_and_reasons_are_shown_escaped() {
    let (place, tenant) = Place::with_tenant(3);
    let tenant = tenant.to_string();
    for args in [
        &["import", HOSTILE][..],
        &["--config", HOSTILE, "health"],
        &["migration", HOSTILE],
        &["store", "check", HOSTILE],
        &["export", "--tenant", &tenant, &format!("no/such/{HOSTILE}")],
        &["export", "--tenant", &tenant, HOSTILE],
    ] {
        shows_nothing_that_is_obeyed(args, &place.rehome(args.iter().copied()));
    }
    let reason = "\u{202e}gnp.exe \u{2066}x";
    place.json([
        "migration",
        "start",
        "--tenant",
        &tenant,
        "--to",
        "dedicated",
        "--reason",
        reason,
    ]);
    let id = place.migration_of(tenant.parse().unwrap());
    let log = place.rehome(["migration", "log", &id]);
    assert!(!obeyed(&log.stdout) && log.stdout.contains("\\u{202e}gnp.exe"), "{:?}", log.stdout);
}

/// A new command cannot miss it: there is one place that writes.
#[test]
fn one_file_of_the_command_writes_to_terminals() {
    const WRITING: [&str; 6] =
        ["io::stdout", "io::stderr", "println!", "print!(", "indicatif", "process::Stdio"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![folder];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            looked_at += 1;
            if path.ends_with("output/terminal.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for writing in WRITING {
                assert!(!text.contains(writing), "{} has {writing}", path.display());
            }
        }
    }
    assert!(looked_at > 20);
}
