//! Following a tenant's feed, across cutovers, from any position.
//!
//! Event n at the source is event n at the target, so a position means the same before and after a
//! migration. However many follow a tenant in this process, one task looks for what is new: the
//! *tail*. Writers of this process wake it; others are found by looking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_ports::{BatchLimit, Class, EventStore as _, ReadError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Backoff;
use crate::{Engine, TenantRouter};

/// First and longest time between two looks at a tenant that nobody of this process writes to.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// A reader of one tenant's feed. Sees every event once, in order.
pub struct Follower {
    engine: Engine,
    tenant: TenantId,
    position: u64,
    head: watch::Receiver<Head>,
    /// How often the history had been shortened before the last read.
    shortened: u64,
}

/// How long the tail found the history to be.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    seq: u64,
    /// How often it was shorter than it had been: its store was restored. Who waits for more reads
    /// again then, and learns whether its position still exists.
    shortened: u64,
}

impl Follower {
    /// Begins after `after_seq`.
    pub fn new(engine: &Engine, tenant: TenantId, after_seq: u64) -> Self {
        let head = engine.router.tail(tenant);
        let shortened = head.borrow().shortened;
        Self { engine: engine.clone(), tenant, position: after_seq, head, shortened }
    }

    /// The last position handed out.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Waits until there are events after the last position, or the history has become shorter. Can be
    /// dropped and called again.
    pub async fn ready(&mut self) {
        let (position, shortened) = (self.position, self.shortened);
        let more = |head: &Head| head.seq > position || head.shortened != shortened;
        while self.head.wait_for(more).await.is_err() {
            // The tail has ended with its router.
            tokio::time::sleep(LOOK.1).await;
            self.head = self.engine.router.tail(self.tenant);
        }
    }

    /// The next events, at least one; waits for them as long as it takes, also across a cutover
    /// and across faults that pass by themselves. Can be dropped and called again.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Vec<Event>, ReadError> {
        let mut backoff = Backoff::new(&self.engine.config);
        loop {
            let router = &self.engine.router;
            // Before the read: a history that is shortened after it is not slept through.
            self.shortened = self.head.borrow().shortened;
            match router.read_feed(self.tenant, self.position, limit).await {
                Ok(events) if !events.is_empty() => {
                    self.position = events.last().map_or(self.position, |event| event.seq);
                    return Ok(events);
                }
                Ok(_) => self.ready().await,
                Err(error) if is_retryable(&error) => tokio::time::sleep(backoff.next()).await,
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_retryable(error: &ReadError) -> bool {
    match error {
        ReadError::UnknownTenant(_) | ReadError::BeyondEnd(_) => false,
        ReadError::Store(error) => error.class() != Class::Fatal,
        ReadError::Control(error) => error.class() != Class::Fatal,
    }
}

/// The tails of the tenants that are followed in this process.
#[derive(Default)]
pub(crate) struct Tails {
    heads: Mutex<HashMap<TenantId, Arc<watch::Sender<Head>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Tails {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Arc<watch::Sender<Head>>>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends them all.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.lock().clear();
    }
}

impl TenantRouter {
    /// How long the tenant's history is known to be, while somebody asks.
    fn tail(&self, tenant: TenantId) -> watch::Receiver<Head> {
        let tails = self.tails();
        let mut heads = tails.lock();
        if let Some(head) = heads.get(&tenant) {
            return head.subscribe();
        }
        let (head, receiver) = watch::channel(Head::default());
        // Under the lock: one that comes after `close` must not leave a task behind.
        if !tails.stop.is_cancelled() {
            let head = Arc::new(head);
            heads.insert(tenant, Arc::clone(&head));
            tails.tasks.spawn(self.clone().look_for(tenant, head));
        }
        receiver
    }

    async fn look_for(self, tenant: TenantId, head: Arc<watch::Sender<Head>>) {
        let mut idle = LOOK.0;
        loop {
            let appended = self.appended(tenant);
            // One that fails is made again; whoever follows hears of faults when reading.
            if let Ok(seq) = self.head(tenant).await {
                // One task looks, and each look begins after the last one was answered: a number
                // that is smaller is no old one.
                let moved = |now: &mut Head| {
                    let moves = seq != now.seq;
                    now.shortened += u64::from(seq < now.seq);
                    now.seq = seq;
                    moves
                };
                if head.send_if_modified(moved) {
                    idle = LOOK.0;
                }
            }
            if self.forget_tail(tenant, &head) {
                return;
            }
            tokio::select! {
                biased;
                () = self.tails().stop.cancelled() => return,
                _ = tokio::time::timeout(idle, appended) => {}
            }
            idle = (idle * 2).min(LOOK.1);
        }
    }

    /// Forgets the tail if nobody follows: whoever does has subscribed under the same lock.
    fn forget_tail(&self, tenant: TenantId, head: &watch::Sender<Head>) -> bool {
        let mut heads = self.tails().lock();
        let idle = head.receiver_count() == 0;
        if idle {
            heads.remove(&tenant);
        }
        idle
    }
}
