//! `rehome-chaos`: what `cargo xtask chaos` runs. A tenant goes there and back under one script after
//! the other, each from a seed that is printed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use clap::Parser;
use rehome_cluster::Patroni;
use rehome_tests::chaos::{Servers, all_failovers, play, play_failover};

/// Plays scripts that kill, stop and cut off, until time is over or something is wrong.
#[derive(Parser)]
#[command(name = "cargo xtask chaos")]
struct Args {
    /// The first script's seed; the next ones follow it. Drawn if it is not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long to continue. A script that has begun runs to its end.
    #[arg(long, value_name = "M", default_value_t = 10)]
    minutes: u64,
    /// Things that are done on each way.
    #[arg(long, value_name = "N", default_value_t = 12)]
    steps: usize,
    /// Play failovers of Patroni clusters instead: each server, in each phase, by each fault.
    #[arg(long, conflicts_with_all = ["seed", "minutes", "steps"])]
    patroni: bool,
    /// Of the failovers only those whose description has this, as `Stopped in DualWrite`; each is printed as it begins.
    #[arg(long, value_name = "TEXT", requires = "patroni")]
    only: Option<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.patroni {
        return fail_over(args.only.as_deref().unwrap_or_default());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let first = args.seed.unwrap_or_else(|| u64::from(now.subsec_nanos()));
    let servers = Servers::start()?;
    let (begun, time) = (Instant::now(), Duration::from_secs(args.minutes * 60));
    let mut played = 0_u64;
    while played == 0 || begun.elapsed() < time {
        let seed = first.wrapping_add(played);
        println!("seed {seed}, {} steps each way", args.steps);
        play(&servers, seed, args.steps)?;
        played += 1;
    }
    println!("{played} scripts played, nothing wrong");
    Ok(())
}

fn fail_over(only: &str) -> Result<()> {
    let all: Vec<_> =
        all_failovers().into_iter().filter(|one| one.to_string().contains(only)).collect();
    ensure!(!all.is_empty(), "no failover has {only:?} in its description");
    let (servers, patroni) = (Servers::start()?, Arc::new(Patroni::start(true)?));
    for failover in &all {
        println!("{failover}");
        play_failover(&servers, &patroni, *failover)?;
    }
    println!("{} failovers played, nothing wrong", all.len());
    Ok(())
}
