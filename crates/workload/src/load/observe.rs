//! What a migration cost the writers, by their own clock.
//!
//! A writer has one append in flight at a time. Its latency runs from the first attempt to the
//! acknowledgement, including every retry.
//!
//! **Pause.** A cutover's window starts with the cutover (the `cutover_started` entry of the
//! log) and ends with the first acknowledgement of an event after the switch, as a
//! writer received it; a cutover that was rolled back ends with that entry. A cutover can delay
//! the appends that are in flight at any moment of its window, and of each writer the first one
//! that is acknowledged after the switch, which may have gone to the wrong store before. The
//! complete latencies of these appends are `pause_ms`: the delay by the cutover, and the normal
//! latency. The log only selects the appends; every duration is the
//! writers'.
//!
//! **Before, during, after.** Before: acknowledged before the migration was started. After: first
//! sent after the last window had ended. During: all others, including the pause.

use rehome_domain::migration::Fact;
use rehome_ports::LogEntry;

use super::record::{Record, Sent};

/// A summary of many latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// Half of them are at most this.
    pub p50_ms: f64,
    /// Ninety-nine of a hundred are at most this.
    pub p99_ms: f64,
    /// None is more.
    pub max_ms: f64,
}

impl Latencies {
    /// Of these, in microseconds. The percentiles are values that occurred (nearest rank).
    pub fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let ms = |micros: u64| micros as f64 / 1_000.0;
        let rank = |hundredths: usize| {
            let rank = (micros.len() * hundredths).div_ceil(100).max(1);
            micros.get(rank - 1).copied().map_or(0.0, ms)
        };
        Self { count: micros.len() as u64, p50_ms: rank(50), p99_ms: rank(99), max_ms: rank(100) }
    }
}

/// When a migration began and when its cutovers were, in microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// When it was requested.
    pub started: i64,
    /// Its cutovers, from `cutover_started` to the roll back or the switch.
    pub cutovers: Vec<(i64, i64)>,
    /// Length of the history at the switch, if it came to that.
    pub base: Option<u64>,
    /// When the next migration was requested: later appends belong to that one.
    pub until: i64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { started: 0, cutovers: Vec::new(), base: None, until: i64::MAX }
    }
}

impl Timeline {
    /// From the migration's log.
    pub fn of(log: &[LogEntry]) -> Self {
        let mut timeline = Self::default();
        for entry in log {
            let at = entry.at.micros();
            match &entry.fact {
                Fact::Started { .. } => timeline.started = at,
                Fact::CutoverStarted { .. } => timeline.cutovers.push((at, i64::MAX)),
                Fact::CutoverRolledBack { .. } => timeline.end_cutover(at),
                Fact::Switched { head } => {
                    timeline.end_cutover(at);
                    timeline.base = Some(head.seq);
                }
                _ => {}
            }
        }
        timeline
    }

    fn end_cutover(&mut self, at: i64) {
        if let Some((_, end)) = self.cutovers.last_mut() {
            *end = at;
        }
    }
}

/// What the writers saw of a migration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Appends before the migration.
    pub before: Latencies,
    /// Appends during it.
    pub during: Latencies,
    /// Appends after the switch.
    pub after: Latencies,
    /// Appends that a cutover can have held up.
    pub pause: Latencies,
    /// The longest of these of each writer that had one, in milliseconds.
    pub pause_by_writer_ms: Vec<f64>,
}

/// Reads out of the writers' records what the migration cost them.
pub fn observe(records: &[Record], timeline: &Timeline) -> Observed {
    let windows = windows(records, timeline);
    let over = windows.last().map_or(i64::MAX, |(_, end)| *end);
    let (mut before, mut during, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pause, mut pause_by_writer_ms) = (Vec::new(), Vec::new());
    for writer in records.iter().flat_map(|record| &record.writers) {
        let (mut longest, mut was_behind) = (None, false);
        for sent in &writer.appends {
            let (Some(ack), Some(latency)) = (sent.ack(), sent.latency()) else { continue };
            if sent.sent_at > timeline.until {
                break;
            }
            let part = if ack.at < timeline.started {
                &mut before
            } else if sent.sent_at > over {
                &mut after
            } else {
                &mut during
            };
            part.push(latency);
            let behind = timeline.base.is_some_and(|base| ack.first_seq > base);
            let first_behind = behind && !was_behind;
            was_behind |= behind;
            let under_way = |(from, to): &(i64, i64)| sent.sent_at <= *to && ack.at >= *from;
            if first_behind || windows.iter().any(under_way) {
                pause.push(latency);
                longest = longest.max(Some(latency));
            }
        }
        pause_by_writer_ms.extend(longest.map(|micros| micros as f64 / 1_000.0));
    }
    Observed {
        before: Latencies::of(before),
        during: Latencies::of(during),
        after: Latencies::of(after),
        pause: Latencies::of(pause),
        pause_by_writer_ms,
    }
}

