//! The appends of applications, as this process sees them: their latency, their outcomes,
//! and how many wait. The router counts them on its hot path, so without locks and without observers; reports
//! read the counts.
//!
//! An append counts as waiting from its submission until its caller has the response. Each append increments the
//! number of waiting ones; their age is known without a list, because a tenant's appends
//! are committed in the order of submission: the oldest is in the current group.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::append::Appended;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_ports::AppendError;
use tokio::time::Instant;

use crate::histogram::Histogram;
use crate::router::RouteCache;

/// Upper bounds, in seconds, of the buckets that appends are counted in.
pub const APPEND_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Tenants that are counted by themselves. The one that has been silent longest makes room for
/// a new one, and what it had counted goes to [`Appends::others`].
const TENANTS_MAX: usize = 200;
/// A tenant without appends for this long is no longer counted separately, whether or not there is room.
const SILENT_MAX: Duration = Duration::from_secs(3_600);

/// An append that has waited this long is blocked by something.
const NOTICED: Duration = Duration::from_secs(1);

/// Who comes again within so long after the last had to go meets the same trouble.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Ok,
    /// Refused for the writer's own reasons: a version, an id.
    Conflict,
    /// Over a limit.
    Invalid,
    /// A cutover did not end in time.
    Paused,
    /// The process had too many waiting.
    Busy,
    /// A store failed; nothing was written.
    Unavailable,
    /// A reply was lost.
    Unknown,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Conflict,
        Self::Invalid,
        Self::Paused,
        Self::Busy,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Paused => "paused",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }

    fn of(result: &Result<Appended, AppendError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(AppendError::Conflict(_)) => Self::Conflict,
            Err(AppendError::Invalid { .. } | AppendError::NotWritten { .. }) => Self::Invalid,
            Err(AppendError::WritesPaused { .. }) => Self::Paused,
            Err(AppendError::OutcomeUnknown { .. }) => Self::Unknown,
            Err(AppendError::Busy) => Self::Busy,
            Err(AppendError::Unavailable { .. }) => Self::Unavailable,
        }
    }
}

/// One tenant's appends through this process.
#[derive(Debug)]
pub struct Meter {
    durations: [Histogram; Outcome::ALL.len()],
    fenced: AtomicU64,
    /// Moments are stored as nanoseconds since then, plus one: 0 means none.
    born: Instant,
    /// Callers that have no answer yet.
    waiting: AtomicU64,
    /// When the oldest append of the current group was submitted; appends behind it in the queue are
    /// younger. Between two groups: when the last one was gathered, and the queue was empty.
    group_since: AtomicU64,
    /// The group waits for a cutover.
    group_paused: AtomicBool,
    /// Those that are stored and wait for the mirror, by when they were handed in.
    held: Mutex<BTreeMap<u64, u64>>,
    /// When an append was acknowledged last.
    acknowledged: AtomicU64,
    /// When the first was handed in after that.
    asked_since: AtomicU64,
    /// When the last of those that waited was gone.
    idle_since: AtomicU64,
    blocked_by: Mutex<Option<MigrationId>>,
    used: Mutex<Instant>,
}

/// Appends that were handed in and have no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many: in the queue, with a store, behind a cutover, held for the mirror.
    pub appends: u64,
    /// When the first of them was handed in.
    pub since: Instant,
}

