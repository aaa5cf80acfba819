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
//!
//! `work` is the task; `report` reports what it does to observers.

mod report;
mod work;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Migration, MirrorAck, Options};
use rehome_ports::LedgerStore;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::appends::InFlight;
use crate::replica::Replica;
use crate::rest::{Polls, Watched};
use crate::signal::Way;
use report::Teller;
use work::Work;

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
