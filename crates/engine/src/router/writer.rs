//! Group commit: one task per tenant that writes, which commits the appends that have gathered.
//!
//! The task owns the retries. Every append keeps its own deadline and gets its own outcome; when
//! the caller has gone away the append is still committed or still refused, never half of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::append::{Append, Appended};
use rehome_domain::ids::TenantId;
use rehome_ports::{AppendError, Class, ControlError, Fault, FaultKind, StoreError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::cache::Seen;
use super::{Inner, RouteError};
use crate::appends::{InFlight, Meter};
use crate::config::{Backoff, EngineConfig};

/// How long a tenant's task waits for the next append before it ends.
const IDLE: Duration = Duration::from_secs(30);

struct Pending {
    append: Append,
    caller: Caller,
}

/// Who waits for the outcome of an append, and until when.
struct Caller {
    deadline: Instant,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    chain: Option<Chain>,
}

/// Appends that were submitted together and keep their order: after one fails, no
/// later one is written. A commit has those of one chain, or those of none.
#[derive(Clone, Default)]
pub(super) struct Chain(Arc<AtomicBool>);

impl Caller {
    fn answer(self, outcome: Result<Appended, AppendError>) {
        if let (Some(Chain(broken)), Err(_)) = (&self.chain, &outcome) {
            broken.store(true, Ordering::Relaxed);
        }
        // The caller may be gone.
        let _ = self.reply.send(outcome);
    }

    /// Whether the two can be committed together.
    fn goes_with(&self, other: &Self) -> bool {
        match (&self.chain, &other.chain) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one.0, &other.0),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    fn is_skipped(&self) -> bool {
        self.chain.as_ref().is_some_and(|Chain(broken)| broken.load(Ordering::Relaxed))
    }
}

/// The tasks of the tenants that write in this process.
#[derive(Default)]
pub(super) struct Writers {
    queues: Mutex<HashMap<TenantId, Queue>>,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Queue {
    appends: mpsc::Sender<Pending>,
    appended: Arc<Notify>,
}

impl Writers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a writer of this process has appended to the tenant; never, if none does.
    pub(super) fn appended(&self, tenant: TenantId) -> impl Future<Output = ()> + use<> {
        let notify = self.lock().get(&tenant).map(|queue| Arc::clone(&queue.appended));
        async move {
            match notify {
                Some(notify) => notify.notified().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Removes the tenant's queue if it is empty and no caller is about to use it:
    /// such a caller has cloned the sender under the same lock. So no append enters a queue that
    /// ends, to be overtaken by one in the next.
    fn forget_idle(&self, tenant: TenantId, receiver: &mpsc::Receiver<Pending>) -> bool {
        let mut queues = self.lock();
        let idle = receiver.is_empty()
            && queues.get(&tenant).is_none_or(|queue| queue.appends.strong_count() == 1);
        if idle {
            queues.remove(&tenant);
        }
        idle
    }

    pub(super) async fn close(&self) {
        self.tasks.close();
        self.lock().clear();
        self.tasks.wait().await;
    }
}

/// The outcome of an append that its tenant's task has.
pub(super) struct Submitted {
    tenant: TenantId,
    /// Counted as waiting, until this is dropped.
    pub(super) waiting: InFlight,
    outcome: oneshot::Receiver<Result<Appended, AppendError>>,
}

impl Submitted {
    /// Waits for the outcome.
    pub(super) async fn outcome(&mut self) -> Result<Appended, AppendError> {
        let tenant = self.tenant;
        (&mut self.outcome).await.unwrap_or_else(|_| {
            Err(AppendError::OutcomeUnknown { tenant, source: "the process is stopping".into() })
        })
    }
}

/// Hands an append to its tenant's task. Those handed in one after the other are committed in that
/// order; of a chain, also when one of them fails.
pub(super) async fn submit(
    inner: &Arc<Inner>,
    tenant: TenantId,
    append: Append,
    chain: Option<Chain>,
) -> Result<Submitted, AppendError> {
    let began = Instant::now();
    let deadline = began + inner.config.write_pause_timeout;
    let meter = inner.appends.meter(tenant);
    let (reply, outcome) = oneshot::channel();
    let pending = Pending { append, caller: Caller { deadline, reply, chain } };
    loop {
        let Some(queue) = queue(inner, tenant) else { return Err(AppendError::Busy) };
        let waiting = meter.handed_in(began);
        match tokio::time::timeout_at(deadline, queue.appends.reserve()).await {
            Err(_) => return Err(AppendError::Busy),
            Ok(Ok(place)) => {
                place.send(pending);
                return Ok(Submitted { tenant, waiting, outcome });
            }
            // The task is gone (it panicked, or the process is stopping): start another.
            Ok(Err(_)) => inner.writers.lock().retain(|_, queue| !queue.appends.is_closed()),
        }
    }
}

fn queue(inner: &Arc<Inner>, tenant: TenantId) -> Option<Queue> {
    let mut queues = inner.writers.lock();
    // Under the lock: one that comes after `close` must not leave a task behind.
    if inner.writers.tasks.is_closed() {
        return None;
    }
    let queue = queues.entry(tenant).or_insert_with(|| {
        let (appends, receiver) = mpsc::channel(inner.config.queue_appends);
        let appended = Arc::new(Notify::new());
        let queue = Queue { appends, appended: Arc::clone(&appended) };
        inner.writers.tasks.spawn(run(Arc::clone(inner), tenant, receiver, appended));
        queue
    });
    Some(queue.clone())
}

async fn run(
    inner: Arc<Inner>,
    tenant: TenantId,
    mut queue: mpsc::Receiver<Pending>,
    appended: Arc<Notify>,
) {
    // Appends that were taken from the queue but did not fit into the last group.
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(left) => left,
            None => match tokio::time::timeout(IDLE, queue.recv()).await {
                Ok(Some(first)) => first,
                Ok(None) => return,
                Err(_) if inner.writers.forget_idle(tenant, &queue) => return,
                Err(_) => continue,
            },
        };
        let group;
        (group, left) = gather(first, &mut queue, &inner);
        let several = group.len() > 1;
        // For the duration of the group: an idle queue takes no room among the meters.
        let meter = inner.appends.meter(tenant);
        let patience = inner.config.write_pause_timeout;
        let counted = Counted { meter: &meter, patience, gathered: Instant::now() };
        Group { inner: &inner, tenant, counted, sent: false, doubt: None }.commit(group).await;
        appended.notify_waiters();
        if several {
            // Callers that were just answered together often have their next append ready. Without this
            // yield, the first of them would get a commit of its own and the others wait for it.
            tokio::task::yield_now().await;
        }
    }
}

/// Takes the waiting appends, up to the limits of a group; and those that were taken but do not fit.
fn gather(
    first: Pending,
    queue: &mut mpsc::Receiver<Pending>,
    inner: &Inner,
) -> (Vec<Pending>, Option<Pending>) {
    let bytes = |pending: &Pending| -> usize {
        pending
            .append
            .events
            .iter()
            .map(|e| e.data.as_str().len() + e.metadata.as_str().len())
            .sum()
    };
    let mut size = bytes(&first);
    let mut group = vec![first];
    while group.len() < inner.config.group_appends && size < inner.config.group_bytes {
        let Ok(next) = queue.try_recv() else { break };
        if !group[0].caller.goes_with(&next.caller) {
            return (group, Some(next));
        }
        size += bytes(&next);
        group.push(next);
    }
    (group, None)
}

/// Answers appends that are never sent because an earlier one in their chain failed.
fn skip(appends: &mut Vec<Append>, callers: &mut Vec<Caller>) {
    let mut index = 0;
    while index < callers.len() {
        if callers[index].is_skipped() {
            appends.remove(index);
            callers.remove(index).answer(Err(AppendError::Busy));
        } else {
            index += 1;
        }
    }
}

/// Reports to the tenant's meter since when the group waits.
struct Counted<'a> {
    meter: &'a Meter,
    /// From when an append is handed in until its deadline.
    patience: Duration,
    /// When the group was taken from the queue.
    gathered: Instant,
}

impl Counted<'_> {
    fn since(&self, callers: &[Caller]) {
        if let Some(soonest) = callers.iter().map(|caller| caller.deadline).min() {
            self.meter.group(soonest - self.patience);
        }
    }

    fn waits(&self, cutover: Option<&Seen>) {
        let cutover = cutover.and_then(|seen| seen.route.migration).map(|(id, _)| id);
        self.meter.group_waits(cutover);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.meter.group_is_over(self.gathered);
    }
}

