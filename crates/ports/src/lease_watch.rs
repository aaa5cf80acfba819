//! The expiry of leases as an observer sees it: never longer than their length, whatever clock wrote
//! them.
//!
//! A lease has an expiry time, by the control plane's clock. Where that is a host's clock, it may have
//! been wrong when the lease was written and be right again now. So a process honours a lease until that
//! time, but for no longer than its length after this process first saw it in that form, by a monotonic
//! clock. A live holder renews it long before, which changes its form.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use tokio::time::Instant;

use crate::ActiveLease;

/// The length of a lease without a recorded one: the longest that can be configured.
pub const LEASE_MS_MAX: u64 = 600_000;

/// A lease as it was last taken or renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The process.
    pub holder: String,
    /// When it expires, by the clock that wrote it.
    pub expires_at: Timestamp,
    /// Its length, in milliseconds; `None` if it was not recorded.
    pub length_ms: Option<u64>,
}

/// What this process has seen of leases. One per handle of a control plane and kind of lease.
#[derive(Debug)]
pub struct LeaseWatch<K = MigrationId>(Mutex<HashMap<K, Sighting>>);

impl<K> Default for LeaseWatch<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Debug)]
struct Sighting {
    row: LeaseRow,
    since: Instant,
}

impl<K: Eq + Hash> LeaseWatch<K> {
    /// The lease as others see it; `None` once its time has run out. `now` is by the control plane's
    /// clock.
    pub fn active(&self, id: K, row: Option<LeaseRow>, now: Timestamp) -> Option<ActiveLease> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = |row: &LeaseRow| row.expires_at.micros().saturating_sub(now.micros());
        let Some(row) = row.filter(|row| claimed(row) > 0) else {
            seen.remove(&id);
            return None;
        };
        let claimed = Duration::from_micros(u64::try_from(claimed(&row)).unwrap_or(0));
        let length = Duration::from_millis(row.length_ms.unwrap_or(LEASE_MS_MAX));
        let holder = row.holder.clone();
        let sighting =
            seen.entry(id).or_insert_with(|| Sighting { row: row.clone(), since: Instant::now() });
        if sighting.row != row {
            *sighting = Sighting { row, since: Instant::now() };
        }
        let left = claimed.min(length.saturating_sub(sighting.since.elapsed()));
        (!left.is_zero()).then(|| ActiveLease {
            holder,
            remaining_ms: u64::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX),
            ahead_ms: u64::try_from(claimed.saturating_sub(length).as_millis()).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(all(test, feature = "contract"))]
mod tests {
    use super::*;
    use crate::contract::kit::migration_id;

    #[expect(clippy::unnecessary_wraps, reason = "as the watch takes and returns it")]
    fn row(expires_at_s: i64, length_s: Option<u64>) -> Option<LeaseRow> {
        Some(LeaseRow {
            holder: "one".to_owned(),
            expires_at: at(expires_at_s),
            length_ms: length_s.map(|s| s * 1_000),
        })
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the watch takes and returns it")]
    fn active(remaining_s: u64, ahead_s: u64) -> Option<ActiveLease> {
        Some(ActiveLease {
            holder: "one".to_owned(),
            remaining_ms: remaining_s * 1_000,
            ahead_ms: ahead_s * 1_000,
        })
    }

    const YEAR: i64 = 365 * 86_400;

    #[tokio::test(start_paused = true)]
    async fn a_lease_from_a_clock_ahead_is_honoured_for_its_length() {
        let watch = LeaseWatch::default();
        let ahead = || row(YEAR, Some(5));
        assert_eq!(watch.active(migration_id(1), ahead(), at(0)), active(5, YEAR as u64 - 5));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(watch.active(migration_id(1), ahead(), at(4)), active(1, YEAR as u64 - 9));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(watch.active(migration_id(1), ahead(), at(5)), None);
        assert_eq!(watch.active(migration_id(1), ahead(), at(6)), None, "and is not forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_renewed_by_a_clock_ahead_is_honoured_on() {
        let watch = LeaseWatch::default();
        for renewed in 0..10 {
            assert!(
                watch.active(migration_id(1), row(YEAR + renewed, Some(5)), at(renewed)).is_some()
            );
            tokio::time::advance(Duration::from_secs(4)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_runs_out_by_the_control_planes_clock_too() {
        let watch = LeaseWatch::default();
        assert_eq!(watch.active(migration_id(1), row(5, Some(5)), at(3)), active(2, 0));
        assert_eq!(watch.active(migration_id(1), row(5, Some(5)), at(5)), None);
        assert_eq!(watch.active(migration_id(1), None, at(5)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_unknown_length_has_the_longest() {
        let watch = LeaseWatch::default();
        let max = LEASE_MS_MAX / 1_000;
        assert_eq!(
            watch.active(migration_id(1), row(YEAR, None), at(0)),
            active(max, YEAR as u64 - max)
        );
    }
}
