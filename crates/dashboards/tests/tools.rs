//! The tools that will read the files accept them.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::fs;
use std::path::Path;
use std::process::Command;

use rehome_dashboards::{Settings, Thresholds, files, groups};

/// All files in a folder, as `rehome monitoring export` would leave them.
fn exported(settings: &Settings) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files(settings) {
        let path = folder.path().join(file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.text).unwrap();
    }
    folder
}

/// The output of `program` for `path`, which it must accept without a complaint.
fn accepts(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{program}: {error}; `./x setup` installs Prometheus and Alertmanager")
    });
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn promtool_accepts_every_rule() {
    let settings = Settings::default();
    let folder = exported(&settings);
    let rules = folder.path().join("rules/rehome.yml");
    let said = accepts("promtool", &["check", "rules", "--lint=all", "--lint-fatal"], &rules);
    let count: usize = groups(&settings).iter().map(|group| group.alerts.len()).sum();
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}

#[test]
fn promtool_accepts_rules_with_other_thresholds() {
    let mut thresholds = Thresholds::default();
    thresholds.set("bulk_copy_stuck", "30m").unwrap();
    thresholds.set("dual_write_latency", "250ms").unwrap();
    let settings = Settings { thresholds: thresholds.faster(100), ..Settings::default() };
    let folder = exported(&settings);
    let rules = folder.path().join("rules/rehome.yml");
    let text = fs::read_to_string(&rules).unwrap();
    assert!(text.contains("max_over_time(migration_events_copied_total[18s])"), "{text}");
    assert!(text.contains("> 0.25"), "{text}");
    accepts("promtool", &["check", "rules", "--lint=all", "--lint-fatal"], &rules);
}

#[test]
fn promtool_accepts_the_configuration_and_finds_the_rules() {
    let folder = exported(&Settings::default());
    let said = accepts("promtool", &["check", "config"], &folder.path().join("prometheus.yml"));
    assert!(said.contains("1 rule files found"), "{said}");
}

#[test]
fn promtool_accepts_the_configuration_with_a_token_and_looks_for_its_file() {
    let token = tempfile::NamedTempFile::new().unwrap();
    let path = token.path().to_str().unwrap().to_owned();
    let settings = Settings { token_file: Some(path.clone()), ..Settings::default() };
    let folder = exported(&settings);
    let file = folder.path().join("prometheus.yml");
    accepts("promtool", &["check", "config"], &file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("credentials_file: \"{path}\"")), "{text}");
    drop(token);
    let said = Command::new("promtool").args(["check", "config"]).arg(&file).output().unwrap();
    assert!(
        !said.status.success() && String::from_utf8_lossy(&said.stderr).contains(&path),
        "{said:?}"
    );
}

#[test]
fn amtool_accepts_the_configuration() {
    let folder = exported(&Settings::default());
    let said = accepts("amtool", &["check-config"], &folder.path().join("alertmanager.yml"));
    assert!(said.contains("7 inhibit rules") && said.contains("2 receivers"), "{said}");
}

#[test]
fn an_alert_goes_where_its_severity_says() {
    let folder = exported(&Settings::default());
    let config = folder.path().join("alertmanager.yml");
    for (severity, receiver) in [("critical", "on-call"), ("warning", "office-hours")] {
        let output = Command::new("amtool")
            .args(["config", "routes", "test", "--config.file"])
            .arg(&config)
            .args([&format!("severity={severity}"), "alertname=MigrationFailed"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), receiver);
    }
}

/// Every alert that the example of Alertmanager names exists.
#[test]
fn alertmanager_names_alerts_that_exist() {
    let names: Vec<_> = groups(&Settings::default())
        .into_iter()
        .flat_map(|group| group.alerts)
        .map(|alert| alert.name)
        .collect();
    let made = files(&Settings::default());
    let text = &made.iter().find(|file| file.path == "alertmanager.yml").unwrap().text;
    let mut named = 0;
    for line in text.lines().filter(|line| line.contains("alertname") && line.contains("matchers"))
    {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())) {
            named += 1;
            assert!(names.iter().any(|name| name.starts_with(word)), "{word}");
        }
    }
    assert!(named >= 10, "only {named} names were found");
}

#[test]
fn every_alert_has_its_runbook() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring/alerts.md");
    let page = fs::read_to_string(page).unwrap();
    let names: Vec<_> = groups(&Settings::default())
        .into_iter()
        .flat_map(|group| group.alerts)
        .map(|alert| alert.name)
        .collect();
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(
        headings, names,
        "the headings of docs/monitoring/alerts.md, in the order of the rules"
    );
}
