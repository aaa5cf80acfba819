//! What the environment sets.

use super::*;

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
