//! `[server]`, tokens, and the thresholds of alerts.

use super::*;

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
