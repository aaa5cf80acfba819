//! The mirror: keeps a replica up to date with an authority that accepts writes.
//!
//! One task per tenant, owned by the holder of the migration's lease. It reads the events
//! after the replica's head from the authority and extends the replica by them, many appends in one
//! transaction. Writers of the same process wake it; it finds the writes of other processes by
//! polling every few milliseconds, and less often while it finds nothing. It reads what was *stored* instead of receiving
//! events from writers, so there is one way of copying and no buffer that could overflow.
//!
//! There is no repair queue: the head shows what is missing. A slow or unreachable target fails no
//! write; the mirror counts the failure, waits longer each time (a circuit breaker whose probe is
//! its own next attempt) and catches up. A write that hangs counts as failed after its
//! patience, but is not cancelled: the store limits its calls itself, and a cancelled one may still
//! be applied.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Migration, MirrorAck, Options};
use rehome_ports::{BatchLimit, Class, LedgerStore, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::appends::InFlight;
use crate::config::{Backoff, EngineConfig};
use crate::replica::Replica;
use crate::rest::{Polls, Watched};
use crate::signal::{Observers, Signal, Way};

/// What the mirror knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorStatus {
    /// Where the authority ended when it was last read.
    pub source_seq: u64,
    /// Where the replica ends.
    pub target_seq: u64,
    /// Failures since the last success; 0: the target accepts mirrored events.
    pub failures: u32,
    /// Why the last try failed, while there are failures.
    pub failing: Option<String>,
    /// Why the mirror ended: the replica no longer belongs to the migration, or a store is broken.
    pub ended: Option<Ended>,
}

/// Why a mirror ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The ledger moved on: another operation of the protocol was first.
    Refused(String),
    /// A permanent fault.
    Fatal(String),
}

/// A running mirror. Stopped and joined with [`Mirror::stop`]; signalled to stop when dropped.
pub(crate) struct Mirror {
    shared: Arc<Shared>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    registry: Mirrors,
    tenant: TenantId,
    /// In a rollback window, what wakes it.
    _watched: Option<Watched>,
}

struct Shared {
    wake: Notify,
    /// The status has changed: waiting writers continue in the order in which they came.
    moved: Notify,
    waiting: std::sync::atomic::AtomicU32,
    status: watch::Sender<MirrorStatus>,
    /// The same, for the auditor. Of several who wait on one channel the channel draws who goes first, and
    /// nothing here may be drawn: each has its own.
    audited: watch::Sender<MirrorStatus>,
    options: Mutex<Options>,
}

/// The mirrors of this process, by tenant: how writers find theirs. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Mirrors(Arc<Mutex<HashMap<TenantId, Arc<Shared>>>>);

impl Mirrors {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the tenant's mirror, if there is one, because the source has more.
    pub(crate) fn wake(&self, tenant: TenantId) {
        if let Some(shared) = self.lock().get(&tenant) {
            shared.wake.notify_one();
        }
    }

    /// What a writer of this process waits for after its event `seq` was committed at the source:
    /// the target's commit under `mirror_ack = target`, otherwise only that the lag is within its
    /// bound. Bounded in time, and over at once when the target fails.
    pub(crate) async fn hold_writer(&self, tenant: TenantId, seq: u64, append: &InFlight) {
        let Some(shared) = self.lock().get(&tenant).map(Arc::clone) else { return };
        let options = *shared.options.lock().unwrap_or_else(PoisonError::into_inner);
        let goal = match options.mirror_ack {
            MirrorAck::Target => seq,
            MirrorAck::Source => seq.saturating_sub(u64::from(options.lag_events_max)),
        };
        if shared.status.borrow().target_seq >= goal {
            return;
        }
        let (_waiting, _held) = (Waiting::new(&shared), append.hold());
        let enough = shared.reached(|status| {
            status.target_seq >= goal || status.failures > 0 || status.ended.is_some()
        });
        let bound = Duration::from_millis(u64::from(options.mirror_ack_timeout_ms));
        // Not reaching the goal in time fails no write: the lag is visible, the source has it.
        let _ = tokio::time::timeout(bound, enough).await;
    }
}

