//! The rules of the brake: additive increase, multiplicative decrease. Pure.

use std::time::Duration;

/// The lowest factor: a migration always makes progress.
pub(super) const FACTOR_MIN: f64 = 0.05;
/// What a window without pressure gives back.
const GAIN: f64 = 0.05;
/// What pressure leaves.
const CUT: f64 = 0.5;
/// A latency that is no longer than the quiet one by so much, in seconds, is no pressure.
const SLACK: f64 = 0.005;
/// Per window, the quiet latency follows what is measured by so much: what stays slow is quiet one day.
const DRIFT: f64 = 0.001;
/// So many windows in a row have to be slow: one may be a checkpoint of the store.
const IN_A_ROW: u32 = 2;
/// The work's own batches may take so many times longer than writers' appends before they count: they are
/// large, and part of what slows them is the work itself.
const OWN: f64 = 2.0;

/// What slows a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slowed {
    /// Appends at the source take longer than usual.
    SourceAppends,
    /// Appends at the target take longer than usual.
    TargetAppends,
    /// The source answers reads more slowly than usual.
    SourceReads,
    /// What was written is read back more slowly than usual.
    ReadBack,
    /// The target takes writes more slowly than usual.
    TargetWrites,
    /// The mirror is behind by more than its bound.
    MirrorLag,
    /// A replica of one of the stores is behind by more than its bound.
    ReplicaLag,
    /// The target's disk, or the size that it may have, is nearly used up.
    TargetDisk,
}

impl Slowed {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::SourceAppends,
        Self::TargetAppends,
        Self::SourceReads,
        Self::ReadBack,
        Self::TargetWrites,
        Self::MirrorLag,
        Self::ReplicaLag,
        Self::TargetDisk,
    ];

    /// The word in memos, documents and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceAppends => "source_appends",
            Self::TargetAppends => "target_appends",
            Self::SourceReads => "source_reads",
            Self::ReadBack => "read_back",
            Self::TargetWrites => "target_writes",
            Self::MirrorLag => "mirror_lag",
            Self::ReplicaLag => "replica_lag",
            Self::TargetDisk => "target_disk",
        }
    }

    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::SourceAppends => "appends at the source take longer than usual",
            Self::TargetAppends => "appends at the target take longer than usual",
            Self::SourceReads => "the source answers reads more slowly than usual",
            Self::ReadBack => "what was written is read back more slowly than usual",
            Self::TargetWrites => "the target takes writes more slowly than usual",
            Self::MirrorLag => "the mirror is behind by more than its bound",
            Self::ReplicaLag => {
                "a replica of a store is behind by more than throttle_replica_lag_ms"
            }
            Self::TargetDisk => "the target has little room left",
        }
    }

    /// The reason of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slowed| slowed.as_str() == text)
    }
}

/// What was measured in a window, in seconds; `None`: there was nothing to measure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Mean of the appends at the source.
    pub(super) source_appends: Option<f64>,
    /// Mean of the appends at the target.
    pub(super) target_appends: Option<f64>,
    /// A unit of reads.
    pub(super) source_reads: Option<f64>,
    /// A unit of what was read back.
    pub(super) read_back: Option<f64>,
    /// A unit of writes.
    pub(super) target_writes: Option<f64>,
    /// How far the mirror is behind, and its bound.
    pub(super) lag: Option<(u64, u64)>,
    /// How far the slowest replica of both stores is behind, and its bound.
    pub(super) replica_lag: Option<(Duration, Duration)>,
    /// The bytes that the target has left, and of how many.
    pub(super) target_disk: Option<(u64, u64)>,
}

/// A target is nearly full when less than a twentieth is left, and less than this.
const ROOM_BYTES: u64 = 1 << 30;

fn is_nearly_full((free, size): (u64, u64)) -> bool {
    free < ROOM_BYTES.min(size / 20)
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    quiet: Option<f64>,
    slow: u32,
}

