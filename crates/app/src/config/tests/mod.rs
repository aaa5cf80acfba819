mod every_key;
mod people;

use std::path::Path;

use super::*;

pub(super) const GOOD: &str = r#"
[control_plane]
url = "sqlite:control.db"

[[stores]]
id = "shared"
url = "sqlite:shared.db"
default = true

[[stores]]
id = "dedicated-1"
url = "sqlite:/data/dedicated.db"

[migration]
copy_rate_max = 5_000
rollback_window = "1h"
write_pause_timeout_ms = 2000
lease_ttl_ms = 3000

[telemetry]
log = "json"
metrics_retention = "90s"
"#;

pub(super) fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rehome.toml");
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let shown = folder.path().display().to_string();
    Config::load_from(Some(&path), variables).map_err(|error| error.to_string().replace(&shown, ""))
}

pub(super) fn refused(text: &str) -> String {
    load_with(text, &[]).unwrap_err()
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_whole_file_is_read_and_paths_are_relative_to_it() {
    let config = load_with(GOOD, &[]).unwrap();
    assert!(config.control_plane.file().unwrap().ends_with("control.db"));
    assert!(config.control_plane.file().unwrap().is_absolute());
    assert_eq!(config.stores[1].url.file().unwrap(), Path::new("/data/dedicated.db"));
    assert_eq!(config.default_store.as_str(), "shared");
    assert_eq!(config.migration.options.copy_rate_max, Some(5_000));
    assert_eq!(config.migration.options.rollback_window.unwrap().0, 3_600_000);
    assert_eq!(config.migration.write_pause_timeout_ms, Some(2_000));
    assert_eq!(config.migration.lease_ttl_ms, Some(3_000));
    assert_eq!(config.log, LogFormat::Json);
    assert_eq!(config.metrics_retention, Duration::from_secs(90));
}

#[test]
fn unknown_keys_are_refused_with_key_file_and_line() {
    for (text, problem) in [
        (changed("copy_rate_max", "copy_rate"), "/rehome.toml:15: unknown key migration.copy_rate"),
        (changed("log =", "logs ="), "/rehome.toml:21: unknown key telemetry.logs"),
        (changed("default = true", "main = true"), "/rehome.toml:8: unknown key stores.main"),
        (changed("[telemetry]", "[telemetrics]"), "/rehome.toml:20: unknown key telemetrics"),
        (format!("urls = 1\n{GOOD}"), "/rehome.toml:1: unknown key urls"),
    ] {
        assert!(refused(&text).starts_with(problem), "{}", refused(&text));
    }
}

#[test]
fn bad_values_are_refused_with_key_file_and_line() {
    let window = "rollback_window = \"1h\"";
    for (text, problem) in [
        (
            changed("5_000", "\"fast\""),
            "/rehome.toml:15: migration.copy_rate_max must be a whole number from 0 to 4294967295, \
             not a string",
        ),
        (changed("5_000", "-1"), "/rehome.toml:15: migration.copy_rate_max must be a whole number"),
        (
            changed("5_000", "1.5"),
            "/rehome.toml:15: migration.copy_rate_max must be a whole number",
        ),
        (changed("5_000", "5000000000"), "/rehome.toml:15: migration.copy_rate_max must be"),
        (
            changed("copy_rate_max = 5_000", "batch_events = 0"),
            "/rehome.toml:15: migration.batch_events must be 1 to 100000, not 0",
        ),
        (changed("\"1h\"", "\"soon\""), "/rehome.toml:16: migration.rollback_window must be a dur"),
        (changed("\"1h\"", "3600"), "/rehome.toml:16: migration.rollback_window must be a dur"),
        (
            changed(window, "cutover = \"tonight\""),
            "/rehome.toml:16: migration.cutover is not a time",
        ),
        (
            changed(window, "mirror_ack = \"both\""),
            "/rehome.toml:16: migration.mirror_ack must be source or target",
        ),
        (
            changed("= 2000", "= 0"),
            "/rehome.toml:17: migration.write_pause_timeout_ms must be a whole number from 1 to",
        ),
        (
            changed("= 3000", "= 30"),
            "/rehome.toml:18: migration.lease_ttl_ms must be a whole number from 300 to",
        ),
        (changed("\"json\"", "\"xml\""), "/rehome.toml:21: telemetry.log must be"),
        (changed("90s", "soon"), "/rehome.toml:22: telemetry.metrics_retention must be"),
        (
            changed("\"json\"", "true"),
            "/rehome.toml:21: telemetry.log must be a string, not true or",
        ),
        (
            changed("= true", "= \"yes\""),
            "/rehome.toml:8: stores.default must be true or false, not",
        ),
        (changed("\"shared\"", "\"sh/ared\""), "/rehome.toml:6: stores.id is not valid: store id"),
        (
            changed("\"sqlite:shared.db\"", "7"),
            "/rehome.toml:7: stores.url must be a string, not an",
        ),
        (changed("sqlite:shared.db", "shared.db"), "/rehome.toml:7: stores.url is not a URL"),
        (
            changed("sqlite:shared.db", "postgres://u:hunter2@h/d?sslcrlfile=x"),
            "/rehome.toml:7: stores.url has an unknown parameter sslcrlfile",
        ),
        (changed("[control_plane]", "[control_plane"), "/rehome.toml:2: not TOML:"),
        (changed("[[stores]]", "[stores]"), "/rehome.toml:"),
        ("stores = 3".to_owned(), "/rehome.toml:1: stores must be written as [[stores]]"),
        ("control_plane = \"x\"".to_owned(), "/rehome.toml:1: control_plane must be a table, not"),
    ] {
        let found = refused(&text);
        assert!(found.starts_with(problem), "{found}");
        assert!(!found.contains("hunter2"));
    }
}

#[test]
fn the_stores_as_a_whole_have_to_make_sense() {
    for (text, problem) in [
        (changed("url = \"sqlite:control.db\"", ""), "/rehome.toml: control_plane.url is missing"),
        (
            changed("url = \"sqlite:shared.db\"", ""),
            "/rehome.toml:6: stores.url of \"shared\" is mis",
        ),
        (changed("id = \"shared\"", ""), "/rehome.toml:5: stores.id is missing"),
        (
            changed("dedicated-1", "shared"),
            "/rehome.toml:11: stores.id \"shared\" is defined twice",
        ),
        (changed("default = true", ""), "/rehome.toml: no store is the default,"),
        (
            changed("dedicated.db\"", "dedicated.db\"\ndefault = true"),
            "/rehome.toml:11: stores.default is true for more than one",
        ),
        (
            changed("/data/dedicated.db", "./x/../shared.db"),
            "/rehome.toml:12: stores.url: store \"dedicated-1\" and store \"shared\" are the same",
        ),
        (
            changed("sqlite:shared.db", "sqlite:control.db"),
            "/rehome.toml:7: stores.url: store \"shared\" and the control plane are the same file",
        ),
        ("[control_plane]\nurl = \"sqlite:c.db\"".to_owned(), "/rehome.toml: no store is config"),
    ] {
        // `x/..` is only followed where the folder is there.
        let text = text.replace("./x/../", "./");
        assert!(refused(&text).starts_with(problem), "{}", refused(&text));
    }
}

#[test]
fn two_names_of_one_file_are_found_by_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.db"), folder.path().join("b.db"));
    std::fs::write(&a, "x").unwrap();
    std::fs::hard_link(&a, &b).unwrap();
    assert!(Url::sqlite(a.clone()).is_same_place(&Url::sqlite(b)));
    assert!(!Url::sqlite(a).is_same_place(&Url::sqlite(folder.path().join("c.db"))));
}

