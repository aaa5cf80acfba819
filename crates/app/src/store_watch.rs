//! The last answers of the stores, with their ages. Every page and document that shows a store's data reads here,
//! so that none waits for a store that does not answer.
//!
//! ```text
//! reader ──▶ query ──▶ task: the store's own call ──▶ last answer ──▶ every later reader
//!             │                                         ▲
//!             └── waits for `patience`, then shows ─────┘
//! ```
//!
//! A query is a task of its own: it outlives its reader, and its answer is the last known
//! one for all. A store that answers is queried again each time, so a reader gets the latest answer
//! possible. While a query is open for longer than `patience`, no further query is sent to that store, and
//! readers get the last known answer at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::Ledger;
use rehome_engine::{Stores, UnknownStore};
use rehome_ports::clock::Clock;
use rehome_ports::{LedgerStore, StoreError, StoreReport};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// How long a command waits for a store: within 2 s it reports that the store does not answer.
const PATIENCE_OF_A_COMMAND: Duration = Duration::from_millis(1_500);
/// How long a screen of a server waits: with two stores in turn it answers within 300 ms.
const PATIENCE_OF_A_SERVER: Duration = Duration::from_millis(120);
/// A question that is open for longer means that the store does not answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// A tenant that does not exist: its ledger is a single index lookup.
const NOBODY: TenantId = TenantId::new(uuid::Uuid::nil());
/// Questions to one store at a time.
const SIDE_BY_SIDE: usize = 8;
/// Ledgers remembered of one store; the one that was seen longest ago makes room.
const LEDGERS_MAX: usize = 10_000;

/// The stores of a deployment, as they last answered.
pub struct StoreWatch {
    known: Stores,
    stores: BTreeMap<StoreId, Arc<Watched>>,
    /// In milliseconds.
    patience: AtomicU64,
}

/// The last known answer, and its quality.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight<T> {
    /// The last answer and when it came; `None`: there never was one.
    pub last: Option<(T, Timestamp)>,
    /// Why it is not of this moment; `None`: it is, or the store is only slow.
    pub unanswered: Option<Unanswered>,
}

impl<T> Sight<T> {
    /// The same with the answer changed by `change`.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sight<U> {
        let last = self.last.map(|(value, at)| (change(value), at));
        Sight { last, unanswered: self.unanswered }
    }

    /// The answer, whatever its age.
    pub fn value(&self) -> Option<&T> {
        self.last.as_ref().map(|(value, _)| value)
    }

    /// When it came.
    pub fn at(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|(_, at)| *at)
    }
}

/// A store does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    store: StoreId,
    /// Since when: the first question without an answer.
    pub since: Timestamp,
    /// Its own words, if it gave any.
    error: Option<String>,
}

impl Unanswered {
    /// A sentence that names the store.
    pub fn sentence(&self) -> String {
        match &self.error {
            Some(error) => error.clone(),
            None => format!("store \"{}\" has not answered since {}", self.store, self.since()),
        }
    }
}

impl Unanswered {
    /// It answered with an error, and is not merely silent.
    pub const fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// To the second.
    fn since(&self) -> String {
        let time = rehome_api::Time(self.since.micros()).to_string();
        time.split_once('.').map_or_else(|| time.clone(), |(seconds, _)| format!("{seconds}Z"))
    }
}

/// One store.
struct Watched {
    store: Arc<dyn LedgerStore>,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Open questions, by number.
    open: BTreeMap<u64, Open>,
    asked: u64,
    has_answered: bool,
    /// Since the last answer: when the first failed query started, and the last error.
    failing: Option<(Timestamp, String)>,
    ledgers: HashMap<TenantId, (Ledger, Timestamp)>,
    report: Option<(StoreReport, Timestamp)>,
}

struct Open {
    at: Timestamp,
    since: Instant,
    task: Option<AbortHandle>,
}

impl StoreWatch {
    /// Watches these stores. Sends no query before the first reader.
    pub fn new(stores: &Stores, clock: &Arc<dyn Clock>) -> Self {
        let watched = |store: &Arc<dyn LedgerStore>| {
            let watched = Watched {
                store: Arc::clone(store),
                clock: Arc::clone(clock),
                room: Arc::new(Semaphore::new(SIDE_BY_SIDE)),
                state: Mutex::default(),
            };
            (store.id().clone(), Arc::new(watched))
        };
        Self {
            known: stores.clone(),
            stores: stores.iter().map(watched).collect(),
            patience: AtomicU64::new(millis(PATIENCE_OF_A_COMMAND)),
        }
    }

    /// From here on no screen waits longer than a server's may.
    pub fn serve(&self) {
        self.patience.store(millis(PATIENCE_OF_A_SERVER), Ordering::Relaxed);
    }

