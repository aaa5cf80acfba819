//! What a process measures of the work it does, beside its metrics: how many of its mirrors' writes
//! failed lately, and how long the appends through it took lately.
//!
//! Other processes see it by memos in the control plane, which [`Deployment::keep_measuring`] writes
//! for as long as migrations are worked on here.
//!
//! [`Deployment::keep_measuring`]: crate::deployment::Deployment

mod appends;
mod mirror;

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::migration::Migration;
use rehome_ports::clock::Clock;
use rehome_ports::{ControlError, Memo};

use crate::deployment::Deployment;
pub(crate) use appends::AppendWindow;
pub(crate) use mirror::{Counts, MirrorCounts, MirrorWindow};

/// The name of the memo with [`MirrorCounts`].
pub(crate) const MIRROR_MEMO: &str = "mirror";
/// How often it is written while there is something to write.
const EVERY: Duration = Duration::from_secs(5);

/// What this process measures. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Measured {
    mirror: Arc<MirrorWindow>,
    appends: Arc<AppendWindow>,
}

impl Measured {
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

    /// How long the appends through it took.
    pub(crate) fn appends(&self) -> &AppendWindow {
        &self.appends
    }
}

impl Deployment {
    /// Writes memos and takes samples until it is dropped. What cannot be written now is written the
    /// next time.
    pub(crate) async fn keep_measuring(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(EVERY).await;
            self.measured().appends().sample(self.now(), self.engine().router().appends());
            self.keep_mirror_counts().await;
        }
    }

    /// Writes to the target of a migration in the last minutes: what this process has counted, with what
    /// the one that mirrors has written down.
    pub(crate) async fn mirrored(&self, migration: &Migration) -> Result<Counts, ControlError> {
        let id = migration.id;
        let memo = self.engine().control().memo(id, MIRROR_MEMO).await?;
        let told = memo.map(|memo| MirrorCounts::read(&memo.text)).unwrap_or_default();
        Ok(told.beside(&self.measured().mirror().counts(id)).lately(self.now()))
    }

    async fn keep_mirror_counts(&self) {
        let (control, mirror) = (self.engine().control(), self.measured().mirror());
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
            let memo = Memo { at: self.now(), text: counts.write() };
            if control.set_memo(id, MIRROR_MEMO, &memo).await.is_ok() {
                mirror.written(id, &counts);
            }
        }
    }
}
