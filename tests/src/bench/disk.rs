//! The duration of a synced write: a part of every commit, and so of every number in milliseconds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rehome_workload::load::observe::Latencies;

const WRITES: u64 = 200;
const PAGE: [u8; 4096] = [1; 4096];

/// Synced writes one after the other, with a little time in between.
pub(crate) fn sync_times(folder: &Path) -> Result<Latencies> {
    let path = folder.join("disk");
    let file = File::create(&path)?;
    let mut times = Vec::new();
    for write in 0..WRITES {
        let began = Instant::now();
        file.write_all_at(&PAGE, write * PAGE.len() as u64)?;
        file.sync_data()?;
        times.push(u64::try_from(began.elapsed().as_micros())?);
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::remove_file(path)?;
    Ok(Latencies::of(times))
}
