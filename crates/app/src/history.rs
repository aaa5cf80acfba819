//! The last minutes of each migration, for charts: looked at every few seconds by a process that serves,
//! from the control plane and the ledgers, so also of a migration that another process drives. What only
//! the process where it happens can know (how long appends take, what the mirror failed at) is told of
//! this process alone.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_api as api;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::Migration;
use rehome_engine::appends::Outcome;
use rehome_engine::{Observer, Signal, Snapshot};
use rehome_ports::Migrations;
use rehome_ports::clock::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::error::AppError;

/// How often a look is taken.
pub const EVERY: Duration = Duration::from_secs(1);
/// Looks kept of one migration: the last ten minutes.
const SAMPLES_MAX: usize = 600;
/// Migrations looked at: the newest that are not over.
const MIGRATIONS_MAX: usize = 50;
/// A migration that ended is remembered for so long, in microseconds.
const REMEMBERED_MICROS: i64 = 15 * 60 * 1_000_000;

/// One look at a migration.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Events of the history that are in the target.
    pub copied: u64,
    /// Events that have to be.
    pub total: u64,
    /// Events that the target is behind.
    pub lag: u64,
    /// Events that came to the target, per second, since the look before.
    pub rate: f64,
    /// The tenant's appends through this process since the look before, per second.
    pub appends_per_s: f64,
    /// Their median, in milliseconds; `None`: there were none.
    pub append_p50_ms: Option<f64>,
    /// Their slowest hundredth, in milliseconds.
    pub append_p99_ms: Option<f64>,
    /// Appends that wait in this process now.
    pub waiting: u64,
    /// Events that the mirror of this process failed to write since the look before.
    pub failures: u64,
}

/// What was seen of each migration.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<BTreeMap<MigrationId, Track>>>);

#[derive(Default)]
struct Track {
    samples: VecDeque<Sample>,
    appends: Option<Snapshot>,
    failures: u64,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<MigrationId, Track>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen of a migration, the oldest first.
    pub fn of(&self, id: MigrationId) -> Vec<Sample> {
        self.lock()
            .get(&id)
            .map(|track| track.samples.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// This, as one that hears what fails.
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

/// What one look finds.
struct Look {
    at: Timestamp,
    copied: u64,
    total: u64,
    lag: u64,
    appends: Option<Snapshot>,
    waiting: u64,
}

impl Deployment {
    /// Looks at the migrations that are not over until `stop` is cancelled.
    pub async fn watch_migrations(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            // A control plane that does not answer leaves a gap in the charts.
            let _ = self.look_at_migrations().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn look_at_migrations(&self) -> Result<(), AppError> {
        let which = Migrations { limit: MIGRATIONS_MAX, ..Migrations::default() };
        let now = SystemClock.now();
        let mut known = HashSet::new();
        for migration in self.engine().control().migrations(which).await? {
            let ended = migration.completed_at;
            let over = ended.is_some_and(|at| now.micros() - at.micros() > REMEMBERED_MICROS);
            if over {
                continue;
            }
            known.insert(migration.id);
            if ended.is_none()
                && let Some(look) = self.look_at(&migration).await?
            {
                self.history().add(migration.id, &look);
            }
        }
        self.history().lock().retain(|id, _| known.contains(id));
        Ok(())
    }

    async fn look_at(&self, migration: &Migration) -> Result<Option<Look>, AppError> {
        let told = self.describe(migration).await?;
        Ok(self.look(&told, migration.tenant))
    }

    /// `None`: a store does not answer.
    fn look(&self, told: &api::Migration, tenant: TenantId) -> Option<Look> {
        let meter = self.engine().router().appends().tenant(tenant);
        Some(Look {
            at: SystemClock.now(),
            copied: told.events_copied?,
            total: told.events_total?,
            lag: told.sync_lag_events?,
            waiting: meter.as_ref().and_then(|meter| meter.waiting()).map_or(0, |w| w.appends),
            appends: meter.map(|meter| meter.durations(Outcome::Ok).snapshot()),
        })
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
