//! What has seen the logs from outside: the route rows of the control plane, and the stores of each migration.
//!
//! An anchor is an entry that a log once had, so the log has it for ever. That shows what the chain alone does not: a
//! log that was cut off together with its migration's row, one that was written anew, and one that is gone. A route row
//! of an older rehome names a migration and no entry: then only that the migration is there is compared.

use std::sync::Arc;
use std::time::Duration;

pub(super) use rehome_app::anchors::compare;
use rehome_app::deployment::Deployment;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{ControlError, LedgerStore};
use tokio::time::timeout;

/// Anchors read at once.
const PAGE: usize = 200;

/// A walk over all anchors, a page at a time. Can be cut off anywhere between two pages.
#[derive(Debug, Default)]
pub(super) struct Walk(At);

#[derive(Clone, Copy, Debug)]
enum At {
    Routes(Option<TenantId>),
    Store(usize, Option<MigrationId>),
}

impl Default for At {
    fn default() -> Self {
        Self::Routes(None)
    }
}

/// What one place keeps, or a page of it.
pub(super) enum Page {
    /// Each with the name of its place.
    Anchors(Vec<(String, LogAnchor)>),
    /// A store did not answer.
    Unread {
        /// Which.
        place: String,
        /// Why, as a sentence that names it.
        why: String,
    },
}

impl Walk {
    /// The next page; `None` when all were read, and the walk begins anew. A store gets `within` for each page.
    pub(super) async fn next(
        &mut self,
        deployment: &Deployment,
        within: Duration,
    ) -> Result<Option<Page>, ControlError> {
        match self.0 {
            At::Routes(after) => {
                let found = deployment.engine().control().log_anchors(after, PAGE).await?;
                let last = found.last().filter(|_| found.len() == PAGE);
                self.0 = last.map_or(At::Store(0, None), |last| At::Routes(Some(last.tenant)));
                let place = |anchor: LogAnchor| {
                    (format!("the route row of tenant {}", anchor.tenant), anchor)
                };
                Ok(Some(Page::Anchors(found.into_iter().map(place).collect())))
            }
            At::Store(index, after) => {
                let store = deployment.engine().stores().iter().nth(index).map(Arc::clone);
                let Some(store) = store else {
                    self.0 = At::default();
                    return Ok(None);
                };
                let (page, last) = page(&*store, after, within).await;
                self.0 = last.map_or(At::Store(index + 1, None), |id| At::Store(index, Some(id)));
                Ok(Some(page))
            }
        }
    }
}

/// A page of one store, and where the next one begins.
async fn page(
    store: &dyn LedgerStore,
    after: Option<MigrationId>,
    within: Duration,
) -> (Page, Option<MigrationId>) {
    let place = format!("store \"{}\"", store.id());
    match timeout(within, store.anchors(after, PAGE)).await {
        Ok(Ok(found)) => {
            let last = found.last().filter(|_| found.len() == PAGE).map(|last| last.migration);
            let with = |anchor| (place.clone(), anchor);
            (Page::Anchors(found.into_iter().map(with).collect()), last)
        }
        Ok(Err(error)) => (Page::Unread { place, why: error.to_string() }, None),
        Err(_) => {
            let why = format!("{place} does not answer");
            (Page::Unread { place, why }, None)
        }
    }
}
