//! The guard within small bounds, and without each of its rules.

use rehome_guard_model::rule::Rule;
use rehome_guard_model::{check, scenarios};

#[test]
fn within_small_bounds_no_property_is_violated() {
    let reports: Vec<_> = scenarios::SMALL.iter().map(|run| check::all(*run)).collect();
    for report in &reports {
        println!("{report}");
    }
    assert!(reports.iter().all(|report| report.violations.is_empty()), "see the runs above");
}

/// What shows that the model has eyes.
#[test]
fn without_any_of_its_rules_the_guard_violates_a_property() {
    let mut unseen = Vec::new();
    for rule in Rule::ALL {
        let (run, property) = rule.missed_by();
        let report = check::until_violated(run.without(*rule), property);
        let steps = report.schedule(property).map(|schedule| schedule.lines().count());
        println!("{rule:?}: property {property} after {steps:?} steps, {} states", report.states);
        if steps.is_none() {
            unseen.push(rule);
        }
    }
    assert!(unseen.is_empty(), "nobody misses {unseen:?}");
}

#[test]
fn each_run_has_its_own_name() {
    let runs = scenarios::SMALL.iter().chain(scenarios::LARGE);
    let mut names: Vec<_> = runs.map(|run| run.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
