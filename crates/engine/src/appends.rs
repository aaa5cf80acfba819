//! What the appends of applications look like from this process: how long they took, how they ended,
//! who waits. Counted by the router on its hot path, so without locks and without observers; read by
//! whoever tells of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::append::Appended;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::AppendError;
use tokio::time::Instant;

use crate::histogram::Histogram;

/// Upper bounds, in seconds, of the buckets that appends are counted in.
pub const APPEND_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Tenants that are counted by themselves. The one that has been silent longest makes room for
/// a new one, and what it had counted goes to [`Appends::others`].
const TENANTS_MAX: usize = 200;

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
            Err(AppendError::Invalid { .. }) => Self::Invalid,
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
    /// Whether `waiting` is worth a look.
    any_waiting: AtomicBool,
    waiting: Mutex<Option<Waiting>>,
    blocked_by: Mutex<Option<MigrationId>>,
    used: Mutex<Instant>,
}

/// Appends that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub appends: u64,
    /// Since when the first of them waits.
    pub since: Instant,
    /// For a cutover; otherwise for a store that fails.
    pub cutover: bool,
}

impl Meter {
    fn new() -> Self {
        Self {
            durations: std::array::from_fn(|_| Histogram::new(APPEND_BUCKETS)),
            fenced: AtomicU64::new(0),
            any_waiting: AtomicBool::new(false),
            waiting: Mutex::default(),
            blocked_by: Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// How long the appends with this outcome took, from when they were handed in.
    pub fn durations(&self, outcome: Outcome) -> &Histogram {
        &self.durations[outcome as usize]
    }

    /// Appends that a store refused because the tenant had moved on: each went to the right store
    /// afterwards, or waited.
    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Who waits now.
    pub fn waiting(&self) -> Option<Waiting> {
        *lock(&self.waiting)
    }

    /// The migration whose cutover appends have waited for last.
    pub fn blocked_by(&self) -> Option<MigrationId> {
        *lock(&self.blocked_by)
    }

    pub(crate) fn ended(&self, result: &Result<Appended, AppendError>, took: Duration) {
        self.durations(Outcome::of(result)).observe(took);
    }

    pub(crate) fn was_fenced(&self, appends: u64) {
        self.fenced.fetch_add(appends, Ordering::Relaxed);
    }

    /// So many wait, the first of them since it was handed in.
    pub(crate) fn wait(&self, appends: usize, since: Instant, cutover: Option<MigrationId>) {
        if cutover.is_some() {
            *lock(&self.blocked_by) = cutover;
        }
        let (appends, cutover) = (appends as u64, cutover.is_some());
        self.any_waiting.store(true, Ordering::Relaxed);
        *lock(&self.waiting) = Some(Waiting { appends, since, cutover });
    }

    pub(crate) fn wait_is_over(&self) {
        if self.any_waiting.swap(false, Ordering::Relaxed) {
            *lock(&self.waiting) = None;
        }
    }
}

/// The appends through this process, by tenant.
#[derive(Debug)]
pub struct Appends {
    tenants: Mutex<HashMap<TenantId, Arc<Meter>>>,
    others: Meter,
    refreshes: AtomicU64,
}

impl Default for Appends {
    fn default() -> Self {
        Self { tenants: Mutex::default(), others: Meter::new(), refreshes: AtomicU64::new(0) }
    }
}

impl Appends {
    /// The tenants that are counted by themselves.
    pub fn tenants(&self) -> Vec<(TenantId, Arc<Meter>)> {
        lock(&self.tenants).iter().map(|(tenant, meter)| (*tenant, Arc::clone(meter))).collect()
    }

    /// One tenant's, if it is counted by itself.
    pub fn tenant(&self, tenant: TenantId) -> Option<Arc<Meter>> {
        lock(&self.tenants).get(&tenant).map(Arc::clone)
    }

    /// All that is not counted by tenant any more.
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

    /// The tenant's meter, for the life of its queue.
    pub(crate) fn meter(&self, tenant: TenantId) -> Arc<Meter> {
        let mut tenants = lock(&self.tenants);
        if !tenants.contains_key(&tenant) && tenants.len() >= TENANTS_MAX {
            self.make_room(&mut tenants);
        }
        let meter = tenants.entry(tenant).or_insert_with(|| Arc::new(Meter::new()));
        *lock(&meter.used) = Instant::now();
        Arc::clone(meter)
    }

    /// Forgets the one that has been silent longest, if any is not in use.
    fn make_room(&self, tenants: &mut HashMap<TenantId, Arc<Meter>>) {
        let unused = tenants.iter().filter(|(_, meter)| Arc::strong_count(meter) == 1);
        let Some(oldest) = unused.min_by_key(|(_, meter)| *lock(&meter.used)).map(|(id, _)| *id)
        else {
            return;
        };
        if let Some(meter) = tenants.remove(&oldest) {
            for outcome in Outcome::ALL {
                self.others.durations(outcome).add(meter.durations(outcome));
            }
            self.others.was_fenced(meter.fenced());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_tenant_that_was_silent_longest_makes_room_and_nothing_is_lost() {
        let appends = Appends::default();
        let tenant = |n: usize| TenantId::new(Uuid::from_u128(n as u128));
        let busy = appends.meter(tenant(0));
        for n in 1..=TENANTS_MAX {
            appends.meter(tenant(n)).ended(&Err(AppendError::Busy), Duration::from_millis(1));
        }
        assert_eq!(appends.tenants().len(), TENANTS_MAX);
        assert!(appends.tenant(tenant(0)).is_some(), "its queue still lives");
        assert!(appends.tenant(tenant(1)).is_none());
        assert_eq!(appends.others().durations(Outcome::Busy).snapshot().count(), 1);
        busy.wait(3, Instant::now(), None);
        assert_eq!(appends.tenant(tenant(0)).unwrap().waiting().unwrap().appends, 3);
    }
}
