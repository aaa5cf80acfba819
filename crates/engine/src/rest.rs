//! Windows at rest: what a process does for all of its open rollback windows together.
//!
//! In a window the old source follows an authority to which, for most tenants, nothing is written. Instead of each mirror,
//! one task per store reads the lengths of all these histories, in one request, and wakes the mirrors of those that
//! have grown. So a window costs a row of a page, and its replica is behind by no more than the interval.
//!
//! ```text
//! mirror ──joins──▶ store's windows ◀──every second── lengths ◀── store
//!    ▲                     │
//!    └── wakes ────────────┘ longer than the replica
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_ports::LedgerStore;
use rehome_ports::clock::Clock;
use tokio_util::task::AbortOnDropHandle;

use crate::config::EngineConfig;
use crate::heads::Heads;
use crate::signal::{Observers, Signal, Way};

/// Histories whose length is read in one request.
const PAGE: usize = 500;

/// The windows of this process, by the store with the authority. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Windows(Arc<Mutex<BTreeMap<StoreId, Store>>>);

struct Store {
    windows: BTreeMap<TenantId, Window>,
    _polls: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Window {
    migration: Arc<Migration>,
    /// Wakes its mirror, if the history is longer than its replica; returns the replica's length, if it is known.
    wake: Arc<dyn Fn(u64) -> Option<u64> + Send + Sync>,
}

/// A window that is watched until this is dropped.
pub(crate) struct Watched {
    windows: Windows,
    store: StoreId,
    /// As it is in the window: a later mirror of the tenant has its own.
    migration: Arc<Migration>,
}

/// What a task needs to read and to report.
pub(crate) struct Polls {
    pub(crate) store: Arc<dyn LedgerStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: EngineConfig,
    pub(crate) observers: Observers,
}

impl Windows {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StoreId, Store>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the tenant's history in the store, and calls `wake` with each length of it.
    pub(crate) fn watch(
        &self,
        polls: Polls,
        migration: &Migration,
        wake: impl Fn(u64) -> Option<u64> + Send + Sync + 'static,
    ) -> Watched {
        let (store, migration) = (polls.store.id().clone(), Arc::new(migration.clone()));
        let window = Window { migration: Arc::clone(&migration), wake: Arc::new(wake) };
        let mut stores = self.lock();
        let of_store = stores.entry(store.clone()).or_insert_with(|| {
            let task = tokio::spawn(poll(Arc::downgrade(&self.0), polls));
            Store { windows: BTreeMap::new(), _polls: AbortOnDropHandle::new(task) }
        });
        of_store.windows.insert(migration.tenant, window);
        Watched { windows: self.clone(), store, migration }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut stores = self.windows.lock();
        let Some(store) = stores.get_mut(&self.store) else { return };
        let is_its_own = |window: &Window| Arc::ptr_eq(&window.migration, &self.migration);
        if store.windows.get(&self.migration.tenant).is_some_and(is_its_own) {
            store.windows.remove(&self.migration.tenant);
        }
        if store.windows.is_empty() {
            stores.remove(&self.store);
        }
    }
}

/// Reads the lengths periodically, while there are windows.
async fn poll(windows: Weak<Mutex<BTreeMap<StoreId, Store>>>, polls: Polls) {
    let Polls { store, clock, config, observers } = polls;
    loop {
        tokio::time::sleep(config.head_poll).await;
        let Some(all) = windows.upgrade().map(Windows) else { return };
        let watched = all.lock().get(store.id()).map(|of| of.windows.clone()).unwrap_or_default();
        // While it reads, the process may end.
        drop(all);
        let tenants: Vec<TenantId> = watched.keys().copied().collect();
        for page in tenants.chunks(PAGE) {
            let source_at = clock.now();
            let asked = tokio::time::timeout(config.head_within, store.lengths(page)).await;
            // A store that does not answer gets another request later; the mirrors find out by themselves.
            let Ok(Ok(lengths)) = asked else { continue };
            for (tenant, source_seq) in page.iter().zip(lengths) {
                let Some(window) = watched.get(tenant) else { continue };
                // Also while the mirror hangs: the lag grows with the history.
                let (way, target_seq) = (Way::Back, (window.wake)(source_seq));
                let heads = Heads { way, source_seq, source_at, target_seq };
                observers.tell(&Signal::Head { migration: &window.migration, heads });
            }
        }
    }
}
