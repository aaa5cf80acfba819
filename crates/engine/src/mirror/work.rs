//! The task of a mirror: read, extend, wait.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rehome_domain::migration::Options;
use rehome_ports::{BatchLimit, Class, LedgerStore, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::report::{Batch, Teller};
use super::{Ended, MirrorStatus, Shared};
use crate::config::{Backoff, EngineConfig};
use crate::replica::Replica;
use crate::signal::Way;

pub(super) struct Work {
    pub(super) source: Arc<dyn LedgerStore>,
    pub(super) replica: Replica,
    pub(super) shared: Arc<Shared>,
    pub(super) config: EngineConfig,
    pub(super) teller: Teller,
}

impl Work {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
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
