//! One writer: an append at a time, sent with the same ids until it is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rehome_domain::append::{Append, Appended};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::{AppendError, EventStore};
use tokio::time::Instant;

use super::Shared;
use super::record::{self, Ack, Outcome, Sent, StreamRef};
use super::sample::Draw;

/// Streams that all writers append to.
const SHARED_STREAMS: u64 = 16;
/// Events after which a writer begins its next own stream.
const OWN_STREAM_EVENTS: u64 = 20;
/// First wait before an append is sent again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(1);
/// Longest wait before an append is sent again.
const RETRY_MAX: Duration = Duration::from_millis(50);
/// A writer that fell behind its rate by more than this does not make up for all of it.
const DEBT_MAX: Duration = Duration::from_millis(100);

pub(super) struct Writer {
    number: u16,
    store: Arc<dyn EventStore>,
    shared: Arc<Shared>,
    draw: Draw,
    next_event: u64,
    own: Own,
    due: Instant,
}

/// The writer's own stream and where it must be.
struct Own {
    number: u32,
    version: u64,
}

impl Writer {
    pub(super) fn new(number: u16, store: Arc<dyn EventStore>, shared: Arc<Shared>) -> Self {
        let mut draw = Draw::new(&[shared.options.seed, u64::from(number), 1]);
        // Writers with a rate do not all begin at once.
        let share = shared.time_for(1).unwrap_or_default();
        let due = Instant::now() + share.mul_f64(draw.below(1_000) as f64 / 1_000.0);
        let own = Own { number: 0, version: 0 };
        Self { number, store, shared, draw, next_event: 0, own, due }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let stop = shared.stop.cancelled();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = tokio::time::sleep_until(self.due), if self.due > Instant::now() => {}
                () = std::future::ready(()), if self.due <= Instant::now() => {}
            }
            let events = self.append().await;
            self.earn(events);
        }
    }

    /// Sends one append until it is answered; answers how many events it had.
    async fn append(&mut self) -> u64 {
        let (sent, append) = self.draw_append();
        let cell = &self.shared.cells[usize::from(self.number)];
        let journal = self.shared.journal.as_ref();
        let index = cell.sent(sent);
        if let Some(journal) = journal {
            journal.sent(self.number, index, &sent, &append);
        }
        let outcome = self.send(&append).await;
        let at = self.shared.clock.now();
        if let Some(journal) = journal {
            journal.ended(self.number, index, at, outcome.as_ref());
        }
        match outcome {
            Some(Ok(appended)) => {
                cell.ended(Outcome::Acked(ack(at, &sent, &appended)));
                self.shared.acked.fetch_add(u64::from(sent.events), Ordering::Relaxed);
                if !sent.stream.shared {
                    self.own.version = appended.last_version;
                }
            }
            Some(Err(error)) => {
                tracing::error!(writer = self.number, %error, "an append was refused");
                cell.ended(Outcome::Refused);
                self.own = Own { number: self.own.number + 1, version: 0 };
            }
            None => {}
        }
        u64::from(sent.events)
    }

    /// Decides on the next append: mostly one event on the writer's own stream.
    fn draw_append(&mut self) -> (Sent, Append) {
        let shared = self.draw.below(4) == 0;
        let events = if self.draw.below(8) == 0 { 2 + self.draw.below(4) } else { 1 };
        let (stream, expected) = if shared {
            let number = u32::try_from(self.draw.below(SHARED_STREAMS)).unwrap_or_default();
            (StreamRef { shared: true, number }, ExpectedVersion::Any)
        } else {
            if self.own.version >= OWN_STREAM_EVENTS {
                self.own = Own { number: self.own.number + 1, version: 0 };
            }
            let expected = match self.own.version {
                0 => ExpectedVersion::NoStream,
                version => ExpectedVersion::Exact(version),
            };
            (StreamRef { shared: false, number: self.own.number }, expected)
        };
        let (load, seed) = (self.shared.id, self.shared.options.seed);
        let first = self.next_event;
        self.next_event += events;
        let made = (first..self.next_event)
            .map(|number| record::event(load, seed, self.number, number, stream))
            .collect();
        let sent = Sent {
            first,
            events: u32::try_from(events).unwrap_or(u32::MAX),
            stream,
            sent_at: self.shared.clock.now(),
            outcome: Outcome::Open,
        };
        (sent, Append { stream: stream.name(load, self.number), expected, events: made })
    }

    /// Sends with the same ids until there is an answer; `None` when the load was stopped first.
    async fn send(&self, append: &Append) -> Option<Result<Appended, AppendError>> {
        let mut wait = RETRY_FIRST;
        loop {
            let error = match self.store.append(self.shared.options.tenant, append.clone()).await {
                Ok(appended) => return Some(Ok(appended)),
                Err(error) => error,
            };
            match error {
                AppendError::Conflict(_)
                | AppendError::Invalid { .. }
                | AppendError::NotWritten { .. } => return Some(Err(error)),
                AppendError::WritesPaused { .. }
                | AppendError::OutcomeUnknown { .. }
                | AppendError::Unavailable { .. }
                | AppendError::Busy => {}
            }
            self.shared.retries.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = self.shared.stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Computes when the next append is due, after this many events.
    fn earn(&mut self, events: u64) {
        if let Some(time) = self.shared.time_for(events) {
            let earliest = Instant::now().checked_sub(DEBT_MAX).unwrap_or(self.due);
            self.due = (self.due + time).max(earliest);
        }
    }
}

fn ack(at: i64, sent: &Sent, appended: &Appended) -> Ack {
    let more = u64::from(sent.events) - 1;
    Ack {
        at,
        first_version: appended.first_version,
        first_seq: appended.first_seq,
        contiguous: appended.last_version == appended.first_version + more
            && appended.last_seq == appended.first_seq + more,
    }
}

impl Shared {
    /// The time for this many events of one writer, at the load's rate.
    fn time_for(&self, events: u64) -> Option<Duration> {
        let rate = self.options.rate.filter(|rate| rate.is_finite() && *rate > 0.0)?;
        let seconds = events as f64 * f64::from(self.options.writers) / rate;
        Some(Duration::from_secs_f64(seconds.min(3_600.0)))
    }
}
