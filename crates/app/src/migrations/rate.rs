//! How much a tenant writes, by the times of its last events: it counts every writer of the deployment,
//! and costs no waiting.

use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_ports::BatchLimit;

use crate::deployment::Deployment;
use crate::error::AppError;

/// The window of the rate.
pub const RATE_WINDOW: Duration = Duration::from_secs(60);
/// An event that was recorded at most so long after it occurred was written when it happened; one that is
/// older was imported or replayed. Buffers and queues of applications are emptied within this.
pub const LIVE_WITHIN: Duration = Duration::from_secs(60);
/// Maximum number of last events to read.
const LAST_EVENTS: usize = 1_000;

/// The number of events in a tenant's history, in the store that has the authority.
pub async fn history_length(deployment: &Deployment, tenant: TenantId) -> Result<u64, AppError> {
    let route = deployment.engine().control().known_route(tenant).await?;
    Ok(deployment.store(&route.store)?.ledger(tenant).await?.head.seq)
}

/// What the tenant wrote in the last minute, by the times of the last events.
pub async fn rate_lately(deployment: &Deployment, tenant: TenantId) -> Result<WriteRate, AppError> {
    let route = deployment.engine().control().known_route(tenant).await?;
    let store = deployment.store(&route.store)?;
    let seq = store.ledger(tenant).await?.head.seq;
    let after = seq.saturating_sub(LAST_EVENTS as u64);
    let feed = store.read_feed(tenant, after, BatchLimit::events(LAST_EVENTS)).await?;
    let times = feed.events.iter().map(|event| Times {
        recorded: event.recorded_at.micros(),
        occurred: event.occurred_at.micros(),
    });
    Ok(WriteRate::of(&times.collect::<Vec<_>>(), deployment.now().micros()))
}

/// The times of an event, in microseconds.
#[derive(Clone, Copy)]
struct Times {
    recorded: i64,
    occurred: i64,
}

impl Times {
    /// It was written when it happened. What an import or a replay writes happened long before.
    fn is_live(self) -> bool {
        self.recorded.saturating_sub(self.occurred) <= micros(LIVE_WITHIN)
    }
}

/// What a tenant writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteRate {
    /// Events per second.
    pub events_per_s: f64,
    /// Events of the last minute that an import or a replay wrote. They are no part of the rate.
    pub replayed: usize,
}

impl WriteRate {
    /// By the last events: the number written per second in the last minute; if all of them
    /// are within it, since the first of them.
    fn of(times: &[Times], now: i64) -> Self {
        let from = now - micros(RATE_WINDOW);
        let lately: Vec<_> = times.iter().filter(|times| times.recorded > from).collect();
        let live = lately.iter().filter(|times| times.is_live()).count();
        let seconds = match lately.first() {
            // There may be more before them in that minute.
            Some(first) if lately.len() == LAST_EVENTS && now > first.recorded => {
                (now - first.recorded) as f64 / 1e6
            }
            _ => RATE_WINDOW.as_secs_f64(),
        };
        Self { events_per_s: live as f64 / seconds, replayed: lately.len() - live }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn is(rate: f64, expected: f64) {
        assert!((rate - expected).abs() < 1e-9, "{rate} is not {expected}");
    }

    fn rate_of(recorded: &[i64], now: i64) -> f64 {
        let live = recorded.iter().map(|at| Times { recorded: *at, occurred: *at - 1_000 });
        let rate = WriteRate::of(&live.collect::<Vec<_>>(), now);
        assert_eq!(rate.replayed, 0);
        rate.events_per_s
    }

    #[test]
    fn a_rate_is_of_the_events_of_the_last_minute() {
        is(rate_of(&[], NOW), 0.0);
        // One long ago, as an import leaves them, and thirty in the last half minute.
        let times: Vec<_> = [NOW - 3_600_000_000]
            .into_iter()
            .chain((0..30).map(|n| NOW - 30_000_000 + n * 1_000_000))
            .collect();
        is(rate_of(&times, NOW), 0.5);
        is(rate_of(&[NOW - 60_000_000], NOW), 0.0);
        is(rate_of(&[NOW - 59_999_999], NOW), 1.0 / 60.0);
    }

    #[test]
    fn where_there_are_more_than_were_looked_at_their_own_times_tell() {
        let times: Vec<_> = (0..1_000).map(|n| NOW - 1_000_000 + n * 1_000).collect();
        is(rate_of(&times, NOW), 1_000.0);
        // A burst, and half a minute of silence since.
        let times: Vec<_> = times.iter().map(|at| at - 31_000_000).collect();
        is(rate_of(&times, NOW), 1_000.0 / 32.0);
    }

    #[test]
    fn what_an_import_wrote_is_not_what_the_tenant_writes() {
        // Recorded within the last seconds, and happened through the last years.
        let imported = (0..990).map(|n| Times {
            recorded: NOW - 2_000_000 + n * 1_000,
            occurred: NOW - (n + 1) * 86_400_000_000,
        });
        let live = (0..10).map(|n| NOW - 1_000_000 + n * 100_000);
        let live = live.map(|at| Times { recorded: at, occurred: at - 5_000_000 });
        let imported: Vec<_> = imported.collect();
        let rate = WriteRate::of(&imported, NOW);
        assert_eq!(rate, WriteRate { events_per_s: 0.0, replayed: 990 });
        let both: Vec<_> = imported.into_iter().chain(live).collect();
        let rate = WriteRate::of(&both, NOW);
        assert_eq!(rate.replayed, 990);
        is(rate.events_per_s, 10.0 / 2.0);
    }

    #[test]
    fn an_event_that_came_late_by_up_to_a_minute_is_live() {
        let late = |by| Times { recorded: NOW, occurred: NOW - by };
        assert!(late(60_000_000).is_live());
        assert!(!late(60_000_001).is_live());
        assert!(late(-3_600_000_000).is_live(), "a clock that is ahead");
    }
}
