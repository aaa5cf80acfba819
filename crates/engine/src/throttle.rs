//! How fast a copy may go: events and bytes per second, changed while it runs.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rehome_domain::migration::Options;

/// Limits of the copy, from the last options.
#[derive(Default)]
pub(crate) struct Throttle {
    events: Limit,
    bytes: Limit,
}

#[derive(Default)]
struct Limit {
    per_second: u32,
    limiter: Option<DefaultDirectRateLimiter>,
}

impl Throttle {
    /// Applies changed options.
    pub(crate) fn retune(&mut self, options: &Options) {
        self.events.set(options.copy_rate_max);
        self.bytes.set(options.copy_bytes_rate_max);
    }

    /// Most events that one batch may have, so that a slow copy is slow evenly.
    pub(crate) fn batch_events_max(&self) -> usize {
        self.events.a_moment()
    }

    /// Most bytes that one batch may have.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        self.bytes.a_moment()
    }

    /// Waits until so much may be copied.
    pub(crate) async fn take(&self, events: usize, bytes: usize) {
        self.events.take(events).await;
        self.bytes.take(bytes).await;
    }
}

impl Limit {
    fn set(&mut self, per_second: u32) {
        if self.per_second != per_second {
            self.per_second = per_second;
            // A burst of a tenth of a second: the limit also holds over short times.
            self.limiter = NonZeroU32::new(per_second).map(|rate| {
                let burst = NonZeroU32::new(rate.get() / 10).unwrap_or(NonZeroU32::MIN);
                RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
            });
        }
    }

    fn a_moment(&self) -> usize {
        match self.per_second {
            0 => usize::MAX,
            rate => (rate as usize / 10).max(1),
        }
    }

    async fn take(&self, amount: usize) {
        let Some(limiter) = &self.limiter else { return };
        let burst = self.a_moment();
        let mut left = amount;
        while left > 0 {
            let now = left.min(burst);
            let cells =
                NonZeroU32::new(u32::try_from(now).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
            while let Err(wait) = limiter.check_n(cells).expect("never more than the burst") {
                let now = governor::clock::Clock::now(limiter.clock());
                tokio::time::sleep(wait.wait_time_from(now)).await;
            }
            left -= now;
        }
    }
}
