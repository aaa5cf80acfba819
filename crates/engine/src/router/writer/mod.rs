//! Group commit: one task per tenant that writes, which commits the appends that have gathered.
//!
//! The task owns the retries. Every append keeps its own deadline and gets its own outcome; when
//! the caller has gone away the append is still committed or still refused, never half of it.
//!
//! This file has the queues; `group` brings one group to a store.

mod group;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::append::{Append, Appended};
use rehome_domain::ids::TenantId;
use rehome_ports::AppendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Inner;
use crate::appends::InFlight;
use group::{Counted, Group};

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
        let counted = Counted::new(&meter, patience);
        Group::new(&inner, tenant, counted).commit(group).await;
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