impl Shared {
    /// Changes the status and notifies all waiters, if `change` returns true.
    fn change(&self, change: impl FnOnce(&mut MirrorStatus) -> bool) {
        if self.status.send_if_modified(change) {
            self.audited.send_replace(self.status.borrow().clone());
            self.moved.notify_waiters();
        }
    }

    /// Resolves when the status is as wanted. (Waiters on the channel itself would continue in a
    /// random order.)
    async fn reached(&self, wanted: impl Fn(&MirrorStatus) -> bool) {
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if wanted(&self.status.borrow()) {
                return;
            }
            moved.await;
        }
    }
}

/// Counts a writer as waiting for as long as it lives: the mirror does not pace itself then.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        shared.wake.notify_one();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Mirror {
    /// Starts mirroring from `source` into `replica`. What comes after `history` was written since
    /// mirroring began.
    pub(crate) fn start(
        engine: &Engine,
        migration: &Migration,
        way: Way,
        source: Arc<dyn LedgerStore>,
        replica: Replica,
        history: u64,
    ) -> Self {
        let (registry, options) = (engine.router.mirrors(), migration.options);
        let tenant = replica.tenant;
        let status = MirrorStatus {
            source_seq: replica.head.seq,
            target_seq: replica.head.seq,
            ..MirrorStatus::default()
        };
        let shared = Arc::new(Shared {
            wake: Notify::new(),
            moved: Notify::new(),
            waiting: std::sync::atomic::AtomicU32::new(0),
            audited: watch::Sender::new(status.clone()),
            status: watch::Sender::new(status),
            options: Mutex::new(options),
        });
        registry.lock().insert(tenant, Arc::clone(&shared));
        let watched = (way == Way::Back).then(|| {
            let polls = Polls {
                store: Arc::clone(&source),
                clock: Arc::clone(&engine.clock),
                config: engine.config,
                observers: engine.observers.clone(),
            };
            let woken = Arc::downgrade(&shared);
            engine.windows.watch(polls, migration, move |seq| {
                let shared = woken.upgrade()?;
                let target_seq = shared.status.borrow().target_seq;
                if target_seq < seq {
                    shared.wake.notify_one();
                }
                Some(target_seq)
            })
        });
        let cancel = CancellationToken::new();
        let work = Work {
            source,
            replica,
            shared: Arc::clone(&shared),
            config: engine.config,
            teller: Teller {
                migration: migration.clone(),
                way,
                history,
                observers: engine.observers.clone(),
            },
        };
        let task = tokio::spawn(work.run(cancel.clone()));
        Self { shared, cancel, task, registry: registry.clone(), tenant, _watched: watched }
    }

    /// Applies changed options.
    pub(crate) fn retune(&self, options: Options) {
        *self.shared.options.lock().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// What the mirror knows now.
    pub(crate) fn status(&self) -> MirrorStatus {
        let mut status = self.shared.status.borrow().clone();
        if status.ended.is_none() && self.task.is_finished() {
            status.ended = Some(Ended::Fatal("the mirror's task panicked".to_owned()));
        }
        status
    }

    /// Resolves when it fails, or has ended.
    pub(crate) async fn in_trouble(&self) {
        self.shared.reached(|status| status.failures > 0 || status.ended.is_some()).await;
    }

    /// Every change of the status, for the driver.
    pub(crate) fn subscribe(&self) -> watch::Receiver<MirrorStatus> {
        self.shared.status.subscribe()
    }

    /// The same for the auditor.
    pub(crate) fn subscribe_auditor(&self) -> watch::Receiver<MirrorStatus> {
        self.shared.audited.subscribe()
    }

    /// Ends the mirror and waits until its last `extend` is over.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the mirror's task panicked");
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.cancel.cancel();
        // Writers that wait for the target continue: there is no mirror any more.
        self.shared.change(|status| {
            status.ended.get_or_insert_with(|| Ended::Refused("the mirror was stopped".to_owned()));
            true
        });
        let mut mirrors = self.registry.lock();
        if mirrors.get(&self.tenant).is_some_and(|shared| Arc::ptr_eq(shared, &self.shared)) {
            mirrors.remove(&self.tenant);
        }
    }
}

