//! The files committed under `monitoring/`, and the rules in the chart, are the output of this crate.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rehome_dashboards::{Settings, files};

/// Set to anything, the committed files are written anew.
const WRITE: &str = "REHOME_WRITE_DOCS";

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../monitoring")
}

#[test]
fn the_committed_files_are_the_ones_that_are_made() {
    let root = committed();
    let made = files(&Settings::default());
    if std::env::var_os(WRITE).is_some() {
        for file in &made {
            let path = root.join(file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &file.text).unwrap();
        }
    }
    for file in &made {
        let path = root.join(file.path);
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == file.text,
            "{} differs from what is made; write it: {WRITE}=1 cargo test -p rehome-dashboards --test committed",
            path.display()
        );
    }
    let expected: BTreeSet<_> = made.iter().map(|file| root.join(file.path)).collect();
    let mut found = BTreeSet::new();
    list(&root, &mut found);
    assert_eq!(found, expected, "files that nobody makes");
}

/// A chart cannot read files beside it, and a link would not survive every copy of the repository.
#[test]
fn the_chart_has_the_rules() {
    let chart = committed().join("../packaging/helm/rehome/files/rules.yml");
    let made = files(&Settings::default());
    let rules = made.iter().find(|file| file.path == "rules/rehome.yml").unwrap();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&chart, &rules.text).unwrap();
    }
    let text = fs::read_to_string(&chart).unwrap();
    assert!(
        text == rules.text,
        "the chart's rules are others; write them: {WRITE}=1 cargo test -p rehome-dashboards --test committed"
    );
}

fn list(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, found);
        } else {
            found.insert(path);
        }
    }
}
