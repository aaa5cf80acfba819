//! Every case of the contract suites is in the list that adapters run, and under its own room.

use std::collections::BTreeSet;

/// The cases of a module: its public functions that take an adapter.
fn defined(suite: &str, room: &str, source: &str) -> BTreeSet<String> {
    let name =
        |line: &str| line.strip_prefix("pub async fn ")?.split_once('(').map(|it| it.0.to_owned());
    source.lines().filter_map(name).map(|case| format!("{suite}::{room}::{case}")).collect()
}

/// The cases of a suite's list.
fn listed(suite: &str, source: &str) -> BTreeSet<String> {
    let start = format!("            {suite}, {suite}_contract, make = ($make)");
    let list = source.split_once(&start).expect("the suite's list").1;
    let mut room = "";
    let mut cases = BTreeSet::new();
    for line in list.lines().skip(1).map(str::trim).take_while(|line| *line != "}") {
        match line.strip_suffix(": [") {
            Some(name) => room = name,
            None if line == "]," => {}
            None => {
                for case in line.split(',').map(str::trim).filter(|case| !case.is_empty()) {
                    let case = format!("{suite}::{room}::{case}");
                    assert!(cases.insert(case.clone()), "{case} is listed twice");
                }
            }
        }
    }
    cases
}

macro_rules! rooms {
    ($suite:ident: $($room:ident)*) => {{
        let mut cases = BTreeSet::new();
        $(cases.extend(defined(
            stringify!($suite),
            stringify!($room),
            include_str!(concat!(
                "../src/contract/", stringify!($suite), "/", stringify!($room), ".rs"
            )),
        ));)*
        cases
    }};
}

const LISTS: &str = include_str!("../src/contract/mod.rs");

#[test]
fn every_case_of_the_stores_contract_is_listed() {
    let defined = rooms!(ledger_store:
        anchors appends authority contents cuts kept_rows listing purges reads replicas retries rules);
    assert!(defined.len() > 80, "{}", defined.len());
    assert_eq!(listed("ledger_store", LISTS), defined);
}

#[test]
fn every_case_of_the_control_planes_contract_is_listed() {
    let defined =
        rooms!(control_plane: leases listing lives marks records recovery removals routes);
    assert!(defined.len() > 45, "{}", defined.len());
    assert_eq!(listed("control_plane", LISTS), defined);
}

#[test]
fn every_case_of_the_access_registrys_contract_is_listed() {
    let defined = rooms!(access_registry: sessions tokens);
    assert!(defined.len() >= 9, "{}", defined.len());
    assert_eq!(listed("access_registry", LISTS), defined);
}