impl Gauge {
    /// Whether it has been slow for long enough.
    fn see(&mut self, seen: Option<f64>, goal: f64) -> bool {
        let Some(seen) = seen else { return false };
        let quiet = *self.quiet.get_or_insert(seen);
        let is_slow = seen > quiet * goal && seen - quiet > SLACK;
        self.slow = if is_slow { self.slow + 1 } else { 0 };
        let follows =
            if seen < quiet { f64::midpoint(quiet, seen) } else { quiet + (seen - quiet) * DRIFT };
        self.quiet = Some(follows);
        self.slow >= IN_A_ROW
    }
}

/// How hard a migration works: a factor of what it could do.
#[derive(Clone, Debug)]
pub(super) struct Governor {
    goal: f64,
    factor: f64,
    slowed: Option<Slowed>,
    gauges: [Gauge; 5],
}

impl Governor {
    /// At full speed. `goal`: how many times the quiet latency is bearable.
    pub(super) fn new(goal: f64) -> Self {
        Self { goal, factor: 1.0, slowed: None, gauges: [Gauge::default(); 5] }
    }

    /// A window is over.
    pub(super) fn see(&mut self, seen: &Seen) {
        let goal = self.goal;
        let [source_appends, target_appends, source_reads, read_back, target_writes] =
            &mut self.gauges;
        // Each is looked at, whatever the others say.
        let pressure = [
            (source_appends.see(seen.source_appends, goal), Slowed::SourceAppends),
            (target_appends.see(seen.target_appends, goal), Slowed::TargetAppends),
            (seen.lag.is_some_and(|(lag, bound)| lag > bound), Slowed::MirrorLag),
            (seen.replica_lag.is_some_and(|(lag, bound)| lag > bound), Slowed::ReplicaLag),
            (seen.target_disk.is_some_and(is_nearly_full), Slowed::TargetDisk),
            (source_reads.see(seen.source_reads, goal * OWN), Slowed::SourceReads),
            (read_back.see(seen.read_back, goal * OWN), Slowed::ReadBack),
            (target_writes.see(seen.target_writes, goal * OWN), Slowed::TargetWrites),
        ];
        if let Some((_, slowed)) = pressure.into_iter().find(|(is_there, _)| *is_there) {
            self.factor = (self.factor * CUT).max(FACTOR_MIN);
            self.slowed = Some(slowed);
        } else {
            self.factor = (self.factor + GAIN).min(1.0);
            if self.factor >= 1.0 {
                self.slowed = None;
            }
        }
    }

    pub(super) const fn factor(&self) -> f64 {
        self.factor
    }

    /// What slows it, until it is at full speed again.
    pub(super) const fn slowed(&self) -> Option<Slowed> {
        self.slowed
    }

