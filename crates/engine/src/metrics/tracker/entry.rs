//! What one process has seen of one migration.

mod updates;

use std::collections::BTreeMap;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{CutoverOutcome, Migration, Phase, State, Stay, Tally};
use rehome_domain::verification::{Level, ViolationType};

use crate::brake::Slowed;
use crate::histogram::{Histogram, Snapshot};
use crate::metrics::Reached;
use crate::metrics::families::PAUSE_BUCKETS;

/// How a cutover started or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum Attempt {
    Started,
    Succeeded,
    RolledBack,
    TimedOut,
    Refused,
}

impl Attempt {
    pub(in crate::metrics) const ALL: [Self; 5] =
        [Self::Started, Self::Succeeded, Self::RolledBack, Self::TimedOut, Self::Refused];

    pub(in crate::metrics) const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
        }
    }
}

/// A failure is reported for at least this long, even if it is acknowledged earlier: otherwise a scrape
/// every 15 seconds could miss the end of a migration.
const FAILURE_SHOWN_FOR: Duration = Duration::from_secs(20);

pub(in crate::metrics) const LEVELS: [Level; 3] = [Level::Count, Level::Hash, Level::Full];
pub(in crate::metrics) const VIOLATION_TYPES: [ViolationType; 6] = [
    ViolationType::Missing,
    ViolationType::Unexpected,
    ViolationType::Content,
    ViolationType::Order,
    ViolationType::Version,
    ViolationType::Ledger,
];

/// Which process reports the migration's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum Reporter {
    /// This process drives it.
    Here,
    /// No process drives it; every server reports it.
    Anyone,
    /// Another process does.
    Elsewhere,
}

impl Reached {
    pub(in crate::metrics) fn lag(self) -> u64 {
        self.source_seq.saturating_sub(self.target_seq)
    }

    pub(in crate::metrics) fn copied(self) -> u64 {
        self.target_seq.min(self.source_seq)
    }

    pub(in crate::metrics) fn percent(self) -> f64 {
        if self.source_seq == 0 {
            100.0
        } else {
            self.copied() as f64 * 100.0 / self.source_seq as f64
        }
    }
}

/// One migration.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Entry {
    pub(in crate::metrics) migration: Migration,
    pub(in crate::metrics) reporter: Reporter,
    /// Another process drives it, or none does, and this one observes it.
    is_sighted: bool,
    /// The last signal about it.
    pub(super) touched: Timestamp,
    stays: Vec<Stay>,
    pub(in crate::metrics) reached: Option<Reached>,
    /// When the source's length was read.
    pub(in crate::metrics) source_read: Timestamp,
    pub(in crate::metrics) last_progress: Timestamp,
    pub(in crate::metrics) read_back_seq: Option<u64>,
    pub(in crate::metrics) window_lag: Option<u64>,
    pub(in crate::metrics) bytes: u64,
    pub(in crate::metrics) throttled: Duration,
    /// How hard it worked when this process last worked on it, in percent.
    pub(in crate::metrics) speed: Option<u32>,
    /// How long each reason slowed it, in the order of [`Slowed::ALL`].
    slowed: [Duration; Slowed::ALL.len()],
    pub(in crate::metrics) takeovers: u64,
    pub(in crate::metrics) lost: u64,
    pub(in crate::metrics) retries: u64,
    /// The cutovers of the migration, whichever process did them.
    tally: Tally,
    /// How long writers waited, of each cutover that ended in this process, by its number.
    pauses: BTreeMap<usize, Duration>,
    refused: u64,
    /// Only the rollback window is reported.
    pub(super) is_past: bool,
    /// It ended, and so did many others since: see [`super::ended`].
    pub(in crate::metrics) is_brief: bool,
    verification: [Option<Histogram>; LEVELS.len()],
    violations: [u64; VIOLATION_TYPES.len()],
    pub(in crate::metrics) checked: u64,
    /// By the row, as it was last seen.
    pub(in crate::metrics) open_violations: u64,
}

/// The open violations in the migration's row, whichever process found them.
fn open_violations(migration: &Migration) -> u64 {
    migration.violations.open.as_ref().map_or(0, |open| open.finding.violations)
}

impl Entry {
    pub(super) fn new(migration: &Migration, now: Timestamp) -> Self {
        let entered = migration.completed_at.or(migration.started_at);
        let from = entered.unwrap_or(migration.created_at);
        let phase = migration.state.phase();
        Self {
            migration: migration.clone(),
            reporter: Reporter::Elsewhere,
            is_sighted: false,
            touched: now,
            stays: vec![Stay { phase, from, until: None }],
            reached: None,
            source_read: now,
            last_progress: from,
            read_back_seq: None,
            window_lag: None,
            bytes: 0,
            throttled: Duration::ZERO,
            speed: None,
            slowed: Default::default(),
            takeovers: 0,
            lost: 0,
            retries: 0,
            tally: Tally::default(),
            pauses: BTreeMap::new(),
            refused: 0,
            is_past: false,
            is_brief: false,
            verification: [const { None }; 3],
            violations: [0; 6],
            checked: 0,
            open_violations: open_violations(migration),
        }
    }

