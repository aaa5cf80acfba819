//! How many of the mirrors' writes failed in the last five minutes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_engine::{Observer, Signal, Way};
use rehome_ports::clock::Clock;

/// Length of the window, in seconds.
const WINDOW_S: i64 = 300;
/// The window moves in steps of so many seconds.
const STEP_S: i64 = 10;

/// Events that were to be mirrored, and those of them whose write failed. One that is tried again is
/// counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) attempted: u64,
    pub(crate) failed: u64,
}

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

/// Counts by the step in which they happened: its beginning, as Unix time in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MirrorCounts(BTreeMap<i64, Counts>);

impl MirrorCounts {
    /// What [`MirrorCounts::write`] wrote; what is not readable counts nothing.
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
        self.0.range(oldest + 1..).map(|(_, counts)| *counts).fold(Counts::default(), Add::add)
    }

    /// Two tellings of the same events: of each step, the one that has heard more.
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

    fn forget_before(&mut self, oldest: i64) {
        self.0 = self.0.split_off(&oldest);
    }
}

fn step(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000).div_euclid(STEP_S) * STEP_S
}

/// What the mirrors of this process wrote. Hears them.
pub(crate) struct MirrorWindow {
    clock: Arc<dyn Clock>,
    migrations: Mutex<HashMap<MigrationId, Kept>>,
}

#[derive(Default)]
struct Kept {
    counts: MirrorCounts,
    inherited: bool,
    unwritten: bool,
}

impl MirrorWindow {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, migrations: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MigrationId, Kept>> {
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted of a migration.
    pub(crate) fn counts(&self, id: MigrationId) -> MirrorCounts {
        self.lock().get(&id).map(|kept| kept.counts.clone()).unwrap_or_default()
    }

    /// Those of which something was counted since it was written. Forgets what is old.
    pub(crate) fn unwritten(&self) -> Vec<MigrationId> {
        let oldest = step(self.clock.now()) - WINDOW_S;
        let mut migrations = self.lock();
        migrations.retain(|_, kept| {
            kept.counts.forget_before(oldest);
            !kept.counts.0.is_empty()
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

    /// These were written.
    pub(crate) fn written(&self, id: MigrationId, counts: &MirrorCounts) {
        if let Some(kept) = self.lock().get_mut(&id) {
            kept.unwritten = kept.counts != *counts;
        }
    }
}

impl Observer for MirrorWindow {
    fn hear(&self, signal: &Signal<'_>) {
        let (migration, counts) = match *signal {
            Signal::Mirrored { migration, way: Way::There, events, .. } => {
                (migration, Counts { attempted: events, failed: 0 })
            }
            Signal::MirrorFailed { migration, way: Way::There, events, .. } => {
                (migration, Counts { attempted: events, failed: events })
            }
            _ => return,
        };
        let at = step(self.clock.now());
        let mut migrations = self.lock();
        let kept = migrations.entry(migration.id).or_default();
        kept.counts.add(at, counts);
        kept.unwritten = true;
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