#[test]
fn the_only_store_is_the_default_one() {
    let text =
        "[control_plane]\nurl = \"sqlite:c.db\"\n[[stores]]\nid = \"a\"\nurl = \"sqlite:a.db\"";
    assert_eq!(load_with(text, &[]).unwrap().default_store.as_str(), "a");
}

#[test]
fn a_store_has_the_layout_that_is_named_and_a_file_is_relative_to_the_configuration() {
    let postgres = changed("sqlite:/data/dedicated.db", "postgres://u@h/d");
    let with =
        |layout: &str| postgres.replacen("h/d\"", &format!("h/d\"\nlayout = \"{layout}\""), 1);
    let config = load_with(&with("eventsource-py"), &[]).unwrap();
    assert_eq!(config.stores[0].layout, None);
    assert_eq!(config.stores[1].layout, Layout::built_in("eventsource-py"));

    let file = "name = \"mine\"\ntable = \"t\"\n[columns]\ntenant = \"a\"\nstream_id = \"b\"\n\
                version = \"c\"\nevent_type = \"d\"\ndata = \"e\"\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/mine.layout.toml"), file).unwrap();
    std::fs::write(folder.path().join("bad.layout.toml"), file.replace("data", "date")).unwrap();
    let path = folder.path().join("rehome.toml");
    let load = |layout: &str| {
        std::fs::write(&path, with(layout)).unwrap();
        Config::load_from(Some(&path), []).map_err(|error| error.to_string())
    };
    let layout = load("sub/mine.layout.toml").unwrap().stores[1].layout.clone();
    assert_eq!(layout.map(|layout| layout.name), Some("mine".to_owned()));
    let bad = load("bad.layout.toml").unwrap_err();
    assert!(bad.contains("bad.layout.toml: columns.data is missing"), "{bad}");
    let none = load("none.layout.toml").unwrap_err();
    assert!(none.contains("rehome.toml:13: stores.layout:"), "{none}");
    assert!(none.contains("none.layout.toml cannot be read"), "{none}");
    let unknown = load("eventsource").unwrap_err();
    assert!(unknown.contains("there is no built-in layout \"eventsource\""), "{unknown}");

    // The environment has the last word, also over a file that is not there.
    std::fs::write(&path, with("none.layout.toml")).unwrap();
    let set = |value: &str| [("REHOME_STORES_DEDICATED_1_LAYOUT".to_owned(), value.to_owned())];
    let config = Config::load_from(Some(&path), set("eventsource-py")).unwrap();
    assert_eq!(config.stores[1].layout, Layout::built_in("eventsource-py"));
    let error = Config::load_from(Some(&path), set("x")).unwrap_err().to_string();
    assert!(
        error.starts_with("environment variable REHOME_STORES_DEDICATED_1_LAYOUT: "),
        "{error}"
    );
}

