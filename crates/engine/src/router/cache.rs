//! The routes that this process has read, since when, and the notifications about them.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use rehome_domain::ids::TenantId;
use rehome_domain::route::Route;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Maximum number of cached routes; the least recently used is evicted and read again when needed.
const ROUTES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Maximum number of routes read again after missed notifications; the others are refreshed when used.
const DOUBTFUL_MAX: usize = 1_024;

/// A moment in the history of a cache. A row read from the control plane after a moment is
/// newer than every notification before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// A route row, and when this process first saw its `rev`: deadlines run from there, by the
/// monotonic clock, so that no wall clock can roll a cutover back.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) route: Arc<Route>,
    pub(crate) since: Instant,
    read: Moment,
}

impl Seen {
    /// The route is in `cutover_paused` and has been for its deadline.
    pub(crate) fn deadline_passed(&self) -> bool {
        self.route.is_cutover_paused() && Instant::now() >= self.deadline()
    }

    /// When anyone may roll the cutover back.
    pub(crate) fn deadline(&self) -> Instant {
        self.since + Duration::from_millis(self.route.deadline_ms)
    }

    /// When a writer that waits for this route polls again: at `poll`, or at the deadline if that is
    /// still to come and sooner.
    pub(crate) fn next_look(&self, poll: Instant) -> Instant {
        if self.deadline() > Instant::now() { poll.min(self.deadline()) } else { poll }
    }

    /// As new as the notifications up to this moment.
    pub(crate) fn read(&self) -> Moment {
        self.read
    }
}

pub(crate) struct RouteCache {
    rows: Mutex<Rows>,
    changed: Notify,
}

struct Rows {
    routes: LruCache<TenantId, Entry>,
    now: Moment,
    /// When notifications were last missed: about any route.
    missed: Moment,
    listening: bool,
}

struct Entry {
    seen: Seen,
    /// When the row last changed, or was last notified as changed.
    changed: Moment,
}

impl Rows {
    fn tick(&mut self) -> Moment {
        self.now.0 += 1;
        self.now
    }
}

impl std::fmt::Debug for RouteCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteCache").finish_non_exhaustive()
    }
}

impl RouteCache {
    pub(crate) fn new() -> Self {
        let rows = Rows {
            routes: LruCache::new(ROUTES_MAX),
            now: Moment(0),
            missed: Moment(0),
            listening: false,
        };
        Self { rows: Mutex::new(rows), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, tenant: TenantId) -> Option<Seen> {
        self.lock().routes.get(&tenant).map(|entry| entry.seen.clone())
    }

    /// The known route; does not count as a use.
    pub(crate) fn peek(&self, tenant: TenantId) -> Option<Arc<Route>> {
        self.lock().routes.peek(&tenant).map(|entry| Arc::clone(&entry.seen.route))
    }

    /// The current moment, taken before a row is read.
    pub(crate) fn moment(&self) -> Moment {
        self.lock().now
    }

    /// Stores the newer of the given and the cached row; returns it. The row was read after `read`.
    pub(crate) fn put(&self, route: Route, read: Moment) -> Seen {
        let mut rows = self.lock();
        let tenant = route.tenant;
        // `n` never goes back, and a recovery raises it beyond all that was known before.
        let age = |route: &Route| (route.n, route.rev);
        if let Some(kept) = rows.routes.get_mut(&tenant)
            && age(&kept.seen.route) > age(&route)
        {
            kept.seen.read = kept.seen.read.max(read);
            return kept.seen.clone();
        }
        let kept = rows.routes.get(&tenant).map(|entry| (entry.seen.clone(), entry.changed));
        let changed = kept.as_ref().map_or(Moment(0), |(_, changed)| *changed);
        let kept = kept.map(|(seen, _)| seen);
        let moved = kept.as_ref().is_none_or(|kept| age(&kept.route) != age(&route));
        let same = kept.filter(|kept| kept.route.rev == route.rev);
        let since = same.as_ref().map_or_else(Instant::now, |kept| kept.since);
        let created = route.created || same.is_some_and(|kept| kept.route.created);
        // A change was notified while the row was read: it may be the row from before.
        let overtaken = changed.max(rows.missed) > read;
        let changed = if moved { rows.tick() } else { changed };
        let read = if overtaken { read } else { rows.now };
        let seen = Seen { route: Arc::new(Route { created, ..route }), since, read };
        rows.routes.put(tenant, Entry { seen: seen.clone(), changed });
        drop(rows);
        if moved {
            self.changed.notify_waiters();
        }
        seen
    }

    /// Whether the tenant's route was changed, or notified as changed, since that moment.
    fn has_changed(&self, tenant: TenantId, since: Moment) -> bool {
        let rows = self.lock();
        let changed = rows.routes.peek(&tenant).map_or(Moment(0), |entry| entry.changed);
        changed.max(rows.missed) > since
    }

    /// Resolves when the tenant's route was changed, or notified as changed, since that moment.
    /// Only for cached routes.
    pub(crate) async fn changed(&self, tenant: TenantId, since: Moment) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.has_changed(tenant, since) {
                return;
            }
            changed.await;
        }
    }

    /// Whether this process receives notifications of changes.
    pub(crate) fn is_listening(&self) -> bool {
        self.lock().listening
    }

    /// A fact about the tenant was recorded that did not change its route: a request, a retuning.
    /// Waiting tasks read again.
    pub(super) fn touch(&self, tenant: TenantId) {
        let mut rows = self.lock();
        let now = rows.tick();
        if let Some(kept) = rows.routes.peek_mut(&tenant) {
            kept.changed = now;
        }
        drop(rows);
        self.changed.notify_waiters();
    }

    /// The tenant's route was notified to be at `rev`. Returns whether an older row of it is cached.
    pub(super) fn told(&self, tenant: TenantId, rev: u64) -> bool {
        let mut rows = self.lock();
        let now = rows.tick();
        let kept = rows.routes.peek_mut(&tenant);
        let Some(kept) = kept.filter(|kept| kept.seen.route.rev < rev) else { return false };
        kept.changed = now;
        drop(rows);
        self.changed.notify_waiters();
        true
    }

    /// Notifications arrive from here on; earlier ones may have been missed. Returns the tenants
    /// whose rows should be read again, the most recently used first.
    pub(super) fn told_to_listen(&self) -> Vec<TenantId> {
        let mut rows = self.lock();
        rows.missed = rows.tick();
        rows.listening = true;
        let doubtful = rows.routes.iter().take(DOUBTFUL_MAX).map(|(tenant, _)| *tenant).collect();
        drop(rows);
        self.changed.notify_waiters();
        doubtful
    }

    /// No notifications arrive from here on.
    pub(super) fn told_nothing(&self) {
        self.lock().listening = false;
    }
}
