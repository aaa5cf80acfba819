//! What a process runs with, whatever tenant it works for.

use std::time::Duration;

use rehome_ports::json::JsonLimits;

/// Settings of one process.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Longest that an append waits for a cutover, or for a store that fails, before it gives up.
    pub write_pause_timeout: Duration,
    /// Appends of one tenant that may wait in this process; one more waits to be let in.
    pub queue_appends: usize,
    /// Most appends committed together.
    pub group_appends: usize,
    /// Most bytes committed together, roughly.
    pub group_bytes: usize,
    /// How large and deep an event's data and metadata may be.
    pub json_limits: JsonLimits,
    /// How often a waiting writer looks at the route during a cutover.
    pub pause_poll: Duration,
    /// The same, while this process is told of changed routes; looking is then only the net below.
    pub pause_poll_told: Duration,
    /// How often the mirror looks at the source when no writer of this process wakes it.
    pub mirror_poll: Duration,
    /// Shortest time between two commits of the mirror while writers are not waiting for it, so
    /// that the target's commits do not take the disk from the source's.
    pub mirror_pace: Duration,
    /// A write of the mirror that has had no answer for so long counts as failed, and again for each
    /// further such time.
    pub mirror_patience: Duration,
    /// How often the authority's head is read beside the work on a migration.
    pub head_poll: Duration,
    /// How long that may take.
    pub head_within: Duration,
    /// How often a driver looks at its migration's row.
    pub driver_poll: Duration,
    /// The same, and how often the mirror and the auditor look, once nothing has happened for a while:
    /// the time between two looks doubles up to this one, and what happens in this process is not
    /// looked for but told.
    pub idle_poll: Duration,
    /// How often a process looks whether another still works on a migration, while it is told of
    /// changed routes; that a lease is free again is not told.
    pub stand_by_poll: Duration,
    /// How long a lease lasts unless it is renewed; it is renewed three times in that time.
    pub lease_ttl: Duration,
    /// First wait after a fault that may pass by itself; doubled each time.
    pub retry_first: Duration,
    /// Longest wait between two tries.
    pub retry_max: Duration,
    /// How long after a cutover that was rolled back the next one may begin by itself; doubled
    /// with each attempt, up to a minute.
    pub cutover_retry: Duration,
    /// How long what was read back from a target is believed to be there still. While a migration waits
    /// for its cutover all of it is read again in half that time, if `read_again_rate` allows, and just
    /// before the pause of a cutover what is older, if it is no more than `read_again_events_max`.
    pub read_back_trusted: Duration,
    /// Events per second that are read again while a migration waits.
    pub read_again_rate: u32,
    /// Most events that are read again just before the pause of a cutover.
    pub read_again_events_max: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            write_pause_timeout: Duration::from_secs(5),
            queue_appends: 1_024,
            group_appends: 256,
            group_bytes: 1 << 20,
            json_limits: JsonLimits::default(),
            pause_poll: Duration::from_millis(1),
            pause_poll_told: Duration::from_millis(10),
            mirror_poll: Duration::from_millis(4),
            mirror_pace: Duration::from_millis(8),
            mirror_patience: Duration::from_secs(5),
            head_poll: Duration::from_secs(1),
            head_within: Duration::from_secs(5),
            driver_poll: Duration::from_millis(25),
            idle_poll: Duration::from_secs(1),
            stand_by_poll: Duration::from_millis(250),
            lease_ttl: Duration::from_secs(5),
            retry_first: Duration::from_millis(10),
            retry_max: Duration::from_secs(2),
            cutover_retry: Duration::from_secs(1),
            read_back_trusted: Duration::from_secs(600),
            read_again_rate: 1_000,
            read_again_events_max: 100_000,
        }
    }
}

/// Waits that double.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self { next: config.retry_first, max: config.retry_max }
    }

    /// Waits from `first` up to `max`.
    pub(crate) fn between(first: Duration, max: Duration) -> Self {
        Self { next: first, max: max.max(first) }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        now
    }
}
