//! What Prometheus sees. An observer folds signals into a [`book`](self); a scrape copies the book and
//! writes the series from the copy, so a slow scrape holds nobody up, and what is not in the book any
//! more has no series. The names are in `families`.
//!
//! ```text
//! signals ──▶ book ──copy──▶ exposition ──▶ OpenMetrics ──▶ text 0.0.4
//! appends ─────────read─────────▲
//! ```

mod book;
mod exposition;
mod families;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Migration;
use rehome_ports::LogEntry;
use rehome_ports::clock::Clock;

use crate::appends::Appends;
use crate::signal::{Observer, Signal};
use book::Book;
pub use families::{FAMILIES, Family, Kind, ToldBy, reference};

/// How long the numbers of a migration that is seen from outside stay while neither store answers.
pub const SEEN_FOR: Duration = Duration::from_secs(60);

/// How long the series of a migration stay after it ended.
pub const RETENTION: Duration = Duration::from_secs(15 * 60);

/// The two formats of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format, 0.0.4.
    Text,
}

/// Whether a parameter of a media range refuses it: `q=0`, with any number of decimals.
fn is_no(parameter: &str) -> bool {
    let weight =
        parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f64>().is_ok_and(|weight| weight <= 0.0))
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics where it is named, else the text format.
    pub fn accepted(accept: &str) -> Self {
        let named = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            kind.eq_ignore_ascii_case("application/openmetrics-text") && !parts.any(is_no)
        });
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What a scrape tells that the engine does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// The version of the program.
    pub version: String,
    /// The name under which the process holds leases.
    pub process: String,
    /// User and system time of the process, in seconds.
    pub cpu_seconds: f64,
    /// Memory of the process, in bytes.
    pub resident_bytes: u64,
    /// When the process started: Unix time in seconds.
    pub started: f64,
    /// The stores, and whether each answered when it was last asked.
    pub stores: Vec<(String, bool)>,
    /// Whether the control plane answered; `None`: it was not asked yet.
    pub control_plane: Option<bool>,
    /// Connections and requests, if it serves any.
    pub front: Front,
}

/// What a process that serves does for those who connect to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// What there is, and how much of it is in use.
    pub rooms: Vec<RoomCount>,
    /// Clients that were left because they did not take their answers.
    pub slow_answers: u64,
    /// Requests that were refused because their bodies did not come.
    pub slow_bodies: u64,
}

/// How much of one thing is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomCount {
    /// What: the label `room`.
    pub room: &'static str,
    /// In use.
    pub used: u64,
    /// Most.
    pub size: u64,
    /// Refused because one caller had its share.
    pub refused_share: u64,
    /// Refused because all of it was in use.
    pub refused_all: u64,
}

/// A migration that no process that serves drives, as a process that serves sees it from outside: by the
/// control plane and the ledgers.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Its row.
    pub migration: &'a Migration,
    /// All that was recorded of it; given when the phase is another one than at the sighting before.
    pub log: Option<&'a [LogEntry]>,
    /// Another process holds its lease.
    pub held: bool,
    /// How far it is; `None`: as last known.
    pub reached: Option<Reached>,
}

/// How far a migration is, by the ledgers of its two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Length of the authority's history.
    pub source_seq: u64,
    /// Length of the replica's.
    pub target_seq: u64,
    /// When one of the two stores answered last.
    pub at: Timestamp,
}

/// The metrics of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    retention: Duration,
    book: Mutex<Book>,
    scraped: Mutex<Option<Timestamp>>,
}

impl Metrics {
    /// Nothing seen yet. `retention`: how long the series of a migration stay after it ended.
    pub fn new(clock: Arc<dyn Clock>, retention: Duration) -> Self {
        let (book, scraped) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { clock, retention, book, scraped }))
    }

    /// This, as one that hears signals.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.0) as Arc<dyn Observer>
    }

    /// All series as they are now.
    pub fn render(&self, format: Format, appends: &Arc<Appends>, around: &Surroundings) -> String {
        let now = self.0.clock.now();
        *lock(&self.0.scraped) = Some(now);
        let book = {
            let mut book = lock(&self.0.book);
            book.forget(now, self.0.retention);
            book.clone()
        };
        let open_metrics = exposition::write(book, appends, around, now);
        match format {
            Format::OpenMetrics => open_metrics,
            Format::Text => text::from_open_metrics(&open_metrics),
        }
    }

    /// Takes over how a migration stands that this process does not drive: its series are as last seen,
    /// its numbers at most [`SEEN_FOR`] old. Ignored while this process drives it.
    pub fn sighted(&self, sighting: &Sighting<'_>) {
        lock(&self.0.book).sighted(sighting, self.0.clock.now());
    }

    /// Another process that serves drives the migration, and exports its series.
    pub fn driven_by_another_server(&self, id: MigrationId) {
        lock(&self.0.book).unsighted(id);
    }

    /// When somebody last asked for the series.
    pub fn last_scrape(&self) -> Option<Timestamp> {
        *lock(&self.0.scraped)
    }
}

impl Observer for Inner {
    fn hear(&self, signal: &Signal<'_>) {
        let now = self.clock.now();
        lock(&self.book).hear(signal, now, self.retention);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
