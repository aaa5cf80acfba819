//! The baseline: how a tenant did before its migration, kept with the migration.
//!
//! The rate is the ledger's, so it counts every writer of the deployment: over a window that somebody
//! asks for, or, at the start of a migration, from the times of the last events, which costs no waiting.
//! The latency is known to those through whom the appends go: this process, if it appends for the
//! tenant, or else Prometheus, which scrapes those that do.

use std::time::Duration;

use rehome_api::{Baseline, Time};
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_engine::Snapshot;
use rehome_engine::appends::Outcome;
use rehome_ports::{BatchLimit, ControlError, Memo};

use crate::deployment::Deployment;
use crate::error::{AppError, Kind};

/// The name of the memo.
const MEMO: &str = "baseline";
/// The window of a rate that is told from the times of events.
const LATELY: Duration = Duration::from_secs(60);
/// An event that was recorded at most so long after it occurred was written when it happened; one that is
/// older was imported or replayed. Buffers and queues of applications are emptied within this.
const LIVE_WITHIN: Duration = Duration::from_secs(60);
/// The last events that are looked at for it.
const LAST_EVENTS: usize = 1_000;
/// The window of a latency that is told without waiting.
const LATENCY_WINDOW: Duration = Duration::from_secs(300);
/// Longest that the capture at a start may hold it up.
const AT_START_WITHIN: Duration = Duration::from_secs(2);
/// Longest window.
const WINDOW_MAX: Duration = Duration::from_secs(3_600);

/// A latency, and who saw it.
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) from: &'static str,
}

impl Latency {
    fn of(appends: &Snapshot) -> Option<Self> {
        let ms = |quantile| appends.quantile(quantile).map(|seconds| rounded(seconds * 1_000.0));
        Some(Self { p50_ms: ms(0.5)?, p99_ms: ms(0.99)?, from: "this process" })
    }
}

/// No baseline was taken of the migration.
pub fn baseline_missing(id: MigrationId) -> AppError {
    let message = "no baseline was taken; `rehome migration baseline ID` takes one";
    AppError::new(Kind::NotFound, "no_baseline", message).migration(id)
}