impl Meter {
    fn new() -> Self {
        Self {
            durations: std::array::from_fn(|_| Histogram::new(APPEND_BUCKETS)),
            fenced: AtomicU64::new(0),
            born: Instant::now(),
            waiting: AtomicU64::new(0),
            group_since: AtomicU64::new(0),
            group_paused: AtomicBool::new(false),
            held: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            asked_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            blocked_by: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// The latency of appends with this outcome, from their submission.
    pub fn durations(&self, outcome: Outcome) -> &Histogram {
        &self.durations[outcome as usize]
    }

    /// Appends that a store refused because the tenant had moved on: each went to the right store
    /// afterwards, or waited.
    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Who waits now, whatever for: the queue, a store, the control plane, a cutover, the mirror. An
    /// append that goes through at once waits for a moment too.
    pub fn waiting(&self) -> Option<Waiting> {
        let appends = self.waiting.load(Ordering::Relaxed);
        if appends == 0 {
            return None;
        }
        let group = self.group_since.load(Ordering::Relaxed);
        let held = lock(&self.held).first_key_value().map(|(since, _)| *since);
        let since = [Some(group).filter(|since| *since > 0), held].into_iter().flatten().min();
        let since = since.map_or_else(Instant::now, |since| self.moment(since));
        Some(Waiting { appends, since })
    }

    /// How long appends have been waiting while none was acknowledged; `None`: none waits. Appends that
    /// time out and are retried meanwhile do not reset it.
    pub fn blocked_for(&self) -> Option<Duration> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let asked = self.asked_since.load(Ordering::Relaxed);
        let since = asked.max(self.acknowledged.load(Ordering::Relaxed));
        Some(self.moment(since).elapsed())
    }

    /// The migration whose cutover appends have waited for last.
    pub fn blocked_by(&self) -> Option<MigrationId> {
        *lock(&self.blocked_by)
    }

    /// The appends under way were found to wait for a cutover.
    fn is_paused(&self) -> bool {
        self.group_paused.load(Ordering::Relaxed)
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.born).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn moment(&self, nanos: u64) -> Instant {
        self.born + Duration::from_nanos(nanos.saturating_sub(1))
    }

    fn silence(&self) -> Duration {
        lock(&self.used).elapsed()
    }

    pub(crate) fn ended(&self, result: &Result<Appended, AppendError>, took: Duration) {
        if result.is_ok() {
            self.acknowledged.store(self.nanos(Instant::now()), Ordering::Relaxed);
            self.asked_since.store(0, Ordering::Relaxed);
        }
        self.durations(Outcome::of(result)).observe(took);
    }

    pub(crate) fn was_fenced(&self, appends: u64) {
        self.fenced.fetch_add(appends, Ordering::Relaxed);
    }

    /// An append is handed in; it waits for as long as the answer lives.
    pub(crate) fn handed_in(self: &Arc<Self>, at: Instant) -> InFlight {
        let nanos = self.nanos(at);
        let alone = self.waiting.fetch_add(1, Ordering::Relaxed) == 0;
        let idle = || nanos.saturating_sub(self.idle_since.load(Ordering::Relaxed));
        let anew = alone && u128::from(idle()) > AGAIN_WITHIN.as_nanos();
        if alone {
            self.group_since.store(nanos, Ordering::Relaxed);
        }
        if anew || self.asked_since.load(Ordering::Relaxed) == 0 {
            self.asked_since.store(nanos, Ordering::Relaxed);
        }
        InFlight { meter: Arc::clone(self), at: nanos }
    }

    /// The oldest append of the group under way was handed in then.
    pub(crate) fn group(&self, since: Instant) {
        self.group_since.store(self.nanos(since), Ordering::Relaxed);
    }

    /// The group waits, for this migration's cutover or for something else.
    pub(crate) fn group_waits(&self, cutover: Option<MigrationId>) {
        if cutover.is_some() {
            *lock(&self.blocked_by) = cutover;
        }
        self.group_paused.store(cutover.is_some(), Ordering::Relaxed);
    }

    /// The group, which was gathered then, has its answers.
    pub(crate) fn group_is_over(&self, gathered: Instant) {
        self.group(gathered);
        self.group_paused.store(false, Ordering::Relaxed);
    }
}

/// Counts an append as waiting for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) meter: Arc<Meter>,
    at: u64,
}

impl InFlight {
    /// It is stored, and waits for the mirror for as long as the answer lives.
    pub(crate) fn hold(&self) -> Held<'_> {
        *lock(&self.meter.held).entry(self.at).or_default() += 1;
        Held(self)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.meter.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            let now = self.meter.nanos(Instant::now());
            self.meter.idle_since.store(now, Ordering::Relaxed);
        }
    }
}

/// Counts an append as held for the mirror.
pub(crate) struct Held<'a>(&'a InFlight);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = lock(&self.0.meter.held);
        if let Some(times) = held.get_mut(&self.0.at) {
            *times -= 1;
            if *times == 0 {
                held.remove(&self.0.at);
            }
        }
    }
}

/// The appends through this process, by tenant.
pub struct Appends {
    tenants: Mutex<HashMap<TenantId, Arc<Meter>>>,
    others: Arc<Meter>,
    refreshes: AtomicU64,
    routes: Arc<RouteCache>,
}

