//! The failpoints of the engine, in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

/// Every name that the engine gives to `failpoint::hit`; a test of each is in `killed`.
pub(crate) const POINTS: [&str; 19] = [
    "prepare.adopted",
    "copy.extended",
    "copy.completed",
    "cutover.ready",
    "cutover.intent",
    "cutover.fenced",
    "cutover.caught_up",
    "cutover.compared",
    "cutover.switched",
    "cutover.activated",
    "roll_back.begin",
    "roll_back.recorded",
    "roll_back.activated",
    "abort.dropped",
    "purge.chunk",
    "window.adopted",
    "window.closed",
    "window.dropped",
    "router.routed",
];

#[test]
fn the_list_of_failpoints_is_whole_and_each_has_its_test() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut hit = BTreeSet::new();
    collect(&root.join("../crates/engine/src"), &mut hit)?;
    let listed: BTreeSet<String> = POINTS.iter().map(|&name| name.to_owned()).collect();
    ensure!(hit == listed, "in the engine: {hit:?}\nlisted: {listed:?}");

    let tests = fs::read_to_string(root.join("tests/crash/killed.rs"))?;
    for name in POINTS {
        let kills = [format!("\"{name}\""), format!("\"{name}=kill\"")];
        ensure!(kills.iter().any(|kill| tests.contains(kill)), "nothing is killed at {name}");
    }

    let tests = fs::read_to_string(root.join("tests/chaos/killed.rs"))?;
    for name in POINTS {
        let kills = [format!("\"{name}\""), format!("\"{name}=kill\"")];
        ensure!(
            kills.iter().any(|kill| tests.contains(kill)),
            "nothing is killed at {name} on PostgreSQL"
        );
    }
    Ok(())
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
