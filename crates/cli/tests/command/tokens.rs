//! `rehome token`, and the callers in a server's log.

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{Ended, Place, Running, wait_for};
use crate::serving::Serving;

fn made<'a>(place: &Place, args: impl IntoIterator<Item = &'a str>) -> String {
    let made = place.json(["token", "create"].into_iter().chain(args));
    made["token"].as_str().unwrap().to_owned()
}

/// The same command through a server.
fn through(place: &Place, serving: &Serving, token: &str, args: &[&str]) -> Ended {
    let mut command = place.command(args.iter().copied());
    command.args(["--server", &serving.url, "--json"]).env("REHOME_TOKEN", token);
    Running::start(command).ends()
}

#[test]
fn the_first_token_closes_a_server_that_runs_and_one_that_starts_again() {
    let place = Place::new();
    let serving = Serving::start(&place);
    let path = "/v1/migrations";
    assert_eq!(serving.ask("GET", path, None, "").0, 200);
    let token = made(&place, ["--role", "viewer", "--name", "looks"]);
    assert_eq!(serving.ask("GET", path, Some(&token), "").0, 200);
    wait_for("it to be closed", || (serving.ask("GET", path, None, "").0 == 401).then_some(()));
    serving.stop();

    place.rehome(["token", "revoke", "looks"]).succeeds();
    let serving = Serving::start(&place);
    for token in [None, Some(token.as_str())] {
        assert_eq!(serving.ask("GET", path, token, "").0, 401);
    }
    let opened = place.rehome(["token", "open", "--reason", "a demonstration"]).succeeds();
    assert!(opened.starts_with("open: "), "{opened}");
    wait_for("it to be open", || (serving.ask("GET", path, None, "").0 == 200).then_some(()));
    serving.stop();
}

#[test]
fn a_deployment_can_begin_with_a_token() {
    let place = Place::new();
    let shown = place.rehome(["token", "create", "--role", "admin", "--expires", "30d"]).succeeds();
    let token = shown.split_whitespace().find(|word| word.starts_with("rehome_")).unwrap();
    let mut command = place.command(["serve", "--json", "--without-tls"]);
    command.env("REHOME_SERVER_BIND", "0.0.0.0:0");
    let (process, _) = Running::announced(command);
    process.signal("TERM");
    assert_eq!(process.ends().code, 0);
    let serving = Serving::start(&place);
    assert_eq!(serving.ask("GET", "/v1/stores", Some(token), "").0, 200);
    serving.stop();
}

