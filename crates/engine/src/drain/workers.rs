//! The work of one process on all drains: it finds those that are not over, and has a worker for each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::DrainId;
use rehome_ports::{ControlError, Fleet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::worker::Worker;
use crate::Engine;
use crate::config::Backoff;

/// Maximum number of drains that are polled.
const DRAINS_MAX: usize = 100;
/// How long movers have to come to a good place when the process stops.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Works on drains, in the name of one process.
#[derive(Clone)]
pub struct Workers {
    pub(super) engine: Engine,
    pub(super) fleet: Arc<dyn Fleet>,
    pub(super) holder: Arc<str>,
}

impl Workers {
    /// Works under this name, unique per process.
    pub fn new(engine: &Engine, fleet: Arc<dyn Fleet>, holder: impl Into<Arc<str>>) -> Self {
        Self { engine: engine.clone(), fleet, holder: holder.into() }
    }

    /// Works on every drain of the deployment until `stop` is cancelled. Running moves are then left as by
    /// a process that died, except for cutovers that have started.
    pub async fn run_all(&self, stop: &CancellationToken) {
        let mut working: BTreeMap<DrainId, AbortOnDropHandle<()>> = BTreeMap::new();
        let which = rehome_ports::Drains { open: true, before: None, limit: DRAINS_MAX };
        while !stop.is_cancelled() {
            working.retain(|_, work| !work.is_finished());
            match self.fleet.drains(which).await {
                Ok(open) => {
                    for drain in open {
                        working.entry(drain.id).or_insert_with(|| self.spawn(drain.id, stop));
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot list drains"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.engine.drains_asked.notified() => {}
                () = tokio::time::sleep(self.engine.config.lease_ttl / 3) => {}
            }
        }
        let all = async {
            for work in working.into_values() {
                // A panic was already logged.
                let _ = work.await;
            }
        };
        let _ = tokio::time::timeout(STOP_WITHIN, all).await;
    }

    fn spawn(&self, id: DrainId, stop: &CancellationToken) -> AbortOnDropHandle<()> {
        let (workers, stop) = (self.clone(), stop.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = workers.run(id, &stop).await {
                tracing::error!(drain = %id, %error, "cannot work on the drain");
            }
        }))
    }

    /// Works on one drain until it is over or `stop` is cancelled. Faults of the control plane are waited
    /// out.
    pub async fn run(&self, id: DrainId, stop: &CancellationToken) -> Result<(), ControlError> {
        let mut backoff = Backoff::new(&self.engine.config);
        let drain = loop {
            let error = match self.fleet.drain(id).await {
                Ok(drain) => break drain,
                Err(error) if error.is_final() => return Err(error),
                Err(error) => error,
            };
            tracing::warn!(drain = %id, %error, "the drain waits for the control plane");
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(backoff.next()) => {}
            }
        };
        let mut worker = Worker::new(self, &drain, stop);
        while !stop.is_cancelled() {
            match worker.step().await {
                Ok(true) => break,
                Ok(false) => {
                    backoff = Backoff::new(&self.engine.config);
                    worker.wait().await;
                }
                // Another process was first: read again.
                Err(ControlError::Drain(_)) => tokio::time::sleep(backoff.next()).await,
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    tracing::warn!(drain = %id, %error, "the drain waits for the control plane");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
        worker.leave().await;
        Ok(())
    }
}
