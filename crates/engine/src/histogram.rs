//! A histogram that many may add to at once without waiting for each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts durations by upper bounds in seconds, ascending. No lock: an observation is two additions.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One per bound, and one above the last.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    /// Empty, with these upper bounds.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// Counts `times` observations of this duration.
    pub fn observe_many(&self, took: Duration, times: u64) {
        let seconds = took.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[index].fetch_add(times, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos.saturating_mul(times), Ordering::Relaxed);
    }

    /// Counts what another has counted, which has the same bounds.
    pub fn add(&self, other: &Self) {
        for (to, from) in self.counts.iter().zip(&other.counts) {
            to.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.nanos.fetch_add(other.nanos.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// As it is now.
    pub fn snapshot(&self) -> Snapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let nanos = self.nanos.load(Ordering::Relaxed);
        Snapshot { buckets: bounds.zip(counts).collect(), sum: nanos as f64 / 1e9 }
    }
}

impl Clone for Histogram {
    fn clone(&self) -> Self {
        let copy = Self::new(self.bounds);
        copy.add(self);
        copy
    }
}

/// What a histogram had counted at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Upper bound in seconds (the last is infinite), and how many were in this bucket alone.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together, in seconds.
    pub sum: f64,
}

impl Snapshot {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// The counts between `before` and now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&before.buckets);
        let buckets = pairs.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then)));
        Self { buckets: buckets.collect(), sum: (self.sum - before.sum).max(0.0) }
    }

    /// The quantile, in seconds, by linear interpolation inside its bucket, like Prometheus's
    /// `histogram_quantile`; `None` without observations. Values above the last
    /// bound are reported as the last bound.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile * count as f64;
        let (mut below, mut lower) = (0_u64, 0.0);
        for (upper, inside) in &self.buckets {
            if *inside > 0 && (below + inside) as f64 >= rank {
                if upper.is_infinite() {
                    return Some(lower);
                }
                let share = (rank - below as f64).max(0.0) / *inside as f64;
                return Some(lower + (upper - lower) * share);
            }
            below += inside;
            if upper.is_finite() {
                lower = *upper;
            }
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[f64] = &[0.01, 0.1, 1.0];

    #[test]
    fn a_duration_on_a_bound_is_within_it() {
        let histogram = Histogram::new(BOUNDS);
        histogram.observe(Duration::from_millis(10));
        histogram.observe(Duration::from_secs(2));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [(0.01, 1), (0.1, 0), (1.0, 0), (f64::INFINITY, 1)]);
        assert_eq!((snapshot.count(), snapshot.sum), (2, 2.01));
    }

    #[test]
    fn a_quantile_is_interpolated_in_its_bucket() {
        let histogram = Histogram::new(BOUNDS);
        histogram.observe_many(Duration::from_millis(5), 50);
        histogram.observe_many(Duration::from_millis(50), 50);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.quantile(0.5), Some(0.01));
        let p75 = snapshot.quantile(0.75).unwrap();
        assert!((p75 - 0.055).abs() < 1e-9, "{p75}");
        assert_eq!(Histogram::new(BOUNDS).snapshot().quantile(0.5), None);
    }

    #[test]
    fn what_came_after_a_moment_is_told_apart() {
        let histogram = Histogram::new(BOUNDS);
        histogram.observe(Duration::from_millis(5));
        let before = histogram.snapshot();
        histogram.observe(Duration::from_millis(500));
        let since = histogram.snapshot().since(&before);
        assert_eq!(since.buckets, [(0.01, 0), (0.1, 0), (1.0, 1), (f64::INFINITY, 0)]);
    }
}