#[test]
fn a_store_in_a_file_may_have_a_layout() {
    let text = changed("default = true", "layout = \"eventsource-py\"\ndefault = true");
    let config = load_with(&text, &[]).unwrap();
    assert_eq!(config.stores[0].layout, Layout::built_in("eventsource-py"));
}

const SERVER: &str = r#"
[server]
bind = "0.0.0.0:0"
tls_cert = "cert.pem"
tls_key = "/etc/key.pem"
cors = ["https://ops.example"]
body_bytes_max = 1_048_576
client_timeout_ms = 500
hosts = ["rehome.internal"]
trusted_proxies = ["10.0.0.0/8"]
followers_per_caller_max = 7
client_bytes_per_second_min = 2048

[[auth.tokens]]
name = "ops"
role = "operator"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[[auth.tokens]]
name = "shop"
role = "tenant"
tenant = "824a8fcf-0c14-513f-bd3a-4c35d1078706"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856"

[[auth.tokens]]
name = "bound"
role = "viewer"
tenants = ["824a8fcf-0c14-513f-bd3a-4c35d1078706"]
stores = ["shared", "dedicated"]
expires_at = "2026-01-01T00:00:00Z"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b857"
"#;

#[test]
fn the_server_and_its_tokens_are_read() {
    let config = load_with(&format!("{GOOD}{SERVER}"), &[]).unwrap();
    assert_eq!(config.server.bind, "0.0.0.0:0".parse().unwrap());
    let tls = config.server.tls.unwrap();
    assert!(tls.cert.is_absolute() && tls.cert.ends_with("cert.pem"));
    assert_eq!(tls.key, Path::new("/etc/key.pem"));
    assert_eq!(config.server.cors, ["https://ops.example"]);
    assert_eq!(config.server.limits.body_bytes_max, 1 << 20);
    assert_eq!(config.server.limits.client_timeout.as_millis(), 500);
    assert_eq!(config.server.hosts, ["rehome.internal"]);
    assert!(config.server.trusted_proxies[0].contains("10.9.9.9".parse().unwrap()));
    let of = config.server.limits.per_caller;
    assert_eq!((of.followers_max, of.connections_max), (Some(7), None));
    assert_eq!(config.server.limits.client_bytes_per_second_min, 2_048);
    let roles: Vec<_> = config.tokens.iter().map(|token| token.grant.role().as_str()).collect();
    assert_eq!(roles, ["operator", "tenant", "viewer"]);
    let bound = &config.tokens[2];
    assert_eq!((bound.grant.tenants().len(), bound.grant.stores().len()), (1, 2));
    assert_eq!(bound.expires_at.unwrap().micros(), 1_767_225_600_000_000);
    // The printed configuration parses to the original.
    let lines: String = config.tokens.iter().map(|token| token.lines() + "\n").collect();
    let again = load_with(&format!("{GOOD}\n{lines}"), &[]).unwrap();
    assert_eq!(again.tokens, config.tokens);
    assert_eq!(load_with(GOOD, &[]).unwrap().server, ServerConfig::default());
    let bound = load_with(GOOD, &[("REHOME_SERVER_BIND", "127.0.0.1:9")]).unwrap();
    assert_eq!(bound.server.bind.port(), 9);
}

