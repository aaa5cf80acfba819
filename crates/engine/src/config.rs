//! What a process runs with, whatever tenant it works for.

use std::time::Duration;

use rehome_ports::json::JsonLimits;

/// Settings of one process.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Maximum time that an append waits for a cutover, or for a failing store.
    pub write_pause_timeout: Duration,
    /// Whether an append to a tenant that is not known makes the tenant; else it is refused.
    pub create_tenants: bool,
    /// Appends of one tenant that may wait in this process; one more waits to be let in.
    pub queue_appends: usize,
    /// Most appends committed together.
    pub group_appends: usize,
    /// Most bytes committed together, roughly.
    pub group_bytes: usize,
    /// How large and deep an event's data and metadata may be.
    pub json_limits: JsonLimits,
    /// How often a waiting writer reads the route during a cutover.
    pub pause_poll: Duration,
    /// The same, while this process receives notifications of changed routes; polling is then only a fallback.
    pub pause_poll_told: Duration,
    /// How often the mirror polls the source when no writer of this process wakes it.
    pub mirror_poll: Duration,
    /// Minimum time between two commits of the mirror while writers are not waiting for it, so
    /// that the target's commits do not take the disk from the source's.
    pub mirror_pace: Duration,
    /// A write of the mirror that has had no answer for so long counts as failed, and again for each
    /// further such time.
    pub mirror_patience: Duration,
    /// How often the authority's head is read beside the work on a migration.
    pub head_poll: Duration,
    /// Maximum time of that read.
    pub head_within: Duration,
    /// How often a driver reads its migration's row.
    pub driver_poll: Duration,
    /// The same, and how often the mirror and the auditor poll, once nothing has happened for a while:
    /// the interval doubles up to this one, and events in this process are notified
    /// instead of polled.
    pub idle_poll: Duration,
    /// The same for a rollback window at rest: the authority's length is read for all windows of a process
    /// together, each [`EngineConfig::head_poll`], and the driver is notified of requests.
    pub rest_poll: Duration,
    /// How often a process checks whether another still works on a migration, while it receives notifications of
    /// changed routes; the expiry of a lease is not notified.
    pub stand_by_poll: Duration,
    /// How long a lease lasts unless it is renewed; it is renewed three times in that time.
    pub lease_ttl: Duration,
    /// First wait after a fault that may pass; doubled each time.
    pub retry_first: Duration,
    /// Longest wait between two tries.
    pub retry_max: Duration,
    /// How long after a cutover that was rolled back the next automatic one may start; doubled
    /// with each attempt, up to a minute.
    pub cutover_retry: Duration,
    /// Copying, reading back and verifying give way when latencies are so many times what they are when it is quiet;
    /// `None`: never.
    pub brake_goal: Option<f64>,
    /// They also do while a replica of one of the stores is further behind than this; `None`: however far.
    pub replica_lag_max: Option<Duration>,
    /// How long a read-back counts. While a migration waits
    /// for its cutover, everything is read again in half that time, if `read_again_rate` allows; just
    /// before the pause of a cutover older parts are read again, if they are no more than `read_again_events_max`.
    pub read_back_trusted: Duration,
    /// Events per second that are read again while a migration waits.
    pub read_again_rate: u32,
    /// How long one attempt may take to note in both stores what was seen of a migration's log; zero: nothing is
    /// noted. Nothing waits for it but the end of a driver.
    pub anchors_within: Duration,
    /// Most events that are read again just before the pause of a cutover.
    pub read_again_events_max: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            write_pause_timeout: Duration::from_secs(5),
            create_tenants: true,
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
            rest_poll: Duration::from_secs(20),
            stand_by_poll: Duration::from_millis(250),
            lease_ttl: Duration::from_secs(5),
            retry_first: Duration::from_millis(10),
            retry_max: Duration::from_secs(2),
            cutover_retry: Duration::from_secs(1),
            brake_goal: Some(2.0),
            replica_lag_max: Some(Duration::from_secs(10)),
            read_back_trusted: Duration::from_secs(600),
            read_again_rate: 1_000,
            read_again_events_max: 100_000,
            anchors_within: Duration::from_secs(2),
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
