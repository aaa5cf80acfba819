//! The last minutes of each migration, for charts: sampled every second by a server,
//! from the control plane and the ledgers, so also for a migration that another process drives. For one that
//! no server drives, the samples are also the source of this process's metrics. Values that only
//! the driving process has (latency of appends, failures of the mirror) are reported for
//! this process alone.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rehome_app::AppError;
use rehome_app::deployment::{Deployment, is_server};
use rehome_app::migrations::{self, Lengths};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Migration, Phase, State};
use rehome_engine::appends::Outcome;
use rehome_engine::metrics::{Metrics, Reached, Sighting};
use rehome_engine::{Observer, Signal, Snapshot};
use rehome_ports::{ActiveLease, ControlError, Marks, Migrations};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The sampling interval.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of samples of one migration: the last ten minutes.
const SAMPLES_MAX: usize = 600;
/// Migrations read at once: the newest.
const NEWEST: usize = 200;
/// Every so many samples, unfinished migrations are listed by phase, however old they are.
const BY_PHASE_EVERY: u64 = 60;
/// Migrations sampled concurrently.
const SIDE_BY_SIDE: usize = 32;
/// A sample that takes longer is cancelled: the control plane does not answer.
const CONTROL_WITHIN: Duration = Duration::from_secs(5);
/// A migration that ended is remembered for so long, in microseconds.
const REMEMBERED_MICROS: i64 = 15 * 60 * 1_000_000;

/// One sample of a migration.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The time.
    pub at: Timestamp,
    /// Events of the history that are in the target.
    pub copied: u64,
    /// Events that have to be.
    pub total: u64,
    /// Events that the target is behind.
    pub lag: u64,
    /// Events that reached the target, per second, since the last sample.
    pub rate: f64,
    /// The tenant's appends through this process since the last sample, per second.
    pub appends_per_s: f64,
    /// Their median, in milliseconds; `None`: there were none.
    pub append_p50_ms: Option<f64>,
    /// Their slowest hundredth, in milliseconds.
    pub append_p99_ms: Option<f64>,
    /// Appends that wait in this process now.
    pub waiting: u64,
    /// Events that the mirror of this process failed to write since the last sample.
    pub failures: u64,
}

/// The samples of each migration.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<BTreeMap<MigrationId, Track>>>);

#[derive(Default)]
struct Track {
    samples: VecDeque<Sample>,
    appends: Option<Snapshot>,
    failures: u64,
    /// The state that was last passed to the metrics, if this process exports the migration as an
    /// observer: its phase, and whether an operator still has to act on it.
    exported: Option<(Phase, bool)>,
}

/// State between two samples.
#[derive(Default)]
struct Rounds {
    number: u64,
    /// Those that were not over.
    open: Vec<MigrationId>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<MigrationId, Track>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The samples of a migration, the oldest first.
    pub fn of(&self, id: MigrationId) -> Vec<Sample> {
        self.lock()
            .get(&id)
            .map(|track| track.samples.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// This, as an observer of failures.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    fn add(&self, id: MigrationId, look: &Look) {
        let mut tracks = self.lock();
        let track = tracks.entry(id).or_default();
        let before = track.samples.back();
        let seconds =
            before.map(|before| (look.at.micros() - before.at.micros()).max(1) as f64 / 1e6);
        let came = before.map_or(0, |before| look.copied.saturating_sub(before.copied));
        let appended = match (&look.appends, &track.appends) {
            (Some(now), Some(then)) => Some(now.since(then)),
            _ => None,
        };
        let count = appended.as_ref().map_or(0, Snapshot::count);
        let millis = |quantile| {
            appended.as_ref().and_then(|counted| counted.quantile(quantile)).map(|s| s * 1e3)
        };
        let sample = Sample {
            at: look.at,
            copied: look.copied,
            total: look.total,
            lag: look.lag,
            rate: seconds.map_or(0.0, |seconds| came as f64 / seconds),
            appends_per_s: seconds.map_or(0.0, |seconds| count as f64 / seconds),
            append_p50_ms: millis(0.5),
            append_p99_ms: millis(0.99),
            waiting: look.waiting,
            failures: std::mem::take(&mut track.failures),
        };
        track.appends.clone_from(&look.appends);
        track.samples.push_back(sample);
        if track.samples.len() > SAMPLES_MAX {
            track.samples.pop_front();
        }
    }
}

impl Observer for History {
    fn hear(&self, signal: &Signal<'_>) {
        if let Signal::MirrorFailed { migration, events, .. } = signal {
            self.lock().entry(migration.id).or_default().failures += events;
        }
    }
}

/// The result of one sample.
struct Look {
    at: Timestamp,
    copied: u64,
    total: u64,
    lag: u64,
    appends: Option<Snapshot>,
    waiting: u64,
}

/// Samples the unfinished migrations, for charts and for the metrics of those that no server drives.
#[derive(Clone, Copy)]
pub(crate) struct Looks<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) history: &'a History,
    pub(crate) metrics: &'a Metrics,
}

