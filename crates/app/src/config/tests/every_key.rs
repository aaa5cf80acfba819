//! Each key of the table is read, checked and shown.

use std::collections::BTreeSet;

use super::*;

/// A file with every section, and each kind of row.
const EVERYTHING: &str = r#"
[control_plane]
url = "sqlite:control.db"
[[stores]]
id = "shared"
url = "sqlite:shared.db"
[[auth.tokens]]
name = "ops"
role = "operator"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
[[publish]]
kind = "eventsource-py"
url = "postgres://u:hunter2@h/d"
[[publish]]
kind = "sql"
url = "postgres://u:hunter2@h/d"
statements = ["SELECT 1"]
[[publish]]
kind = "http"
url = "http://u:hunter2@h"
[[publish]]
kind = "command"
command = ["moved", "--password", "hunter2"]
[[hooks]]
name = "freeze"
on = ["before_start", "before_cutover"]
kind = "http"
url = "http://u:hunter2@h"
[[hooks]]
name = "chat"
on = "after_switch"
kind = "command"
command = ["tell", "--password", "hunter2"]
[server]
tls_cert = "cert.pem"
tls_key = "key.pem"
client_ca = "clients.pem"
[[auth.issuers]]
issuer = "https://login.example"
audience = "rehome"
[[auth.roles]]
claim = "groups"
value = "ops"
role = "operator"
[[auth.certificates]]
name = "deployer"
subject_cn = "deployer"
role = "operator"
"#;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rehome.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn every_key_is_read() {
    let (_folder, path) = written(EVERYTHING);
    let mut draft = Draft::read(Some(&path), []).unwrap();
    check::whole(&mut draft).unwrap();
    ClientConfig::of(&draft.values, None, None).unwrap();
    let mut read: BTreeSet<_> = draft.values.read.borrow().clone();
    for row in draft.rows.values().flatten() {
        read.extend(row.values.read.borrow().iter().cloned());
    }
    // Thresholds are read by their own table.
    let keys = keys::entries().filter(|entry| entry.section != keys::THRESHOLDS);
    let forgotten: Vec<_> = keys.map(|key| key.path()).filter(|key| !read.contains(key)).collect();
    assert_eq!(forgotten, Vec::<String>::new(), "no struct takes these keys over");
}

#[test]
fn all_mistakes_are_found_at_once_in_the_order_of_the_file() {
    let text = GOOD
        .replace("sqlite:control.db", "control.db")
        .replace("copy_rate_max", "copy_rate")
        .replace("2000", "0")
        .replace("dedicated-1", "shared")
        .replace("[telemetry]", "[server]\ntls_key = \"k\"\n[telemetry]");
    let (_folder, path) = written(&text);
    let set = [("REHOME_SERVER_BIND".to_owned(), "here".to_owned())];
    let problems: Vec<_> = problems(Some(&path), set).iter().map(ToString::to_string).collect();
    let parts = [
        ":3: control_plane.url is not a URL",
        ":15: unknown key migration.copy_rate",
        ":17: migration.write_pause_timeout_ms must be",
        "environment variable REHOME_SERVER_BIND: server.bind must be an address",
        ":11: stores.id \"shared\" is defined twice",
        ":21: server.tls_key needs server.tls_cert",
    ];
    assert_eq!(problems.len(), parts.len(), "{problems:#?}");
    for (problem, part) in problems.iter().zip(parts) {
        assert!(problem.contains(part), "{problems:#?}");
    }
    let (_folder, good) = written(GOOD);
    assert!(super::problems(Some(&good), []).is_empty());
    let (_folder, client) = written("[client]\nurl = \"https://rehome.example\"\n");
    assert!(super::problems(Some(&client), []).is_empty());
}

#[test]
fn values_are_shown_with_where_they_come_from_and_without_secrets() {
    let (_folder, path) = written(EVERYTHING);
    let set = [
        ("REHOME_SERVER_BIND", "127.0.0.1:9"),
        ("REHOME_SERVER_CORS", "https://a.example, https://b.example"),
        ("REHOME_SERVER", "https://rehome.example"),
    ];
    let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let shown = report(Some(&path), set).unwrap();
    let of = |key: &str| {
        let setting = shown.settings.iter().find(|setting| setting.key == key);
        let setting = setting.unwrap_or_else(|| panic!("{key} is not shown"));
        (setting.value.clone(), setting.origin.to_string())
    };
    let variable = |name: &str| format!("REHOME_{name}");
    assert_eq!(of("server.bind"), ("127.0.0.1:9".to_owned(), variable("SERVER_BIND")));
    assert_eq!(of("server.cors").0, "https://a.example, https://b.example");
    assert_eq!(of("server.connections_max"), ("4096".to_owned(), "default".to_owned()));
    assert_eq!(of("stores[shared].default").1, "default");
    assert_eq!(of("client.url"), ("https://rehome.example".to_owned(), variable("SERVER")));
    assert!(of("stores[shared].url").0.ends_with("shared.db"));
    assert_eq!(of("stores[shared].url").1, "file, line 6");
    assert_eq!(of("publish[1].url").0, "postgres://u@h:5432/d?schema=rehome");
    assert_eq!(of("publish[3].url").0, "http://h:80");
    assert_eq!(of("publish[4].command").0, "moved (arguments: 2)");
    assert_eq!(of("auth.tokens[ops].sha256").0, "(hidden)");
    assert_eq!(of("monitoring.thresholds.sync_lag_events").0, "1000");
    let all = format!("{shown:?}");
    assert!(!all.contains("hunter2") && !all.contains("e3b0c4"), "{all}");
}