    pub(in crate::metrics) fn phase(&self) -> Phase {
        self.migration.state.phase()
    }

    /// This process reports the migration's state.
    pub(in crate::metrics) fn is_reported(&self) -> bool {
        self.reporter != Reporter::Elsewhere || self.is_sighted
    }

    /// The counts here are complete, or no process counts: then a 0 is meaningful too. The counts of a
    /// command that drives it are unknown here.
    pub(in crate::metrics) fn is_counted(&self) -> bool {
        self.reporter != Reporter::Elsewhere && !self.is_brief
    }

    /// Cutovers and verifications may be counted from here on.
    pub(in crate::metrics) fn has_mirrored(&self) -> bool {
        let mirroring = |stay: &Stay| stay.phase == Phase::DualWrite;
        self.stays.iter().any(mirroring) || self.phase() == Phase::Migrated
    }

    /// There is work to do and no process does it.
    pub(in crate::metrics) fn is_unattended(&self) -> bool {
        self.reporter == Reporter::Anyone && self.migration.state.has_work()
    }

    /// An operator should see it before others: it stands still, or writers or applications wait for it.
    pub(in crate::metrics) fn needs_attention(&self) -> bool {
        self.is_unattended()
            || self.is_unpublished()
            || self.is_open_failure()
            || self.open_violations > 0
            || self.phase() == Phase::CutoverPaused
    }

    /// It has ended, and nothing is left to do for it.
    pub(in crate::metrics) fn is_over(&self) -> bool {
        self.phase().has_ended() && !self.migration.state.has_work()
    }

    /// When it ended, if it did and nothing is left to do for it.
    pub(in crate::metrics) fn ended(&self) -> Option<Timestamp> {
        self.migration.completed_at.filter(|_| self.is_over() && self.is_reported())
    }

    /// It failed, and no operator has acknowledged it.
    pub(in crate::metrics) fn is_open_failure(&self) -> bool {
        matches!(self.migration.state, State::Failed { acknowledged: false })
    }

    /// The switch is done; the target's activation, or its publication, is not.
    pub(in crate::metrics) fn is_unpublished(&self) -> bool {
        matches!(self.migration.state, State::Migrated { activated: false, .. })
    }

    /// When the state was entered that it is in.
    pub(in crate::metrics) fn since(&self) -> Timestamp {
        self.stays.last().map_or(self.migration.created_at, |stay| stay.from)
    }

    pub(in crate::metrics) fn attempts(&self, attempt: Attempt) -> u64 {
        let ended = |outcome| self.tally.ended(outcome) as u64;
        match attempt {
            Attempt::Started => self.tally.cutovers.len() as u64,
            Attempt::Succeeded => ended(CutoverOutcome::Succeeded),
            Attempt::RolledBack => ended(CutoverOutcome::RolledBack),
            Attempt::TimedOut => ended(CutoverOutcome::TimedOut),
            Attempt::Refused => self.refused,
        }
    }

    /// How long writers waited in each cutover: as it was measured here, or as the log has it.
    pub(in crate::metrics) fn pause(&self) -> Snapshot {
        let histogram = Histogram::new(PAUSE_BUCKETS);
        for (number, cutover) in self.tally.cutovers.iter().enumerate() {
            let logged = cutover.resumed.map(|resumed| {
                let micros = resumed.micros() - cutover.started.micros();
                Duration::from_micros(u64::try_from(micros).unwrap_or(0))
            });
            if let Some(took) = self.pauses.get(&number).copied().or(logged) {
                histogram.observe(took);
            }
        }
        histogram.snapshot()
    }

    /// The verification that has to pass before the cutover.
    pub(in crate::metrics) fn has_to_pass(&self, level: Level) -> bool {
        self.migration.options.verification == level
    }

    /// A verification here, or a finding anywhere: there is something to report of what is open.
    pub(in crate::metrics) fn has_findings_to_report(&self) -> bool {
        let found = self.migration.violations.found > 0;
        if self.is_brief { self.open_violations > 0 } else { self.checked > 0 || found }
    }

    pub(in crate::metrics) fn violations(&self, kind: ViolationType) -> u64 {
        self.violations[kind as usize]
    }

    pub(in crate::metrics) fn verification(&self, level: Level) -> Option<&Histogram> {
        self.verification[level as usize].as_ref()
    }

    /// Seconds in each phase that was entered.
    pub(in crate::metrics) fn durations(&self, now: Timestamp) -> BTreeMap<Phase, f64> {
        let mut durations = BTreeMap::new();
        for stay in &self.stays {
            let micros = stay.until.unwrap_or(now).micros() - stay.from.micros();
            *durations.entry(stay.phase).or_default() += micros.max(0) as f64 / 1e6;
        }
        durations
    }
}
