//! For how much of the last five minutes the mirrors' writes failed.

use std::collections::{BTreeMap, HashMap};
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Phase;
use rehome_engine::{Observer, Signal, Way};
use rehome_ports::clock::Clock;

/// Length of the window, in seconds.
const WINDOW_S: i64 = 300;
/// The window moves in steps of so many seconds.
const STEP_S: i64 = 10;

/// Time with something to mirror, and the part of it in which the target did not accept it, in
/// milliseconds. Each second in which a write ended counts, weighted by the share of its writes that failed;
/// and each second from a failed write to the next success, in which the mirror waits for its retry
/// or for a response, counts as failed.
///
/// So a target that accepts nothing has failed all the time, whatever the number of attempts; and
/// thousands of events in one earlier write do not hide it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) attempted: u64,
    pub(crate) failed: u64,
}

/// A second, as it is counted.
const SECOND: u64 = 1_000;

impl Counts {
    /// From 0 to 1; 0 where nothing was attempted.
    pub(crate) fn failure_rate(self) -> f64 {
        if self.attempted == 0 { 0.0 } else { self.failed as f64 / self.attempted as f64 }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { attempted: self.attempted + other.attempted, failed: self.failed + other.failed }
    }
}

/// Counts by the step in which the time was: its beginning, as Unix time in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MirrorCounts(BTreeMap<i64, Counts>);

impl MirrorCounts {
    /// Parses the text of [`MirrorCounts::write`]; an unreadable one counts nothing.
    pub(crate) fn read(text: &str) -> Self {
        let steps: Vec<(i64, u64, u64)> = serde_json::from_str(text).unwrap_or_default();
        Self(
            steps
                .into_iter()
                .map(|(at, attempted, failed)| (at, Counts { attempted, failed }))
                .collect(),
        )
    }

    /// As one line of JSON: `[[second, attempted, failed], ...]`.
    pub(crate) fn write(&self) -> String {
        let steps: Vec<_> =
            self.0.iter().map(|(at, counts)| (at, counts.attempted, counts.failed)).collect();
        serde_json::to_string(&steps).unwrap_or_default()
    }

    /// All of the last five minutes.
    pub(crate) fn lately(&self, now: Timestamp) -> Counts {
        let oldest = step(now) - WINDOW_S;
        // Later dates are from a clock that was ahead.
        self.0
            .range(oldest + 1..=step(now) + STEP_S)
            .map(|(_, counts)| *counts)
            .fold(Counts::default(), Add::add)
    }

    /// Merges two counts of the same time: of each step, the larger one.
    #[must_use]
    pub(crate) fn beside(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (at, counts) in &other.0 {
            let held = both.0.entry(*at).or_default();
            held.attempted = held.attempted.max(counts.attempted);
            held.failed = held.failed.max(counts.failed);
        }
        both
    }

    fn add(&mut self, at: i64, counts: Counts) {
        let held = self.0.entry(at).or_default();
        *held = *held + counts;
    }

    /// A second of which this share failed.
    fn add_second(&mut self, second: i64, failed: u64) {
        let counts = Counts { attempted: SECOND, failed };
        self.add(second.div_euclid(STEP_S) * STEP_S, counts);
    }

    fn forget_before(&mut self, oldest: i64) {
        self.0 = self.0.split_off(&oldest);
    }
}

fn second(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

fn step(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000).div_euclid(STEP_S) * STEP_S
}

/// An observer of this process's mirrors.
pub(crate) struct MirrorWindow {
    clock: Arc<dyn Clock>,
    migrations: Mutex<HashMap<MigrationId, Kept>>,
}

#[derive(Clone, Default)]
struct Kept {
    counts: MirrorCounts,
    /// The second that is not over, and its writes.
    now: i64,
    writes: u64,
    failures: u64,
    /// The last write failed, and none has succeeded since.
    failing: bool,
    inherited: bool,
    unwritten: bool,
}

impl Kept {
    /// Counts the seconds that are over.
    fn advance(&mut self, to: i64) {
        if self.now == 0 {
            self.now = to;
        }
        // Steps before the window are irrelevant, and a clock may leap.
        self.now = self.now.max(to - WINDOW_S - STEP_S);
        while self.now < to {
            if let Some(failed) = self.failed_now() {
                self.counts.add_second(self.now, failed);
                self.unwritten = true;
            }
            (self.writes, self.failures) = (0, 0);
            self.now += 1;
        }
    }

    /// The part of this second that failed; `None`: nothing was to be mirrored.
    fn failed_now(&self) -> Option<u64> {
        match self.writes {
            0 => self.failing.then_some(SECOND),
            writes => Some(self.failures * SECOND / writes),
        }
    }

    fn wrote(&mut self, at: i64) {
        self.advance(at);
        self.writes += 1;
        self.failing = false;
    }

