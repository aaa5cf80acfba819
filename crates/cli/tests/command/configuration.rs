//! `rehome init` and `rehome config`: a new deployment, and the effective configuration.

use crate::kit::{Place, lines};
use uuid::Uuid;

#[test]
fn init_makes_a_deployment_that_works_at_once_and_overwrites_nothing() {
    let place = Place::new();
    let before = place.read("rehome.toml");
    let refused = place.rehome(["init"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("exists and was not changed"), "{}", refused.stderr);
    assert_eq!(place.read("rehome.toml"), before);

    let made = place.json([
        "--config",
        "new.toml",
        "init",
        "--store",
        "a=sqlite:a.db",
        "--store",
        "b=sqlite:b.db",
    ]);
    assert_eq!(made["stores"], serde_json::json!(["a", "b"]));
    let tenant = Uuid::new_v4();
    place.write("events.ndjson", lines(tenant, 1..=3));
    place.rehome(["--config", "new.toml", "import", "events.ndjson"]).succeeds();
    let checked = place.json(["--config", "new.toml", "store", "check"]);
    assert_eq!(checked["ok"], true, "{checked}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(place.path("new.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read it");
    }
}

#[test]
fn init_that_cannot_make_a_store_leaves_no_file() {
    let place = Place::new();
    let failed = place.rehome(["--config", "new.toml", "init", "--store", "a=nowhere"]);
    assert_eq!(failed.code, 2, "{}", failed.stderr);
    assert!(failed.stderr.contains("stores.url is not a URL"), "{}", failed.stderr);
    assert!(!place.path("new.toml").exists());
}

#[test]
fn config_show_names_where_each_value_comes_from() {
    let place = Place::new();
    let mut command = place.command(["config", "show", "--json"]);
    command.env("REHOME_MIGRATION_COPY_RATE_MAX", "7");
    let shown: serde_json::Value =
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let of = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(of("server.bind")["origin"]["from"], "default");
    assert_eq!(of("stores[shared].url")["origin"], serde_json::json!({"from": "file", "line": 7}));
    let rate = of("migration.copy_rate_max");
    assert_eq!((rate["value"].as_str(), rate["unit"].as_str()), (Some("7"), Some("events/s")));
    assert_eq!(rate["origin"]["variable"], "REHOME_MIGRATION_COPY_RATE_MAX");
}

#[test]
fn config_check_lists_every_mistake_and_ends_with_2() {
    let place = Place::new();
    assert!(place.rehome(["config", "check"]).succeeds().contains("no mistakes"));
    place.write("bad.toml", "[server]\nbind = \"x\"\nbinds = 1\n[migration]\nbatch_events = 0\n");
    let ended = place.rehome(["--config", "bad.toml", "config", "check"]);
    assert_eq!(ended.code, 2);
    for problem in [
        "bad.toml:2: server.bind must be an address",
        "bad.toml:3: unknown key server.binds",
        "bad.toml:5: migration.batch_events must be",
        "bad.toml: control_plane.url is missing",
        "bad.toml: no store is configured",
    ] {
        assert!(ended.stdout.contains(problem), "{}", ended.stdout);
    }
}
