//! bulk_copy: the history is copied, reading the next batch while the last one is written.

use rehome_domain::event::Event;
use rehome_domain::migration::{Fact, Migration, Phase};
use rehome_ports::{BatchLimit, LedgerStore, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Context, StepError};
use crate::brake::Work;
use crate::replica::Replica;
use crate::signal::{Signal, Way};
use crate::throttle::Throttle;

/// Batches read ahead of the one being written. A batch is read once there is room for it, so memory
/// is bounded by two: the one being written, and the one that is being read or waits.
const READ_AHEAD: usize = 1;

impl Context {
    /// Copies until the lag is within its bound, then records `dual_write`. Returns early when the
    /// migration's row is no longer in `bulk_copy`, or is `enough` for the driver.
    pub(crate) async fn copy(
        &mut self,
        enough: &(dyn Fn(&Migration) -> bool + Send + Sync),
    ) -> Result<(), StepError> {
        let mut replica =
            Replica::open(Arc::clone(&self.target), self.tenant(), self.migration.m).await?;
        let mut throttle = Throttle::default();
        let (brake, mut pause) = (self.brake(), Duration::ZERO);
        let mut rate = Rate::new();
        let mut looked = Instant::now();
        throttle.retune(&self.migration.options);
        let source_seq = self.source.ledger(self.tenant()).await?.head.seq;
        self.tell_progress(source_seq, replica.head.seq);
        loop {
            let limit = BatchLimit {
                events: self.limit().events.min(throttle.batch_events_max()),
                bytes: self.limit().bytes.min(throttle.batch_bytes_max()),
            };
            let mut batches =
                read_ahead(Arc::clone(&self.source), self.tenant(), replica.head.seq, limit);
            while let Some(batch) = batches.next().await {
                let (source_seq, events, read) = batch?;
                let behind = source_seq.saturating_sub(replica.head.seq);
                if behind <= u64::from(self.migration.options.lag_events_max) {
                    return self.begin_mirroring(replica.head.seq).await;
                }
                let bytes = events.iter().map(Event::bytes).sum();
                let before = self.migration.options;
                let waiting = Instant::now();
                {
                    let taken = async {
                        tokio::time::sleep(pause).await;
                        throttle.take(events.len(), bytes).await;
                    };
                    tokio::pin!(taken);
                    // Under a low limit this may take long: operators' requests are processed meanwhile.
                    while tokio::time::timeout(self.engine.config.driver_poll, &mut taken)
                        .await
                        .is_err()
                    {
                        self.migration = self.engine.control.migration(self.migration.id).await?;
                        if self.migration.state.phase() != Phase::BulkCopy
                            || enough(&self.migration)
                        {
                            return Ok(());
                        }
                        if self.migration.options != before {
                            break;
                        }
                    }
                }
                if self.migration.options != before {
                    throttle.retune(&self.migration.options);
                    break;
                }
                let waited = waiting.elapsed();
                let (from, writing) = (replica.head.seq, Instant::now());
                replica.extend(&events).await?;
                crate::failpoint::hit("copy.extended");
                rate.count(events.len());
                let work = [
                    (Work::Read(events.len()), read),
                    (Work::Write(events.len()), writing.elapsed()),
                ];
                pause = brake.worked(&self.engine, &self.migration, &work, None);
                brake.tell(&self.engine, &self.migration).await;
                self.engine.tell(&Signal::Copied {
                    migration: &self.migration,
                    events: replica.head.seq.saturating_sub(from),
                    bytes: bytes as u64,
                    upto: replica.head.seq,
                    took: writing.elapsed(),
                    waited,
                });
                self.tell_progress(source_seq, replica.head.seq);
                if looked.elapsed() >= self.engine.config.driver_poll {
                    looked = Instant::now();
                    let before = self.migration.options;
                    self.migration = self.engine.control.migration(self.migration.id).await?;
                    if self.migration.state.phase() != Phase::BulkCopy || enough(&self.migration) {
                        return Ok(());
                    }
                    self.mark_rate(&mut rate).await?;
                    if self.migration.options != before {
                        throttle.retune(&self.migration.options);
                        break;
                    }
                }
                // Another process extended: the batches read ahead no longer fit.
                if replica.head.seq != events.last().map_or(0, |event| event.seq) {
                    break;
                }
            }
        }
    }

    fn tell_progress(&self, source_seq: u64, target_seq: u64) {
        let migration = &self.migration;
        self.engine.tell(&Signal::Progress {
            migration,
            way: Way::There,
            source_seq,
            target_seq,
            read_back_seq: None,
        });
    }

    async fn begin_mirroring(&self, events: u64) -> Result<(), StepError> {
        self.target.finish_index(self.tenant()).await?;
        let route = self.route().await?;
        if route.phase() == Some(Phase::BulkCopy) {
            crate::failpoint::hit("copy.completed");
            self.record(route.rev, Fact::CopyCompleted { events }).await?;
        }
        Ok(())
    }

    async fn mark_rate(&self, rate: &mut Rate) -> Result<(), StepError> {
        if let Some(events_per_second) = rate.measure() {
            let mut marks = self.engine.control.marks(self.migration.id).await?;
            marks.copy_rate = events_per_second;
            marks.updated_at = self.engine.clock.now();
            self.engine.control.set_marks(self.migration.id, &marks).await?;
        }
        Ok(())
    }
}

/// Events per second over the last while.
struct Rate {
    since: Instant,
    events: usize,
}

impl Rate {
    fn new() -> Self {
        Self { since: Instant::now(), events: 0 }
    }

    fn count(&mut self, events: usize) {
        self.events += events;
    }

    /// The rate since the last measurement, once a quarter of a second has passed.
    fn measure(&mut self) -> Option<f64> {
        let seconds = self.since.elapsed().as_secs_f64();
        if seconds < 0.25 {
            return None;
        }
        let rate = self.events as f64 / seconds;
        *self = Self::new();
        Some(rate)
    }
}

/// The length of the history, events, and how long it took to read them.
type Batch = Result<(u64, Vec<Event>, Duration), StoreError>;

struct Batches {
    receiver: mpsc::Receiver<Batch>,
    _reader: AbortOnDropHandle<()>,
}

impl Batches {
    async fn next(&mut self) -> Option<Batch> {
        self.receiver.recv().await
    }
}

/// Reads the history after `seq`, batch by batch, until the end; the last batch
/// is empty.
fn read_ahead(
    source: Arc<dyn LedgerStore>,
    tenant: rehome_domain::ids::TenantId,
    mut seq: u64,
    limit: BatchLimit,
) -> Batches {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = tokio::spawn(async move {
        while let Ok(room) = sender.reserve().await {
            let began = Instant::now();
            let feed = source.read_feed(tenant, seq, limit).await;
            let took = began.elapsed();
            let over = match &feed {
                Ok(feed) => {
                    seq = feed.events.last().map_or(seq, |event| event.seq);
                    feed.events.is_empty()
                }
                Err(_) => true,
            };
            let batch = feed.map(|feed| (feed.ledger.head.seq, feed.events, took));
            room.send(batch);
            if over {
                return;
            }
        }
    });
    Batches { receiver, _reader: AbortOnDropHandle::new(reader) }
}