#[test]
fn tokens_are_kept_the_same_way_with_and_without_a_server() {
    let place = Place::new();
    let admin = made(&place, ["--role", "admin"]);
    let serving = Serving::start(&place);
    let tenant = Uuid::new_v4().to_string();
    let args = ["token", "create", "--role", "reader", "--name", "shop", "--tenant", &tenant];
    let made = through(&place, &serving, &admin, &args);
    let made: Value = serde_json::from_str(&made.succeeds()).unwrap();
    assert_eq!((&made["role"], &made["tenants"][0]), (&"reader".into(), &tenant.as_str().into()));
    let first = made["token"].as_str().unwrap().to_owned();
    let feed = format!("/v1/tenants/{tenant}/events");
    let status = |token: &str| serving.ask("GET", &feed, Some(token), "").0;
    assert_eq!(status(&first), 404, "let in, and nothing there");

    let args = ["token", "rotate", "shop", "--keep-old-for", "1h", "--reason", "each spring"];
    let rotated = through(&place, &serving, &admin, &args).succeeds();
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    let second = rotated["token"].as_str().unwrap().to_owned();
    assert_eq!([status(&first), status(&second)], [404; 2]);
    assert_eq!(rotated["created_by"], "admin: each spring");

    let here = place.json(["token", "list"]);
    let there = through(&place, &serving, &admin, &["token", "list"]).succeeds();
    let mut there: Value = serde_json::from_str(&there).unwrap();
    let tokens = there["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 3);
    assert_eq!((&tokens[0]["name"], &tokens[0]["state"]), (&"admin".into(), &"good".into()));
    // Its use is noted now and then.
    there["tokens"][0]["last_used_at"] = here["tokens"][0]["last_used_at"].clone();
    assert_eq!(here, there);
    let table = place.rehome(["token", "list"]).succeeds();
    assert!(table.contains("NAME") && table.contains(&tenant), "{table}");
    assert!(table.trim_end().ends_with("closed: every client needs a token"), "{table}");

    place.rehome(["token", "create", "--role", "viewer", "--name", "shop"]).fails(3);
    through(&place, &serving, &first, &["token", "list"]).error(3);
    through(&place, &serving, &admin, &["token", "revoke", "nobody"]).error(4);
    place.rehome(["token", "revoke", "shop"]).succeeds();
    wait_for("both to be revoked", || {
        ([status(&first), status(&second)] == [401; 2]).then_some(())
    });
    place.rehome(["token", "rotate", "shop"]).fails(4);
    serving.stop();
    let shown = [&table, &there.to_string()].map(|text| text.contains(&first[7..]));
    assert_eq!(shown, [false; 2], "a secret is shown once");
    for file in ["control.db", "control.db-wal"] {
        let bytes = std::fs::read(place.path(file)).unwrap_or_default();
        let secret = first.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{file}");
    }
}

#[test]
fn a_name_of_the_configuration_is_not_given_twice() {
    let place = Place::new();
    let args = ["token", "create", "--for-configuration", "--role", "viewer", "--name", "looks"];
    let lines = place.json(args)["configuration"].as_str().unwrap().to_owned();
    let config = String::from_utf8(place.read("rehome.toml")).unwrap();
    place.write("rehome.toml", format!("{config}\n{lines}"));
    Serving::start(&place).stop();
    for args in [
        &["token", "create", "--role", "viewer", "--name", "looks"][..],
        &["token", "rotate", "looks"],
        &["token", "revoke", "looks"],
    ] {
        let error = place.rehome(args.iter().copied().chain(["--json"])).error(3);
        assert!(error["message"].as_str().unwrap().contains("in the configuration"), "{args:?}");
    }
    let listed = place.json(["token", "list"]);
    assert_eq!(listed["tokens"][0]["kept_in"], "configuration");
}

#[test]
fn the_log_says_who_was_refused_who_read_what_and_who_came() {
    let (place, tenant) = Place::with_tenant(3);
    let admin = made(&place, ["--role", "admin", "--name", "root"]);
    let id = tenant.to_string();
    let own = made(&place, ["--role", "tenant", "--name", "shop", "--tenant", &id]);
    let serving = Serving::start(&place);
    let feed = format!("/v1/tenants/{tenant}/events");
    let ask = |path: &str, token: Option<&str>| serving.ask("GET", path, token, "").0;
    assert_eq!(ask(&feed, Some(&own)), 200);
    assert_eq!(ask(&feed, Some(&own)), 200);
    assert_eq!(ask(&feed, Some(&admin)), 200);
    assert_eq!(ask("/v1/migrations", Some(&own)), 403);
    assert_eq!(ask("/v1/migrations", None), 401);
    assert_eq!(ask("/v1/migrations", Some("rehome_guess")), 401);
    let purge = format!("/v1/tenants/{tenant}/purge");
    serving.ask("POST", &purge, Some(&admin), "{\"store\": \"dedicated\"}");
    place.rehome(["token", "revoke", "shop"]).succeeds();
    wait_for("it to be revoked", || (ask(&feed, Some(&own)) == 401).then_some(()));
    serving.process.signal("TERM");
    let log = serving.process.ends().stderr;

    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["logger"] == "rehome::access")
        .collect();
    let of = |what: &str, caller: Option<&str>| {
        let of = lines.iter().filter(|line| line["message"] == what);
        of.filter(|line| line["caller"].as_str() == caller).collect::<Vec<_>>()
    };
    let used = of("Token used", Some("shop"));
    assert_eq!(used.len(), 1, "once, and not for each request: {log}");
    assert_eq!((&used[0]["role"], &used[0]["status"]), (&"tenant".into(), &200.into()));
    let read = of("Events read by an operator", Some("root"));
    assert_eq!((read.len(), &read[0]["tenant_id"]), (1, &id.as_str().into()));
    let refused = of("Access refused", Some("shop"));
    assert_eq!(
        (&refused[0]["status"], &refused[0]["route"]),
        (&403.into(), &"/v1/migrations".into())
    );
    assert_eq!(refused.last().unwrap()["status"], 401, "whose token was revoked is known");
    assert_eq!(of("Access refused", None).len(), 2);
    assert_eq!(of("Change requested", Some("root"))[0]["route"], "/v1/tenants/{tenant}/purge");
    for line in &lines {
        assert_eq!(line["address"], "127.0.0.1");
        assert!(line["request_id"].is_string() && line["method"].is_string(), "{line}");
    }
    assert!(![&admin, &own].iter().any(|token| log.contains(&token[7..])), "no secret is in it");
}