/// One group on its way to a store.
struct Group<'a> {
    inner: &'a Inner,
    tenant: TenantId,
    counted: Counted<'a>,
    /// An append is with a store that has not answered.
    sent: bool,
    /// A reply was lost: some of the group may be committed somewhere.
    doubt: Option<Arc<StoreError>>,
}

/// What to do before the next try.
enum Next {
    Now,
    After(Duration),
    WhenRouteChanges(Seen),
}

impl Next {
    /// A changed route is followed at once, but repeated changes not in a busy loop.
    fn after_move(moves: u32, config: &EngineConfig) -> Self {
        if moves <= 3 { Self::Now } else { Self::After(config.pause_poll) }
    }
}

/// Why the group is still waiting; its members get this at their deadline.
enum Waiting {
    Paused,
    Failing(Arc<dyn std::error::Error + Send + Sync>),
}

impl Group<'_> {
    /// Commits the group: retries until every member has its outcome or its time is over.
    async fn commit(mut self, group: Vec<Pending>) {
        let (mut appends, mut callers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|pending| (pending.append, pending.caller)).unzip();
        skip(&mut appends, &mut callers);
        self.counted.since(&callers);
        let chained = callers.first().is_some_and(|caller| caller.chain.is_some());
        let mut backoff = Backoff::new(&self.inner.config);
        let mut moves = 0_u32;
        while !appends.is_empty() {
            let patience = self.inner.config.write_pause_timeout;
            let attempt =
                match tokio::time::timeout(patience, self.attempt(&appends, chained)).await {
                    Ok(attempt) => attempt,
                    Err(_) => Err(self.no_answer()),
                };
            let (next, waiting) = match attempt {
                Ok(outcomes) => {
                    self.inner.mirrors.wake(self.tenant);
                    let mut outcomes = outcomes.into_iter();
                    for caller in callers {
                        // Of a chain: not written, because one before it was refused.
                        let outcome = outcomes.next().map(|one| one.map_err(AppendError::from));
                        caller.answer(outcome.unwrap_or(Err(AppendError::Busy)));
                    }
                    return;
                }
                Err(Attempt::Moved) => {
                    moves += 1;
                    (Next::after_move(moves, &self.inner.config), Waiting::Paused)
                }
                Err(Attempt::Paused(seen)) => (Next::WhenRouteChanges(seen), Waiting::Paused),
                Err(Attempt::Failed { error, retry }) => {
                    if !retry {
                        return self.give_up(callers, &Waiting::Failing(error));
                    }
                    (Next::After(backoff.next()), Waiting::Failing(error))
                }
            };
            // The queue behind this group must not wait for longer than its own members may.
            let soonest = callers.iter().map(|caller| caller.deadline).min();
            let soonest = soonest.unwrap_or_else(Instant::now);
            let paused = if let Next::WhenRouteChanges(seen) = &next { Some(seen) } else { None };
            self.counted.waits(paused);
            self.wait(next, soonest).await;
            self.expire(&mut appends, &mut callers, &waiting);
            self.counted.since(&callers);
        }
    }

    /// One try: the cached route's store at the cached epoch.
    async fn attempt(&mut self, appends: &[Append], chained: bool) -> Result<Outcomes, Attempt> {
        let inner = self.inner;
        let seen = self.route().await?;
        if seen.route.is_cutover_paused() {
            return Err(Attempt::Paused(seen));
        }
        if seen.route.removal.is_some() {
            return Err(RouteError::from(ControlError::BeingRemoved(self.tenant)).into());
        }
        if !seen.route.created {
            self.help(&seen).await?;
        }
        let store = inner.stores.get(&seen.route.store).map_err(RouteError::from)?;
        crate::failpoint::hit("router.routed");
        self.sent = true;
        let (tenant, epoch) = (self.tenant, seen.route.epoch);
        let answer = if chained {
            store.append_chain(tenant, epoch, appends).await
        } else {
            store.append(tenant, epoch, appends).await
        };
        self.sent = false;
        match answer {
            Ok(outcomes) => Ok(outcomes),
            Err(StoreError::Refused(refused)) => {
                self.counted.meter.was_fenced(appends.len() as u64);
                let Some(fresh) = inner.refresh(self.tenant).await.map_err(RouteError::from)?
                else {
                    return Err(Attempt::Moved);
                };
                let route = &fresh.route;
                if fresh.route.is_cutover_paused() {
                    return Err(Attempt::Paused(fresh));
                }
                // Read after the ledger was: no store can have seen an epoch beyond it.
                if refused.ledger.epoch > route.n {
                    return Err(Attempt::lost_time(self.tenant, refused));
                }
                // The same store under the same route refused: an unfinished activation. Anyone
                // may finish it.
                if route.rev == seen.route.rev {
                    self.help(&fresh).await?;
                }
                Err(Attempt::Moved)
            }
            Err(error) => {
                let retry = error.class() == Class::Retry;
                let error = Arc::new(error);
                if error.maybe_applied() {
                    self.doubt = Some(Arc::clone(&error));
                }
                // The route may have changed because of the failure here.
                let _ = inner.refresh(self.tenant).await;
                Err(Attempt::Failed { error, retry })
            }
        }
    }

    /// No response in time. What was sent may still be applied: a retry finds it by its ids.
    fn no_answer(&mut self) -> Attempt {
        let kind = FaultKind::Unreachable("no response in time".to_owned());
        let fault = Fault::new("store or control plane", kind);
        let sent = std::mem::take(&mut self.sent);
        let error: Arc<StoreError> =
            Arc::new(if sent { fault.maybe_applied() } else { fault }.into());
        if sent {
            self.doubt = Some(Arc::clone(&error));
        }
        Attempt::Failed { error, retry: true }
    }

    /// Helps; when that is refused, the route that was helped by is not the one that holds.
    async fn help(&self, seen: &Seen) -> Result<(), Attempt> {
        let helped = self.inner.help(seen).await;
        if helped.is_err() {
            self.inner.refresh(self.tenant).await.map_err(RouteError::from)?;
        }
        helped.map_err(Attempt::from)
    }

    async fn route(&self) -> Result<Seen, RouteError> {
        match self.inner.route(self.tenant).await? {
            // The pause is the only state in which the control plane is queried before the store.
            Some(seen) if !seen.route.is_cutover_paused() => return Ok(seen),
            Some(paused) => return Ok(self.inner.refresh(self.tenant).await?.unwrap_or(paused)),
            None => {}
        }
        if !self.inner.config.create_tenants {
            return Err(ControlError::UnknownTenant(self.tenant).into());
        }
        let store = self.inner.stores.default_id();
        let route = self.inner.control.create_route(self.tenant, store).await?;
        crate::failpoint::hit("create.routed");
        Ok(self.inner.observe(route))
    }

    async fn wait(&self, next: Next, soonest: Instant) {
        match next {
            Next::Now => {}
            Next::After(time) => {
                tokio::time::sleep_until(soonest.min(Instant::now() + time)).await;
            }
            Next::WhenRouteChanges(seen) => {
                let (cache, config) = (&self.inner.cache, &self.inner.config);
                let told = cache.is_listening();
                let poll = if told { config.pause_poll_told } else { config.pause_poll };
                let look = soonest.min(seen.next_look(Instant::now() + poll));
                let changed = cache.changed(self.tenant, seen.read());
                // Time being over is one way for it to end.
                let _ = tokio::time::timeout_at(look, changed).await;
                if seen.deadline_passed() {
                    // A failure to help is no failure of the append: it waits on.
                    let _ = self.inner.help(&seen).await;
                }
            }
        }
    }

    /// Answers the members whose time is over, and what comes after them in their chains.
    fn expire(&self, appends: &mut Vec<Append>, callers: &mut Vec<Caller>, waiting: &Waiting) {
        let now = Instant::now();
        let mut index = 0;
        while index < callers.len() {
            if callers[index].deadline > now && !callers[index].is_skipped() {
                index += 1;
                continue;
            }
            appends.remove(index);
            callers.remove(index).answer(Err(self.given_up(waiting)));
        }
    }

    fn give_up(&self, callers: Vec<Caller>, waiting: &Waiting) {
        for caller in callers {
            caller.answer(Err(self.given_up(waiting)));
        }
    }

    fn given_up(&self, waiting: &Waiting) -> AppendError {
        let tenant = self.tenant;
        match (&self.doubt, waiting) {
            (Some(doubt), _) => {
                AppendError::OutcomeUnknown { tenant, source: Box::new(Arc::clone(doubt)) }
            }
            (None, Waiting::Paused) => AppendError::WritesPaused { tenant },
            (None, Waiting::Failing(error)) => match not_written(&**error) {
                Some(why) => AppendError::NotWritten { tenant, why },
                None => AppendError::Unavailable { tenant, source: Box::new(Arc::clone(error)) },
            },
        }
    }
}