/// The cutovers; the one that switched ends with the first acknowledgement after the switch.
fn windows(records: &[Record], timeline: &Timeline) -> Vec<(i64, i64)> {
    let mut windows = timeline.cutovers.clone();
    if let (Some(base), Some((_, end))) = (timeline.base, windows.last_mut()) {
        let heard = records.iter().flat_map(Record::appends).filter_map(Sent::ack);
        let heard = heard.filter(|ack| ack.first_seq > base).map(|ack| ack.at).min();
        *end = heard.unwrap_or(*end).max(*end);
    }
    windows
}

#[cfg(test)]
mod tests {
    use rehome_domain::ids::TenantId;
    use uuid::Uuid;

    use super::super::LoadId;
    use super::super::record::{Ack, Outcome, StreamRef, WriterRecord};
    use super::*;

    /// A writer's appends as `(sent, acknowledged, seq)`.
    fn writer(appends: &[(i64, i64, u64)]) -> WriterRecord {
        let appends = appends.iter().map(|&(sent_at, at, first_seq)| Sent {
            first: first_seq,
            events: 1,
            stream: StreamRef { shared: true, number: 0 },
            sent_at,
            outcome: Outcome::Acked(Ack { at, first_version: 1, first_seq, contiguous: true }),
        });
        WriterRecord { appends: appends.collect() }
    }

    fn record(writers: Vec<WriterRecord>) -> Record {
        Record { id: LoadId::random(), tenant: TenantId::new(Uuid::nil()), seed: 0, writers }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let all = Latencies::of((1..=200).map(|ms| ms * 1_000).collect());
        let known = Latencies { count: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(all, known);
        assert_eq!(
            Latencies::of(vec![7]),
            Latencies { count: 1, p50_ms: 0.007, p99_ms: 0.007, max_ms: 0.007 }
        );
        assert_eq!(Latencies::of(Vec::new()), Latencies::default());
    }

    #[test]
    fn the_pause_is_that_of_the_appends_it_can_have_held_up() {
        let records = [record(vec![
            // Sent nothing while the cutover was on; its next append finds the new store.
            writer(&[(200, 300, 2), (25_000, 31_000, 15), (32_000, 33_000, 16)]),
            // Held up from before the fence until after the switch at seq 10.
            writer(&[(0, 90, 1), (1_990, 22_000, 11), (22_010, 22_110, 13)]),
            // Acknowledged just before the fence; the next one was sent in the pause.
            writer(&[(100, 2_001, 10), (2_100, 21_000, 12), (30_000, 30_200, 14)]),
        ])];
        let timeline = Timeline {
            started: 95,
            cutovers: vec![(2_000, 20_000)],
            base: Some(10),
            ..Timeline::default()
        };
        let seen = observe(&records, &timeline);
        let pause = Latencies { count: 4, p50_ms: 6.0, p99_ms: 20.01, max_ms: 20.01 };
        assert_eq!(seen.pause, pause);
        assert_eq!(seen.pause_by_writer_ms, [6.0, 20.01, 18.9]);
        assert_eq!((seen.before.count, seen.during.count, seen.after.count), (1, 4, 4));
    }

    #[test]
    fn a_cutover_that_was_rolled_back_has_a_pause_too() {
        let records = [record(vec![writer(&[
            (0, 10, 1),
            (990, 1_500, 2),
            (1_600, 1_700, 3),
            (9_990, 10_200, 4),
        ])])];
        let timeline = Timeline {
            started: 100,
            cutovers: vec![(1_000, 1_400), (10_000, 10_100)],
            base: Some(3),
            ..Timeline::default()
        };
        let seen = observe(&records, &timeline);
        assert_eq!(seen.pause.count, 2);
        assert_eq!((seen.pause.p50_ms, seen.pause.max_ms), (0.21, 0.51));
    }
}
