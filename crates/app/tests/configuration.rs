//! docs/configuration.md agrees with the table of keys, and the file of `rehome init` is equal to the defaults.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::path::Path;

use rehome_app::Config;
use rehome_app::config::{Template, TemplateStore, documentation};
use rehome_app::options::defaults;

const WRITE: &str = "REHOME_WRITE_DOCS";

#[test]
fn the_page_of_the_configuration_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let made = documentation();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/configuration.md is stale; write it: {WRITE}=1 cargo test -p rehome-app --test configuration"
    );
}

fn template() -> Template {
    let store =
        |name: &str| TemplateStore { id: name.parse().unwrap(), url: format!("sqlite:{name}.db") };
    Template { control_plane: "sqlite:control.db".into(), stores: vec![store("a"), store("b")] }
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rehome.toml");
    std::fs::write(&path, text).unwrap();
    Config::load_from(Some(&path), []).unwrap()
}

#[test]
fn the_file_of_init_is_read_and_sets_nothing_but_what_is_needed() {
    let config = load(&template().text());
    assert_eq!(config.default_store.as_str(), "a");
    assert_eq!(config.stores.len(), 2);
    let bare = load(
        "[control_plane]\nurl = \"sqlite:control.db\"\n[[stores]]\nid = \"a\"\nurl = \"sqlite:a.db\"\n",
    );
    assert_eq!(config.server, bare.server);
    assert_eq!(config.migration, bare.migration);
}

#[test]
fn what_init_comments_out_is_the_default_of_each_key() {
    let text = template().text();
    // The sections that are there once, with every key that has a default uncommented.
    let mut set = String::new();
    for section in ["migration", "server", "telemetry", "monitoring", "monitoring.thresholds"] {
        let (_, rest) = text.split_once(&format!("# [{section}]\n")).unwrap();
        set.extend(["[", section, "]\n"]);
        let lines = rest.lines().take_while(|line| !line.is_empty());
        let keys = lines.filter_map(|line| line.strip_prefix("# ")).filter(|line| {
            !line.starts_with(' ') && line.contains(" = ") && !line.contains("= ...")
        });
        for key in keys {
            set.push_str(key);
            set.push('\n');
        }
    }
    let (config, plain) = (load(&format!("{text}\n{set}")), load(&text));
    assert!(set.lines().count() > 50, "{set}");
    assert_eq!(config.server, plain.server);
    assert_eq!(config.otlp, plain.otlp);
    assert_eq!(config.log, plain.log);
    assert_eq!(config.metrics_retention, plain.metrics_retention);
    assert_eq!(config.monitoring, plain.monitoring);
    assert_eq!(config.alerts, plain.alerts);
    let options = |config: &Config| {
        rehome_app::options::apply(defaults(), &config.migration.options).unwrap()
    };
    assert_eq!(options(&config), options(&plain));
}