#[test]
fn bad_keys_of_the_server_are_refused_with_key_file_and_line() {
    for (from, to, problem) in [
        ("0.0.0.0:0", "localhost", ":25: server.bind must be an address"),
        ("tls_key", "tls_keys", ":27: unknown key server.tls_keys"),
        ("tls_key = \"/etc/key.pem\"", "", ":26: server.tls_cert needs server.tls_key"),
        ("https://ops", "ops", ":28: server.cors must be origins"),
        ("[\"https://ops.example\"]", "[1]", ":28: server.cors must be a list of strings"),
        ("10.0.0.0/8", "proxy", ":32: server.trusted_proxies must be addresses or networks"),
        ("rehome.internal", "a:1", ":31: server.hosts must be names"),
        ("= 7", "= 0", ":33: server.followers_per_caller_max must be a whole number from 1 to"),
        ("1_048_576", "1", ":29: server.body_bytes_max must be a whole number from 1024 to"),
        ("\"operator\"", "\"root\"", ":38: auth.tokens.role: the roles are"),
        (
            "\"operator\"",
            "\"tenant\"",
            ":38: auth.tokens.role: the roles tenant and reader need a tenant",
        ),
        ("name = \"shop\"", "name = \"ops\"", ":41: auth.tokens.name \"ops\" is defined twice"),
        ("b856", "b855", ":41: auth.tokens.sha256 is the same as that of \"ops\""),
        ("name = \"shop\"", "name = \"a b\"", ":42: auth.tokens.name: a name is"),
        ("e3b0c4", "", ":39: auth.tokens.sha256 must be the 64"),
        ("824a", "x", ":44: auth.tokens.tenant must be a UUID"),
        ("[\"824a", "[\"x", ":50: auth.tokens.tenants must be a UUID"),
        ("[\"shared", "[\"a b", ":51: auth.tokens.stores is not valid: "),
        ("2026-01-01T", "2026-01-01 ", ":52: auth.tokens.expires_at is not a time"),
    ] {
        assert!(SERVER.contains(from), "{from}");
        let found = refused(&format!("{GOOD}{}", SERVER.replacen(from, to, 1)));
        assert!(found.starts_with(&format!("/rehome.toml{problem}")), "{found}");
    }
}

