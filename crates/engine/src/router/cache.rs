//! The routes that this process has seen, and since when.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use rehome_domain::ids::TenantId;
use rehome_domain::route::Route;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most routes kept; the least recently used goes first and is read again when needed.
const ROUTES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// A route row, and when this process first saw its `rev`: deadlines run from there, by the
/// monotonic clock, so that no wall clock can roll a cutover back.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) route: Arc<Route>,
    pub(crate) since: Instant,
}

impl Seen {
    /// The route says `cutover_paused` and has said so for its deadline.
    pub(crate) fn deadline_passed(&self) -> bool {
        self.route.is_cutover_paused() && Instant::now() >= self.deadline()
    }

    /// When anyone may roll the cutover back.
    pub(crate) fn deadline(&self) -> Instant {
        self.since + Duration::from_millis(self.route.deadline_ms)
    }
}

pub(crate) struct RouteCache {
    routes: Mutex<LruCache<TenantId, Seen>>,
    changed: Notify,
}

impl RouteCache {
    pub(crate) fn new() -> Self {
        Self { routes: Mutex::new(LruCache::new(ROUTES_MAX)), changed: Notify::new() }
    }

    pub(crate) fn get(&self, tenant: TenantId) -> Option<Seen> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    /// Keeps the newer of the row given and the row kept; answers it.
    pub(crate) fn put(&self, route: Route) -> Seen {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = routes.get(&route.tenant);
        // `n` never goes back, and a recovery raises it beyond all that was known before.
        let age = |route: &Route| (route.n, route.rev);
        if let Some(kept) = kept.filter(|kept| age(&kept.route) > age(&route)) {
            return kept.clone();
        }
        let moved = kept.is_none_or(|kept| age(&kept.route) != age(&route));
        let since = match kept {
            Some(kept) if kept.route.rev == route.rev => kept.since,
            _ => Instant::now(),
        };
        let created = kept.is_some_and(|kept| kept.route.rev == route.rev && kept.route.created)
            || route.created;
        let seen = Seen { route: Arc::new(Route { created, ..route }), since };
        routes.put(seen.route.tenant, seen.clone());
        drop(routes);
        if moved {
            self.changed.notify_waiters();
        }
        seen
    }

    /// Resolves when any route of this process has changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