struct Work {
    source: Arc<dyn LedgerStore>,
    replica: Replica,
    shared: Arc<Shared>,
    config: EngineConfig,
    teller: Teller,
}

impl Work {
    async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(&self.config);
        let rests = match self.teller.way {
            Way::There => self.config.idle_poll,
            Way::Back => self.config.rest_poll,
        };
        let looks = Backoff::between(self.config.mirror_poll, rests);
        let mut idle = looks.clone();
        while !cancel.is_cancelled() {
            let began = Instant::now();
            let wait = match self.step().await {
                Ok(extended) => {
                    backoff = Backoff::new(&self.config);
                    if extended > 0 {
                        idle = looks.clone();
                    }
                    self.after(extended, began, &mut idle)
                }
                Err(error) => {
                    if let Some(ended) = ended(&error) {
                        self.shared.change(|status| {
                            status.ended = Some(ended);
                            true
                        });
                        return;
                    }
                    self.shared.change(|status| {
                        status.failures += 1;
                        status.failing = Some(error.to_string());
                        true
                    });
                    Wait::Backoff(backoff.next())
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.wait(wait) => {}
            }
        }
    }

    /// What to wait for after so many events were mirrored at once. Appends may gather for a
    /// moment, but never so many that the lag comes near its bound.
    fn after(&self, extended: usize, began: Instant, idle: &mut Backoff) -> Wait {
        let bound = self.options().lag_events_max as usize;
        if extended == 0 {
            Wait::ForMore(idle.next())
        } else if extended <= bound / 4 {
            Wait::Pace(began)
        } else {
            Wait::Nothing
        }
    }

