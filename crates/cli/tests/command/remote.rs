//! Commands that act through a server: what they print and how they end is what they would without one.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{CONFIG, Ended, Place, Running, lines, wait_for};
use crate::serving::Serving;

/// The measured values, and values derived from them.
const MEASURED: [&str; 23] = [
    // A server keeps the old source up to date.
    "role",
    "read_back_seq",
    "pause_ms",
    "rate_events_per_s",
    "eta_seconds",
    "read_events_per_s",
    "write_events_per_s",
    "copy_events_per_s",
    "copy_rate_from",
    "estimate",
    "best",
    "worst",
    "remarks",
    "clock_skew_ms",
    "events_per_s",
    "append_p50_ms",
    "append_p99_ms",
    "latency_from",
    "remark",
    "window_seconds",
    "why",
    "epoch",
    "url",
];

/// A command's way: on the stores, or through a server.
struct Way<'a> {
    place: &'a Place,
    server: Option<&'a Serving>,
}

impl Way<'_> {
    fn run<'b>(&self, args: impl IntoIterator<Item = &'b str>) -> Ended {
        let mut command = self.place.command(args);
        if let Some(server) = self.server {
            command.args(["--server", &server.url]);
        }
        Running::start(command).ends()
    }

    fn json<'b>(&self, args: impl IntoIterator<Item = &'b str>) -> Value {
        let ended = self.run(args.into_iter().chain(["--json"]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.document()
    }
}

/// The text with each UUID made alike.
fn without_ids(text: &str) -> String {
    let mut words = text.to_owned();
    for from in 0..text.len() {
        let id = text.get(from..from + 36).filter(|word| Uuid::try_parse(word).is_ok());
        if let Some(id) = id {
            words = words.replace(id, "an id");
        }
    }
    words
}

/// The document with ids, times, hashes and measurements made alike.
fn alike(document: &Value) -> Value {
    match document {
        Value::Object(fields) => {
            let is_room = fields.get("check").is_some_and(|check| check == "target has room");
            let fields = fields.iter().map(|(name, value)| {
                let measured = MEASURED.contains(&name.as_str()) || is_room && name == "detail";
                (name.clone(), if measured { json!("measured") } else { alike(value) })
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(alike).collect(),
        Value::String(text) if text.len() == 64 => json!("a hash"),
        Value::String(text) if text.ends_with('Z') && text.contains('T') => json!("a time"),
        Value::String(text) => json!(without_ids(text)),
        other => other.clone(),
    }
}

fn until(way: &Way<'_>, id: &str, state: &str) {
    wait_for(state, || (way.json(["migration", "show", id])["state"] == state).then_some(()));
}

/// A whole migration, there and back; returns every document on the way, and the exit codes of commands that
/// failed.
fn whole(way: &Way<'_>, tenant: Uuid) -> Vec<Value> {
    let tenant = tenant.to_string();
    let mut told = Vec::new();
    told.push(way.json(["plan", "--tenant", &tenant, "--to", "dedicated"]));
    told.push(way.json(["estimate", "--tenant", &tenant, "--to", "dedicated", "--probe"]));
    told.push(way.json(["store", "check", "shared"]));
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated", "--json"];
    let options =
        ["--cutover", "manual", "--rollback-window", "1h", "--reason", "a noisy neighbour: bulk"];
    // Without a server it runs in the process that started it.
    let here = way.server.is_none().then(|| way.place.spawn(start.into_iter().chain(options)));
    if here.is_none() {
        let started = way.run(start.into_iter().chain(options)).document();
        assert_eq!(started["target_store"], "dedicated");
    }
    let id = &wait_for("a migration", || {
        let found = way.json(["migration", "list", "--tenant", &tenant]);
        found.get(0).map(|migration| migration["id"].as_str().unwrap().to_owned())
    });
    until(way, id, "dual_write");
    told.push(way.json(["migration", "baseline", id, "--window", "1s"]));
    told.push(way.json(["migration", "baseline", id, "--show"]));
    told.push(way.json(["migration", "tune", id, "--copy-rate-max", "7", "--reason", "slowly"]));
    let pause = ["migration", "pause", id, "--reason", "lunch"];
    told.push(way.json(pause));
    told.push(way.run(pause.into_iter().chain(["--json"])).error(3));
    told.push(way.json(["migration", "resume", id]));
    until(way, id, "dual_write");
    told.push(way.json(["migration", "cutover", id, "--reason", "now"]));
    if let Some(here) = here {
        here.ends().succeeds();
    }
    told.push(way.json(["migration", "verify", id, "--level", "hash"]));
    told.push(way.json(["tenant", "show", &tenant]));
    told.push(way.json(["migration", "list", "--state", "migrated"]));
    told.push(way.json(["checklist", "before"]));
    told.push(way.json(["health"]));
    let watched = way.run(["migration", "watch", id, "--json"]).succeeds();
    told.push(serde_json::from_str(watched.lines().last().unwrap()).unwrap());
    let back = way.json(["migration", "return", id, "--wait", "--reason", "a mistake"]);
    told.push(back.clone());
    let refused = ["tenant", "purge", &tenant, "--store", "shared", "--json"];
    told.push(way.run(refused).error(3));
    told.push(way.json(["tenant", "purge", &tenant, "--store", "dedicated", "--reason", "tidy"]));
    told.push(way.json(["recover"]));
    let log = way.run(["migration", "log", id, "--json"]).succeeds();
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // The driver takes the lease and reads back at any time; a replica is dropped by it or by
    // the operator, in any order.
    told.extend(
        entries
            .filter(|entry| {
                !["lease_taken", "read_back", "replica_dropped"]
                    .contains(&entry["event"].as_str().unwrap())
            })
            .map(|mut entry| {
                let actor = entry["actor"].as_str().unwrap();
                let operator = actor.contains(" at ") || actor == "anyone";
                entry["actor"] = json!(if operator { "an operator" } else { "a process" });
                entry["index"] = Value::Null;
                entry
            }),
    );
    told
}

#[test]
fn a_whole_migration_is_told_the_same_through_a_server() {
    let (here, tenant) = Place::with_tenant(300);
    let there = Place::new();
    there.write("events.ndjson", lines(tenant, 1..=300));
    there.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
    let serving = Serving::start(&there);
    let local = whole(&Way { place: &here, server: None }, tenant);
    let remote = whole(&Way { place: &there, server: Some(&serving) }, tenant);
    for (local, remote) in local.iter().zip(&remote) {
        assert_eq!(alike(remote), alike(local), "{remote} is not {local}");
    }
    assert_eq!(remote.len(), local.len());
    let said: Vec<_> = remote.iter().filter_map(|told| told["reason"].as_str()).collect();
    // The last one closes the window.
    assert_eq!(said, ["a noisy neighbour: bulk", "slowly", "lunch", "now", "a mistake"]);
    serving.stop();
    assert_eq!([&here, &there].map(|place| place.history(tenant).lines().count()), [300; 2]);
}

#[test]
fn people_see_the_same_and_an_end_is_waited_for() {
    let (place, tenant) = Place::with_tenant(50);
    let serving = Serving::start(&place);
    let way = Way { place: &place, server: Some(&serving) };
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated", "--wait"];
    let ended = way.run(start);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("state       migrated"), "{}", ended.stdout);
    assert!(ended.stderr.contains("of 50 events"), "{}", ended.stderr);
    let id = place.migration_of(tenant.parse().unwrap());
    let local = Way { place: &place, server: None };
    wait_for("the end of the work", || {
        let shown = local.run(["migration", "show", &id]).succeeds();
        (!shown.contains("worker")).then_some(())
    });
    for args in [
        &["migration", "show", &id][..],
        &["migration", "list"],
        &["migration", "log", &id],
        &["migration", "log", &id, "--follow"],
        &["migration", "watch", &id],
        &["tenant", "show", &tenant],
        &["tenant", "list"],
        &["drain", "list"],
        &["token", "list"],
        &["store", "check"],
        &["health"],
        &["estimate", "--events", "1500000"],
    ] {
        let (remote, local) = (way.run(args.iter().copied()), local.run(args.iter().copied()));
        let without_clock = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.contains(" clock ")).map(str::to_owned).collect()
        };
        assert_eq!(without_clock(&remote.stdout), without_clock(&local.stdout), "{args:?}");
        assert_eq!((remote.code, remote.stderr), (local.code, local.stderr), "{args:?}");
    }
    serving.stop();
}

#[test]
fn an_abort_is_waited_for_until_the_target_is_clean() {
    let (place, tenant) = Place::with_tenant(80);
    let serving = Serving::start(&place);
    let way = Way { place: &place, server: Some(&serving) };
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let started = way.json(start.into_iter().chain(["--cutover", "manual"]));
    let id = started["id"].as_str().unwrap();
    until(&way, id, "dual_write");
    let aborted = way.json(["migration", "abort", id, "--purge-target", "--reason", "no"]);
    assert_eq!(aborted["state"], "rolled_back");
    assert_eq!(place.count("dedicated.db", "SELECT count(*) FROM events"), 0);
    serving.stop();
}

#[test]
fn an_end_that_was_not_meant_is_an_error_in_the_same_words() {
    let end = |with_server: bool| {
        let (place, tenant) = Place::with_tenant(20);
        let serving = with_server.then(|| Serving::start(&place));
        let way = Way { place: &place, server: serving.as_ref() };
        let tenant = tenant.to_string();
        let mut start = place.command(["migration", "start", "--tenant", &tenant, "--wait"]);
        start.args(["--to", "dedicated", "--cutover", "manual", "--json"]);
        if let Some(serving) = &serving {
            start.args(["--server", &serving.url]);
        }
        let waiting = Running::start(start);
        let id = place.migration_of(tenant.parse().unwrap());
        until(&way, &id, "dual_write");
        way.json(["migration", "abort", &id]);
        let error = waiting.ends().error(1);
        assert_eq!(error["type"], "aborted");
        assert_eq!(error["migration_id"], id);
        if let Some(serving) = serving {
            serving.stop();
        }
        alike(&error)
    };
    assert_eq!(end(true), end(false));
}

#[test]
fn what_is_refused_is_refused_in_the_same_words() {
    let (place, tenant) = Place::with_tenant(10);
    let serving = Serving::start(&place);
    let (nobody, id) = (Uuid::new_v4().to_string(), tenant.to_string());
    let remote = Way { place: &place, server: Some(&serving) };
    let local = Way { place: &place, server: None };
    for (args, code) in [
        (&["migration", "start", "--tenant", &nobody, "--to", "dedicated"][..], 4),
        (&["migration", "start", "--tenant", &id, "--to", "elsewhere"], 4),
        (&["migration", "start", "--tenant", &id, "--to", "shared"], 3),
        (&["migration", "start", "--tenant", &id, "--to", "dedicated", "--batch-events", "0"], 2),
        (&["migration", "start", "--tenant", &id, "--to", "dedicated", "--reason", "a\nb"], 2),
        (&["migration", "show", &nobody], 4),
        (&["migration", "watch", &nobody], 4),
        (&["migration", "log", &nobody], 4),
        (&["migration", "pause", &nobody], 4),
        (&["migration", "resume", &nobody], 4),
        (&["migration", "cutover", &nobody], 4),
        (&["migration", "abort", &nobody], 4),
        (&["migration", "acknowledge", &nobody], 4),
        (&["migration", "verify", &nobody], 4),
        (&["migration", "baseline", &nobody], 4),
        (&["migration", "baseline", &nobody, "--show"], 4),
        (&["migration", "tune", &nobody, "--copy-rate-max", "1"], 4),
        (&["migration", "tune", &nobody], 2),
        (&["migration", "return", &nobody], 4),
        (&["plan", "--tenant", &nobody, "--to", "dedicated"], 4),
        (&["tenant", "show", &nobody], 4),
        (&["tenant", "purge", &id, "--store", "shared"], 3),
        (&["store", "check", "elsewhere"], 4),
        (&["checklist", "during"], 2),
        (&["checklist", "after", &nobody], 4),
        (&["recover", "--tenant", &nobody], 4),
        (&["migration", "repair", &nobody], 4),
        (&["migration", "cutover", &nobody, "--withdraw"], 4),
        (&["tenant", "remove", &nobody, "--events", "0"], 4),
        (&["tenant", "unguard", &nobody], 4),
        (&["tenant", "pin", &nobody, "--why", "a contract"], 4),
        (&["tenant", "unpin", &nobody], 4),
        (&["tenant", "checkpoints", &id, "--from", "no", "--to", "shared"], 4),
        (&["tenant", "position", &id, "--position", "1", "--from", "no", "--to", "shared"], 4),
        (&["store", "cordon", "elsewhere", "--why", "retired"], 4),
        (&["store", "uncordon", "elsewhere"], 4),
        (&["drain", "plan", "--from", "elsewhere", "--to", "dedicated"], 4),
        (&["drain", "start", "--from", "elsewhere", "--to", "dedicated"], 4),
        (&["drain", "show", &nobody], 4),
        (&["drain", "watch", &nobody], 4),
        (&["drain", "pause", &nobody], 4),
        (&["drain", "resume", &nobody], 4),
        (&["drain", "cancel", &nobody], 4),
        (&["drain", "tune", &nobody, "--concurrency", "1"], 4),
        (&["drain", "retry", &nobody], 4),
        (&["token", "create", "--name", "a b", "--role", "viewer"], 2),
        (&["token", "rotate", "nobody"], 4),
        (&["token", "revoke", "nobody", "--yes"], 4),
        (&["estimate", "--tenant", &nobody, "--to", "dedicated", "--probe"], 4),
    ] {
        let with_json = || args.iter().copied().chain(["--json"]);
        let (remote, local) = (remote.run(with_json()), local.run(with_json()));
        assert_eq!(remote.stdout, local.stdout, "{args:?}");
        assert_eq!(remote.error(code), local.error(code), "{args:?}");
    }
    serving.stop();
}

/// Commands that have one way only, beside those that the test below names.
const ALONE: [&str; 14] = [
    "audit-export",
    "audit-verify",
    "completions",
    "config-check",
    "config-show",
    "init",
    "store-adopt",
    "store-layout-check",
    "store-layout-guess",
    "store-layout-list",
    "store-layout-show",
    "store-release",
    "store-verify",
    "token-open",
];

/// A test of this file runs each command both ways, or it works without a server only.
#[test]
fn every_command_is_compared() {
    let place = Place::new();
    let pages = place.json(["man", "pages"]);
    let pages: Vec<_> = pages.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let commands: Vec<_> =
        pages.iter().filter_map(|page| page.strip_prefix("rehome-")?.strip_suffix(".1")).collect();
    let is_group =
        |command: &str| commands.iter().any(|other| other.starts_with(&format!("{command}-")));
    let source = include_str!("remote.rs");
    for command in commands.iter().filter(|command| !is_group(command)) {
        let words: Vec<_> = command.split('-').map(|word| format!("\"{word}\"")).collect();
        let is_compared = source.contains(&format!("[{}", words.join(", ")));
        assert!(is_compared != ALONE.contains(command), "rehome-{command}");
    }
}

#[test]
fn who_and_why_are_in_the_log_without_a_server_too() {
    let (place, tenant) = Place::with_tenant(20);
    let id = tenant.to_string();
    let start = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--reason", "room"];
    let done = place.json(start);
    let log = place.rehome(["migration", "log", done["id"].as_str().unwrap()]).succeeds();
    let first = log.lines().next().unwrap();
    assert!(first.contains("started") && first.ends_with(": room)"), "{first}");
    // The person and the host, and not the process.
    let (_, actor) = first.rsplit_once('(').unwrap();
    let (person, host) = actor.split_once(" at ").unwrap_or_else(|| panic!("{first}"));
    assert!(!person.is_empty() && host.matches(':').count() == 1, "{first}");
}

#[test]
fn some_commands_work_without_a_server_only_and_say_so() {
    let (place, tenant) = Place::with_tenant(5);
    let tenant = tenant.to_string();
    let url = "http://127.0.0.1:9";
    for args in [
        &["import", "events.ndjson"][..],
        &["export", "--tenant", &tenant],
        &["store", "create", "dedicated"],
        &["migration", "drive"],
        &["token", "create", "--for-configuration", "--role", "admin"],
        &["monitoring", "export", "rules"],
        &["serve"],
        &["quickstart"],
    ] {
        let with_server = args.iter().copied().chain(["--server", url, "--json"]);
        let error = place.rehome(with_server).error(2);
        assert_eq!(error["type"], "not_by_a_server", "{args:?}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("without a server only: "), "{message}");
    }
    // A server that is configured is passed over by a word.
    place.write("rehome.toml", format!("{CONFIG}\n[client]\nurl = \"{url}\"\n"));
    place.rehome(["export", "--tenant", &tenant]).fails(2);
    let exported = place.rehome(["export", "--tenant", &tenant, "--local"]).succeeds();
    assert_eq!(exported.lines().count(), 5);
    place.rehome(["tenant", "show", &tenant, "--local"]).succeeds();
    place.rehome(["token", "create", "--for-configuration", "--role", "admin"]).succeeds();
    Serving::start(&place).stop();
}

#[test]
fn a_server_can_be_configured_alone() {
    let (place, tenant) = Place::with_tenant(5);
    let serving = Serving::start(&place);
    let tenant = tenant.to_string();
    let elsewhere = Place::new();
    let file = format!("[client]\nurl = \"{}\"\n", serving.url);
    elsewhere.write("rehome.toml", &file);
    // When the store answered last is another time with each answer.
    let dateless = |mut shown: Value| {
        shown["stores"][0]["last_seen_at"].take();
        shown
    };
    let shown = dateless(elsewhere.json(["tenant", "show", &tenant]));
    assert_eq!(shown["seq"], 5);
    // Nothing is configured but by the environment.
    std::fs::remove_file(elsewhere.path("rehome.toml")).unwrap();
    for variable in ["REHOME_SERVER", "REHOME_CLIENT_URL"] {
        let mut command = elsewhere.command(["tenant", "show", &tenant, "--json"]);
        command.env(variable, &serving.url);
        assert_eq!(dateless(Running::start(command).ends().document()), shown);
    }
    elsewhere.rehome(["tenant", "show", &tenant]).fails(2);
    serving.stop();
}
