//! The size of the database, and how far the replicas of the server are behind it.
//!
//! A replica's lag is measured by positions in the write-ahead log and by the clock of this process: it is the time since
//! the server was first seen beyond the position that the replica has replayed. So a replica that hangs falls behind more
//! and more, and no clock of another machine matters. Without the rights of `pg_read_all_stats` the positions of replicas are unknown.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rehome_ports::Condition;

use super::Server;
use crate::error::ServerError;
use crate::rows;

/// How many positions are kept; older ones than all of these count as the oldest.
const POSITIONS_MAX: usize = 256;

/// Where the server was when, oldest first.
#[derive(Default)]
pub(crate) struct Positions(Mutex<VecDeque<(Instant, i64)>>);

impl Positions {
    /// The server is at `current`, its slowest replica has replayed up to `replayed`: how far it is behind.
    fn lag(&self, now: Instant, current: i64, replayed: Option<i64>) -> Option<Duration> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.back().is_none_or(|(_, last)| *last < current) {
            seen.push_back((now, current));
        }
        if seen.len() > POSITIONS_MAX {
            seen.pop_front();
        }
        let replayed = replayed?;
        if replayed >= current {
            return Some(Duration::ZERO);
        }
        let first = seen.partition_point(|(_, position)| *position <= replayed);
        let since = seen.get(first).map_or(now, |(at, _)| *at);
        Some(now.saturating_duration_since(since))
    }
}

impl Server {
    /// What the server reports about itself.
    pub(crate) async fn condition(&self) -> Result<Condition, ServerError> {
        let sql = "SELECT pg_database_size(current_database()), \
                   CASE WHEN NOT pg_is_in_recovery() \
                        THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8 END, \
                   (SELECT min(pg_wal_lsn_diff(replay_lsn, '0/0'))::int8 FROM pg_stat_replication)";
        let mut client = self.client().await?;
        let found = client.read(sql, &[]).await?;
        let Some(row) = found.first() else { return Ok(Condition::default()) };
        let used_bytes = Some(rows::count(row, 0)?);
        let (current, replayed): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        let replica_lag =
            current.and_then(|current| self.positions.lag(Instant::now(), current, replayed));
        Ok(Condition { used_bytes, replica_lag, ..Condition::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_lag_is_the_time_since_the_server_wrote_what_the_replica_lacks() {
        let (positions, start) = (Positions::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        assert_eq!(positions.lag(at(0), 100, Some(100)), Some(seconds(0)));
        // It may have been written just now.
        assert_eq!(positions.lag(at(2), 200, Some(150)), Some(seconds(0)));
        assert_eq!(positions.lag(at(4), 300, Some(150)), Some(seconds(2)));
        assert_eq!(positions.lag(at(6), 400, Some(250)), Some(seconds(2)));
        // The server writes nothing more, and the replica hangs.
        assert_eq!(positions.lag(at(60), 400, Some(250)), Some(seconds(56)));
        assert_eq!(positions.lag(at(61), 400, Some(400)), Some(seconds(0)));
        assert_eq!(positions.lag(at(62), 400, None), None);
    }

    #[test]
    fn a_server_that_was_idle_does_not_count_the_idle_time() {
        let (positions, start) = (Positions::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        assert_eq!(positions.lag(at(0), 100, Some(100)), Some(seconds(0)));
        assert_eq!(positions.lag(at(500), 100, Some(100)), Some(seconds(0)));
        assert_eq!(positions.lag(at(502), 200, Some(100)), Some(seconds(0)));
        assert_eq!(positions.lag(at(504), 200, Some(100)), Some(seconds(2)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (positions, start) = (Positions::default(), Instant::now());
        for second in 0..1_000_u32 {
            positions.lag(start + Duration::from_secs(second.into()), second.into(), Some(0));
        }
        let lag = positions.lag(start + Duration::from_secs(1_000), 1_000, Some(0));
        assert_eq!(lag, Some(seconds(255)));
    }
}
