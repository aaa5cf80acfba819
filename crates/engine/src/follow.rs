//! Following a tenant's feed, across cutovers, from any position.
//!
//! Event n at the source is event n at the target, so a position means the same before and after a
//! migration. However many followers a tenant has in this process, one task polls for new events: the
//! *tail*. Writers of this process wake it; polling finds the events of others. The tail reads what is new, and followers
//! that have all before it take it from there; the others read by themselves.

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

/// First and longest polling interval for a tenant without a writer in this process.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How much the tail reads at once and keeps.
const NEWEST: BatchLimit = BatchLimit { events: 100, bytes: 64 << 10 };

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
#[derive(Debug, Default)]
struct Head {
    seq: u64,
    /// The last events up to there, as the tail has read them; none if it has not.
    newest: Vec<Event>,
    /// How often it was shorter than it had been: its store was restored. Who waits for more reads
    /// again then, and learns whether its position still exists.
    shortened: u64,
}

impl Head {
    /// Those of the last events that come after `position`, if the first of them does.
    fn after(&self, position: u64, limit: BatchLimit) -> Vec<Event> {
        let known = self.newest.partition_point(|event| event.seq <= position);
        let mut bytes = 0;
        let fits = |(index, event): &(usize, &Event)| {
            bytes += event.bytes();
            *index == 0 || *index < limit.events && bytes <= limit.bytes
        };
        match self.newest.get(known) {
            Some(next) if next.seq == position + 1 => {
                let fitting = self.newest[known..].iter().enumerate().take_while(fits);
                fitting.map(|(_, event)| event.clone()).collect()
            }
            _ => Vec::new(),
        }
    }
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

    /// The next events, at least one; waits for them without a limit, also across a cutover
    /// and across transient faults. Can be dropped and called again.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Vec<Event>, ReadError> {
        let mut backoff = Backoff::new(&self.engine.config);
        loop {
            let router = &self.engine.router;
            let newest = {
                let head = self.head.borrow();
                // Before the read: a history that is shortened after it is not slept through.
                self.shortened = head.shortened;
                head.after(self.position, limit)
            };
            if let Some(last) = newest.last() {
                self.position = last.seq;
                return Ok(newest);
            }
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
    /// The known length of the tenant's history, while there is a follower.
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
        // The end of the history, once it is known. What the followers receive can be less.
        let mut end = None;
        loop {
            let appended = self.appended(tenant);
            let mut is_behind = false;
            // A failed poll is repeated; followers get faults when they read.
            if let Ok(seq) = self.head(tenant).await {
                // One task polls, one poll after the other: a smaller number
                // is not an outdated one.
                let shorter = end.is_some_and(|end| seq < end);
                let known = head.borrow().seq;
                let newest = match end {
                    Some(_) if seq > known && !shorter => self.newest(tenant, known).await,
                    _ => Vec::new(),
                };
                let upto = newest.last().map_or(seq, |event| event.seq);
                end = Some(seq.max(upto));
                is_behind = upto < seq;
                let moved = |now: &mut Head| {
                    let moves = upto != now.seq || shorter;
                    if moves {
                        let shortened = now.shortened + u64::from(shorter);
                        *now = Head { seq: upto, newest, shortened };
                    }
                    moves
                };
                if head.send_if_modified(moved) {
                    idle = LOOK.0;
                }
            }
            if self.forget_tail(tenant, &head) {
                return;
            }
            let wait = if is_behind { Duration::ZERO } else { idle };
            tokio::select! {
                biased;
                () = self.tails().stop.cancelled() => return,
                _ = tokio::time::timeout(wait, appended) => {}
            }
            idle = (idle * 2).min(LOOK.1);
        }
    }

    /// The events after `known`; nothing if they cannot be read now, so that followers try.
    async fn newest(&self, tenant: TenantId, known: u64) -> Vec<Event> {
        self.feed_part(tenant, known, NEWEST)
            .await
            .map_or_else(|_| Vec::new(), |(events, _)| events)
    }

    /// Removes the tail if there is no follower: followers subscribe under the same lock.
    fn forget_tail(&self, tenant: TenantId, head: &watch::Sender<Head>) -> bool {
        let mut heads = self.tails().lock();
        let idle = head.receiver_count() == 0;
        if idle {
            heads.remove(&tenant);
        }
        idle
    }
}
