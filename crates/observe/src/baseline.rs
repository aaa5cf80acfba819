//! The baseline: a tenant's load before its migration, stored with the migration.
//!
//! The rate is the ledger's, so it counts every writer of the deployment: over a requested
//! window, or, at the start of a migration, from the times of the last events, without waiting.
//! The latency is known to the processes through which the appends go: this process, if it appends for the
//! tenant, or else Prometheus, which scrapes them.

use std::time::Duration;

use rehome_api::{Baseline, Time};
use rehome_app::migrations::{LIVE_WITHIN, RATE_WINDOW, history_length, rate_lately};
use rehome_app::{AppError, Deployment, Kind};
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_engine::Snapshot;
use rehome_engine::appends::Outcome;
use rehome_ports::Memo;

use crate::stats::Stats;
use crate::tools::Tools;

/// The name of the memo.
const MEMO: &str = "baseline";
/// The window of a latency that is measured without waiting.
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

/// The migration has no baseline.
pub fn baseline_missing(id: MigrationId) -> AppError {
    let message = "there is no baseline; `rehome migration baseline ID` records one";
    AppError::new(Kind::NotFound, "no_baseline", message).migration(id)
}

/// Baselines of the migrations of a deployment.
#[derive(Clone, Copy)]
pub(crate) struct Baselines<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) stats: &'a Stats,
}

impl Baselines<'_> {
    /// Measures the load of a migration's tenant for `window` and records it as the baseline. Refused
    /// once the migration has ended, because the load is then no longer that before the migration.
    pub(crate) async fn take(
        self,
        id: MigrationId,
        window: Duration,
    ) -> Result<Baseline, AppError> {
        let migration = self.deployment.engine().control().migration(id).await?;
        let phase = migration.state.phase();
        let about = |error: AppError| error.migration(id).tenant(migration.tenant).state(phase);
        if matches!(phase, Phase::Migrated | Phase::RolledBack | Phase::Failed) {
            let why = format!("is {phase}; a baseline can only be recorded before that");
            return Err(about(AppError::refused(why)));
        }
        if window < Duration::from_secs(1) || window > WINDOW_MAX {
            let message = "the window must be 1s to 1h";
            return Err(AppError::new(Kind::Usage, "bad_option", message));
        }
        let taken = async {
            let (rate, appends) = self.watched(migration.tenant, window).await?;
            let latency = appends.as_ref().and_then(Latency::of);
            let latency = self.or_from_prometheus(migration.tenant, latency, window).await;
            self.keep(&migration, (rate, None), window, latency).await
        };
        taken.await.map_err(about)
    }

    /// The recorded baseline, if any.
    pub(crate) async fn of(self, id: MigrationId) -> Result<Option<Baseline>, AppError> {
        let memo = self.deployment.engine().control().memo(id, MEMO).await?;
        Ok(memo.and_then(|memo| serde_json::from_str(&memo.text).ok()))
    }

    /// The baseline of a migration that was just started. A failure to record it stops nothing.
    pub(crate) async fn take_at_start(self, migration: &Migration) {
        let tenant = migration.tenant;
        let taken = async {
            let rate = rate_lately(self.deployment, tenant).await?;
            let latency = self.latency_lately(tenant, LATENCY_WINDOW).await;
            let remark = (rate.replayed > 0).then(|| {
                format!(
                    "{} events of the last minute were imported or replayed (recorded more than {} s after \
                     they occurred) and do not count",
                    rate.replayed,
                    LIVE_WITHIN.as_secs()
                )
            });
            self.keep(migration, (rate.events_per_s, remark), RATE_WINDOW, latency).await
        };
        let problem = match tokio::time::timeout(AT_START_WITHIN, taken).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it timed out".to_owned(),
        };
        tracing::warn!(migration_id = %migration.id, problem, "no baseline was recorded");
    }

    /// The present latency of the tenant's appends, over at most `window`; and its source, if any.
    pub(crate) async fn latency_lately(
        self,
        tenant: TenantId,
        window: Duration,
    ) -> Result<Latency, String> {
        let (now, appends) = (self.deployment.now(), self.deployment.engine().router().appends());
        let from = rehome_domain::event::Timestamp::from_micros(now.micros() - micros(window));
        let own = self.stats.appends().since(tenant, from, appends);
        self.or_from_prometheus(tenant, own.as_ref().and_then(Latency::of), window).await
    }

    async fn or_from_prometheus(
        self,
        tenant: TenantId,
        own: Option<Latency>,
        window: Duration,
    ) -> Result<Latency, String> {
        if let Some(own) = own {
            return Ok(own);
        }
        let unseen = "nothing was appended through this process";
        let tools = &self.deployment.config().monitoring.tools;
        let Some(prometheus) = Tools(tools).prometheus() else {
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
        self,
        tenant: TenantId,
        window: Duration,
    ) -> Result<(f64, Option<Snapshot>), AppError> {
        let appended = || {
            let meter = self.deployment.engine().router().appends().tenant(tenant)?;
            Some(meter.durations(Outcome::Ok).snapshot())
        };
        let (before, counted) = (history_length(self.deployment, tenant).await?, appended());
        let began = tokio::time::Instant::now();
        tokio::time::sleep(window).await;
        let after = history_length(self.deployment, tenant).await?;
        let rate = after.saturating_sub(before) as f64 / began.elapsed().as_secs_f64();
        let appends = appended().map(|now| match counted {
            Some(before) => now.since(&before),
            None => now,
        });
        Ok((rate, appends.filter(|appends| appends.count() > 0)))
    }

    async fn keep(
        self,
        migration: &Migration,
        (rate, remark): (f64, Option<String>),
        window: Duration,
        latency: Result<Latency, String>,
    ) -> Result<Baseline, AppError> {
        let (latency, unknown) = match latency {
            Ok(latency) => (Some(latency), None),
            Err(why) => (None, Some(format!("the append latency is unknown: {why}"))),
        };
        let remarks: Vec<_> = [unknown, remark].into_iter().flatten().collect();
        let remark = (!remarks.is_empty()).then(|| remarks.join("; "));
        let at = self.deployment.now();
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
        self.deployment.engine().control().set_memo(migration.id, MEMO, &Memo { at, text }).await?;
        Ok(baseline)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// To thousandths.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
