//! What a migration runs with.

use crate::event::Timestamp;
use crate::verification::Level;

/// When to cut over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutoverPolicy {
    /// As soon as the migration is ready.
    Auto,
    /// When an operator requests it.
    Manual,
    /// Once ready, not before this time.
    At(Timestamp),
}

/// What a writer's answer waits for during dual write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorAck {
    /// The source's commit.
    Source,
    /// The target's commit too, up to a deadline; a slow or dead target never fails a write.
    Target,
}

/// What a migration runs with. All can be retuned while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Most events of one copy batch.
    pub batch_events: u32,
    /// Most bytes of one copy batch, roughly.
    pub batch_bytes: u32,
    /// Copy at most this many events per second; 0: as fast as it goes.
    pub copy_rate_max: u32,
    /// Copy at most this many bytes per second; 0: as fast as it goes.
    pub copy_bytes_rate_max: u32,
    /// The lag, in events, under which a cutover may begin and over which writers are held back.
    pub lag_events_max: u32,
    /// When to cut over.
    pub cutover: CutoverPolicy,
    /// Longest write pause, in milliseconds, before the cutover is rolled back.
    pub cutover_timeout_ms: u32,
    /// What a writer's answer waits for.
    pub mirror_ack: MirrorAck,
    /// Longest wait of a writer for the target, in milliseconds.
    pub mirror_ack_timeout_ms: u32,
    /// How deep the history is verified before the cutover, beside the read-back.
    pub verification: Level,
    /// How long to replicate to the old source after the cutover, in milliseconds; 0: not at all.
    pub rollback_window_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_events: 8_000,
            batch_bytes: 8 << 20,
            copy_rate_max: 0,
            copy_bytes_rate_max: 0,
            lag_events_max: 1_000,
            cutover: CutoverPolicy::Auto,
            cutover_timeout_ms: 5_000,
            mirror_ack: MirrorAck::Source,
            mirror_ack_timeout_ms: 1_000,
            verification: Level::Hash,
            rollback_window_ms: 0,
        }
    }
}

/// An option outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} must be {range}, not {value}")]
pub struct InvalidOption {
    /// The option's name.
    pub key: &'static str,
    /// What it may be.
    pub range: &'static str,
    /// What it was.
    pub value: u64,
}

impl Options {
    /// Refuses values under which a migration cannot work or cannot be bounded.
    pub fn check(self) -> Result<Self, InvalidOption> {
        let bound = |key, value: u32, range, allowed: std::ops::RangeInclusive<u32>| {
            if allowed.contains(&value) {
                Ok(())
            } else {
                Err(InvalidOption { key, range, value: value.into() })
            }
        };
        bound("batch_events", self.batch_events, "1 to 100000", 1..=100_000)?;
        bound("batch_bytes", self.batch_bytes, "1 to 67108864 (64 MiB)", 1..=64 << 20)?;
        bound("lag_events_max", self.lag_events_max, "at least 1", 1..=u32::MAX)?;
        bound("cutover_timeout_ms", self.cutover_timeout_ms, "10 to 600000", 10..=600_000)?;
        bound("mirror_ack_timeout_ms", self.mirror_ack_timeout_ms, "1 to 60000", 1..=60_000)?;
        Ok(self)
    }
}
