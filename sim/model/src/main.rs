//! `rehome-prove`: the model within larger bounds than the tests have; with `--rules`, for each rule
//! the shortest schedule that goes wrong without it. A word more picks the runs or rules that have
//! it in their name.

use std::process::ExitCode;

use rehome_model::rule::Rule;
use rehome_model::{check, scenarios};

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let rules = args.first().is_some_and(|first| first == "--rules");
    if rules {
        args.remove(0);
    }
    let word = match &args[..] {
        [] => String::new(),
        [word] if !word.starts_with('-') => word.clone(),
        _ => {
            eprintln!("usage: cargo xtask prove [--rules] [WORD]");
            return ExitCode::from(2);
        }
    };
    let holds = if rules { without_each_rule(&word) } else { within_all_bounds(&word) };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nothing is violated.
fn within_all_bounds(word: &str) -> bool {
    let runs = scenarios::SMALL.iter().chain(scenarios::LARGE);
    let mut holds = true;
    for run in runs.filter(|run| run.name.contains(word)) {
        let report = check::all(*run);
        println!("{report}");
        holds &= report.violations.is_empty();
    }
    holds
}

/// Everything is missed.
fn without_each_rule(word: &str) -> bool {
    let mut missed = true;
    for rule in Rule::ALL.iter().filter(|rule| format!("{rule:?}").contains(word)) {
        let (run, property) = scenarios::missed_by(*rule);
        let report = check::until_violated(run.without(*rule), property);
        match report.schedule(property) {
            Some(schedule) => println!("without {rule:?}, property {property} fails:\n{schedule}"),
            None => println!("without {rule:?}, nothing fails in {} states", report.states),
        }
        missed &= report.schedule(property).is_some();
    }
    missed
}
