//! Whole tenants under random schedules: three stores, migrations there, on and back, two writers,
//! and processes that stop at every point. Every message can be late, duplicated, lost, or have its
//! response lost; its sender may have read the route long ago.
//!
//! [`world`] runs it by the domain's rules and the callers' obligations; the invariants are those
//! of the protocol's list. To show that the checks work, each obligation that safety depends on is
//! also broken on purpose, and the schedules must find the loss. The exhaustive search is
//! the model checker's; this one is long and wide instead.

mod message;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::kit::config;
use world::{Mistake, World};

const STEPS: usize = 400;

/// Plays one schedule; answers what happened in it, or what must never happen.
fn play(choices: &[u16], mistake: Mistake) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut world = World::new(mistake);
    let mut dice = choices.iter().copied().map(usize::from);
    while world.step(&mut dice).is_some() {
        world.check()?;
    }
    world.finish(choices.len().is_multiple_of(2))?;
    Ok(world.seen)
}

fn schedules() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), STEPS..STEPS * 4)
}

#[test]
fn no_schedule_breaks_what_must_hold() {
    let seen = RefCell::new(BTreeMap::<&'static str, u64>::new());
    let mut runner = TestRunner::new(config(400));
    let outcome = runner.run(&schedules(), |choices| {
        let its = play(&choices, Mistake::None).map_err(TestCaseError::fail)?;
        let mut seen = seen.borrow_mut();
        for (what, times) in its {
            *seen.entry(what).or_default() += times;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}\n{runner}");
    }
    // Schedules in which nothing happens hold anything: what they are for must have happened.
    let seen = seen.into_inner();
    for (what, least) in [
        ("acknowledged", 2_000),
        ("acknowledged again", 1_000),
        ("reply lost", 1_000),
        ("refused: stale epoch", 3_000),
        ("refused: fenced", 1_000),
        ("refused: wrong role", 1_000),
        ("refused: not at this head", 1_000),
        ("switched", 200),
        ("cutover_rolled_back", 400),
        ("aborted", 60),
        ("window_closed", 100),
        ("came back", 80),
        ("replica_dropped", 20),
        ("purged to a tombstone", 60),
        ("finished in a pause", 5),
    ] {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= least, "{what}: {times} times only; {seen:#?}");
    }
}

/// Breaks one obligation on purpose and expects the schedules to find it out.
fn assert_found(mistake: Mistake, what: &str) {
    let mut runner =
        TestRunner::new(proptest::test_runner::Config { max_shrink_iters: 0, ..config(4_000) });
    let outcome = runner.run(&schedules(), |choices| {
        play(&choices, mistake).map(|_| ()).map_err(TestCaseError::fail)
    });
    let error = outcome.expect_err("a mistake that no schedule finds").to_string();
    assert!(error.contains(what), "{mistake:?}: {error}");
}

#[test]
fn a_switch_on_a_reread_revision_is_found_out() {
    assert_found(Mistake::SwitchOnRereadRevision, "lost");
}

#[test]
fn a_switch_without_a_fence_is_found_out() {
    assert_found(Mistake::SwitchWithoutFence, "lost");
}

#[test]
fn a_purge_that_leaves_no_tombstone_is_found_out() {
    assert_found(Mistake::PurgeWithoutTombstone, "epoch went back");
}

#[test]
fn a_cutover_without_step_1_is_found_out() {
    assert_found(Mistake::NoStepOne, "cannot finish");
}
