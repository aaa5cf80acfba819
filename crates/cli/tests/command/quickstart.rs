//! `rehome quickstart`, as a process: when it ends, and the console that it serves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::kit::{DEADLINE, Place, Running};

const SMALL: [&str; 11] = [
    "quickstart",
    "--tenants",
    "1",
    "--events",
    "500",
    "--writers",
    "2",
    "--rate",
    "50",
    "--dir",
    "stores",
];

fn small<'a>(more: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    SMALL.into_iter().chain(more.iter().copied())
}

/// The answer to a GET, as it came.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn with_a_port_it_serves_the_console_until_ctrl_c() {
    let place = Place::new();
    let command = place.command(small(&["--port", "0", "--json"]));
    let (process, line) = Running::announced_with(command, "\"listening\"");
    let listening: Value = serde_json::from_str(&line).unwrap();
    let address = listening["address"].as_str().unwrap().to_owned();
    assert_eq!(listening["url"], format!("http://{address}"));
    let migrations = place.json(["--config", "stores/rehome.toml", "migration", "list"]);
    let id = migrations[0]["id"].as_str().unwrap().to_owned();
    let overview = get(&address, "/");
    assert!(overview.starts_with("HTTP/1.1 200 ") && overview.contains(&id), "{overview}");
    let page = get(&address, &format!("/migrations/{id}"));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("migrated"), "{page}");
    process.signal("INT");
    let said = process.ends().succeeds();
    let verdict: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&verdict["ok"], &verdict["migration"]["id"]), (&true.into(), &id.into()));
    assert!(TcpStream::connect(address).is_err());
    // The files stay, for further commands.
    assert!(place.path("stores/dedicated.db").exists());
}

#[test]
fn one_that_is_stopped_or_fails_names_its_folder() {
    let place = Place::new();
    let command = place.command(["quickstart", "--dir", "stores", "--events", "200000"]);
    let (process, said) = Running::announced_on_stderr(command);
    assert!(said.starts_with("stores in"), "{said}");
    process.signal("INT");
    let said = process.ends().fails(1);
    assert!(said.contains("was stopped; its files are in ") && said.contains("stores"), "{said}");
    let unknown = "0197f0a5-6f3c-7cc3-98c8-0c5a4d7d5a55";
    let (place, _) = Place::with_tenant(3);
    let failed = ["quickstart", "--dir", "other", "--input", "events.ndjson", "--tenant", unknown];
    let said = place.rehome(failed.into_iter().chain(["--json"])).fails(4);
    assert!(said.contains("its files are in"), "{said}");
}

/// `./x quickstart` runs a program that is not on the PATH.
#[test]
fn the_commands_that_it_proposes_run_as_they_are() {
    let place = Place::new();
    let said = place.rehome(small(&["--exit"])).succeeds();
    let proposed: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix('`')).collect();
    let proposed: Vec<_> = proposed.iter().filter_map(|line| line.strip_suffix('`')).collect();
    assert_eq!(proposed.len(), 2, "{said}");
    for line in proposed {
        let ran = std::process::Command::new("sh")
            .args(["-c", line])
            .current_dir(place.path("."))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn without_a_terminal_it_ends_after_the_verdict() {
    let place = Place::new();
    let ended = place.rehome(small(&[]));
    assert!(!ended.stderr.contains("The console"), "{}", ended.stderr);
    assert!(ended.succeeds().contains("acked"));
}

#[test]
fn a_port_and_an_end_contradict_each_other() {
    let place = Place::new();
    let said = place.rehome(small(&["--port", "0", "--exit"])).fails(2);
    assert!(said.contains("--exit") && said.contains("--port"), "{said}");
    assert!(!place.path("stores").exists());
}

#[test]
fn with_a_layout_another_programs_processes_write_while_the_tenant_moves_and_returns() {
    let place = Place::new();
    let verdict = place.json([
        "quickstart",
        "--layout",
        "eventsource-py",
        "--tenants",
        "2",
        "--events",
        "2000",
        "--writers",
        "3",
        "--rate",
        "120",
        "--return",
        "--dir",
        "stores",
    ]);
    assert_eq!(verdict["ok"], true, "{verdict}");
    let acked = verdict["acked"].as_u64().unwrap();
    assert!(acked > 100 && verdict["pause_ms"]["appends"].as_u64().unwrap() > 0, "{verdict}");
    assert_eq!(verdict["return"]["migration"]["state"], "migrated");
    // The rows are what they are, in a file of another program.
    let tenant = verdict["tenant_id"].as_str().unwrap();
    let sql = format!("SELECT count(*) FROM events WHERE tenant_id = '{tenant}'");
    assert_eq!(place.count("stores/shared.db", &sql), verdict["events_now"].as_u64().unwrap());
    assert!(place.count("stores/shared.db", &sql) >= 2_000 + acked);
    let refused = place.rehome(["quickstart", "--layout", "message-db", "--dir", "others"]);
    assert!(refused.code == 2 && refused.stderr.contains("eventsource-py"), "{}", refused.stderr);
    // What the command is made of is not shown.
    assert!(!place.rehome(["--help"]).succeeds().contains("plain-writer"));
}

#[test]
fn with_a_layout_the_tables_may_be_in_databases_of_a_server() {
    let (place, server) = (Place::new(), rehome_cluster::shared());
    let url = server.administrator_url("postgres");
    let run = |more: &[&str]| {
        let fixed = ["quickstart", "--layout", "eventsource-py", "--postgres"];
        let small = ["--tenants", "2", "--events", "2000", "--writers", "3", "--rate", "120"];
        place.rehome([&fixed[..], &[&url], &small, more].concat())
    };
    let moved = run(&["--return", "--dir", "stores", "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&moved.succeeds()).unwrap();
    assert_eq!(verdict["ok"], true, "{verdict}");
    let acked = verdict["acked"].as_u64().unwrap();
    assert!(acked > 100 && verdict["pause_ms"]["appends"].as_u64().unwrap() > 0, "{verdict}");
    let databases = verdict["databases"].as_array().unwrap();
    let [source, _] = &databases[..] else { panic!("{verdict}") };
    let tenant = verdict["tenant_id"].as_str().unwrap();
    let sql = format!("SELECT count(*) FROM events WHERE tenant_id = '{tenant}'");
    let rows: u64 = server.sql(source.as_str().unwrap(), &sql).unwrap().parse().unwrap();
    assert_eq!(rows, verdict["events_now"].as_u64().unwrap());
    assert!(rows >= 2_000 + acked);

    let refused =
        place.rehome(["quickstart", "--layout", "eventsource-py", "--postgres", "host=h dbname=d"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("postgres://ROLE@HOST"),
        "{}",
        refused.stderr
    );
    let role = server.database().unwrap();
    let refused = place.rehome([
        "quickstart",
        "--layout",
        "eventsource-py",
        "--postgres",
        &role.url(),
        "--dir",
        "none",
    ]);
    assert!(refused.code != 0 && refused.stderr.contains("CREATEDB"), "{}", refused.stderr);
}
