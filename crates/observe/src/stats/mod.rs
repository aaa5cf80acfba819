//! Measurements of a process about its work, beside its metrics: recent failures of its mirrors' writes,
//! and the recent latency of appends through it.
//!
//! Other processes read them from memos in the control plane, which [`Stats::keep`] writes while
//! there are changes.

mod appends;
mod mirror;

use std::sync::Arc;
use std::time::Duration;

use rehome_app::Deployment;
use rehome_domain::migration::Migration;
use rehome_ports::clock::Clock;
use rehome_ports::{ControlError, Memo};

use appends::AppendWindow;
pub(crate) use mirror::Counts;
use mirror::{MirrorCounts, MirrorWindow};

/// The name of the memo with [`MirrorCounts`].
const MIRROR_MEMO: &str = "mirror";
/// How often it is written while there is something to write.
const EVERY: Duration = Duration::from_secs(5);

/// What this process measures. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Stats {
    mirror: Arc<MirrorWindow>,
    appends: Arc<AppendWindow>,
}

impl Stats {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            mirror: Arc::new(MirrorWindow::new(Arc::clone(clock))),
            appends: Arc::new(AppendWindow::new(clock.now())),
        }
    }

    /// What its mirrors wrote.
    pub(crate) fn mirror(&self) -> &Arc<MirrorWindow> {
        &self.mirror
    }

    /// The latency of appends through it.
    pub(crate) fn appends(&self) -> &AppendWindow {
        &self.appends
    }

    /// Writes memos and takes samples until it is dropped. A failed write is repeated the
    /// next time.
    pub(crate) async fn keep(&self, deployment: &Deployment) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.appends.sample(deployment.now(), deployment.engine().router().appends());
            self.keep_mirror_counts(deployment).await;
        }
    }

    /// Writes to the target of a migration in the last minutes: what this process has counted, with what
    /// the one that mirrors has written down.
    pub(crate) async fn mirrored(
        &self,
        deployment: &Deployment,
        migration: &Migration,
    ) -> Result<Counts, ControlError> {
        let id = migration.id;
        let memo = deployment.engine().control().memo(id, MIRROR_MEMO).await?;
        let told = memo.map(|memo| MirrorCounts::read(&memo.text)).unwrap_or_default();
        Ok(told.beside(&self.mirror.counts(id)).lately(deployment.now()))
    }

    async fn keep_mirror_counts(&self, deployment: &Deployment) {
        let (control, mirror) = (deployment.engine().control(), &self.mirror);
        for id in mirror.unwritten() {
            if !mirror.has_inherited(id) {
                // What the process that mirrored before had counted.
                match control.memo(id, MIRROR_MEMO).await {
                    Ok(memo) => {
                        let before = memo.map(|memo| MirrorCounts::read(&memo.text));
                        mirror.inherit(id, &before.unwrap_or_default());
                    }
                    Err(_) => continue,
                }
            }
            let counts = mirror.counts(id);
            let memo = Memo { at: deployment.now(), text: counts.write() };
            if control.set_memo(id, MIRROR_MEMO, &memo).await.is_ok() {
                mirror.written(id, &counts);
            }
        }
    }
}