    /// How long a screen waits for one store.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Ordering::Relaxed))
    }

    fn of(&self, id: &StoreId) -> Result<&Arc<Watched>, UnknownStore> {
        self.known.get(id)?;
        // The two have the same keys.
        Ok(&self.stores[id])
    }

    /// The tenant's ledger in a store.
    pub async fn ledger(
        &self,
        id: &StoreId,
        tenant: TenantId,
    ) -> Result<Sight<Ledger>, UnknownStore> {
        let watched = self.of(id)?;
        self.ledger_within(watched, tenant, self.patience_with(watched)).await
    }

    async fn ledger_within(
        &self,
        watched: &Arc<Watched>,
        tenant: TenantId,
        patience: Duration,
    ) -> Result<Sight<Ledger>, UnknownStore> {
        let store = Arc::clone(&watched.store);
        let asked = async move { store.ledger(tenant).await };
        let keep = move |state: &mut State, ledger: Ledger, at| state.keep(tenant, ledger, at);
        let unanswered = watched.ask(patience, asked, keep).await;
        let last = watched.lock().ledgers.get(&tenant).copied();
        Ok(watched.sight(last, unanswered))
    }

    /// What a store reports of itself.
    pub async fn report(&self, id: &StoreId) -> Result<Sight<StoreReport>, UnknownStore> {
        let watched = self.of(id)?;
        let store = Arc::clone(&watched.store);
        let asked = async move { store.check().await };
        let keep = |state: &mut State, report, at| state.report = Some((report, at));
        let unanswered = watched.ask(self.patience_with(watched), asked, keep).await;
        let last = watched.lock().report.clone();
        Ok(watched.sight(last, unanswered))
    }

    /// What it reported last, without a query; `None`: nothing yet.
    pub fn last_report(&self, id: &StoreId) -> Option<StoreReport> {
        let watched = self.stores.get(id)?;
        watched.lock().report.as_ref().map(|(report, _)| report.clone())
    }

    /// Why a store does not answer now; `None`: it does, or is only slow.
    pub async fn answers(&self, id: &StoreId) -> Result<Option<Unanswered>, UnknownStore> {
        Ok(self.ledger(id, NOBODY).await?.unanswered)
    }

    /// The same before something is done for which the store has to answer: a store that is slow is waited
    /// for.
    pub async fn answers_in_time(&self, id: &StoreId) -> Result<Option<Unanswered>, UnknownStore> {
        let watched = self.of(id)?;
        let patience = self.patience_with(watched).max(ANSWERS_WITHIN);
        Ok(self.ledger_within(watched, NOBODY, patience).await?.unanswered)
    }

    /// A store that has never answered may have to be opened first.
    fn patience_with(&self, watched: &Watched) -> Duration {
        let is_new = !watched.lock().has_answered;
        let patience = self.patience();
        if is_new { patience.max(ANSWERS_WITHIN) } else { patience }
    }
}

impl Drop for StoreWatch {
    fn drop(&mut self) {
        for watched in self.stores.values() {
            for task in watched.lock().open.values().filter_map(|open| open.task.as_ref()) {
                task.abort();
            }
        }
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries the store, unless a query is open for too long already; waits for the answer for `patience`.
    /// Returns when the query started, if it has no answer by then.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        patience: Duration,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        keep: impl FnOnce(&mut State, T, Timestamp) + Send + 'static,
    ) -> Option<Timestamp> {
        let (at, until) = (self.clock.now(), Instant::now() + patience);
        if let Some(since) = self.stuck(patience) {
            return Some(since);
        }
        let Ok(Ok(room)) = timeout_at(until, Arc::clone(&self.room).acquire_owned()).await else {
            return Some(self.stuck(patience).unwrap_or(at));
        };
        let number = {
            let mut state = self.lock();
            state.asked += 1;
            let number = state.asked;
            state.open.insert(number, Open { at, since: Instant::now(), task: None });
            number
        };
        let this = Arc::clone(self);
        let mut task = tokio::spawn(async move {
            let closed = Closed { watched: &this, number };
            let answer = question.await;
            let now = this.clock.now();
            let mut state = this.lock();
            match answer {
                Ok(answer) => {
                    state.failing = None;
                    state.has_answered = true;
                    keep(&mut state, answer, now);
                }
                Err(error) => {
                    let since = state.failing.take().map_or(at, |(since, _)| since);
                    state.failing = Some((since, error.to_string()));
                }
            }
            drop(state);
            drop((closed, room));
        });
        if let Some(open) = self.lock().open.get_mut(&number) {
            open.task = Some(task.abort_handle());
        }
        match timeout_at(until, &mut task).await {
            Ok(_) => None,
            Err(_) => Some(at),
        }
    }

    /// When the oldest query started that is open for longer than `for_long`.
    fn stuck(&self, for_long: Duration) -> Option<Timestamp> {
        let state = self.lock();
        let open = state.open.values().filter(|open| open.since.elapsed() >= for_long);
        open.map(|open| open.at).min()
    }

    /// Evaluates the last answer. `asked`: when the unanswered query started.
    fn sight<T>(&self, last: Option<(T, Timestamp)>, asked: Option<Timestamp>) -> Sight<T> {
        let failing = self.lock().failing.clone();
        let stuck = self.stuck(ANSWERS_WITHIN);
        let store = self.store.id().clone();
        let unanswered = match (failing, stuck) {
            (Some((since, _)), Some(_)) => Some(Unanswered { store, since, error: None }),
            (Some((since, error)), None) => Some(Unanswered { store, since, error: Some(error) }),
            (None, Some(since)) => Some(Unanswered { store, since, error: None }),
            // Without any answer there is nothing to show, and the reader should learn why.
            (None, None) if last.is_none() => {
                asked.map(|since| Unanswered { store, since, error: None })
            }
            (None, None) => None,
        };
        Sight { last, unanswered }
    }
}

impl State {
    fn keep(&mut self, tenant: TenantId, ledger: Ledger, at: Timestamp) {
        if self.ledgers.len() >= LEDGERS_MAX && !self.ledgers.contains_key(&tenant) {
            let oldest = self.ledgers.iter().min_by_key(|(_, (_, at))| *at).map(|(id, _)| *id);
            oldest.map(|oldest| self.ledgers.remove(&oldest));
        }
        // Two queries may be answered out of order.
        let newer = |(before, _): &(Ledger, Timestamp)| (before.epoch, before.head.seq);
        let last = self.ledgers.entry(tenant).or_insert((ledger, at));
        if newer(last) <= (ledger.epoch, ledger.head.seq) || last.1 < at {
            *last = (ledger, at);
        }
    }
}

/// A question that is over, however it ended.
struct Closed<'a> {
    watched: &'a Watched,
    number: u64,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.watched.lock().open.remove(&self.number);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
