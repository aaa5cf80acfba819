//! The failpoints of the engine, in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

/// The steps of the protocol, in its order, and the failpoints before and after them: where a process
/// can die and leave something half done. Every name that the engine gives to `failpoint::hit` is here; a
/// test of each is in `killed`.
pub(crate) const STEPS: [(&str, &[&str]); 20] = [
    (
        "create: the row, the store's activation, the end of the creation",
        &["create.routed", "create.activated", "create.completed"],
    ),
    ("append: routed, not sent", &["router.routed"]),
    ("start", &["start.recorded"]),
    ("adopt", &["prepare.adopted"]),
    ("extend, copying", &["copy.extended"]),
    ("the copy is complete, not recorded", &["copy.completed"]),
    ("extend, mirroring", &["mirror.extended"]),
    ("cutover 1: ready, the source activated; 2: the intent", &["cutover.ready", "cutover.intent"]),
    (
        "cutover 3: the fence; 4: caught up; 5: compared",
        &["cutover.fenced", "cutover.caught_up", "cutover.compared"],
    ),
    ("cutover 6: the switch; 7: the target activated", &["cutover.switched", "cutover.activated"]),
    ("7: published", PUBLISHED),
    ("roll back", &["roll_back.begin", "roll_back.recorded", "roll_back.activated"]),
    ("abort, then drop", &["abort.recorded", "abort.dropped"]),
    ("purge", &["purge.chunk"]),
    (
        "repair: requested, scanned, dropped, cut back, recorded",
        &[
            "repair.requested",
            "repair.scanned",
            "repair.dropped",
            "repair.chunk",
            "repair.cut",
            "repair.recorded",
        ],
    ),
    ("the window's replica", &["window.adopted"]),
    ("close the window, then drop", &["window.closed", "window.dropped"]),
    ("a removal: recorded, fenced, purged; given up", REMOVALS),
    ("a drain: a fact of it; a move of it", DRAINS),
    ("hooks: delivered, not noted", HOOKS),
];

/// Only with a publication of switches: a test of it is in `adopted`, with PostgreSQL.
const PUBLISHED: &[&str] = &["cutover.published"];

/// Those of removals: their tests are in `removals`, and in `chaos/killed`.
const REMOVALS: &[&str] = &["remove.begun", "remove.fenced", "remove.purged", "remove.cancelled"];

/// Those of drains: their tests are in `drains`, on SQLite.
const DRAINS: &[&str] = &["drain.recorded", "drain.started"];

/// Those of hooks: their test is in `hooks`.
const HOOKS: &[&str] = &["hooks.delivered"];

#[test]
fn the_list_of_failpoints_is_whole_and_each_has_its_test() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut hit = BTreeSet::new();
    collect(&root.join("../crates/engine/src"), &mut hit)?;
    let points = || STEPS.iter().flat_map(|(_, points)| points.iter().copied());
    let listed: BTreeSet<String> = points().map(str::to_owned).collect();
    ensure!(hit == listed, "in the engine: {hit:?}\nlisted: {listed:?}");

    let others = [PUBLISHED, REMOVALS, DRAINS, HOOKS];
    let elsewhere = |name: &&str| others.iter().any(|points| points.contains(name));
    for name in points().filter(|name| !elsewhere(name)) {
        for tests in ["crash/killed.rs", "chaos/killed.rs"] {
            ensure!(kills_at(root, tests, name)?, "nothing is killed at {name} in {tests}");
        }
    }
    for name in REMOVALS {
        for tests in ["crash/removals.rs", "chaos/killed.rs"] {
            ensure!(kills_at(root, tests, name)?, "nothing is killed at {name} in {tests}");
        }
    }
    for name in DRAINS {
        ensure!(kills_at(root, "crash/drains.rs", name)?, "nothing is killed at {name}");
    }
    for name in HOOKS {
        ensure!(kills_at(root, "crash/hooks.rs", name)?, "nothing is killed at {name}");
    }
    for name in PUBLISHED {
        ensure!(kills_at(root, "adopted/kills.rs", name)?, "nothing is killed at {name}");
    }
    Ok(())
}

/// The steps of the cutover: words of the protocol, of the model, and of the engine's call.
const CUTOVER: [[&str; 3]; 7] = [
    ["`activate` the store", "activates the source", ".activate("],
    ["Record `cutover_started`", "records the intent", "record(route.rev, intent)"],
    ["`fence` the source", "fences", ".fence("],
    ["`extend` the target", "extends it", ".catch_up("],
    ["Compare the two heads", "compares", ".ledger("],
    ["Record `switched`", "records the switch", "CutoverPart::Switch"],
    ["`activate` the target", "activates the target", "activated"],
];

/// A change of the order is made in the protocol, in the model and in the code, each of which numbers the steps.
#[test]
fn the_cutover_has_one_order_in_the_protocol_the_model_and_the_code() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file));
    let protocol = read("docs/protocol.md")?;
    let model = read("sim/model/src/driver/cutover.rs")?;
    let code = read("crates/engine/src/migration/steps/cutover.rs")?;
    let section = protocol.split("## The cutover\n").nth(1).unwrap_or_default();
    for (number, [in_protocol, in_model, in_code]) in (1..).zip(CUTOVER) {
        let step = section.split(&format!("\n{number}. ")).nth(1).unwrap_or_default();
        let step = step.split(&format!("\n{}. ", number + 1)).next().unwrap_or_default();
        ensure!(step.contains(in_protocol), "docs/protocol.md, step {number}: no {in_protocol:?}");
        let is_step = |line: &&str| line.contains(&format!("/// Step {number}: "));
        let modelled = model.lines().filter(is_step).any(|line| line.contains(in_model));
        ensure!(modelled, "the model, step {number}: no {in_model:?}");
        let called = code.lines().find(|line| line.ends_with(&format!("// {number}")));
        ensure!(
            called.is_some_and(|line| line.contains(in_code)),
            "the code, step {number}: no {in_code:?}"
        );
    }
    let at = |what: &str| code.find(what).unwrap_or(usize::MAX);
    let steps = |from: u8, to: u8| at(&format!("// {from}\n")) < at(&format!("// {to}\n"));
    let proof = at("self.prove(");
    ensure!(
        steps(1, 2) && steps(3, 6) && steps(4, 5) && (at("// 3\n")..at("// 6\n")).contains(&proof),
        "the code's steps are in another order than their numbers"
    );
    let numbers = model.lines().filter_map(|line| line.trim().strip_prefix("/// Step ")?.get(..1));
    ensure!(numbers.is_sorted(), "the model's steps are in another order than their numbers");
    Ok(())
}

/// Whether a file of tests has a process killed at the failpoint.
fn kills_at(root: &Path, file: &str, name: &str) -> Result<bool> {
    let tests = fs::read_to_string(root.join("tests").join(file))?;
    Ok(tests.contains(&format!("\"{name}\"")) || tests.contains(&format!("{name}=kill\"")))
}

fn collect(folder: &Path, hit: &mut BTreeSet<String>) -> Result<()> {
    const CALL: &str = "failpoint::hit(";
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, hit)?;
            continue;
        }
        for call in fs::read_to_string(&path)?.split(CALL).skip(1) {
            let name = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            ensure!(name.is_some(), "a failpoint without a name in {}", path.display());
            hit.extend(name.map(str::to_owned));
        }
    }
    Ok(())
}