#[test]
fn thresholds_of_alerts_are_read_and_the_environment_has_the_last_word() {
    let more = "[monitoring]\nrunbook_url = \"https://a.example.org\"\n\
                [monitoring.thresholds]\nsync_lag_events = 50\ncutover_slow = \"10s\"\n";
    let text = format!("{GOOD}\n{more}");
    let alerts = load_with(&text, &[]).unwrap().alerts;
    assert_eq!(alerts.thresholds.sync_lag_events, 50);
    assert_eq!(alerts.thresholds.cutover_slow.to_string(), "10s");
    assert_eq!(alerts.runbook, "https://a.example.org");
    let variables = [
        ("REHOME_MONITORING_THRESHOLDS_SYNC_LAG_EVENTS", "70"),
        ("REHOME_MONITORING_RUNBOOK_URL", "https://b.example.org"),
    ];
    let alerts = load_with(&text, &variables).unwrap().alerts;
    assert_eq!(alerts.thresholds.sync_lag_events, 70);
    assert_eq!(alerts.runbook, "https://b.example.org");
}

#[test]
fn bad_thresholds_are_refused_with_key_file_and_line() {
    let line = GOOD.lines().count() + 2;
    let with = |more: &str| refused(&format!("{GOOD}[monitoring.thresholds]\n{more}\n"));
    let said = with("lag = 5");
    assert!(said.contains(&format!(":{line}: unknown key monitoring.thresholds.lag")), "{said}");
    let said = with("sync_lag_events = \"many\"");
    assert!(
        said.contains("monitoring.thresholds.sync_lag_events must be a whole number"),
        "{said}"
    );
    let said = with("cutover_slow = \"soon\"");
    assert!(
        said.contains(&format!(":{line}: monitoring.thresholds.cutover_slow must be")),
        "{said}"
    );
    let said = load_with(GOOD, &[("REHOME_MONITORING_THRESHOLDS_LAG", "5")]).unwrap_err();
    assert!(said.contains("names no key"), "{said}");
}

#[test]
fn the_environment_overrides_the_file() {
    let config = load_with(
        GOOD,
        &[
            ("REHOME_CONTROL_PLANE_URL", "sqlite:/elsewhere/control.db"),
            ("REHOME_STORES_DEDICATED_1_URL", "sqlite:/elsewhere/dedicated.db"),
            ("REHOME_STORES_DEDICATED_1_DEFAULT", "true"),
            ("REHOME_MIGRATION_COPY_RATE_MAX", "7"),
            ("REHOME_TELEMETRY_LOG", "pretty"),
            ("REHOME_SHARED_DATA", "not of the configuration"),
            ("PATH", "neither"),
        ],
    )
    .unwrap();
    assert_eq!(config.control_plane.file().unwrap(), Path::new("/elsewhere/control.db"));
    assert_eq!(config.stores[1].url.file().unwrap(), Path::new("/elsewhere/dedicated.db"));
    assert_eq!(config.default_store.as_str(), "dedicated-1");
    assert_eq!(config.migration.options.copy_rate_max, Some(7));
    assert_eq!(config.log, LogFormat::Pretty);
}

