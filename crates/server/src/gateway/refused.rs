//! Log lines about failed appends: an outage fails thousands a second, and must not
//! flood the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use tokio::time::Instant;

/// Shortest time between two lines of one kind about one tenant.
const EVERY: Duration = Duration::from_secs(10);
/// Maximum number of kinds and tenants that are rate-limited separately. Beyond them no line is written: the log names
/// enough.
const KEPT_MAX: usize = 1_000;

/// When a line of each kind was last written about each tenant, and how many were left out since.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<HashMap<(&'static str, TenantId), Last>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    left_out: u64,
}

impl Refused {
    /// Has a line written, with how many like it were left out before, unless one was written a short time
    /// ago.
    pub(super) fn note(&self, kind: &'static str, tenant: TenantId, write: impl FnOnce(u64)) {
        if let Some(left_out) = self.due(kind, tenant) {
            write(left_out);
        }
    }

    fn due(&self, kind: &'static str, tenant: TenantId) -> Option<u64> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = kept.get_mut(&(kind, tenant)) {
            if last.at.elapsed() < EVERY {
                last.left_out += 1;
                return None;
            }
            let left_out = std::mem::take(&mut last.left_out);
            last.at = Instant::now();
            return Some(left_out);
        }
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, last| last.at.elapsed() < EVERY || last.left_out > 0);
        }
        if kept.len() >= KEPT_MAX {
            return None;
        }
        kept.insert((kind, tenant), Last { at: Instant::now(), left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_written_now_and_then_and_counts_those_that_were_not() {
        let refused = Refused::default();
        let tenant = |n| TenantId::new(Uuid::from_u128(n));
        assert_eq!(refused.due("unavailable", tenant(1)), Some(0));
        for _ in 0..7 {
            assert_eq!(refused.due("unavailable", tenant(1)), None);
        }
        assert_eq!(refused.due("unavailable", tenant(2)), Some(0), "another tenant");
        assert_eq!(refused.due("outcome_unknown", tenant(1)), Some(0), "another kind");
        tokio::time::advance(EVERY).await;
        assert_eq!(refused.due("unavailable", tenant(1)), Some(7));
        assert_eq!(refused.due("unavailable", tenant(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded() {
        let refused = Refused::default();
        for n in 0..2 * KEPT_MAX {
            refused.due("unavailable", TenantId::new(Uuid::from_u128(n as u128)));
        }
        assert_eq!(refused.0.lock().unwrap().len(), KEPT_MAX);
        tokio::time::advance(EVERY).await;
        let next = TenantId::new(Uuid::from_u128(u128::MAX));
        assert_eq!(refused.due("unavailable", next), Some(0), "the old ones make room");
    }
}
