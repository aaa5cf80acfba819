//! How far the log of a migration was seen, written into both of its stores: evidence that lies outside of the
//! control plane, which has the log.
//!
//! It is written beside the work, after each change of the migration's row and never in a cutover's pause. Nothing
//! waits for it but the end of the driver, for a moment. So it may be older than the log, and is never newer: it names
//! what was recorded and followed from the first entry. A store that does not answer is tried again later.

use std::time::Duration;

use rehome_domain::migration::Migration;
use rehome_ports::log_chain::{Followed, LogAnchor, follows};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::steps::Context;

/// Entries read at once.
const PAGE: usize = 200;
/// How long after an attempt that failed the next one comes.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// What one driver has written of its migration's log.
pub(super) struct Anchors {
    /// How far the log was followed.
    seen: Followed,
    /// The row that was written for, or is.
    row: Option<Migration>,
    writing: Option<AbortOnDropHandle<Option<Followed>>>,
    retry_at: Option<Instant>,
}

impl Default for Anchors {
    fn default() -> Self {
        Self { seen: Followed::START, row: None, writing: None, retry_at: None }
    }
}

impl Anchors {
    /// Begins to write what was recorded up to this row, unless that is done. Waits for nothing.
    pub(super) async fn keep(&mut self, context: &Context) {
        if context.engine.config.anchors_within.is_zero() {
            return;
        }
        if let Some(written) = self.writing.take_if(|writing| writing.is_finished()) {
            self.ended(written).await;
        }
        let waits = self.retry_at.is_some_and(|at| Instant::now() < at);
        if self.writing.is_none() && !waits && self.row.as_ref() != Some(&context.migration) {
            self.row = Some(context.migration.clone());
            let writing = tokio::spawn(write(context.clone(), self.seen));
            self.writing = Some(AbortOnDropHandle::new(writing));
        }
    }

    /// Ends what was begun, and writes what is missing, if that is possible within a moment.
    pub(super) async fn finish(&mut self, context: &Context) {
        for _ in 0..2 {
            if let Some(written) = self.writing.take() {
                self.ended(written).await;
            }
            self.keep(context).await;
        }
        if let Some(written) = self.writing.take() {
            self.ended(written).await;
        }
    }

    async fn ended(&mut self, written: AbortOnDropHandle<Option<Followed>>) {
        if let Ok(Some(seen)) = written.await {
            self.seen = seen;
            self.retry_at = None;
        } else {
            self.row = None;
            self.retry_at = Some(Instant::now() + RETRY_AFTER);
        }
    }
}

/// Follows the log to its end and writes how far that is; `None`: not to both stores, or the log is broken.
async fn write(context: Context, seen: Followed) -> Option<Followed> {
    let within = context.engine.config.anchors_within;
    timeout(within, follow_and_write(&context, seen)).await.ok().flatten()
}

async fn follow_and_write(context: &Context, mut seen: Followed) -> Option<Followed> {
    let (tenant, migration) = (context.tenant(), context.migration.id);
    if let Some(before) = seen.index.checked_sub(1) {
        // A log that lost entries, and was accepted like that, is followed anew.
        let last = context.engine.control.log(migration, before, 1).await.ok()?;
        if last.first().is_none_or(|entry| Followed::to(entry) != seen) {
            seen = Followed::START;
        }
    }
    loop {
        let page = context.engine.control.log(migration, seen.index, PAGE).await.ok()?;
        for entry in &page {
            follows(seen, entry).ok()?;
            seen = Followed::to(entry);
        }
        if page.len() < PAGE {
            break;
        }
    }
    let anchor = LogAnchor { tenant, migration, seen };
    let (source, target) =
        tokio::join!(context.source.keep_anchor(&anchor), context.target.keep_anchor(&anchor));
    (source.is_ok() && target.is_ok()).then_some(seen)
}
