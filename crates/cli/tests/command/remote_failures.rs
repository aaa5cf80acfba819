//! What goes wrong between a command and its server: tokens, certificates, connections.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Ended, Place, Running, wait_for};
use crate::serving::Serving;

/// Ends when this and what comes with it is not answered for so long.
const IMPATIENT: (&str, &str) = ("REHOME_CLIENT_RETRY_FOR", "300ms");

fn through<'a>(place: &Place, url: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = place.command(args);
    command.args(["--server", url, "--json"]);
    command
}

fn ended(command: Command) -> Ended {
    Running::start(command).ends()
}

/// A deployment with tokens; each by its role, which is its name too.
fn guarded(place: &Place) -> [String; 3] {
    let made = ["viewer", "operator", "admin"].map(|role| {
        let made = place.json(["token", "create", "--for-configuration", "--role", role]);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        (text("token"), text("configuration"))
    });
    let lines: Vec<_> = made.iter().map(|(_, lines)| lines.as_str()).collect();
    place.write("rehome.toml", format!("{CONFIG}\n{}", lines.join("\n")));
    made.map(|(token, _)| token)
}

#[test]
fn a_token_says_who_it_was_and_what_it_may_and_is_never_shown() {
    let (place, tenant) = Place::with_tenant(30);
    let [viewer, operator, admin] = guarded(&place);
    let serving = Serving::start(&place);
    let tenant = tenant.to_string();
    let shown = Mutex::new(String::new());
    let run = |token: Option<&str>, args: &[&str]| {
        let mut command = through(&place, &serving.url, args.iter().copied());
        command.args(["--log-level", "trace"]);
        if let Some(token) = token {
            command.env("REHOME_TOKEN", token);
        }
        let ended = ended(command);
        let mut shown = shown.lock().unwrap();
        shown.push_str(&ended.stdout);
        shown.push_str(&ended.stderr);
        ended
    };
    let start =
        ["migration", "start", "--tenant", &tenant, "--to", "dedicated", "--cutover", "manual"];
    assert_eq!(run(None, &["migration", "list"]).error(2)["type"], "unauthorized");
    let wrong = run(Some("rehome_wrong"), &["migration", "list"]).error(2);
    assert_eq!(wrong["type"], "unauthorized");
    assert!(!wrong.to_string().contains("rehome_wrong"), "{wrong}");
    run(Some(&viewer), &["migration", "list"]).succeeds();
    let refused = run(Some(&viewer), &start).error(3);
    assert_eq!(refused["type"], "forbidden");
    assert!(refused["message"].as_str().unwrap().contains("an operator"), "{refused}");

    let started = run(Some(&operator), &start).document();
    let id = started["id"].as_str().unwrap();
    assert_eq!(run(Some(&viewer), &["migration", "pause", id]).error(3)["type"], "forbidden");
    run(Some(&operator), &["migration", "pause", id, "--reason", "for: lunch"]).succeeds();
    let purge = ["tenant", "purge", &tenant, "--store", "dedicated"];
    assert_eq!(run(Some(&operator), &purge).error(3)["type"], "forbidden");
    run(Some(&admin), &["recover"]).succeeds();

    // From a file that is named in the configuration, with the end of line that editors leave.
    let elsewhere = Place::new();
    elsewhere.write("operator.token", format!("{operator}\n"));
    let url = &serving.url;
    let file = format!("[client]\nurl = \"{url}\"\ntoken_file = \"operator.token\"\n");
    elsewhere.write("rehome.toml", file);
    let log = elsewhere.rehome(["migration", "log", id]).succeeds();
    let paused = log.lines().find(|line| line.contains(" paused ")).unwrap();
    assert!(paused.ends_with("(operator: for: lunch)"), "{paused}");
    shown.lock().unwrap().push_str(&log);

    serving.process.signal("TERM");
    let served = serving.process.ends();
    let shown = shown.into_inner().unwrap() + &served.stdout + &served.stderr;
    for token in [viewer, operator, admin] {
        assert!(!shown.contains(&token["rehome_".len()..]), "a token was shown");
    }
}

#[test]
fn a_server_that_is_away_is_asked_again_for_a_while() {
    let place = Place::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let mut command = through(&place, &url, ["migration", "list"]);
    command.env(IMPATIENT.0, IMPATIENT.1);
    let error = ended(command).error(1);
    assert_eq!(error["type"], "server_unreachable");
    assert!(error["message"].as_str().unwrap().contains(&url), "{error}");
    // It starts during the request.
    let mut command = place.command(["migration", "list", "--server", &url]);
    command.env("REHOME_CLIENT_RETRY_FOR", "60s");
    let (waiting, line) = Running::announced_on_stderr(command);
    assert!(line.contains("trying again"), "{line}");
    let serving = Serving::start_at(&place, &address.to_string());
    assert_eq!(waiting.ends().succeeds(), "no migrations\n");
    serving.stop();
}

