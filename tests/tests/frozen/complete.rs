//! No screen is without a row in the table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rehome_dashboards::{Settings, groups};
use rehome_engine::metrics::{FAMILIES, Kind};

use crate::table::{
    COUNTED, OF_DRAINS, OF_MIGRATIONS, OF_PROCESS, PAGES, PAGES_OF_DRAINS, PAGES_OF_TENANTS,
    PAGES_WITHOUT_NUMBERS,
};

fn told() -> BTreeSet<&'static str> {
    let of_migrations = OF_MIGRATIONS.iter().map(|((family, ..), _)| *family);
    let others = OF_PROCESS.iter().chain(OF_DRAINS).map(|((family, _), _)| *family);
    of_migrations.chain(others).collect()
}

#[test]
fn every_gauge_has_a_row() {
    let told = told();
    let gauges = FAMILIES.iter().filter(|family| family.kind == Kind::Gauge);
    let without: Vec<_> = gauges.map(|f| f.name).filter(|name| !told.contains(name)).collect();
    assert!(without.is_empty(), "gauges without a row in tests/tests/frozen/table.rs: {without:?}");
    let samples: BTreeSet<String> =
        FAMILIES.iter().map(rehome_engine::metrics::Family::sample).collect();
    let of_nothing: Vec<_> = told.iter().filter(|name| !samples.contains(**name)).collect();
    assert!(of_nothing.is_empty(), "rows of no family: {of_nothing:?}");
}

/// A gauge has a row here. Counters and histograms are expected by other tests, which name them.
#[test]
fn every_counter_and_histogram_is_expected_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    for folder in ["tests", "monitor/tests", "../crates/engine/tests", "../crates/server/tests"] {
        read_all(&root.join(folder), &mut tests);
    }
    let counts = FAMILIES.iter().filter(|family| family.kind != Kind::Gauge);
    let without: Vec<_> = counts.map(|family| family.name).filter(|n| !tests.contains(n)).collect();
    assert!(without.is_empty(), "families that no test names: {without:?}");
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).expect("it is a text"));
        }
    }
}

/// The alerts' behaviour while a component hangs depends on the series that they read.
#[test]
fn every_alert_reads_what_has_a_row() {
    let known: BTreeSet<&str> = told().into_iter().chain(COUNTED.iter().copied()).collect();
    let samples: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|family| {
            let sample = family.sample();
            let histogram = ["_bucket", "_sum", "_count"].map(|part| format!("{sample}{part}"));
            histogram.into_iter().chain([sample])
        })
        .collect();
    let mut without = Vec::new();
    for alert in groups(&Settings::default()).into_iter().flat_map(|group| group.alerts) {
        let words = alert.expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let reads = words.filter(|word| samples.contains(*word) || *word == "up");
        let reads: BTreeSet<&str> = reads.collect();
        assert!(!reads.is_empty(), "{} reads something: {}", alert.name, alert.expr);
        without.extend(
            reads
                .into_iter()
                .filter(|read| !known.contains(read))
                .map(|read| format!("{} of {}", read, alert.name)),
        );
    }
    assert!(without.is_empty(), "without a row in tests/tests/frozen/table.rs: {without:?}");
}

/// The console's own list of what it answers to a GET.
#[test]
fn every_page_has_a_row() {
    let routes = include_str!("../../../crates/server/src/console/mod.rs");
    let pages = routes.lines().filter_map(|line| {
        let (path, handler) = line.trim().strip_prefix(".route(\"")?.split_once("\", ")?;
        handler.starts_with("get(").then_some(path)
    });
    let pages: BTreeSet<&str> = pages.collect();
    let known = [PAGES, PAGES_OF_DRAINS, PAGES_OF_TENANTS, PAGES_WITHOUT_NUMBERS].concat();
    let known: BTreeSet<&str> = known.into_iter().collect();
    assert_eq!(pages, known, "pages of the console, and rows in tests/tests/frozen/table.rs");
}
