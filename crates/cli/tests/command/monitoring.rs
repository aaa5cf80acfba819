//! `rehome monitoring export`: what an operator's own tools are given.

use std::fs;

use crate::kit::{CONFIG, Place};

const EXPORT: [&str; 3] = ["monitoring", "export", "watch"];

fn text(place: &Place, name: &str) -> String {
    String::from_utf8(place.read(name)).unwrap()
}

#[test]
fn everything_is_written_also_without_a_configuration() {
    let place = Place::new();
    fs::remove_file(place.path("rehome.toml")).unwrap();
    let export = place.json(EXPORT);
    let written = export["written"].as_array().unwrap();
    assert_eq!(export["kept"].as_array().unwrap().len(), 0);
    for file in ["rules/rehome.yml", "dashboards/migration-overview.json", "prometheus.yml"] {
        assert!(written.iter().any(|name| name == file), "{export}");
    }
    for file in written {
        let path = format!("watch/{}", file.as_str().unwrap());
        assert!(!place.read(&path).is_empty(), "{path}");
    }
    assert!(text(&place, "watch/rules/rehome.yml").contains("> 1000\n"));
}

#[test]
fn rules_are_written_anew_and_what_the_operator_changed_stays() {
    let place = Place::new();
    place.rehome(EXPORT).succeeds();
    place.write("watch/alertmanager.yml", "mine");
    place.write("watch/rules/rehome.yml", "old");
    let said = place.rehome(EXPORT).succeeds();
    assert!(said.contains("kept  alertmanager.yml"), "{said}");
    assert_eq!(text(&place, "watch/alertmanager.yml"), "mine");
    assert!(text(&place, "watch/rules/rehome.yml").contains("MigrationFailed"));
}

#[test]
fn thresholds_come_from_the_file_and_the_arguments_have_the_last_word() {
    let place = Place::new();
    let more = "[monitoring]\nrunbook_url = \"https://wiki.example.org/a\"\n\
                [monitoring.thresholds]\nsync_lag_events = 50\ncutover_slow = \"10s\"\n";
    place.write("rehome.toml", format!("{CONFIG}\n{more}"));
    place.rehome(EXPORT).succeeds();
    let rules = text(&place, "watch/rules/rehome.yml");
    assert!(rules.contains("> 50\n") && rules.contains("more than 10 seconds"), "{rules}");
    assert!(rules.contains("https://wiki.example.org/a#migrationfailed"), "{rules}");

    let more = ["--threshold", "sync_lag_events=70", "--runbook-url", "https://b.example.org"];
    place.rehome(EXPORT.into_iter().chain(more)).succeeds();
    let rules = text(&place, "watch/rules/rehome.yml");
    assert!(rules.contains("> 70\n") && rules.contains("more than 10 seconds"), "{rules}");
    assert!(rules.contains("https://b.example.org#migrationfailed"), "{rules}");
}

#[test]
fn a_threshold_that_is_not_known_or_not_good_is_bad_usage_and_nothing_is_written() {
    let place = Place::new();
    for threshold in ["lag=1", "sync_lag_events", "sync_lag_events=few", "cutover_slow=10"] {
        let said = place.rehome(EXPORT.into_iter().chain(["--threshold", threshold])).fails(2);
        assert!(said.contains(threshold), "{said}");
    }
    place.write("rehome.toml", format!("{CONFIG}\n[monitoring.thresholds]\nlag = 1\n"));
    let said = place.rehome(EXPORT).fails(2);
    assert!(said.contains("unknown key monitoring.thresholds.lag"), "{said}");
    assert!(!place.path("watch").exists());
    let help = place.rehome(["monitoring", "export", "--help"]).succeeds();
    assert!(help.contains("sync_lag_events=1000"), "{help}");
}