#[test]
fn a_migration_is_watched_across_the_death_of_its_server() {
    let (place, tenant) = Place::with_tenant(30);
    let serving = Serving::start(&place);
    let (url, address) = (serving.url.clone(), serving.address.clone());
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let start = start.into_iter().chain(["--cutover", "manual"]);
    let started = ended(through(&place, &url, start)).document();
    let id = started["id"].as_str().unwrap();
    let mut watch = through(&place, &url, ["migration", "watch", id]);
    watch.env("REHOME_CLIENT_RETRY_FOR", "60s");
    let (watch, first) = Running::announced(watch);
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["id"], id);
    serving.process.kill();
    let serving = Serving::start_at(&place, &address);
    wait_for("the mirror", || {
        let shown = ended(through(&place, &url, ["migration", "show", id])).document();
        (shown["state"] == "dual_write").then_some(())
    });
    ended(through(&place, &url, ["migration", "cutover", id])).succeeds();
    let watched = watch.ends().succeeds();
    let last: Value = serde_json::from_str(watched.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"], "migrated");
    // A takeover from a killed process is logged as more than a remark.
    serving.process.signal("TERM");
    serving.process.ends().succeeds();
}

#[test]
fn tls_is_believed_by_its_certificate_only() {
    let place = Place::new();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    let other = rcgen::generate_simple_self_signed(names).unwrap();
    place.write("cert.pem", made.cert.pem());
    place.write_private("key.pem", made.signing_key.serialize_pem());
    place.write("other.pem", other.cert.pem());
    let tls = "\n[server]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    place.write("rehome.toml", format!("{CONFIG}{tls}"));
    let serving = Serving::start(&place);
    assert!(serving.url.starts_with("https://"), "{}", serving.url);
    let list = |url: &str, ca: Option<&str>| {
        let mut command = through(&place, url, ["migration", "list"]);
        command.env(IMPATIENT.0, IMPATIENT.1);
        if let Some(ca) = ca {
            command.env("REHOME_CLIENT_CA_FILE", ca);
        }
        ended(command)
    };
    assert_eq!(list(&serving.url, Some("cert.pem")).succeeds(), "[]\n");
    let by_name = serving.url.replace("127.0.0.1", "localhost");
    assert_eq!(list(&by_name, Some("cert.pem")).succeeds(), "[]\n");
    for ca in [None, Some("other.pem")] {
        let error = list(&serving.url, ca).error(1);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("certificate") && message.contains("ca_file"), "{message}");
    }
    for ca in ["key.pem", "gone.pem"] {
        assert_eq!(list(&serving.url, Some(ca)).error(1)["type"], "unusable_certificate");
    }
    let plain = serving.url.replace("https", "http");
    assert_eq!(list(&plain, None).error(1)["type"], "server_unreachable");
    serving.stop();
}

#[test]
fn what_is_no_server_of_ours_is_said() {
    let place = Place::new();
    for url in ["", "hunter2", "ftp://hunter2", "http://u:hunter2@127.0.0.1", "http://h/?hunter2"] {
        let error = place.rehome(["migration", "list", "--json", "--server", url]).error(2);
        assert_eq!(error["type"], "bad_configuration", "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    for (answer, code, kind) in [
        ("200 OK\r\nContent-Length: 2\r\n\r\nhi", 1, "not_understood"),
        ("404 Not Found\r\nContent-Length: 2\r\n\r\nhi", 2, "no_server_of_ours"),
        ("302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", 2, "no_server_of_ours"),
    ] {
        let between = Between::new(None, move |_| Some(format!("HTTP/1.1 {answer}")));
        let error = ended(through(&place, &between.url, ["migration", "list"])).error(code);
        assert_eq!(error["type"], kind, "{error}");
    }
}

/// A proxy between a command and its server, which answers some requests itself, and loses responses.
struct Between {
    url: String,
}

impl Between {
    /// `own` answers a request itself; else it goes to `server`. What `own` answers with an empty text is
    /// done by the server, and its answer is lost.
    fn new(
        server: Option<String>,
        own: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (server, own) = (Arc::new(server), Arc::new(own));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (server, own) = (Arc::clone(&server), Arc::clone(&own));
                std::thread::spawn(move || {
                    // A client that is gone is no failure of the test.
                    let _ = pass(client.unwrap(), server.as_deref(), &*own);
                });
            }
        });
        Self { url }
    }
}

