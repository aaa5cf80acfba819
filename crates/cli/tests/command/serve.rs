//! `rehome serve` and `rehome token`, as a process.

use std::net::TcpStream;

use uuid::Uuid;

use crate::kit::{Place, Running, wait_for};
use crate::serving::Serving;

#[test]
fn a_new_deployment_is_served_until_it_is_told_to_stop() {
    let place = Place::new();
    let serving = Serving::start(&place);
    let (status, live) = serving.ask("GET", "/health/live", None, "");
    assert_eq!((status, &live["status"]), (200, &"live".into()));
    let (status, ready) = serving.ask("GET", "/health/ready", None, "");
    assert_eq!((status, &ready["status"]), (200, &"ready".into()));
    let address = serving.address.clone();
    serving.stop();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn people_read_the_address_on_stderr() {
    let place = Place::new();
    let mut command = place.command(["serve"]);
    command.env("REHOME_SERVER_BIND", "127.0.0.1:0");
    let (process, line) = Running::announced_on_stderr(command);
    assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
    process.signal("TERM");
    let ended = process.ends();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
}

#[test]
fn a_server_works_on_migrations_that_nobody_works_on() {
    let (place, tenant) = Place::with_tenant(50);
    let id = tenant.to_string();
    // Started, and its process killed before it got far.
    let start = place.spawn([
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--copy-rate-max",
        "1",
    ]);
    let migration = place.migration_of(tenant);
    start.kill();
    place.json(["migration", "tune", &migration, "--copy-rate-max", "0"]);
    let serving = Serving::start(&place);
    place.until(&migration, "the migration's end", |m| m["state"] == "migrated");
    serving.stop();
}

#[test]
fn the_client_in_the_documentation_moves_a_tenant_under_its_own_appends() {
    let docs = include_str!("../../../../docs/http.md");
    let program = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    place.write("client.py", program);
    let serving = Serving::start(&place);
    let mut client = std::process::Command::new("python3");
    client.arg(place.path("client.py")).arg(format!("http://{}", serving.address));
    client.stdin(std::process::Stdio::null());
    client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let said = Running::start(client).ends().succeeds();
    assert!(said.starts_with("moved to dedicated: "), "{said}");
    serving.stop();
}

#[test]
fn an_address_that_others_reach_is_refused_without_tokens_and_tls() {
    let place = Place::new();
    let mut command = place.command(["serve", "--json"]);
    command.env("REHOME_SERVER_BIND", "0.0.0.0:0");
    let error = Running::start(command).ends().error(2);
    assert_eq!(error["type"], "unsafe_address");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("no tokens") && message.contains("no TLS"), "{message}");

    let mut command = place.command(["serve", "--json", "--without-tls", "--without-tokens"]);
    command.env("REHOME_SERVER_BIND", "0.0.0.0:0");
    let (process, _) = Running::announced(command);
    process.signal("TERM");
    assert_eq!(process.ends().code, 0);
}

#[test]
fn a_token_lets_in_until_its_lines_are_gone() {
    let place = Place::new();
    let config = String::from_utf8(place.read("rehome.toml")).unwrap();
    let made = |name: &str| {
        let made = place.json([
            "token",
            "create",
            "--for-configuration",
            "--role",
            "viewer",
            "--name",
            name,
        ]);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        (text("token"), text("configuration"))
    };
    let ((first, its_lines), (second, other_lines)) = (made("first"), made("second"));
    place.write("rehome.toml", format!("{config}\n{its_lines}\n{other_lines}"));
    let serving = Serving::start(&place);
    let path = format!("/v1/tenants/{}", Uuid::new_v4());
    let status = |token: Option<&str>| serving.ask("GET", &path, token, "").0;
    assert_eq!([status(None), status(Some("rehome_0")), status(Some(&its_lines[2..10]))], [401; 3]);
    assert_eq!([status(Some(&first)), status(Some(&second))], [404; 2]);

    place.write("rehome.toml", format!("{config}\n{other_lines}"));
    serving.process.signal("HUP");
    wait_for("the token to be revoked", || (status(Some(&first)) == 401).then_some(()));
    assert_eq!(status(Some(&second)), 404);
    serving.process.signal("TERM");
    let ended = serving.process.ends();
    assert_eq!(ended.code, 0);
    assert!(![&ended.stdout, &ended.stderr].iter().any(|text| text.contains(&first)));
}

#[test]
fn a_token_of_a_tenant_names_it() {
    let place = Place::new();
    let tenant = Uuid::new_v4().to_string();
    let made = place.json([
        "token",
        "create",
        "--for-configuration",
        "--role",
        "tenant",
        "--tenant",
        &tenant,
    ]);
    assert_eq!(made["tenant_id"], tenant);
    assert!(made["configuration"].as_str().unwrap().contains(&tenant));
    for args in [&["--role", "tenant"][..], &["--role", "admin", "--tenant", &tenant]] {
        place
            .rehome(
                ["token", "create", "--for-configuration"].into_iter().chain(args.iter().copied()),
            )
            .fails(2);
    }
}
