//! What the items are judged by.

use std::time::Duration;

use rehome_api::Baseline;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{CutoverOutcome, Phase};
use rehome_domain::verification::Level;

use crate::baseline::Latency;
use crate::stats::Counts;
use crate::tools::{Alert, Asked, Rule};

/// Who has scraped what. An age is of Prometheus's youngest sample, in seconds; `None`: it has none.
pub(super) struct Scrapes {
    /// `of_process` is of this process, which serves; else of whichever.
    pub(super) this_process: bool,
    pub(super) of_process: Asked<Option<f64>>,
    /// Of the migration, if the checklist is about one.
    pub(super) of_migration: Option<Asked<Option<f64>>>,
    /// When the metrics of this process were last read; `None`: never.
    pub(super) read: Option<Duration>,
}

/// For the checklist before a start.
pub(super) struct Before {
    pub(super) scrapes: Scrapes,
    pub(super) dashboards: Asked<Option<Vec<&'static str>>>,
    pub(super) rules: Asked<Vec<Rule>>,
    /// Log lines found.
    pub(super) lines: Asked<u64>,
    /// A line must be there: that of the migration's start.
    pub(super) line_expected: bool,
    pub(super) baseline: Option<Baseline>,
}

/// How a copy is getting on.
pub(super) struct Copying {
    /// Since it was entered or resumed, or the target last got further.
    pub(super) still: Duration,
    /// Events that the target received between two reads.
    pub(super) grown: u64,
}

/// For the checklist during a migration.
pub(super) struct During {
    pub(super) id: MigrationId,
    pub(super) tenant: TenantId,
    pub(super) phase: Phase,
    /// What verifications found and is open.
    pub(super) violated: Option<String>,
    /// In `bulk_copy`.
    pub(super) copying: Option<Copying>,
    /// Events that the target is behind, by the ledgers.
    pub(super) lag: Result<u64, String>,
    pub(super) mirrored: Counts,
    pub(super) latency: Result<Latency, String>,
    pub(super) latency_max_ms: u32,
    pub(super) alerts: Asked<Vec<Alert>>,
}

/// One cutover, by the migration's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutover {
    /// From the intent until writes went on, or until now.
    pub(super) pause: Duration,
    pub(super) deadline: Duration,
    /// `None`: it runs.
    pub(super) end: Option<CutoverOutcome>,
}

/// The last verification, by the migration's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verified {
    pub(super) level: Level,
    /// All up to here was compared.
    pub(super) seq: u64,
    pub(super) violations: u64,
    pub(super) at: Timestamp,
}

/// For the checklist during a cutover.
pub(super) struct CuttingOver {
    /// All of them, in their order.
    pub(super) cutovers: Vec<Cutover>,
    /// Writers that wait in this process, and whether any were seen to go through it.
    pub(super) blocked_here: Option<u64>,
    /// Writers that wait, by Prometheus.
    pub(super) blocked_anywhere: Asked<Option<f64>>,
    /// Lines of level ERROR.
    pub(super) errors: Asked<u64>,
    /// What the migration's own log holds of failures.
    pub(super) failures: Vec<String>,
    pub(super) verified: Option<Verified>,
}

/// For the checklist after a migration.
pub(super) struct After {
    pub(super) id: MigrationId,
    pub(super) tenant: TenantId,
    pub(super) phase: Phase,
    pub(super) verified: Option<Verified>,
    /// What verifications found and is open.
    pub(super) violated: Option<String>,
    pub(super) alerts: Asked<Vec<Alert>>,
    /// The result of a read through the router.
    pub(super) read: Result<u64, String>,
    /// Whether the routed store accepts the tenant's writes; why not.
    pub(super) writable: Result<String, String>,
    pub(super) baseline: Option<Baseline>,
    pub(super) latency: Result<Latency, String>,
    /// How long ago it came to its end.
    pub(super) over_for: Option<Duration>,
    pub(super) retention: Duration,
    /// How old Prometheus's youngest sample of it is; `None`: it has none.
    pub(super) series: Asked<Option<f64>>,
}