    /// A write has failed, or hangs, after so many seconds without another.
    fn failed(&mut self, at: i64, after: i64) {
        self.advance(at);
        if !self.failing {
            let began = (at - after).max(at - WINDOW_S);
            for second in began..at {
                self.counts.add_second(second, SECOND);
            }
        }
        self.writes += 1;
        self.failures += 1;
        self.failing = true;
    }

    /// As it is now: with the second that is not over.
    fn seen(&self, at: i64) -> MirrorCounts {
        let mut kept = self.clone();
        kept.advance(at);
        if let Some(failed) = kept.failed_now() {
            kept.counts.add_second(kept.now, failed);
        }
        kept.counts
    }
}

impl MirrorWindow {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, migrations: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MigrationId, Kept>> {
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of a migration.
    pub(crate) fn counts(&self, id: MigrationId) -> MirrorCounts {
        let now = second(self.clock.now());
        self.lock().get(&id).map(|kept| kept.seen(now)).unwrap_or_default()
    }

    /// The migrations with counts since the last memo. Removes old counts.
    pub(crate) fn unwritten(&self) -> Vec<MigrationId> {
        let now = self.clock.now();
        let oldest = step(now) - WINDOW_S;
        let mut migrations = self.lock();
        migrations.retain(|_, kept| {
            kept.advance(second(now));
            kept.counts.forget_before(oldest);
            kept.failing || kept.writes > 0 || !kept.counts.0.is_empty()
        });
        migrations.iter().filter(|(_, kept)| kept.unwritten).map(|(id, _)| *id).collect()
    }

    /// Whether what another process counted before is in.
    pub(crate) fn has_inherited(&self, id: MigrationId) -> bool {
        self.lock().get(&id).is_some_and(|kept| kept.inherited)
    }

    /// Adds what another process counted before; once.
    pub(crate) fn inherit(&self, id: MigrationId, before: &MirrorCounts) {
        if let Some(kept) = self.lock().get_mut(&id).filter(|kept| !kept.inherited) {
            kept.inherited = true;
            for (at, counts) in &before.0 {
                kept.counts.add(*at, *counts);
            }
        }
    }

    fn ended(&self, id: MigrationId, now: i64) {
        if let Some(kept) = self.lock().get_mut(&id) {
            kept.advance(now);
            kept.failing = false;
        }
    }

