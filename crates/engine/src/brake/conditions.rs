//! What the stores report about their disks and replicas, polled independently of the work: a store that does not answer
//! delays nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rehome_domain::ids::StoreId;
use rehome_ports::Condition;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::lock;
use crate::Stores;

/// The polling interval.
const EVERY: Duration = Duration::from_secs(2);
/// Maximum time of one poll.
const WITHIN: Duration = Duration::from_secs(5);
/// An older report says nothing about now.
const TRUSTED: Duration = Duration::from_secs(15);

/// The stores that migrations of this process work on; one task polls each.
#[derive(Clone, Default)]
pub(crate) struct Conditions(Arc<Mutex<HashMap<StoreId, Weak<Polled>>>>);

/// The last report of one store, and the task that polls it.
pub(super) struct Polled {
    latest: Arc<Mutex<Option<(Instant, Condition)>>>,
    _polling: AbortOnDropHandle<()>,
}

impl Conditions {
    /// The store is polled for as long as the answer is held.
    pub(super) fn of(&self, stores: &Stores, store: &StoreId) -> Arc<Polled> {
        let mut polled = lock(&self.0);
        if let Some(found) = polled.get(store).and_then(Weak::upgrade) {
            return found;
        }
        polled.retain(|_, one| one.strong_count() > 0);
        let latest = Arc::default();
        let polling = poll(stores.clone(), store.clone(), Arc::clone(&latest));
        let new =
            Arc::new(Polled { latest, _polling: AbortOnDropHandle::new(tokio::spawn(polling)) });
        polled.insert(store.clone(), Arc::downgrade(&new));
        new
    }
}

impl Polled {
    /// The last report, unless it is too old; empty then.
    pub(super) fn latest(&self) -> Condition {
        let latest = lock(&self.latest).filter(|(at, _)| at.elapsed() < TRUSTED);
        latest.map_or_else(Condition::default, |(_, condition)| condition)
    }
}

async fn poll(stores: Stores, store: StoreId, latest: Arc<Mutex<Option<(Instant, Condition)>>>) {
    loop {
        let began = Instant::now();
        let report = async { stores.get(&store).ok()?.condition().await.ok() };
        if let Ok(Some(condition)) = tokio::time::timeout(WITHIN, report).await {
            *lock(&latest) = Some((began, condition));
        }
        tokio::time::sleep(EVERY).await;
    }
}