/// Why no append of the tenant is accepted here, if waiting does not help: another library writes its events, or new
/// tenants are refused.
fn not_written(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<String> {
    let store = match error.downcast_ref::<RouteError>() {
        Some(RouteError::Control(
            error @ (ControlError::Cordoned { .. } | ControlError::BeingRemoved(_)),
        )) => {
            return Some(error.to_string());
        }
        Some(RouteError::Control(ControlError::UnknownTenant(_))) => {
            let why = "it is unknown, and new tenants are refused here \
                       (server.refuse_unknown_tenants); import its history, or allow them";
            return Some(why.to_owned());
        }
        Some(RouteError::Store(error)) => Some(error),
        _ => error.downcast_ref::<StoreError>(),
    };
    match store {
        Some(StoreError::Fault(Fault { kind: FaultKind::NotWritten(why), .. })) => {
            Some(why.clone())
        }
        _ => None,
    }
}

type Outcomes = Vec<rehome_ports::AppendOutcome>;

/// Why a try did not answer.
enum Attempt {
    /// The route is not what it was: try again at once.
    Moved,
    /// A cutover is on.
    Paused(Seen),
    /// A store or the control plane failed.
    Failed { error: Arc<dyn std::error::Error + Send + Sync>, retry: bool },
}

impl Attempt {
    fn lost_time(tenant: TenantId, refused: rehome_domain::ledger::Refused) -> Self {
        let error = format!(
            "the store has epoch {} of tenant {tenant}, which the control plane never issued: the control \
             plane is older than the stores (restored from a backup?); check, then run `rehome recover`",
            refused.ledger.epoch
        );
        Self::Failed { error: Arc::from(Box::from(error)), retry: false }
    }
}

impl From<RouteError> for Attempt {
    fn from(error: RouteError) -> Self {
        let class = match &error {
            RouteError::Control(error) => error.class(),
            RouteError::Store(error) => error.class(),
            RouteError::UnknownStore(_) => Class::Fatal,
        };
        // A refused activation means that another was first.
        match class {
            Class::Conflict | Class::Fenced => Self::Moved,
            Class::Retry | Class::Fatal => {
                Self::Failed { error: Arc::new(error), retry: class == Class::Retry }
            }
        }
    }
}
