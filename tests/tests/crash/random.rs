//! kill -9 of drivers and writers at any time. The times come from a seed that a failing run
//! prints; `REHOME_CRASH_SEED` repeats one (the schedule of the kills, that is; what the processes
//! had done by then is theirs).

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::harness::{DEDICATED, Site, on_a_site};
use rehome_tests::process::wait_for;

const RUNS: u64 = 5;
const KILLS: u64 = 3;

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn seed() -> Result<u64> {
    if let Ok(seed) = std::env::var("REHOME_CRASH_SEED") {
        return seed.parse().context("REHOME_CRASH_SEED");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::from(now.subsec_nanos()))
}

fn runs(what: u64) -> Result<()> {
    let first = seed()?;
    for run in 0..RUNS {
        let seed = first + run;
        println!("REHOME_CRASH_SEED={seed}");
        let mut draw = Draw(seed ^ (what << 32));
        on_a_site(|site| killed_at_any_time(site, &mut draw, what))
            .with_context(|| format!("REHOME_CRASH_SEED={seed} repeats the schedule"))?;
    }
    Ok(())
}

const DRIVER: u64 = 1;
const BOTH: u64 = 2;

/// Every killed process is replaced: writers by new writers, a driver by a successor.
fn killed_at_any_time(site: &Site, draw: &mut Draw, what: u64) -> Result<()> {
    let mut load = site.load("", 4, 300)?;
    let slowly = ["--copy-rate-max", "2000", "--cutover-timeout-ms", "1000"];
    let mut driver = site.start("", &slowly)?;
    wait_for("the migration", || Ok(site.migrations()?.pop()))?;
    for _ in 0..KILLS {
        // The time of the kill is random; it depends on no condition.
        thread::sleep(Duration::from_millis(draw.below(1_500)));
        let both = what == BOTH && draw.below(2) == 0;
        if both || what == BOTH && draw.below(2) == 0 {
            load.kill()?;
            site.check_between()?;
            load = site.load("", 4, 300)?;
        }
        if (both || what == DRIVER || draw.below(2) == 0) && driver.ended()?.is_none() {
            driver.kill_unless_done()?;
            site.check_between()?;
            if site.last()?.state.contains("migrated") && !is_open(site)? {
                break;
            }
            driver = site.spawn("", &["migration", "resume", &site.last_id()?])?;
        }
    }
    wait_for("the end of the migration", || {
        let ended = driver.ended()?;
        if ended.is_some() && is_open(site)? {
            driver = site.spawn("", &["migration", "resume", &site.last_id()?])?;
            return Ok(None);
        }
        Ok(ended)
    })?;
    site.wait_for_acks(20)?;
    load.ends_well()?;
    site.finish(DEDICATED).map(drop)
}

/// Whether a step is still to be done.
fn is_open(site: &Site) -> Result<bool> {
    let last = site.last()?;
    Ok(last.phase != "migrated" || last.state.contains("\"activated\":false"))
}

#[test]
fn drivers_killed_at_any_time() -> Result<()> {
    runs(DRIVER)
}

#[test]
fn drivers_and_writers_killed_at_any_time() -> Result<()> {
    runs(BOTH)
}
