//! The engine under a few hundred seeds, and tests that the simulator detects errors.
//!
//! A failing seed is printed with its minimised
//! run. `cargo xtask simulate --seed S` plays it again.

use rehome_simulator::coverage::Coverage;
use rehome_simulator::mutant::Mutant;
use rehome_simulator::plan::{Faults, Plan};
use rehome_simulator::{run, run_with, shrink};

/// Seeds of one `cargo test`; `cargo xtask simulate --seeds N` plays more.
const SEEDS: u64 = 200;
/// Seeds that are played when the first ones have not come to every state yet.
const SEEDS_MAX: u64 = 600;
/// Seeds within which every mutant has to be found.
const MUTANT_SEEDS: u64 = 400;
/// Seeds within which a run without a mutant must find nothing.
const HARMLESS_SEEDS: u64 = 40;

#[test]
fn nothing_is_wrong_under_some_hundred_seeds_and_they_come_to_every_state() {
    let mut coverage = Coverage::default();
    for seed in 1..=SEEDS_MAX {
        if seed > SEEDS && coverage.missing().is_empty() {
            break;
        }
        let outcome = run(seed);
        if !outcome.violations.is_empty() {
            match shrink(&Plan::new(seed), None) {
                Some(shrunk) => panic!("seed {seed} fails; what is left of it:\n{shrunk}"),
                None => panic!("seed {seed} fails once: {:?}", outcome.violations),
            }
        }
        coverage.add(&outcome.coverage);
    }
    assert_eq!(coverage.missing(), [""; 0], "never reached within {SEEDS_MAX} seeds");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seeds = [3, 5, 8, 13, 21, 34, 55, 89];
    let hashes = |seeds: &[u64]| -> Vec<(u64, u64)> {
        let each = seeds.iter().map(|&seed| run(seed));
        each.map(|outcome| (outcome.trace_hash, outcome.trace_length)).collect()
    };
    // Once here and once in another thread: nothing of the thread is in it.
    let again = std::thread::spawn(move || hashes(&seeds)).join().unwrap();
    let first = hashes(&seeds);
    assert_eq!(first, again);
    let mut different = first.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), first.len(), "each seed has a trace of its own");
}

#[test]
fn the_faults_that_befell_a_run_are_all_that_it_needs_to_be_the_same_again() {
    let with_faults =
        (1..=20).map(|seed| (seed, run(seed))).filter(|(_, run)| !run.struck.is_empty());
    for (seed, drawn) in with_faults.take(3) {
        let plan = Plan { faults: Faults::Only(drawn.struck), ..Plan::new(seed) };
        assert_eq!(run_with(&plan, None, false).trace_hash, drawn.trace_hash, "seed {seed}");
    }
}

#[test]
fn a_run_without_its_faults_is_another_run() {
    let seed = 4;
    let plan = Plan { faults: Faults::Only([].into()), ..Plan::new(seed) };
    let without = run_with(&plan, None, false);
    assert_ne!(without.trace_hash, run(seed).trace_hash);
    assert_eq!(without.violations, [""; 0]);
}

/// The first seed that finds it.
fn found_by(mutant: Mutant, seeds: u64) -> Option<(u64, Vec<String>)> {
    (1..=seeds).find_map(|seed| {
        let outcome = run_with(&Plan::against(mutant, seed), Some(mutant), false);
        (!outcome.violations.is_empty()).then_some((seed, outcome.violations))
    })
}

#[test]
fn every_planted_mutant_is_found() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        match found_by(mutant, MUTANT_SEEDS) {
            Some((seed, violations)) => println!("{mutant:?}: seed {seed}: {}", violations[0]),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not found within {MUTANT_SEEDS} seeds: {missed:?}");
}

/// What is found without the mutant is not the mutant: the same runs with correct ports.
#[test]
fn the_runs_against_mutants_find_nothing_where_nothing_is_broken() {
    let sharpened = |mutant: &Mutant| {
        let planned = matches!(mutant, Mutant::RevisionIgnored | Mutant::AdoptedAtAnyEpoch);
        mutant.favourite().is_some() || planned
    };
    for mutant in Mutant::ALL.into_iter().filter(sharpened) {
        for seed in 1..=HARMLESS_SEEDS {
            let outcome = run_with(&Plan::against(mutant, seed), None, false);
            assert_eq!(outcome.violations, [""; 0], "{mutant:?}, seed {seed}");
        }
    }
}

#[test]
fn a_lease_that_everybody_gets_breaks_nothing() {
    let found = found_by(Mutant::LeaseForAll, HARMLESS_SEEDS);
    assert_eq!(found, None, "safety rests on a lease");
}

#[test]
fn a_failing_run_is_cut_down_to_what_it_needs() {
    let mutant = Some(Mutant::AcknowledgedBeforeCommit);
    let failing = (1..=MUTANT_SEEDS)
        .map(Plan::new)
        .find(|plan| !run_with(plan, mutant, false).violations.is_empty());
    let plan = failing.unwrap();
    let shrunk = shrink(&plan, mutant).unwrap();
    // A store that forgets what it acknowledged needs no operator and no fault to be found out.
    assert!(shrunk.plan.actions.len() <= 1, "{}", shrunk.plan);
    assert!(matches!(&shrunk.plan.faults, Faults::Only(fates) if fates.len() <= 1));
    assert!(!shrunk.outcome.violations.is_empty());
    assert!(shrunk.to_string().contains("VIOLATION"), "its trace says where");
}
