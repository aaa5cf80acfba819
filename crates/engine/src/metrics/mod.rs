//! The metrics for Prometheus. An observer folds signals into a [`tracker`](self); a scrape copies the tracker and
//! writes the series from the copy, so a slow scrape delays nothing, and a migration that is no longer in the tracker
//! has no series. The names are in `families`.
//!
//! ```text
//! signals ──▶ tracker ──copy──▶ exposition ──▶ OpenMetrics ──▶ text 0.0.4
//! appends ─────────read─────────▲    └─────▶ samples, for those who push them
//! ```

mod drains;
mod ended;
mod exposition;
mod families;
mod out;
mod text;
mod tracker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Migration;
use rehome_ports::LogEntry;
use rehome_ports::clock::Clock;

use crate::appends::Appends;
use crate::signal::{Observer, Signal};
pub use drains::DrainReport;
pub use families::{FAMILIES, Family, Kind, ReportedBy, reference};
pub use out::{Sample, SampleValue};
use tracker::Tracker;

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
    /// The format that an `Accept` header requests: OpenMetrics if it is named, else the text format.
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

/// Metrics of a scrape that the engine does not have.
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
    /// The stores, and whether each answered the last request.
    pub stores: Vec<(String, bool)>,
    /// What scheduled verifications of stores have found, where there are any.
    pub checked: Vec<StoreChecked>,
    /// Removals of tenants that stand still; `None`: not looked for.
    pub removals_still: Option<u64>,
    /// Whether the control plane answered; `None`: not requested yet.
    pub control_plane: Option<bool>,
    /// The drains that are not over, and those that ended a short time ago.
    pub drains: Vec<DrainReport>,
    /// Connections and requests, if it serves any.
    pub front: Front,
}

/// What scheduled verifications of one store have found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreChecked {
    /// Which store.
    pub store: String,
    /// Events read since the process started.
    pub events: u64,
    /// Tenants with damage in their last verification.
    pub damaged: u64,
    /// When one came to the end of the store last: Unix time in seconds; 0: none did.
    pub whole_at: f64,
}

/// What a process that serves does for those who connect to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// What there is, and how much of it is in use.
    pub rooms: Vec<RoomCount>,
    /// Clients that were disconnected because they did not read their responses.
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
    tracker: Mutex<Tracker>,
    scraped: Mutex<Option<Timestamp>>,
}

impl Metrics {
    /// Nothing seen yet. `retention`: how long the series of a migration stay after it ended.
    pub fn new(clock: Arc<dyn Clock>, retention: Duration) -> Self {
        let (tracker, scraped) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { clock, retention, tracker, scraped }))
    }

    /// This, as an observer of signals.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.0) as Arc<dyn Observer>
    }

    /// All series as they are now.
    pub fn render(&self, format: Format, appends: &Arc<Appends>, around: &Surroundings) -> String {
        let (tracker, now) = self.tracker();
        *lock(&self.0.scraped) = Some(now);
        let open_metrics = exposition::write(tracker, appends, around, now);
        match format {
            Format::OpenMetrics => open_metrics,
            Format::Text => text::from_open_metrics(&open_metrics),
        }
    }

    /// The same series one by one, for a push. No scrape, as [`Self::last_scrape`]
    /// has it.
    pub fn samples(&self, appends: &Arc<Appends>, around: &Surroundings) -> Vec<Sample> {
        let (tracker, now) = self.tracker();
        exposition::samples(tracker, appends, around, now)
    }

    /// What there is to report now.
    fn tracker(&self) -> (Tracker, Timestamp) {
        let now = self.0.clock.now();
        let mut tracker = lock(&self.0.tracker);
        tracker.forget(now, self.0.retention);
        (tracker.clone(), now)
    }

    /// Records the state of a migration that this process does not drive: its series are as last observed,
    /// its numbers at most [`SEEN_FOR`] old. Ignored while this process drives it.
    pub fn sighted(&self, sighting: &Sighting<'_>) {
        lock(&self.0.tracker).sighted(sighting, self.0.clock.now());
    }

    /// Another process that serves drives the migration, and exports its series.
    pub fn driven_by_another_server(&self, id: MigrationId) {
        lock(&self.0.tracker).unsighted(id);
    }

    /// When the series were last requested.
    pub fn last_scrape(&self) -> Option<Timestamp> {
        *lock(&self.0.scraped)
    }
}

impl Observer for Inner {
    fn hear(&self, signal: &Signal<'_>) {
        let now = self.clock.now();
        lock(&self.tracker).hear(signal, now, self.retention);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
