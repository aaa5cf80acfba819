//! A tenant there and back under a script from a seed.

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use rehome_tests::chaos::play;

use crate::with_servers;

/// Things that are done on each way.
const STEPS: usize = 7;

pub(crate) fn seed() -> Result<u64> {
    if let Ok(seed) = std::env::var("REHOME_CHAOS_SEED") {
        return seed.parse().context("REHOME_CHAOS_SEED");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::from(now.subsec_nanos()))
}

#[test]
fn a_tenant_goes_there_and_back_whatever_breaks() -> Result<()> {
    let seed = seed()?;
    println!("REHOME_CHAOS_SEED={seed}");
    with_servers(|servers| play(servers, seed, STEPS))
}
