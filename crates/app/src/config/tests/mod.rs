mod every_key;
mod people;
mod serving;
mod variables;

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