    /// These were written.
    pub(crate) fn written(&self, id: MigrationId, counts: &MirrorCounts) {
        if let Some(kept) = self.lock().get_mut(&id) {
            kept.unwritten = kept.failing || kept.counts != *counts;
        }
    }
}

impl Observer for MirrorWindow {
    fn hear(&self, signal: &Signal<'_>) {
        let now = second(self.clock.now());
        match *signal {
            Signal::Mirrored { migration, way: Way::There, .. } => {
                self.lock().entry(migration.id).or_default().wrote(now);
            }
            Signal::MirrorFailed { migration, way: Way::There, took, .. } => {
                let after = i64::try_from(took.as_secs()).unwrap_or(WINDOW_S);
                self.lock().entry(migration.id).or_default().failed(now, after);
            }
            // There is no mirror here any more: time alone shows nothing about the target.
            Signal::Seen { migration } | Signal::Recorded { migration, .. }
                if migration.state.phase() != Phase::DualWrite =>
            {
                self.ended(migration.id, now);
            }
            Signal::Left { migration, .. } => self.ended(migration.id, now),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn counts(steps: &[(i64, u64, u64)]) -> MirrorCounts {
        MirrorCounts(
            steps
                .iter()
                .map(|(at, attempted, failed)| {
                    (*at, Counts { attempted: *attempted, failed: *failed })
                })
                .collect(),
        )
    }

    #[test]
    fn what_is_older_than_five_minutes_no_longer_counts() {
        let counts = counts(&[(1_000, 10, 1), (1_290, 5, 5)]);
        assert_eq!(counts.lately(at(1_299)), Counts { attempted: 15, failed: 6 });
        assert_eq!(counts.lately(at(1_300)), Counts { attempted: 5, failed: 5 });
        assert_eq!(counts.lately(at(1_589)), Counts { attempted: 5, failed: 5 });
        assert_eq!(counts.lately(at(1_590)), Counts::default());
        assert!(Counts::default().failure_rate().abs() < f64::EPSILON);
    }

    /// Plays the signals of a mirror, second by second, and returns the counts.
    fn heard(seconds: impl IntoIterator<Item = fn(&mut Kept, i64)>) -> Counts {
        let mut kept = Kept::default();
        let mut now = 1_000_000;
        for happens in seconds {
            now += 1;
            kept.advance(now);
            happens(&mut kept, now);
        }
        kept.seen(now).lately(at(now))
    }

    fn rate(seconds: impl IntoIterator<Item = fn(&mut Kept, i64)>) -> f64 {
        heard(seconds).failure_rate()
    }

    const NOTHING: fn(&mut Kept, i64) = |_, _| {};
    const WRITES: fn(&mut Kept, i64) = Kept::wrote;
    const FAILS: fn(&mut Kept, i64) = |kept, now| kept.failed(now, 0);
    const HANGS: fn(&mut Kept, i64) = |kept, now| kept.failed(now, 5);

    fn is(rate: f64, wanted: f64) {
        assert!((rate - wanted).abs() < 1e-9, "{rate}, not {wanted}");
    }

    #[test]
    fn a_target_that_takes_nothing_has_failed_all_of_the_time() {
        is(rate([NOTHING; 60]), 0.0);
        is(rate([WRITES; 60]), 0.0);
        is(rate([FAILS; 60]), 1.0);
        // Whatever is tried how often meanwhile.
        is(rate([FAILS].into_iter().chain([NOTHING; 59])), 1.0);
        is(rate([NOTHING; 5].into_iter().chain([HANGS]).chain([NOTHING; 30])), 1.0);
    }

    #[test]
    fn time_counts_while_the_mirror_waits_before_it_tries_again() {
        let outage = [WRITES; 30].into_iter().chain([FAILS]).chain([NOTHING; 29]);
        is(rate(outage.clone()), 0.5);
        let over = outage.chain([WRITES]).chain([NOTHING; 100]);
        is(rate(over.clone()), 30.0 / 61.0);
        is(rate(over.chain([NOTHING; 400])), 0.0);
    }

    #[test]
    fn a_write_that_hangs_has_failed_since_it_began() {
        let hangs = [WRITES; 95].into_iter().chain([NOTHING; 5]).chain([HANGS]);
        is(rate(hangs.clone()), 6.0 / 101.0);
        // Its further failures are of the same time.
        is(rate(hangs.chain([NOTHING; 4]).chain([HANGS])), 11.0 / 106.0);
    }

    #[test]
    fn a_failure_among_many_writes_of_a_second_is_its_share_of_the_second() {
        let some: fn(&mut Kept, i64) = |kept, now| {
            kept.failed(now, 0);
            (0..99).for_each(|_| kept.wrote(now));
        };
        is(rate([some; 10]), 0.01);
    }

    #[test]
    fn the_window_is_five_minutes() {
        let counts = heard([FAILS; 1_000]);
        assert!((290_000..=300_000).contains(&counts.attempted), "{counts:?}");
        assert_eq!(counts.attempted, counts.failed);
        is(rate([FAILS; 1_000].into_iter().chain([WRITES; 301])), 0.0);
    }

    #[test]
    fn a_mirror_that_was_stopped_no_longer_fails() {
        let clock = Arc::new(rehome_ports::memory::ManualClock::default());
        let window = MirrorWindow::new(clock.clone());
        let id = MigrationId::new(Uuid::from_u128(1));
        let now = second(clock.now());
        window.lock().entry(id).or_default().failed(now, 0);
        clock.advance(std::time::Duration::from_secs(20));
        let failed = window.counts(id).lately(clock.now());
        window.ended(id, now + 20);
        clock.advance(std::time::Duration::from_secs(20));
        assert_eq!(failed.failed / SECOND, 21);
        assert_eq!(window.counts(id).lately(clock.now()).failed / SECOND, 20);
        assert_eq!(window.unwritten(), [id]);
    }

    #[test]
    fn what_was_written_is_read_and_what_is_not_ours_counts_nothing() {
        let counts = counts(&[(1_000, 10, 1), (1_290, 5, 5)]);
        assert_eq!(MirrorCounts::read(&counts.write()), counts);
        for text in ["", "{}", "[[1]]", "[[1,2,-3]]"] {
            assert_eq!(MirrorCounts::read(text), MirrorCounts::default(), "{text}");
        }
    }

    #[test]
    fn two_tellings_of_the_same_events_are_not_added_up() {
        let told = counts(&[(1_000, 10, 1), (1_010, 3, 0)]);
        let own = counts(&[(1_010, 7, 2), (1_020, 1, 0)]);
        let both = counts(&[(1_000, 10, 1), (1_010, 7, 2), (1_020, 1, 0)]);
        assert_eq!(told.beside(&own), both);
        assert_eq!(own.beside(&told), both);
    }

    #[test]
    fn what_another_process_counted_is_added_once() {
        let clock = Arc::new(rehome_ports::memory::ManualClock::default());
        let window = MirrorWindow::new(clock.clone());
        let id = MigrationId::new(Uuid::from_u128(1));
        let now = step(clock.now());
        window.lock().entry(id).or_default().counts.add(now, Counts { attempted: 2, failed: 2 });
        let before = counts(&[(now - 10, 4, 1), (now, 1, 0)]);
        for _ in 0..2 {
            window.inherit(id, &before);
        }
        assert_eq!(window.counts(id), counts(&[(now - 10, 4, 1), (now, 3, 2)]));
    }
}