impl Deployment {
    /// Watches the tenant of a migration for `window` and keeps what was seen as its baseline. Refused
    /// once the migration is over: what can then be seen is no normal operation before it.
    pub async fn take_baseline(
        &self,
        id: MigrationId,
        window: Duration,
    ) -> Result<Baseline, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let phase = migration.state.phase();
        let about = |error: AppError| error.migration(id).tenant(migration.tenant).state(phase);
        if matches!(phase, Phase::Migrated | Phase::RolledBack | Phase::Failed) {
            let why = format!("is {phase}; a baseline is taken before that");
            return Err(about(AppError::refused(why)));
        }
        if window < Duration::from_secs(1) || window > WINDOW_MAX {
            let message = "the window must be 1s to 1h";
            return Err(AppError::new(Kind::Usage, "bad_option", message));
        }
        let taken = async {
            let (rate, appends) = self.watched(migration.tenant, window).await?;
            let latency = appends.as_ref().and_then(Latency::of);
            let latency = self.or_told_by_prometheus(migration.tenant, latency, window).await;
            self.keep_baseline(&migration, (rate, None), window, latency).await
        };
        taken.await.map_err(about)
    }

    /// What was kept, if it was.
    pub async fn baseline(&self, id: MigrationId) -> Result<Option<Baseline>, AppError> {
        let memo = self.engine().control().memo(id, MEMO).await?;
        Ok(memo.and_then(|memo| serde_json::from_str(&memo.text).ok()))
    }

    /// The baseline of a migration that was just started. That it cannot be taken stops nobody.
    pub(crate) async fn baseline_at_start(&self, migration: &Migration) {
        let tenant = migration.tenant;
        let taken = async {
            let rate = self.rate_lately(tenant).await?;
            let latency = self.latency_lately(tenant, LATENCY_WINDOW).await;
            let remark = (rate.replayed > 0).then(|| {
                format!(
                    "{} events of the last minute were imported or replayed (recorded more than {} s after \
                     they occurred) and do not count",
                    rate.replayed,
                    LIVE_WITHIN.as_secs()
                )
            });
            self.keep_baseline(migration, (rate.events_per_s, remark), LATELY, latency).await
        };
        let problem = match tokio::time::timeout(AT_START_WITHIN, taken).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(migration_id = %migration.id, problem, "no baseline was taken");
    }

    /// How long the tenant's appends take now, over at most `window`; who knows it, if anybody does.
    pub(crate) async fn latency_lately(
        &self,
        tenant: TenantId,
        window: Duration,
    ) -> Result<Latency, String> {
        let (now, appends) = (self.now(), self.engine().router().appends());
        let from = rehome_domain::event::Timestamp::from_micros(now.micros() - micros(window));
        let own = self.measured().appends().since(tenant, from, appends);
        self.or_told_by_prometheus(tenant, own.as_ref().and_then(Latency::of), window).await
    }

    async fn or_told_by_prometheus(
        &self,
        tenant: TenantId,
        own: Option<Latency>,
        window: Duration,
    ) -> Result<Latency, String> {
        if let Some(own) = own {
            return Ok(own);
        }
        let unseen = "nothing was appended through this process";
        let Some(prometheus) = self.config().monitoring.tools.prometheus() else {
            return Err(format!("{unseen}, and monitoring.prometheus_url is not configured"));
        };
        // A rate needs some scrapes.
        let window_s = window.as_secs().max(60);
        let quantile = async |quantile| {
            let seconds = prometheus.append_latency(tenant, quantile, window_s).await?;
            let ms = seconds.map(|seconds| rounded(seconds * 1_000.0));
            ms.ok_or_else(|| format!("{unseen}, and Prometheus has no appends of the tenant"))
        };
        let (p50_ms, p99_ms) = (quantile(0.5).await?, quantile(0.99).await?);
        Ok(Latency { p50_ms, p99_ms, from: "prometheus" })
    }

    /// The rate over a window that is waited for, and what this process appended in it.
    async fn watched(
        &self,
        tenant: TenantId,
        window: Duration,
    ) -> Result<(f64, Option<Snapshot>), AppError> {
        let appended = || {
            let meter = self.engine().router().appends().tenant(tenant)?;
            Some(meter.durations(Outcome::Ok).snapshot())
        };
        let (before, counted) = (self.seq(tenant).await?, appended());
        let began = tokio::time::Instant::now();
        tokio::time::sleep(window).await;
        let after = self.seq(tenant).await?;
        let rate = after.saturating_sub(before) as f64 / began.elapsed().as_secs_f64();
        let appends = appended().map(|now| match counted {
            Some(before) => now.since(&before),
            None => now,
        });
        Ok((rate, appends.filter(|appends| appends.count() > 0)))
    }

    /// The length of a tenant's history.
    pub(crate) async fn seq(&self, tenant: TenantId) -> Result<u64, AppError> {
        let route = self.engine().control().route(tenant).await?;
        let route = route.ok_or(ControlError::UnknownTenant(tenant))?;
        Ok(self.store(&route.store)?.ledger(tenant).await?.head.seq)
    }

    /// What the tenant wrote in the last minute, by the times of the last events.
    pub(crate) async fn rate_lately(&self, tenant: TenantId) -> Result<WriteRate, AppError> {
        let route = self.engine().control().route(tenant).await?;
        let route = route.ok_or(ControlError::UnknownTenant(tenant))?;
        let store = self.store(&route.store)?;
        let seq = store.ledger(tenant).await?.head.seq;
        let after = seq.saturating_sub(LAST_EVENTS as u64);
        let feed = store.read_feed(tenant, after, BatchLimit::events(LAST_EVENTS)).await?;
        let times = feed.events.iter().map(|event| Times {
            recorded: event.recorded_at.micros(),
            occurred: event.occurred_at.micros(),
        });
        Ok(WriteRate::of(&times.collect::<Vec<_>>(), self.now().micros()))
    }

    async fn keep_baseline(
        &self,
        migration: &Migration,
        (rate, remark): (f64, Option<String>),
        window: Duration,
        latency: Result<Latency, String>,
    ) -> Result<Baseline, AppError> {
        let (latency, unknown) = match latency {
            Ok(latency) => (Some(latency), None),
            Err(why) => (None, Some(format!("the append latency is not known: {why}"))),
        };
        let remarks: Vec<_> = [unknown, remark].into_iter().flatten().collect();
        let remark = (!remarks.is_empty()).then(|| remarks.join("; "));
        let at = self.now();
        let baseline = Baseline {
            taken_at: Time(at.micros()),
            state: migration.state.phase().as_str().to_owned(),
            events_per_s: rounded(rate),
            window_seconds: window.as_secs_f64(),
            append_p50_ms: latency.as_ref().map(|latency| latency.p50_ms),
            append_p99_ms: latency.as_ref().map(|latency| latency.p99_ms),
            latency_from: latency.map(|latency| latency.from.to_owned()),
            remark,
        };
        let text = serde_json::to_string(&baseline)
            .map_err(|error| AppError::failed("unwritable_output", error.to_string()))?;
        self.engine().control().set_memo(migration.id, MEMO, &Memo { at, text }).await?;
        Ok(baseline)
    }
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
pub(crate) struct WriteRate {
    /// Events per second.
    pub(crate) events_per_s: f64,
    /// Events of the last minute that an import or a replay wrote. They are no part of the rate.
    pub(crate) replayed: usize,
}

impl WriteRate {
    /// By the last events: how many were written per second in the last minute; where all that were looked
    /// at lie in it, since the first of them.
    fn of(times: &[Times], now: i64) -> Self {
        let from = now - micros(LATELY);
        let lately: Vec<_> = times.iter().filter(|times| times.recorded > from).collect();
        let live = lately.iter().filter(|times| times.is_live()).count();
        let seconds = match lately.first() {
            // There may be more before them in that minute.
            Some(first) if lately.len() == LAST_EVENTS && now > first.recorded => {
                (now - first.recorded) as f64 / 1e6
            }
            _ => LATELY.as_secs_f64(),
        };
        Self { events_per_s: live as f64 / seconds, replayed: lately.len() - live }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// To thousandths.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
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
