//! Writers that keep their own record, and the check of a store against that record.
//!
//! ```text
//!  Load ──▶ writer, writer, ... ──▶ EventStore
//!                 │ sent, acknowledged, with times of the writers' own clock
//!                 ▼
//!              Record ──▶ check     is every acknowledged event stored, once, at its place?
//!                     └─▶ observe   what did a cutover cost the writers?
//! ```
//!
//! This module uses no counter, log or ledger of the system under test: the check reads the
//! events themselves and compares them with the writers' acknowledgements. `quickstart`, the
//! benchmark and the tests that kill processes use it (in the latter the record is a file, see
//! [`journal`]).

pub mod check;
mod clock;
pub mod history;
mod ids;
pub mod journal;
pub mod observe;
pub mod record;
pub mod sample;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_ports::EventStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use clock::WritersClock;
use journal::Journal;
use record::{Record, WriterCell};
use writer::Writer;

pub use ids::LoadId;

/// Most writers of one load: a writer's number has twelve bits in its events' ids.
pub const WRITERS_MAX: u16 = 4_000;

/// What the writers do.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Whose events they append.
    pub tenant: TenantId,
    /// How many writers there are; each has one append under way at a time.
    pub writers: u16,
    /// Events per second of all writers together; `None`: as fast as they are answered.
    pub rate: Option<f64>,
    /// What the events' content is drawn from; the same seed gives the same content.
    pub seed: u64,
    /// A file to keep the record in as well, for a checker in another process.
    pub journal: Option<PathBuf>,
}

/// Running writers.
pub struct Load {
    tasks: Vec<AbortOnDropHandle<()>>,
    shared: Arc<Shared>,
}

/// What the writers of one load have in common.
pub(crate) struct Shared {
    id: LoadId,
    options: LoadOptions,
    clock: WritersClock,
    stop: CancellationToken,
    journal: Option<Journal>,
    cells: Vec<WriterCell>,
    acked: AtomicU64,
    retries: AtomicU64,
}

impl Load {
    /// Starts the writers. Fails only if the journal cannot be made.
    pub fn start(store: &Arc<dyn EventStore>, options: LoadOptions) -> std::io::Result<Self> {
        let id = LoadId::random();
        let writers = options.writers.clamp(1, WRITERS_MAX);
        let journal = match &options.journal {
            Some(path) => Some(Journal::create(path, id, &options)?),
            None => None,
        };
        let shared = Arc::new(Shared {
            id,
            clock: WritersClock::new(),
            stop: CancellationToken::new(),
            journal,
            cells: (0..writers).map(|_| WriterCell::default()).collect(),
            acked: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            options: LoadOptions { writers, ..options },
        });
        let tasks = (0..writers)
            .map(|number| {
                let writer = Writer::new(number, Arc::clone(store), Arc::clone(&shared));
                AbortOnDropHandle::new(tokio::spawn(writer.run()))
            })
            .collect();
        Ok(Self { tasks, shared })
    }

    /// Events acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Answers that made a writer send the same append again, so far.
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// Now, by the writers' clock, in microseconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        self.shared.clock.now()
    }

    /// The record so far; the writers continue.
    pub fn record(&self) -> Record {
        self.shared.record()
    }

    /// Latency, in milliseconds, of the appends that were acknowledged in the last `time`.
    pub fn latency_lately(&self, time: Duration) -> observe::Latencies {
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let since = self.now().saturating_sub(time);
        let micros = self.shared.cells.iter().flat_map(|cell| cell.latencies_since(since));
        observe::Latencies::of(micros.collect())
    }

    /// Lets each writer finish its append, within `patience`, and returns the record. An append
    /// without an acknowledgement by then stays in the record as sent.
    pub async fn stop(self, patience: Duration) -> Record {
        self.shared.stop.cancel();
        let deadline = tokio::time::Instant::now() + patience;
        for task in self.tasks {
            // One that does not end in time is dropped, and so aborted.
            let _ = tokio::time::timeout_at(deadline, task).await;
        }
        self.shared.record()
    }
}

impl Shared {
    fn record(&self) -> Record {
        Record {
            id: self.id,
            tenant: self.options.tenant,
            seed: self.options.seed,
            writers: self.cells.iter().map(WriterCell::snapshot).collect(),
        }
    }
}