    fn options(&self) -> Options {
        *self.shared.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads once, extends once; answers by how many events.
    async fn step(&mut self) -> Result<usize, StoreError> {
        if self.shared.status.borrow().failures > 0 {
            let began = Instant::now();
            // A probe for the next event.
            let refreshed = self.patiently(Batch::PROBE, Replica::refresh).await;
            if let Err(error) = &refreshed {
                self.teller.failed(Batch::PROBE, began, error);
            }
            refreshed?;
        }
        let options = self.options();
        let limit = BatchLimit {
            events: options.batch_events as usize,
            bytes: options.batch_bytes as usize,
        };
        let (tenant, seq) = (self.replica.tenant, self.replica.head.seq);
        let feed = self.source.read_feed(tenant, seq, limit).await?;
        if let Some(last) = feed.events.last() {
            let began = Instant::now();
            let batch = self.teller.batch(feed.events.len() as u64, last.seq);
            let extending = async |replica: &mut Replica| replica.extend(&feed.events).await;
            let extended = self.patiently(batch, extending).await;
            match &extended {
                Ok(()) => self.teller.mirrored(batch, self.replica.head.seq, began),
                Err(error) => {
                    self.teller.failed(batch, began, error);
                    self.progress(feed.ledger.head.seq);
                }
            }
            extended?;
            crate::failpoint::hit("mirror.extended");
        }
        let (source_seq, target_seq) = (feed.ledger.head.seq, self.replica.head.seq);
        self.shared.change(|status| {
            let now = MirrorStatus { source_seq, target_seq, ..MirrorStatus::default() };
            let moved = *status != now;
            *status = now;
            moved
        });
        self.progress(source_seq);
        Ok(feed.events.len())
    }

    /// Calls the replica's store, and reports a failure whenever the call has had no response for the
    /// patience. The call continues.
    async fn patiently(
        &mut self,
        batch: Batch,
        call: impl AsyncFnOnce(&mut Replica) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Self { replica, shared, config, teller, .. } = self;
        let began = Instant::now();
        let mut due = batch;
        let mut called = pin!(call(replica));
        loop {
            if let Ok(ended) = tokio::time::timeout(config.mirror_patience, &mut called).await {
                return ended;
            }
            teller.hangs(due, began);
            due = Batch::PROBE;
            shared.change(|status| {
                status.failures += 1;
                let waited = began.elapsed().as_secs();
                status.failing = Some(format!("the target has not answered for {waited} s"));
                true
            });
        }
    }

    fn progress(&self, source_seq: u64) {
        self.teller.progress(source_seq, self.replica.head.seq);
    }

    async fn wait(&self, wait: Wait) {
        match wait {
            Wait::ForMore(at_most) => {
                let more = self.shared.wake.notified();
                let _ = tokio::time::timeout(at_most, more).await;
                self.pace(Instant::now() + self.config.mirror_pace).await;
            }
            Wait::Pace(began) => self.pace(began + self.config.mirror_pace).await,
            Wait::Nothing => {}
            Wait::Backoff(time) => tokio::time::sleep(time).await,
        }
    }

    /// Lets appends accumulate until `until`, unless a writer waits for the target.
    async fn pace(&self, until: Instant) {
        while !self.is_awaited() && Instant::now() < until {
            let _ = tokio::time::timeout_at(until, self.shared.wake.notified()).await;
        }
    }

    fn is_awaited(&self) -> bool {
        self.shared.waiting.load(std::sync::atomic::Ordering::Relaxed) > 0
    }
}

/// What one write has in it.
#[derive(Clone, Copy)]
struct Batch {
    events: u64,
    /// Written since mirroring began.
    written: u64,
}

impl Batch {
    /// Nothing but the question whether the store is there, for the next event.
    const PROBE: Self = Self { events: 1, written: 1 };
}

/// Reports the mirror's work to observers.
struct Teller {
    migration: Migration,
    way: Way,
    /// The length of the authority's history when mirroring began.
    history: u64,
    observers: Observers,
}

impl Teller {
    fn batch(&self, events: u64, last: u64) -> Batch {
        Batch { events, written: last.saturating_sub(self.history).min(events) }
    }

    /// How far the replica is behind.
    fn progress(&self, source_seq: u64, target_seq: u64) {
        self.observers.tell(&Signal::Progress {
            migration: &self.migration,
            way: self.way,
            source_seq,
            target_seq,
            read_back_seq: None,
        });
    }

    fn mirrored(&self, batch: Batch, upto: u64, began: Instant) {
        let (migration, way, took) = (&self.migration, self.way, began.elapsed());
        let Batch { events, written } = batch;
        self.observers.tell(&Signal::Mirrored { migration, way, events, written, upto, took });
    }

    fn failed(&self, batch: Batch, began: Instant, error: &StoreError) {
        // The replica has changed: the refusal was not the target's failure.
        if error.class() != Class::Fenced {
            self.tell_failure(batch, began, &error.to_string());
        }
    }

    fn hangs(&self, batch: Batch, began: Instant) {
        let waited = began.elapsed().as_secs_f64();
        let error =
            format!("the store has not answered for {waited:.0} s; the write is still waiting");
        self.tell_failure(batch, began, &error);
    }

    fn tell_failure(&self, batch: Batch, began: Instant, error: &str) {
        let (migration, way, took) = (&self.migration, self.way, began.elapsed());
        let Batch { events, written } = batch;
        let written = written.max(1);
        self.observers.tell(&Signal::MirrorFailed { migration, way, events, written, error, took });
    }
}

enum Wait {
    ForMore(Duration),
    Pace(Instant),
    Nothing,
    Backoff(Duration),
}

fn ended(error: &StoreError) -> Option<Ended> {
    match error.class() {
        Class::Fenced => Some(Ended::Refused(error.to_string())),
        Class::Fatal if error.is_damage() => Some(Ended::Fatal(error.to_string())),
        // Whatever else it is, it is waited out.
        Class::Retry | Class::Conflict | Class::Fatal => None,
    }
}
