//! The rules: from observations to the report. Pure; every threshold has its test.

use std::fmt::Write as _;
use std::time::Duration;

use rehome_api::number::counted;
use rehome_api::{HealthReport, HealthStatus};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;

use crate::stats::Counts;

/// The thresholds. The defaults are those of the monitoring contract.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Thresholds {
    /// A copy without progress for so long is stuck.
    pub(crate) stuck_after: Duration,
    /// A lag above this, in events, is high.
    pub(crate) lag_events_max: u64,
    /// A failure rate above this degrades.
    pub(crate) failures_degraded: f64,
    /// A failure rate above this is unhealthy.
    pub(crate) failures_unhealthy: f64,
    /// Work without a process for this long after the last fact is reported.
    pub(crate) unattended_after: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            stuck_after: Duration::from_secs(15 * 60),
            lag_events_max: 1_000,
            failures_degraded: 0.01,
            failures_unhealthy: 0.1,
            unattended_after: Duration::from_secs(10),
        }
    }
}

/// A progress that is dated so far in the future was recorded by a clock that is wrong.
const PROGRESS_AHEAD: Duration = Duration::from_secs(60);
/// A lease that claims so much more than its length was written by a clock that is wrong.
const LEASE_AHEAD: Duration = Duration::from_secs(2);

/// The observations.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations {
    /// The time.
    pub(super) now: Timestamp,
    /// The migrations that are not over, those that failed, and those with an open rollback window.
    pub(super) migrations: Vec<Observed>,
    /// What shows that stores have lost events, a sentence each.
    pub(super) losses: Vec<String>,
    /// Logs that are not as they were recorded, a sentence each.
    pub(super) broken_logs: Vec<String>,
    /// Stores that did not answer, each with why, as a sentence.
    pub(super) unanswered: Vec<String>,
    /// Removals of tenants that stand still, a sentence each.
    pub(super) removals: Vec<String>,
    /// What shows that stores are copies, a sentence each.
    pub(super) copies: Vec<String>,
}

/// One migration.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) id: MigrationId,
    pub(super) standing: Standing,
    /// Violations that are open: found, and neither refuted nor repaired.
    pub(super) violations: u64,
    /// Time of writing to the target in the last five minutes.
    pub(super) mirrored: Counts,
    /// Since when there is work without a process, by its log.
    pub(super) unattended_since: Option<Timestamp>,
    /// The fault that its driver waits for.
    pub(super) waiting: Option<String>,
    /// By how much its lease claims more than its length.
    pub(super) lease_ahead: Duration,
}

/// Its state, with the inputs of its rule.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// `pending` or `paused`.
    Waiting,
    /// `bulk_copy`: when it was entered or resumed, or last got further.
    Copying {
        last_progress: Timestamp,
    },
    /// `dual_write`; the lag is `None` if unknown.
    Mirroring {
        lag: Option<Lag>,
    },
    /// `cutover_paused`.
    CuttingOver {
        since: Timestamp,
        deadline: Duration,
    },
    Failed {
        acknowledged: bool,
        error: String,
    },
    /// It has ended: the tenant can return, or a violation is still open.
    InWindow,
}

/// How far the target is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) events: u64,
    /// For how long the number has not been confirmed; `None`: it was read now.
    pub(super) age: Option<Duration>,
}

impl Standing {
    const fn is_active(&self) -> bool {
        !matches!(self, Self::Failed { .. } | Self::InWindow)
    }
}

/// The report.
pub(super) fn report(seen: &Observations, thresholds: &Thresholds) -> HealthReport {
    let mut found = Found::default();
    let mut mirrored = Counts::default();
    for migration in &seen.migrations {
        found.judge(migration, seen.now, thresholds);
        mirrored = mirrored + migration.mirrored;
    }
    let rate = mirrored.failure_rate();
    if rate > thresholds.failures_degraded {
        let status = if rate > thresholds.failures_unhealthy {
            HealthStatus::Unhealthy
        } else {
            HealthStatus::Degraded
        };
        for migration in seen.migrations.iter().filter(|one| one.mirrored.failed > 0) {
            let Counts { attempted, failed } = migration.mirrored;
            let seconds = |millis: u64| millis as f64 / 1e3;
            found.add(
                status,
                format!(
                    "Migration {}: writes to the target failed for {:.1} of the {:.1} s with something \
                     to write in the last 5 minutes",
                    migration.id,
                    seconds(failed),
                    seconds(attempted)
                ),
            );
        }
    }
    for loss in seen.losses.iter().chain(&seen.broken_logs) {
        found.add(HealthStatus::Unhealthy, loss.clone());
    }
    for reason in seen.unanswered.iter().chain(&seen.removals).chain(&seen.copies) {
        found.add(HealthStatus::Degraded, reason.clone());
    }
    let active = seen.migrations.iter().filter(|one| one.standing.is_active()).count();
    HealthReport {
        status: found.status,
        active_migrations: active as u64,
        stuck_migrations: found.stuck,
        high_sync_lag_count: found.high_lag,
        target_write_failure_rate: rate,
        details: found.details,
    }
}

