//! `rehome-prove`: the model within larger bounds than the tests have, with `--deep` within larger ones yet;
//! with `--rules`, for each rule the shortest schedule that goes wrong without it. A word more picks the
//! runs or rules that have it in their name.

use std::process::ExitCode;
use std::time::Instant;

use rehome_model::bounds::Bounds;
use rehome_model::rule::Rule;
use rehome_model::{check, scenarios};

const USAGE: &str = "usage: cargo xtask prove [--deep | --rules] [WORD]";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let option = args.first().filter(|first| first.starts_with('-')).cloned();
    if option.is_some() {
        args.remove(0);
    }
    let word = match &args[..] {
        [] => String::new(),
        [word] if !word.starts_with('-') => word.clone(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let holds = match option.as_deref() {
        None => within_all_bounds(&word, &[scenarios::SMALL, scenarios::LARGE]),
        Some("--deep") => {
            within_all_bounds(&word, &[scenarios::SMALL, scenarios::LARGE, scenarios::DEEP])
        }
        Some("--rules") => without_each_rule(&word),
        Some(_) => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nothing is violated.
fn within_all_bounds(word: &str, sets: &[&[Bounds]]) -> bool {
    let (mut holds, mut states, begun) = (true, 0, Instant::now());
    for run in sets.iter().copied().flatten().filter(|run| run.name.contains(word)) {
        let report = check::all(*run);
        println!("{report}");
        states += report.states;
        holds &= report.violations.is_empty();
    }
    let memory = memory_max_mib().map_or(String::new(), |mib| format!(", at most {mib} MiB"));
    let worked = processor_seconds().map_or(String::new(), |s| format!(", {s} s of a processor"));
    println!("all: {states} states in {:.0} s{worked}{memory}", begun.elapsed().as_secs_f64());
    holds
}

/// The CPU time of this process, if the system reports it.
fn processor_seconds() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may have spaces: user and system time in hundredths of a second (`proc(5)`).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100)
}

/// The maximum memory of this process, if the system reports it.
fn memory_max_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024)
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
