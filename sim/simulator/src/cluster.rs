//! The shared state of a run: stores, control plane, clock, trace, and counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_ports::clock::Clock;
use rehome_ports::memory::{MemoryControlPlane, MemoryStore};
use tokio::time::Instant;
use uuid::Uuid;

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::faults::{CallId, Fate, Place};
use crate::mutant::{Broken, Mutant};
use crate::oracle::Book;
use crate::plan::{BEGINNING, Faults, Plan};
use crate::process::Process;
use crate::trace::Trace;
use crate::watch::Seen;

/// Number of calls after which a run counts as endless.
const CALLS_MAX: u64 = 400_000;

/// The wall clock: virtual time.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(BEGINNING.micros().saturating_add(micros))
    }
}

pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) broken: Arc<Broken>,
    /// The highest epochs of the ledgers.
    pub(crate) epochs: Seen,
    pub(crate) dice: Dice,
    pub(crate) tenant: TenantId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) a: Arc<MemoryStore>,
    pub(crate) b: Arc<MemoryStore>,
    pub(crate) control: Arc<MemoryControlPlane>,
    pub(crate) trace: Trace,
    coverage: Mutex<Coverage>,
    book: Mutex<Book>,
    counts: Mutex<BTreeMap<(usize, Place, &'static str), u64>>,
    calls: AtomicU64,
    struck: Mutex<BTreeMap<CallId, Fate>>,
    outages: Mutex<BTreeMap<Place, Instant>>,
    /// No faults, and no process that comes back, from then on.
    quiet: AtomicBool,
    processes: Mutex<BTreeMap<usize, Arc<Process>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of the store at a place.
pub(crate) fn store_id(name: &str) -> StoreId {
    name.parse().expect("a store's name")
}

impl Stage {
    pub(crate) fn new(plan: Plan, mutant: Option<Mutant>, keep: bool) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
        Arc::new(Self {
            dice: Dice::new(plan.seed),
            plan,
            broken: Arc::new(Broken::new(mutant)),
            epochs: Seen::default(),
            tenant: TenantId::new(Uuid::from_u128(0x7e)),
            a: Arc::new(MemoryStore::new(store_id("a"), Arc::clone(&clock))),
            b: Arc::new(MemoryStore::new(store_id("b"), Arc::clone(&clock))),
            control: Arc::new(MemoryControlPlane::new(Arc::clone(&clock))),
            clock,
            trace: Trace::new(keep),
            coverage: Mutex::default(),
            book: Mutex::default(),
            counts: Mutex::default(),
            calls: AtomicU64::new(0),
            struck: Mutex::default(),
            outages: Mutex::default(),
            quiet: AtomicBool::new(false),
            processes: Mutex::default(),
        })
    }

    pub(crate) fn cover(&self, state: impl Into<String>) {
        lock(&self.coverage).count(state);
    }

    pub(crate) fn covered(&self) -> Coverage {
        lock(&self.coverage).clone()
    }

    /// The oracle. Its violations go to the trace as well.
    pub(crate) fn book<T>(&self, tell: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = lock(&self.book);
        let before = book.violations().len();
        let told = tell(&mut book);
        for violation in &book.violations()[before..] {
            self.trace.line(format_args!("VIOLATION  {violation}"));
        }
        told
    }

    pub(crate) fn violated(&self, what: impl Into<String>) {
        self.book(|book| book.violated(what));
    }

    /// The same for a lasting violation: it is reported the first time.
    pub(crate) fn violated_once(&self, what: String) {
        self.book(|book| {
            if !book.violations().contains(&what) {
                book.violated(what);
            }
        });
    }

    /// The next call of its kind.
    pub(crate) fn number(&self, process: usize, place: Place, op: &'static str) -> CallId {
        if self.calls.fetch_add(1, Ordering::Relaxed) == CALLS_MAX {
            self.violated(format!("more than {CALLS_MAX} calls: something goes round in circles"));
        }
        let mut counts = lock(&self.counts);
        let nth = counts.entry((process, place, op)).or_default();
        *nth += 1;
        CallId { process, place, op, nth: *nth }
    }

    pub(crate) fn is_endless(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > CALLS_MAX
    }

    /// The fault of a call, by the plan.
    pub(crate) fn fate(&self, call: CallId) -> Option<Fate> {
        // Process 0 is the one that is alone before and after.
        if self.quiet.load(Ordering::Relaxed) || call.process == 0 {
            return None;
        }
        let fate = match &self.plan.faults {
            Faults::Drawn => {
                Fate::draw(self.of_call(call), &call, self.plan.roughness(), &self.plan.favourite)
            }
            Faults::Only(fates) => fates.get(&call).copied(),
        }?;
        lock(&self.struck).insert(call, fate);
        self.cover(format!("{}: {}", call.op, fate.name()));
        Some(fate)
    }

    fn of_call(&self, call: CallId) -> Dice {
        self.dice.nth(call.process as u64).nth(call.place as u64).of(call.op).nth(call.nth)
    }

    /// How long a call and its reply are on their way.
    pub(crate) fn latency(&self, call: CallId) -> (Duration, Duration) {
        let mut dice = self.of_call(call).of("latency");
        let mut one = || match dice.throw() % 8 {
            0..4 => 0,
            4..7 => dice.between(1, 4),
            _ => dice.between(4, 20),
        };
        (Duration::from_millis(one()), Duration::from_millis(one()))
    }

    /// What befell calls so far.
    pub(crate) fn struck(&self) -> BTreeMap<CallId, Fate> {
        lock(&self.struck).clone()
    }

    pub(crate) fn outage(&self, place: Place, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        lock(&self.outages).insert(place, until);
    }

    pub(crate) fn is_out(&self, place: Place) -> bool {
        lock(&self.outages).get(&place).is_some_and(|until| *until > Instant::now())
    }

    /// There are no more faults, and every process is dead.
    pub(crate) fn end_all(&self) {
        self.quiet.store(true, Ordering::Relaxed);
        lock(&self.outages).clear();
        for process in lock(&self.processes).values() {
            process.life.kill();
        }
    }

    pub(crate) fn process(&self, index: usize) -> Arc<Process> {
        Arc::clone(lock(&self.processes).get(&index).expect("processes are never taken away"))
    }

    /// Starts a process, or starts it again.
    pub(crate) fn start(self: &Arc<Self>, index: usize) -> Arc<Process> {
        let process = Arc::new(Process::start(self, index));
        lock(&self.processes).insert(index, Arc::clone(&process));
        process
    }

    /// The process dies, and is started again later.
    pub(crate) fn kill(self: &Arc<Self>, index: usize) {
        let process = self.process(index);
        if process.life.is_dead() || self.quiet.load(Ordering::Relaxed) {
            return;
        }
        process.life.kill();
        let ms =
            self.dice.of("restart").nth(index as u64).nth(process.incarnation).between(20, 900);
        self.trace.line(format_args!("p{index} dies, for {ms} ms"));
        let stage = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            if !stage.quiet.load(Ordering::Relaxed) {
                stage.trace.line(format_args!("p{index} is started again"));
                stage.start(index);
            }
        });
    }
}