impl Default for Appends {
    fn default() -> Self {
        Self::over(Arc::new(RouteCache::new()))
    }
}

impl Appends {
    /// Nothing yet, of a router with these routes.
    pub(crate) fn over(routes: Arc<RouteCache>) -> Self {
        let (tenants, refreshes) = (Mutex::default(), AtomicU64::new(0));
        Self { tenants, others: Arc::new(Meter::new()), refreshes, routes }
    }

    /// The migration whose cutover the tenant's appends wait for, by the newest route that this process
    /// has seen, whether or not a store or the control plane has answered them since.
    pub fn cutover(&self, tenant: TenantId) -> Option<MigrationId> {
        match self.routes.peek(tenant) {
            Some(route) if route.is_cutover_paused() => route.migration.map(|(id, _)| id),
            Some(_) => None,
            None => self.tenant(tenant).filter(|meter| meter.is_paused())?.blocked_by(),
        }
    }

    /// Appends of the tenant that are blocked: by a cutover, or for longer than an append takes. For
    /// people; appends that complete at once are not counted.
    pub fn kept_waiting(&self, tenant: TenantId) -> u64 {
        let waiting = self.tenant(tenant).and_then(|meter| meter.waiting());
        let kept =
            waiting.filter(|now| now.since.elapsed() >= NOTICED || self.cutover(tenant).is_some());
        kept.map_or(0, |kept| kept.appends)
    }

    /// The tenants that are counted by themselves.
    pub fn tenants(&self) -> Vec<(TenantId, Arc<Meter>)> {
        let mut tenants = lock(&self.tenants);
        let silent = |meter: &Arc<Meter>| is_unused(meter) && meter.silence() >= SILENT_MAX;
        let silent: Vec<_> = tenants.iter().filter(|(_, meter)| silent(meter)).collect();
        let silent: Vec<_> = silent.into_iter().map(|(tenant, _)| *tenant).collect();
        for tenant in silent {
            self.retire(&mut tenants, tenant);
        }
        tenants.iter().map(|(tenant, meter)| (*tenant, Arc::clone(meter))).collect()
    }

    /// One tenant's meter, if it is counted separately.
    pub fn tenant(&self, tenant: TenantId) -> Option<Arc<Meter>> {
        lock(&self.tenants).get(&tenant).map(Arc::clone)
    }

    /// The store that takes the tenant's appends, by the newest route that this process has seen.
    pub(crate) fn store(&self, tenant: TenantId) -> Option<StoreId> {
        self.routes.peek(tenant).map(|route| route.store.clone())
    }

    /// Everything that is not counted by tenant: tenants that were evicted, and those for which there was no room.
    pub fn others(&self) -> &Meter {
        &self.others
    }

    /// Routes read from the control plane.
    pub fn refreshes(&self) -> u64 {
        self.refreshes.load(Ordering::Relaxed)
    }

    pub(crate) fn refreshed(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    /// The tenant's meter, for the duration of one append or of one wait: a longer use takes
    /// room from others. Without room, the meter of all others.
    pub(crate) fn meter(&self, tenant: TenantId) -> Arc<Meter> {
        let mut tenants = lock(&self.tenants);
        if !tenants.contains_key(&tenant) && tenants.len() >= TENANTS_MAX {
            let unused = tenants.iter().filter(|(_, meter)| is_unused(meter));
            let oldest = unused.min_by_key(|(_, meter)| *lock(&meter.used)).map(|(id, _)| *id);
            match oldest {
                Some(oldest) => self.retire(&mut tenants, oldest),
                None => return Arc::clone(&self.others),
            }
        }
        let meter = tenants.entry(tenant).or_insert_with(|| Arc::new(Meter::new()));
        *lock(&meter.used) = Instant::now();
        Arc::clone(meter)
    }

    /// Counts a tenant among the others from here on.
    fn retire(&self, tenants: &mut HashMap<TenantId, Arc<Meter>>, tenant: TenantId) {
        if let Some(meter) = tenants.remove(&tenant) {
            for outcome in Outcome::ALL {
                self.others.durations(outcome).add(meter.durations(outcome));
            }
            self.others.was_fenced(meter.fenced());
        }
    }
}

/// Under the lock of the tenants: no other thread can start to use it.
fn is_unused(meter: &Arc<Meter>) -> bool {
    Arc::strong_count(meter) == 1
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
