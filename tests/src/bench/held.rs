//! Measures from the operating system which process holds the write lock of a SQLite file, and for how long.
//!
//! With a write-ahead log, the writer holds byte 120 of the `-shm` file
//! (<https://www.sqlite.org/walformat.html#wal_locks>), and Linux lists all such locks in
//! `/proc/locks` (see proc_locks(5)). Reading that file takes no lock.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The byte of the `-shm` file that a writer locks.
const WRITE_LOCK: u64 = 120;
/// A lock that is released and taken again between two samples counts as one.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// Samples the lock of one file until it is stopped.
pub(crate) struct Watch {
    inode: u64,
    pid: u32,
    locks: File,
    text: String,
}

impl Watch {
    /// Samples locks that the process `pid` holds on the database `file`.
    pub(crate) fn new(file: &Path, pid: u32) -> Result<Self> {
        let mut shm = file.as_os_str().to_owned();
        shm.push("-shm");
        let inode = std::fs::metadata(&shm).context("the -shm file")?.ino();
        let locks = File::open("/proc/locks").context("/proc/locks is not readable")?;
        Ok(Self { inode, pid, locks, text: String::new() })
    }

    /// Each time the process held the lock, in microseconds, until `over`.
    pub(crate) fn times(&mut self, over: impl Fn() -> bool) -> Result<Vec<u64>> {
        let (mut times, mut since, mut last) = (Vec::new(), None, Instant::now());
        while !over() {
            let held = self.is_held()?;
            let now = Instant::now();
            match (held, since) {
                (true, None) => since = Some(now),
                (false, Some(began)) => {
                    times.push(u64::try_from(last.duration_since(began).as_micros())?);
                    since = None;
                }
                _ => {}
            }
            last = now;
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(times)
    }

    fn is_held(&mut self) -> Result<bool> {
        self.text.clear();
        self.locks.rewind()?;
        self.locks.read_to_string(&mut self.text)?;
        Ok(self.text.lines().any(|line| self.is_ours(line)))
    }

    /// A line like `1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120`. One with `->` after its
    /// number only waits for the lock.
    fn is_ours(&self, line: &str) -> bool {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, "WRITE", pid, place, first, last] = fields[..] else { return false };
        let inode = place.rsplit(':').next().and_then(|inode| inode.parse::<u64>().ok());
        let range = first.parse::<u64>().ok().zip(last.parse::<u64>().ok());
        pid.parse() == Ok(self.pid)
            && inode == Some(self.inode)
            && range.is_some_and(|(first, last)| (first..=last).contains(&WRITE_LOCK))
    }
}
