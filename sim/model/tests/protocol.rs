//! The protocol within small bounds, and without each of its rules.

use rehome_model::rule::Rule;
use rehome_model::{check, scenarios};

#[test]
fn within_small_bounds_no_property_is_violated() {
    let mut violated = Vec::new();
    for run in scenarios::SMALL {
        let report = check::all(*run);
        println!("{report}");
        if !report.violations.is_empty() {
            violated.push(report);
        }
    }
    assert!(violated.is_empty(), "{} of the runs above violate a property", violated.len());
}

/// What shows that the model has eyes: of each rule the domain or the engine has, there is a run
/// in which its absence violates the property that is named there. The same run with the rule
/// violates nothing in as many states.
#[test]
fn without_any_of_its_rules_the_protocol_violates_a_property() {
    let mut wrong = Vec::new();
    for rule in Rule::ALL {
        let (run, property) = scenarios::missed_by(*rule);
        let without = check::until_violated(run.without(*rule), property);
        let with = check::first(run, without.generated);
        let steps = without.schedule(property).map(|schedule| schedule.lines().count());
        println!("{rule:?}: property {property} after {steps:?} steps, {} states", without.states);
        if steps.is_none() {
            wrong.push(format!("nobody misses {rule:?}"));
        }
        if !with.violations.is_empty() {
            wrong.push(format!("{rule:?} is not what is missing: {with}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_run_has_its_own_name() {
    let runs = [scenarios::SMALL, scenarios::LARGE, scenarios::DEEP].into_iter().flatten();
    let mut names: Vec<_> = runs.map(|run| run.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
