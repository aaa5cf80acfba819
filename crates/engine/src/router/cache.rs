//! The routes that this process has seen, since when, and what it was told about them.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use rehome_domain::ids::TenantId;
use rehome_domain::route::Route;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most routes kept; the least recently used goes first and is read again when needed.
const ROUTES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Most routes read again unasked after news was missed; the others are found out when used.
const DOUBTFUL_MAX: usize = 1_024;

/// A moment in what a cache has learned. What is read from the control plane after a moment is
/// newer than everything that the cache was told before it.
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
    /// The route says `cutover_paused` and has said so for its deadline.
    pub(crate) fn deadline_passed(&self) -> bool {
        self.route.is_cutover_paused() && Instant::now() >= self.deadline()
    }

    /// When anyone may roll the cutover back.
    pub(crate) fn deadline(&self) -> Instant {
        self.since + Duration::from_millis(self.route.deadline_ms)
    }

    /// When a writer that waits for this route looks again: at `poll`, or at the deadline if that is
    /// still to come and sooner.
    pub(crate) fn next_look(&self, poll: Instant) -> Instant {
        if self.deadline() > Instant::now() { poll.min(self.deadline()) } else { poll }
    }

    /// As new as what was learned up to this moment.
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
    /// When news was missed last: about any route.
    missed: Moment,
    listening: bool,
}

struct Entry {
    seen: Seen,
    /// When the row was last changed, or was last said to have changed.
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

    /// The route as it is known; that somebody looked does not keep it.
    pub(crate) fn peek(&self, tenant: TenantId) -> Option<Arc<Route>> {
        self.lock().routes.peek(&tenant).map(|entry| Arc::clone(&entry.seen.route))
    }

    /// Now: asked for before a row is read.
    pub(crate) fn moment(&self) -> Moment {
        self.lock().now
    }

    /// Keeps the newer of the row given and the row kept; answers it. The row was read after `read`.
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
        // Told of a change while the row was read: it may be the row from before.
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

    /// Whether the tenant's route was changed, or said to have changed, since that moment.
    fn has_changed(&self, tenant: TenantId, since: Moment) -> bool {
        let rows = self.lock();
        let changed = rows.routes.peek(&tenant).map_or(Moment(0), |entry| entry.changed);
        changed.max(rows.missed) > since
    }

    /// Resolves when the tenant's route was changed, or said to have changed, since that moment.
    /// Only of routes that are kept.
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

    /// Whether this process is told of changes as they happen.
    pub(crate) fn is_listening(&self) -> bool {
        self.lock().listening
    }

    /// Something was recorded about the tenant that did not move its route: a request, a retuning.
    /// Whoever waits for a change looks.
    pub(super) fn touch(&self, tenant: TenantId) {
        let mut rows = self.lock();
        let now = rows.tick();
        if let Some(kept) = rows.routes.peek_mut(&tenant) {
            kept.changed = now;
        }
        drop(rows);
        self.changed.notify_waiters();
    }

    /// The tenant's route is said to be at `rev`. Whether an older row of it is kept.
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

    /// Changes are told from here on; those from before may have been missed. Answers the tenants
    /// whose rows are best read again, the most recently used first.
    pub(super) fn told_to_listen(&self) -> Vec<TenantId> {
        let mut rows = self.lock();
        rows.missed = rows.tick();
        rows.listening = true;
        let doubtful = rows.routes.iter().take(DOUBTFUL_MAX).map(|(tenant, _)| *tenant).collect();
        drop(rows);
        self.changed.notify_waiters();
        doubtful
    }

    /// Nothing is told from here on.
    pub(super) fn told_nothing(&self) {
        self.lock().listening = false;
    }
}
