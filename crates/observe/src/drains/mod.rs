//! The drains of the deployment as the control plane has them, looked at every few seconds by each process
//! that serves: for the series of drains, whichever process works on them, and for those who look at a drain while the
//! control plane does not answer.
//!
//! A look costs a few questions for each drain that is not over, however many tenants it has: its log is
//! followed from entry to entry, and only while it stands still the moves at work are looked at.

mod copies;
mod follow;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_api as api;
use rehome_app::{AppError, Deployment, drains};
use rehome_domain::ids::DrainId;
use rehome_engine::metrics::DrainReport;
use rehome_engine::{Observer, Signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::copies::Copies;
use self::follow::Followed;

/// How often a look is taken.
const EVERY: Duration = Duration::from_secs(2);
/// A question that takes longer is given up: the control plane does not answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Drains with series of their own: the newest that are not over, and those that ended lately.
const DRAINS_MAX: usize = 20;

/// What is known of the drains.
#[derive(Default)]
pub(crate) struct DrainWatch {
    known: Mutex<BTreeMap<DrainId, Followed>>,
    copies: Mutex<Copies>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DrainWatch {
    /// Looks until `stop` is cancelled.
    pub(crate) async fn run(&self, deployment: &Deployment, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let look = async {
                // What the control plane does not answer stays as it was seen last.
                if let Err(error) = self.look(deployment).await {
                    tracing::debug!(%error, "cannot look at the drains");
                }
                tokio::time::sleep(EVERY).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = look => {}
            }
        }
    }

    /// The drains of a scrape, as they were seen last.
    pub(crate) fn reports(&self) -> Vec<DrainReport> {
        lock(&self.known).values().filter_map(Followed::report).collect()
    }

    /// A drain as it was seen last.
    pub(crate) fn last(&self, id: DrainId) -> Option<api::drain::Drain> {
        lock(&self.known).get(&id).and_then(Followed::last)
    }

    /// Those that are known, newest first; `open`: only those that were not over.
    pub(crate) fn all(&self, open: bool, limit: usize) -> Vec<api::drain::Drain> {
        let mut all: Vec<_> = lock(&self.known).values().filter_map(Followed::last).collect();
        all.retain(|drain| !open || drain.ended_at.is_none());
        all.sort_by_key(|drain| std::cmp::Reverse((drain.created_at.0, drain.id)));
        all.truncate(limit);
        all
    }

    async fn look(&self, deployment: &Deployment) -> Result<(), AppError> {
        let now = answered(deployment.engine().control().now()).await?;
        let retention = deployment.config().metrics_retention.as_micros();
        let retention = i64::try_from(retention).unwrap_or(i64::MAX);
        let is_told = |drain: &api::drain::Drain| {
            drain.ended_at.is_none_or(|at| now.micros().saturating_sub(at.0) < retention)
        };
        let mut drains = answered(drains::list(deployment, true, None, DRAINS_MAX)).await?;
        for drain in answered(drains::list(deployment, false, None, DRAINS_MAX)).await? {
            if drains.iter().all(|open| open.id != drain.id) {
                drains.push(drain);
            }
        }
        drains.retain(is_told);
        lock(&self.known).retain(|id, _| drains.iter().any(|drain| drain.id == id.uuid()));
        let mut failed = None;
        for drain in drains {
            let id = DrainId::new(drain.id);
            let mut followed = lock(&self.known).get(&id).cloned().unwrap_or_default();
            if let Err(error) = followed.look(deployment, drain, now).await {
                failed = Some(error);
            }
            lock(&self.known).insert(id, followed);
        }
        lock(&self.copies).hand_out(&mut lock(&self.known));
        failed.map_or(Ok(()), Err)
    }
}

/// Longest that a screen waits for the control plane.
const SCREEN_WITHIN: Duration = Duration::from_secs(2);

/// The answer of the control plane for a screen, which does not wait long.
pub(crate) async fn at_once<T>(
    question: impl Future<Output = Result<T, AppError>>,
) -> Result<T, AppError> {
    timeout(SCREEN_WITHIN, question).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> AppError {
    AppError::failed("control_plane_silent", "the control plane does not answer; try again")
}

/// The answer of the control plane, if it answers.
async fn answered<T, E: Into<AppError>>(
    question: impl Future<Output = Result<T, E>>,
) -> Result<T, AppError> {
    match timeout(WITHIN, question).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(silent()),
    }
}

impl Observer for DrainWatch {
    fn hear(&self, signal: &Signal<'_>) {
        if let Signal::Copied { migration, bytes, .. } = signal {
            lock(&self.copies).add(migration.id, *bytes);
        }
    }
}