    /// How long to pause after so much work.
    pub(super) fn pause(&self, worked: Duration) -> Duration {
        if self.factor >= 1.0 {
            return Duration::ZERO;
        }
        worked.mul_f64(1.0 / self.factor - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appends(seconds: f64) -> Seen {
        Seen { source_appends: Some(seconds), ..Seen::default() }
    }

    fn after(governor: &mut Governor, windows: usize, seen: &Seen) -> f64 {
        for _ in 0..windows {
            governor.see(seen);
        }
        governor.factor()
    }

    fn near(factor: f64, wanted: f64) -> bool {
        (factor - wanted).abs() < 1e-9
    }

    #[test]
    fn it_slows_by_halves_and_recovers_step_by_step() {
        let mut governor = Governor::new(2.0);
        assert!(near(after(&mut governor, 20, &appends(0.010)), 1.0));
        assert!(near(after(&mut governor, 1, &appends(0.030)), 1.0), "one window says nothing");
        assert!(near(after(&mut governor, 1, &appends(0.030)), 0.5));
        assert!(near(after(&mut governor, 2, &appends(0.030)), 0.125));
        assert_eq!(governor.slowed(), Some(Slowed::SourceAppends));
        assert!(near(after(&mut governor, 1, &appends(0.010)), 0.175));
        assert_eq!(governor.slowed(), Some(Slowed::SourceAppends), "it is slowed still");
        assert!(near(after(&mut governor, 17, &appends(0.010)), 1.0));
        assert_eq!(
            (governor.slowed(), governor.pause(Duration::from_secs(1))),
            (None, Duration::ZERO)
        );
    }

    #[test]
    fn it_never_starves_and_what_stays_slow_is_quiet_one_day() {
        let mut governor = Governor::new(2.0);
        after(&mut governor, 5, &appends(0.010));
        assert!(near(after(&mut governor, 40, &appends(0.100)), FACTOR_MIN));
        let second = Duration::from_secs(1);
        assert!(near(governor.pause(second).as_secs_f64().round(), 19.0));
        // A quarter of a second each, and longer while it is slowed: after some minutes it goes on as before.
        assert!(near(after(&mut governor, 1_000, &appends(0.100)), 1.0));
    }

    #[test]
    fn what_is_told_apart_is_told_apart() {
        let quiet = Seen {
            source_appends: Some(0.01),
            target_appends: Some(0.01),
            source_reads: Some(0.01),
            read_back: Some(0.01),
            target_writes: Some(0.01),
            lag: Some((10, 1_000)),
            replica_lag: Some((Duration::from_secs(10), Duration::from_secs(10))),
            target_disk: Some((5 << 20, 100 << 20)),
        };
        let second = Duration::from_secs(1);
        for (seen, wanted) in [
            (Seen { source_appends: Some(0.1), ..quiet }, Some(Slowed::SourceAppends)),
            (Seen { target_appends: Some(0.1), ..quiet }, Some(Slowed::TargetAppends)),
            (Seen { source_reads: Some(0.1), ..quiet }, Some(Slowed::SourceReads)),
            (Seen { read_back: Some(0.1), ..quiet }, Some(Slowed::ReadBack)),
            (Seen { target_writes: Some(0.1), ..quiet }, Some(Slowed::TargetWrites)),
            (Seen { lag: Some((1_001, 1_000)), ..quiet }, Some(Slowed::MirrorLag)),
            (
                Seen { replica_lag: Some((second * 11, second * 10)), ..quiet },
                Some(Slowed::ReplicaLag),
            ),
            (
                Seen { target_disk: Some(((5 << 20) - 1, 100 << 20)), ..quiet },
                Some(Slowed::TargetDisk),
            ),
            (
                Seen { target_disk: Some(((1 << 30) - 1, 1 << 40)), ..quiet },
                Some(Slowed::TargetDisk),
            ),
            (Seen { target_disk: Some((1 << 30, 1 << 40)), ..quiet }, None),
            // Under the slack, within the goal, and nothing at all.
            (Seen { source_appends: Some(0.014), ..quiet }, None),
            (Seen { source_appends: Some(0.019), ..quiet }, None),
            (Seen { target_writes: Some(0.035), ..quiet }, None),
            (Seen::default(), None),
        ] {
            let mut governor = Governor::new(2.0);
            after(&mut governor, 8, &quiet);
            after(&mut governor, 3, &seen);
            assert_eq!(governor.slowed(), wanted, "{seen:?}");
            assert_eq!(governor.factor() < 1.0, wanted.is_some());
        }
        for slowed in Slowed::ALL {
            assert_eq!(Slowed::parse(slowed.as_str()), Some(slowed));
        }
        assert_eq!(Slowed::parse(""), None);
    }

    #[test]
    fn a_fast_store_is_not_slowed_by_its_noise() {
        let mut governor = Governor::new(2.0);
        // Tenths of a millisecond, now and then tenfold.
        for window in 0..1_000 {
            let took = if window % 7 == 0 { 0.001 } else { 0.0001 };
            governor.see(&Seen { target_writes: Some(took), ..appends(took) });
            assert!(near(governor.factor(), 1.0));
        }
    }
}