#[test]
fn a_variable_that_names_no_key_is_refused_and_its_value_not_shown() {
    for name in [
        "REHOME_MIGRATION_COPY_RATE",
        "REHOME_MIGRATION_BATCH_EVENTS",
        "REHOME_STORES_OTHER_URL",
        "REHOME_STORES_SHARED_URI",
        "REHOME_STORES_SHARED_DEFAULT",
        "REHOME_CONTROL_PLANE_PASSWORD",
        "REHOME_CONTROL_PLANE_URL",
    ] {
        let problem = load_with(GOOD, &[(name, "hunter2")]).unwrap_err();
        assert!(problem.contains(name) && !problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn without_a_file_the_environment_is_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("rehome.toml");
    let named = Config::load_from(Some(&missing), []).unwrap_err();
    assert!(matches!(named, ConfigError::NoFile(_)));

    let mut draft = Draft { place: Place::Environment, ..Draft::default() };
    let variables = environment::ours(
        [
            ("REHOME_CONTROL_PLANE_URL", "sqlite:control.db"),
            ("REHOME_STORES_SHARED_URL", "sqlite:shared.db"),
            ("REHOME_STORES_OTHER_URL", "sqlite:other.db"),
            ("REHOME_STORES_SHARED_DEFAULT", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    environment::apply(&mut draft, &variables);
    let config = check::whole(&mut draft).unwrap();
    assert_eq!(config.stores.len(), 2);
    assert_eq!(config.default_store.as_str(), "shared");
}

#[test]
fn what_a_platform_sets_and_what_is_empty_is_not_ours() {
    let ours = |name: &str, value: &str| {
        !environment::ours([(name.to_owned(), value.to_owned())]).is_empty()
    };
    for service in ["SERVER", "CLIENT", "MONITORING", "STORES", "MIGRATION", "CONTROL_PLANE"] {
        for (name, value) in [
            ("SERVICE_HOST", "10.96.0.10"),
            ("SERVICE_PORT", "7411"),
            ("SERVICE_PORT_HTTP", "7411"),
            ("PORT", "tcp://10.96.0.10:7411"),
            ("X_PORT", "udp://10.96.0.10:53"),
            ("PORT_7411_TCP", "tcp://10.96.0.10:7411"),
            ("PORT_7411_TCP_PROTO", "tcp"),
            ("PORT_7411_TCP_PORT", "7411"),
            ("PORT_7411_TCP_ADDR", "10.96.0.10"),
            ("URL", ""),
        ] {
            assert!(!ours(&format!("REHOME_{service}_{name}"), value), "{service} {name}");
        }
    }
    // Misspelt variables of rehome are refused.
    for (name, value) in [
        ("REHOME_SERVER_BIND", "127.0.0.1:1"),
        ("REHOME_SERVER_PORT", "7411"),
        ("REHOME_STORES_TCP_URL", "sqlite:a.db"),
        ("REHOME_MIGRATION_BATCH", "1"),
    ] {
        assert!(ours(name, value), "{name}");
    }
}

#[test]
fn who_is_told_of_a_switch_is_read_and_mistakes_are_refused_with_their_line() {
    let refused = |entry: &str| refused(&format!("{GOOD}[[publish]]\n{entry}\n"));
    let both = "kind = \"sql\"\nurl = \"postgres://u:hunter2@h/d\"\nstatements = []";
    for (entry, problem) in [
        ("url = \"http://h\"", "publish.kind is missing"),
        (
            "kind = \"smoke\"",
            "publish.kind must be \"eventsource-py\", \"sql\", \"http\" or \"command\"",
        ),
        ("kind = \"eventsource-py\"", "publish.url is missing"),
        ("kind = \"eventsource-py\"\nurl = \"sqlite:x.db\"", "publish.url must be a URL like"),
        (both, "publish.statements must not be empty"),
        ("kind = \"http\"\nurl = \"ftp://h\"", "publish.url must be a URL like"),
        ("kind = \"command\"\ncommand = \"\"", "publish.command must not be empty"),
        (
            "kind = \"command\"\ncommand = \"x\"\nwithin = \"soon\"",
            "publish.within must be a duration",
        ),
        (
            "kind = \"http\"\nurl = \"http://h\"\nstatements = \"x\"",
            "publish.statements does not apply to kind \"http\"",
        ),
        (
            "kind = \"http\"\nurl = \"http://h\"\nstores = { nowhere = \"x\" }",
            "publish.stores names \"nowhere\", which is not the id of a store",
        ),
    ] {
        let said = refused(entry);
        assert!(said.contains(problem) && said.starts_with("/rehome.toml:"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
