//! `rehome-bench`: measures the documented numbers as ratios and bounds of one run.
//!
//! `cargo xtask bench` builds it in release mode and runs it. Every part generates its own data in a temporary folder
//! and removes it. Exit code 1: a target was missed. With `--quick` the sizes are small and
//! nothing is asserted: that only checks that the benchmark works.

mod child;
mod copy;
mod disk;
mod drain;
mod dual_write;
mod fleet;
mod gateway;
mod harness;
mod held;
mod lists;
mod lock;
mod memory;
mod observed;
mod pause;
mod postgres;
mod report;
mod resources;
mod watched;
mod written;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
// Measures with the command's allocator.
use rehome_cli as _;
use report::Line;

/// Measures rehome against its targets.
#[derive(Parser)]
struct Args {
    /// Small sizes and no targets: does the benchmark work?
    #[arg(long)]
    quick: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Where to make the data; by default a temporary folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The parts fleet and pg_fleet with 10,000 tenants of 100 events and 20 of 100,000. It takes long.
    #[arg(long, conflicts_with = "quick")]
    whole_fleet: bool,
    /// Events of the long history of the part `written`.
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Only these parts: copy, written, lock, memory, pause, dual_write, watched, resources, gateway, drain, fleet, lists,
    /// and on PostgreSQL pg_copy, pg_append, pg_dual_write, pg_pause, pg_memory, pg_resources, pg_gateway, pg_fleet; of adopted
    /// stores adopted_guard, adopted_copy, adopted_pause, adopted_library.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// For the program itself: a task for a process of its own.
    #[arg(long, num_args = 1.., hide = true)]
    child: Vec<String>,
}

/// How much of everything.
struct Sizes {
    /// Events of the large tenant.
    large: u64,
    /// Events of the long history.
    history: u64,
    /// Cutovers there and back, per history and number of processes.
    returns: usize,
    /// Pairs of periods.
    pairs: usize,
    /// Length of a period.
    period: Duration,
    /// Tenants of a store that is emptied.
    fleet: fleet::Fleet,
}

impl Sizes {
    const FULL: Self = Self {
        large: 300_000,
        history: 2_000_000,
        returns: 10,
        pairs: 8,
        period: Duration::from_secs(2),
        fleet: fleet::Fleet { small: 2_000, large: (4, 20_000) },
    };
    const QUICK: Self = Self {
        large: 6_000,
        history: 6_000,
        returns: 1,
        pairs: 1,
        period: Duration::from_millis(300),
        fleet: fleet::Fleet { small: 60, large: (1, 2_000) },
    };
}