fn pass(
    mut client: TcpStream,
    server: Option<&str>,
    own: &dyn Fn(&str) -> Option<String>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    let length = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let head = text.find("\r\n\r\n")? + 4;
        let body = text
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().trim().parse::<usize>().unwrap());
        Some(head + body)
    };
    while length(&request).is_none_or(|length| request.len() < length) {
        let read = client.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..read]);
    }
    let request = String::from_utf8(request).unwrap();
    let answer = own(request.lines().next().unwrap());
    if let Some(answer) = answer.as_ref().filter(|answer| !answer.is_empty()) {
        return client.write_all(answer.as_bytes());
    }
    let mut server = TcpStream::connect(server.unwrap())?;
    let (first, rest) = request.split_once("\r\n").unwrap();
    server.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes())?;
    let mut whole = Vec::new();
    server.read_to_end(&mut whole)?;
    if answer.is_none() {
        client.write_all(&whole)?;
    }
    Ok(())
}

/// Answers the first request whose line has this in it.
fn first_time(what: &'static str, answer: &'static str) -> impl Fn(&str) -> Option<String> {
    let done = AtomicBool::new(false);
    move |line| {
        let is_it = line.contains(what) && !done.swap(true, Ordering::SeqCst);
        is_it.then(|| answer.to_owned())
    }
}

#[test]
fn what_was_done_and_not_answered_is_done_once() {
    let (place, tenant) = Place::with_tenant(30);
    let serving = Serving::start(&place);
    let lossy = |what| Between::new(Some(serving.address.clone()), first_time(what, ""));
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    let start = start.into_iter().chain(["--cutover", "manual", "--rollback-window", "1h"]);
    let between = lossy("POST /v1/migrations ");
    let started = ended(through(&place, &between.url, start)).document();
    let id = started["id"].as_str().unwrap();
    let all = place.json(["migration", "list"]);
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    place.until(id, "the mirror", |m| m["state"] == "dual_write");

    let change = |what: &'static str, args: &[&str]| {
        let between = lossy(what);
        ended(through(&place, &between.url, args.iter().copied())).document()
    };
    assert_eq!(change("/pause ", &["migration", "pause", id])["state"], "paused");
    change("/resume ", &["migration", "resume", id]);
    place.until(id, "the mirror", |m| m["state"] == "dual_write");
    change("/options ", &["migration", "tune", id, "--copy-rate-max", "9"]);
    let verified = change("/verify ", &["migration", "verify", id]);
    assert_eq!(verified["ok"], true);
    assert_eq!(change("/cutover ", &["migration", "cutover", id])["state"], "migrated");
    let back = change("/return ", &["migration", "return", id, "--wait"]);
    assert_eq!(back["state"], "migrated");

    let log = place.rehome(["migration", "log", id, "--json"]).succeeds();
    let count = |event: &str| {
        let name = format!("\"event\":\"{event}\"");
        log.lines().filter(|line| line.contains(&name)).count()
    };
    let once = ["started", "paused", "resumed", "cutover_requested", "window_closed"];
    assert_eq!(once.map(count), [1; 5], "{log}");
    let all = place.json(["migration", "list"]);
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
    serving.stop();
}

#[test]
fn a_server_that_says_later_is_asked_later() {
    let place = Place::new();
    let serving = Serving::start(&place);
    let busy = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\
        Content-Type: application/problem+json\r\nContent-Length: 84\r\n\r\n\
        {\"type\":\"urn:rehome:problem:stopping\",\"title\":\"x\",\"status\":503,\"detail\":\"stopping\"}";
    let body = busy.rsplit("\r\n").next().unwrap();
    let busy: &'static str =
        Box::leak(busy.replace("84", &body.len().to_string()).into_boxed_str());
    let between = Between::new(Some(serving.address.clone()), first_time("GET", busy));
    assert_eq!(ended(through(&place, &between.url, ["migration", "list"])).succeeds(), "[]\n");
    // Not for ever.
    let always = Between::new(None, move |_| Some(busy.to_owned()));
    let nobody = Uuid::new_v4().to_string();
    let mut command = through(&place, &always.url, ["tenant", "show", &nobody]);
    command.env(IMPATIENT.0, IMPATIENT.1);
    let error = ended(command).error(1);
    assert_eq!(error["type"], "server_unreachable");
    assert!(error["message"].as_str().unwrap().contains("stopping"), "{error}");
    serving.stop();
}
