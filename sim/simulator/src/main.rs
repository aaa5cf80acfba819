//! `rehome-simulate`: runs seeds, one after the other, until one fails; prints the minimised run of that
//! one.

use std::process::ExitCode;

use rehome_simulator::coverage::Coverage;
use rehome_simulator::plan::Plan;
use rehome_simulator::{run, run_with, shrink};

const USAGE: &str = "usage: cargo xtask simulate [--seeds N] [--seed S] [--trace]

  --seeds N   run so many seeds (1000)
  --seed S    begin with this one (1); alone: only this one
  --trace     print the trace of each, also when nothing is wrong";

struct Args {
    seeds: u64,
    first: u64,
    trace: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(args) = parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut coverage = Coverage::default();
    for seed in args.first..args.first.saturating_add(args.seeds) {
        let outcome = if args.trace { run_with(&Plan::new(seed), None, true) } else { run(seed) };
        if args.trace {
            print!("{outcome}");
        }
        coverage.add(&outcome.coverage);
        if !outcome.violations.is_empty() {
            eprintln!("seed {seed} fails: {}", outcome.violations.join("; "));
            match shrink(&Plan::new(seed), None) {
                Some(shrunk) => println!("what is left of it:\n{shrunk}"),
                None => println!("and does not fail again: the simulator is not deterministic"),
            }
            return ExitCode::FAILURE;
        }
    }
    for (state, times) in &coverage.0 {
        println!("{times:>9}  {state}");
    }
    for state in coverage.missing() {
        println!("    never  {state}");
    }
    println!("{} seed(s) from {}: nothing is wrong", args.seeds, args.first);
    ExitCode::SUCCESS
}

fn parse(words: &[String]) -> Option<Args> {
    let (mut seeds, mut first, mut trace) = (None, None, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => seeds = Some(words.next()?.parse().ok()?),
            "--seed" => first = Some(words.next()?.parse().ok()?),
            "--trace" => trace = true,
            _ => return None,
        }
    }
    let alone = if first.is_some() { 1 } else { 1_000 };
    Some(Args { seeds: seeds.unwrap_or(alone), first: first.unwrap_or(1), trace })
}