/// The check itself failed: the state is unknown, which is unhealthy.
pub(super) fn unknown(why: &str) -> HealthReport {
    HealthReport {
        status: HealthStatus::Unhealthy,
        active_migrations: 0,
        stuck_migrations: 0,
        high_sync_lag_count: 0,
        target_write_failure_rate: 0.0,
        details: vec![why.to_owned()],
    }
}

struct Found {
    status: HealthStatus,
    stuck: u64,
    high_lag: u64,
    details: Vec<String>,
}

impl Default for Found {
    fn default() -> Self {
        Self { status: HealthStatus::Healthy, stuck: 0, high_lag: 0, details: Vec::new() }
    }
}

impl Found {
    fn add(&mut self, status: HealthStatus, detail: String) {
        self.status = self.status.max(status);
        self.details.push(detail);
    }

    fn judge(&mut self, migration: &Observed, now: Timestamp, thresholds: &Thresholds) {
        let id = migration.id;
        match &migration.standing {
            Standing::Waiting | Standing::InWindow => {}
            Standing::Copying { last_progress } => {
                let still = between(*last_progress, now);
                let ahead = between(now, *last_progress);
                if ahead >= PROGRESS_AHEAD {
                    self.add(
                        HealthStatus::Degraded,
                        format!(
                            "Migration {id}: its last progress in bulk_copy is dated {} s in the future, by a clock that \
                             was ahead; until then a copy that is stuck is not noticed here",
                            ahead.as_secs()
                        ),
                    );
                }
                if still >= thresholds.stuck_after {
                    self.stuck += 1;
                    let minutes = still.as_secs() / 60;
                    self.add(
                        HealthStatus::Unhealthy,
                        format!("Migration {id}: no progress in bulk_copy for {minutes} minutes"),
                    );
                }
            }
            Standing::Mirroring { lag } => {
                let high = |lag: &Lag| lag.events > thresholds.lag_events_max;
                if let Some(Lag { events, age }) = lag.filter(high) {
                    self.high_lag += 1;
                    let mut detail = format!("Migration {id}: sync lag {events} events");
                    if let Some(age) = age {
                        let _ = write!(detail, ", as last known {} s ago", age.as_secs());
                    }
                    self.add(HealthStatus::Degraded, detail);
                }
            }
            Standing::CuttingOver { since, deadline } => {
                let paused = between(*since, now);
                if paused > *deadline {
                    self.add(
                        HealthStatus::Degraded,
                        format!(
                            "Migration {id}: its cutover started {:.1} s ago with a timeout of {:.1} s; writers \
                             wait, and any process that meets it rolls it back",
                            paused.as_secs_f64(),
                            deadline.as_secs_f64()
                        ),
                    );
                }
            }
            Standing::Failed { acknowledged: true, .. } => {}
            Standing::Failed { acknowledged: false, error } => self.add(
                HealthStatus::Degraded,
                format!(
                    "Migration {id}: failed and not acknowledged: {error}; `rehome migration \
                     acknowledge {id}`, or abort it"
                ),
            ),
        }
        if migration.violations > 0
            && !matches!(migration.standing, Standing::Failed { acknowledged: true, .. })
        {
            let detail = format!(
                "Migration {id}: {}, and no cutover before that is repaired; `rehome migration show {id}` says what to do",
                counted(migration.violations, "open violation")
            );
            self.add(HealthStatus::Degraded, detail);
        }
        if let Some(why) = &migration.waiting {
            let detail = format!("Migration {id}: waits, and continues when it can: {why}");
            self.add(HealthStatus::Degraded, detail);
        }
        if migration.lease_ahead >= LEASE_AHEAD {
            let ahead = migration.lease_ahead.as_secs();
            self.add(
                HealthStatus::Degraded,
                format!(
                    "Migration {id}: its lease was written by a clock that was {ahead} s ahead of the \
                     control plane's; unless renewed, it expires after its own length"
                ),
            );
        }
        // A time in the future was written by a clock that was ahead: the duration is unknown.
        let unattended = migration.unattended_since;
        if let Some(since) = unattended
            .filter(|since| *since > now || between(*since, now) >= thresholds.unattended_after)
        {
            let so_long = between(since, now).as_secs();
            let for_so_long =
                if since > now { String::new() } else { format!(", for {so_long} s at most") };
            self.add(
                HealthStatus::Degraded,
                format!(
                    "Migration {id}: no process works on it{for_so_long}; run `rehome migration resume {id}`, or keep \
                     `rehome migration drive` running"
                ),
            );
        }
    }
}

/// From one time to a later one; nothing, where clocks disagree.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    let micros = to.micros().saturating_sub(from.micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests;