/// The parts on SQLite; those on PostgreSQL are [`postgres::PARTS`].
const PARTS: [&str; 12] = [
    "copy",
    "written",
    "lock",
    "memory",
    "pause",
    "dual_write",
    "watched",
    "resources",
    "gateway",
    "drain",
    "fleet",
    "lists",
];
/// What a pause may take, in milliseconds.
const PAUSES: pause::Bounds = pause::Bounds { max: 50.0, median: None, processes: &[1, 2] };
const MIRRORED: dual_write::Bounds =
    dual_write::Bounds { rates: &[None, Some(800.0)], p50: 1.2, p99: None };

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ran = if args.child.is_empty() {
        Box::pin(run(&args)).await
    } else {
        run_child(&args.child).await
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool> {
    let parts = [&PARTS[..], &postgres::PARTS[..]].concat();
    if let Some(unknown) = args.only.iter().find(|part| !parts.contains(&part.as_str())) {
        bail!("there is no part {unknown:?}; there are: {}", parts.join(", "));
    }
    let mut sizes = if args.quick { Sizes::QUICK } else { Sizes::FULL };
    sizes.history = args.events.unwrap_or(sizes.history);
    if args.whole_fleet {
        sizes.fleet = fleet::Fleet::ALL;
    }
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let disk = disk::sync_times(folder.path())?;
    let sync = format!("p50 {:.1} ms, p99 {:.1} ms", disk.p50_ms, disk.p99_ms);
    eprintln!("a synced write of 4 KiB takes {sync} here: every commit waits for at least one");
    let mut lines = Vec::new();
    for part in parts
        .into_iter()
        .filter(|part| args.only.is_empty() || args.only.iter().any(|only| only == part))
    {
        let began = Instant::now();
        let folder = folder.path().join(part);
        std::fs::create_dir(&folder)?;
        let measured =
            Box::pin(run_part(part, &folder, &sizes)).await.with_context(|| part.to_owned())?;
        std::fs::remove_dir_all(&folder)?;
        eprintln!("{part}: {:.0} s", began.elapsed().as_secs_f64());
        if !args.json {
            for line in &measured {
                println!("{}", line.row(!args.quick));
            }
        }
        lines.extend(measured);
    }
    let ok = lines.iter().all(Line::is_ok);
    if args.json {
        let lines: Vec<_> = lines.iter().map(Line::json).collect();
        let sync = serde_json::json!({ "p50": disk.p50_ms, "p99": disk.p99_ms });
        let document = serde_json::json!({
            "quick": args.quick,
            "ok": ok,
            "synced_write_ms": sync,
            "lines": lines,
        });
        println!("{document}");
    }
    Ok(ok || args.quick)
}

async fn run_part(part: &str, folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    match part {
        "copy" => copy::ratio(folder, sizes).await,
        "written" => written::ratios(folder, sizes).await,
        "lock" => lock::longest(folder, sizes).await,
        "memory" => memory::ratio(folder, sizes).await,
        "pause" => pause::pauses(folder, sizes, &PAUSES).await,
        "dual_write" => dual_write::ratios(folder, sizes, &MIRRORED).await,
        "resources" => resources::table(folder, sizes).await,
        "watched" => watched::costs(folder, sizes).await,
        "gateway" => gateway::numbers(folder, sizes).await,
        "drain" => drain::rate(folder, sizes).await,
        "fleet" => fleet::numbers(folder, sizes).await,
        "lists" => lists::times(folder, sizes).await,
        _ => Box::pin(postgres::run(part, folder, sizes)).await,
    }
}

async fn run_child(task: &[String]) -> Result<bool> {
    let words: Vec<&str> = task.iter().map(String::as_str).collect();
    match words[..] {
        ["copy", folder, tenant] => memory::child(folder.as_ref(), tenant.parse()?).await?,
        ["import", folder, _] => written::import_child(folder.as_ref()).await?,
        ["move", folder, tenant] => written::move_child(folder.as_ref(), tenant.parse()?).await?,
        ["raw", folder, tenant] => written::raw_child(folder.as_ref(), tenant.parse()?).await?,
        ["serve", folder] => gateway::serve(folder.as_ref()).await?,
        ["write", folder, tenant] => lock::write(folder.as_ref(), tenant.parse()?).await?,
        ["resources", folder, tenant, period] => {
            let period = Duration::from_millis(period.parse()?);
            resources::child(folder.as_ref(), tenant.parse()?, period).await?;
        }
        ["observe", folder, events, pairs, period] => {
            let (pairs, period) = (pairs.parse()?, Duration::from_millis(period.parse()?));
            observed::child(folder.as_ref(), events.parse()?, pairs, period).await?;
        }
        ["adopted", folder, tenant] => postgres::write(folder.as_ref(), tenant.parse()?).await?,
        ["probe", file] => lock::probe(file.as_ref()).await?,
        ["watch", file, pid] => lock::watch(file.as_ref(), pid.parse()?).await?,
        ["load", folder, tenant, journal, writers, rate] => {
            let (writers, rate) = (writers.parse()?, rate.parse()?);
            pause::load(folder.as_ref(), tenant.parse()?, journal.into(), writers, rate).await?;
        }
        _ => bail!("no such task"),
    }
    Ok(true)
}
