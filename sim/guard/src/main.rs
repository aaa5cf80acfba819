//! `rehome-prove-guard`: the model of the guard within larger bounds than the tests have; with `--rules`, for
//! each rule the shortest schedule that goes wrong without it. A word more picks runs or rules by name.

use std::process::ExitCode;

use rehome_guard_model::rule::Rule;
use rehome_guard_model::{check, scenarios};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rules = args.iter().any(|arg| arg == "--rules");
    let word = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let holds = if rules { without_each_rule(word) } else { within_all_bounds(word) };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn within_all_bounds(word: &str) -> bool {
    let runs = scenarios::SMALL.iter().chain(scenarios::LARGE);
    let (mut holds, mut states) = (true, 0);
    for run in runs.filter(|run| run.name.contains(word)) {
        let report = check::all(*run);
        println!("{report}");
        states += report.states;
        holds &= report.violations.is_empty();
    }
    println!("the guard: {states} states");
    holds
}

fn without_each_rule(word: &str) -> bool {
    let mut missed = true;
    for rule in Rule::ALL.iter().filter(|rule| format!("{rule:?}").contains(word)) {
        let (run, property) = rule.missed_by();
        let report = check::until_violated(run.without(*rule), property);
        match report.schedule(property) {
            Some(schedule) => println!("without {rule:?}, property {property} fails:\n{schedule}"),
            None => println!("without {rule:?}, nothing fails in {} states", report.states),
        }
        missed &= report.schedule(property).is_some();
    }
    missed
}
