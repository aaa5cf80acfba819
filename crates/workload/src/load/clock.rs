//! The writers' clock: monotonic within a process, comparable between processes of a machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch that never go back: the wall clock is read once.
#[derive(Clone, Copy, Debug)]
pub(super) struct WritersClock {
    began: Instant,
    unix_micros: i64,
}

impl WritersClock {
    /// Reads both clocks. The fastest of a few attempts relates them best.
    pub(super) fn new() -> Self {
        let read = || {
            let before = Instant::now();
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (before.elapsed(), before, unix)
        };
        let mut best = read();
        for _ in 0..8 {
            let again = read();
            if again.0 < best.0 {
                best = again;
            }
        }
        let (_, began, unix) = best;
        Self { began, unix_micros: i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) }
    }

    /// Now.
    pub(super) fn now(&self) -> i64 {
        let passed = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.unix_micros.saturating_add(passed)
    }
}