impl Looks<'_> {
    /// Samples every second until `stop` is cancelled.
    pub(crate) async fn run(self, stop: &CancellationToken) {
        let mut rounds = Rounds::default();
        while !stop.is_cancelled() {
            // A control plane that does not answer leaves a gap in the charts.
            let _ = timeout(CONTROL_WITHIN, self.look_at_migrations(&mut rounds)).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Two questions to the control plane, and two to the stores for each migration that is at work.
    async fn look_at_migrations(self, rounds: &mut Rounds) -> Result<(), AppError> {
        let now = self.deployment.now();
        let (migrations, leases) = tokio::try_join!(
            self.not_long_over(rounds, now),
            self.deployment.engine().control().leases()
        )?;
        let known: HashSet<_> = migrations.iter().map(|migration| migration.id).collect();
        let looks: Vec<_> =
            migrations.iter().map(|migration| self.look_at(migration, &leases)).collect();
        stream::iter(looks).buffer_unordered(SIDE_BY_SIDE).collect::<Vec<_>>().await;
        self.history.lock().retain(|id, _| known.contains(id));
        Ok(())
    }

    /// The migrations that are not over, and those that ended a short time ago.
    async fn not_long_over(
        self,
        rounds: &mut Rounds,
        now: Timestamp,
    ) -> Result<Vec<Migration>, ControlError> {
        let control = self.deployment.engine().control();
        let recent = |migration: &Migration| {
            let ended = migration.completed_at;
            ended.is_none_or(|at| now.micros() - at.micros() <= REMEMBERED_MICROS)
        };
        let newest = Migrations { limit: NEWEST, ..Migrations::default() };
        let mut found = control.migrations(newest).await?;
        let seen: HashSet<_> = found.iter().map(|migration| migration.id).collect();
        found.retain(recent);
        // Older ones that are not over are few: found by their phases now and then, followed by their ids.
        if rounds.number.is_multiple_of(BY_PHASE_EVERY) {
            for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_terminal()) {
                let which =
                    Migrations { phase: Some(phase), limit: NEWEST, ..Migrations::default() };
                let old = control.migrations(which).await?.into_iter();
                found.extend(old.filter(|migration| !seen.contains(&migration.id)));
            }
        } else {
            for id in rounds.open.iter().filter(|id| !seen.contains(*id)) {
                found.push(control.migration(*id).await?);
            }
        }
        rounds.number += 1;
        let open = found.iter().filter(|migration| migration.completed_at.is_none());
        rounds.open = open.map(|migration| migration.id).collect();
        Ok(found)
    }

    async fn look_at(
        self,
        migration: &Migration,
        leases: &BTreeMap<MigrationId, ActiveLease>,
    ) -> Result<(), AppError> {
        let lengths = match migration.completed_at {
            // A store that is no longer configured leaves its numbers unknown.
            None => migrations::lengths(self.deployment, migration, &Marks::default()).await.ok(),
            Some(_) => None,
        };
        if let Some((source, target)) = lengths.as_ref().and_then(Lengths::both) {
            let meter = self.deployment.engine().router().appends().tenant(migration.tenant);
            let look = Look {
                at: self.deployment.now(),
                copied: target.min(source),
                total: source,
                lag: source.saturating_sub(target),
                waiting: self.deployment.engine().router().appends().kept_waiting(migration.tenant),
                appends: meter.map(|meter| meter.durations(Outcome::Ok).snapshot()),
            };
            self.history.add(migration.id, &look);
        }
        self.show_in_metrics(migration, leases.get(&migration.id), lengths.as_ref()).await
    }

    /// Has the metrics of this process show a migration that no server drives.
    async fn show_in_metrics(
        self,
        migration: &Migration,
        lease: Option<&ActiveLease>,
        lengths: Option<&Lengths>,
    ) -> Result<(), AppError> {
        let id = migration.id;
        match lease.map(|lease| lease.holder.as_str()) {
            Some(holder) if holder == self.deployment.holder() => return Ok(()),
            Some(holder) if is_server(holder) => {
                self.metrics.driven_by_another_server(id);
                self.history.lock().entry(id).or_default().exported = None;
                return Ok(());
            }
            Some(_) | None => {}
        }
        let phase = migration.state.phase();
        let exported = self.history.lock().get(&id).and_then(|track| track.exported);
        // The activation after a switch does not change the phase.
        let state = (phase, matches!(migration.state, State::Migrated { activated: false, .. }));
        let changed = exported != Some(state);
        if migration.completed_at.is_some() && !changed {
            return Ok(());
        }
        let log =
            if changed { Some(migrations::read_log(self.deployment, id).await?) } else { None };
        let mut reached = lengths.and_then(|lengths| {
            let (source_seq, target_seq) = lengths.both()?;
            Some(Reached { source_seq, target_seq, at: lengths.at()? })
        });
        if phase == Phase::Migrated {
            // The last sample is from before the switch.
            let head = log.iter().flatten().find_map(|entry| match entry.fact {
                Fact::Switched { head } => Some(head.seq),
                _ => None,
            });
            let at = self.deployment.now();
            reached = head.map(|seq| Reached { source_seq: seq, target_seq: seq, at });
        }
        let (log, held) = (log.as_deref(), lease.is_some());
        self.metrics.sighted(&Sighting { migration, log, held, reached });
        self.history.lock().entry(id).or_default().exported = Some(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn rates_are_told_from_one_look_to_the_next() {
        let history = History::default();
        let id = MigrationId::new(Uuid::from_u128(1));
        let look = |seconds: i64, copied| Look {
            at: Timestamp::from_micros(seconds * 1_000_000),
            copied,
            total: 100,
            lag: 100 - copied,
            appends: None,
            waiting: 0,
        };
        history.add(id, &look(10, 20));
        history.add(id, &look(12, 60));
        let samples = history.of(id);
        assert_eq!(samples.len(), 2);
        assert!((samples[1].rate - 20.0).abs() < 1e-9, "{samples:?}");
        for second in 0..1_000 {
            history.add(id, &look(20 + second, 60));
        }
        assert_eq!(history.of(id).len(), SAMPLES_MAX);
    }
}
