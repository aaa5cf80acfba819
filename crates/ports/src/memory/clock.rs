//! A clock that is set by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rehome_domain::event::Timestamp;

use crate::clock::Clock;

/// Shows the time that it was set to, until it is set or advanced again.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Shows `now`.
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.micros()))
    }

    /// Shows `now` from here on, which may be earlier than before.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), Ordering::SeqCst);
    }

    /// Goes forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::new(Timestamp::from_micros(1_767_225_600_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
