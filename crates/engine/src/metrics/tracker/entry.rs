//! What one process has seen of one migration.

use std::collections::BTreeMap;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{
    CutoverOutcome, Fact, Migration, OldSource, Phase, State, Stay, Tally, timeline,
};
use rehome_domain::verification::{Level, ViolationType};
use rehome_ports::LogEntry;

use crate::brake::{Braked, Slowed};
use crate::heads::Heads;
use crate::histogram::{Histogram, Snapshot};
use crate::metrics::families::{PAUSE_BUCKETS, VERIFICATION_BUCKETS};
use crate::metrics::{Reached, SEEN_FOR, Sighting};
use crate::signal::CutoverPart;
use crate::verifier::Report;

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

    pub(super) fn update(&mut self, migration: &Migration, now: Timestamp) {
        let (before, phase) = (self.phase(), migration.state.phase());
        self.migration = migration.clone();
        self.open_violations = open_violations(migration);
        if !self.keeps_window() {
            self.window_lag = None;
        }
        if before == phase {
            return;
        }
        self.last_progress = now;
        // A log that was read after the row may know it already.
        if self.stays.last().is_none_or(|last| last.phase != phase) {
            if let Some(last) = self.stays.last_mut() {
                last.until = Some(now);
            }
            self.stays.push(Stay { phase, from: now, until: None });
        }
        if !matches!(phase, Phase::DualWrite | Phase::CutoverPaused) {
            self.read_back_seq = None;
        }
    }

    pub(super) fn get_to(&mut self, reached: Reached, read_back_seq: Option<u64>, now: Timestamp) {
        if self.reached.is_none_or(|before| reached.target_seq > before.target_seq) {
            self.last_progress = now;
        }
        let source_seq = self.reached.map_or(0, |before| before.source_seq).max(reached.source_seq);
        self.reached = Some(Reached { source_seq, ..reached });
        self.read_back_seq = read_back_seq.or(self.read_back_seq);
    }

    pub(super) fn sighted(&mut self, sighting: &Sighting<'_>, now: Timestamp) {
        self.reporter = if sighting.held { Reporter::Elsewhere } else { Reporter::Anyone };
        self.is_sighted = true;
        self.update(sighting.migration, now);
        if let Some(log) = sighting.log {
            self.read(log);
        }
        if let Some(reached) = sighting.reached {
            self.source_read = self.source_read.max(reached.at);
            self.get_to(reached, None, now);
        }
    }

    /// Outdated observations are not shown as current.
    pub(super) fn forget_old_numbers(&mut self, now: Timestamp) {
        if self.is_sighted && !self.phase().is_terminal() {
            let seen_for = i64::try_from(SEEN_FOR.as_micros()).unwrap_or(i64::MAX);
            self.reached.take_if(|reached| now.micros() - reached.at.micros() > seen_for);
        }
    }

    pub(super) fn braked(&mut self, braked: Braked, took: Duration) {
        self.speed = Some(braked.percent);
        if let Some(why) = braked.why {
            self.slowed[why as usize] += took;
        }
    }

    /// How long each reason slowed it, once this process has worked on it.
    pub(in crate::metrics) fn slowed(&self) -> impl Iterator<Item = (Slowed, Duration)> {
        let counted = self.speed.is_some();
        Slowed::ALL.into_iter().zip(self.slowed).filter(move |_| counted)
    }

    /// A new length of the source, or earlier lengths of both.
    pub(super) fn learn(&mut self, heads: &Heads) {
        self.source_read = heads.source_at.max(self.source_read);
        let target_seq = match (self.reached, heads.target_seq) {
            (Some(reached), known) => reached.target_seq.max(known.unwrap_or(0)),
            (None, Some(known)) => known,
            (None, None) => return,
        };
        let source_seq = self.reached.map_or(0, |before| before.source_seq).max(heads.source_seq);
        self.reached = Some(Reached { source_seq, target_seq, at: heads.source_at });
    }

    /// This process works on it from now on.
    pub(super) fn taken(
        &mut self,
        migration: &Migration,
        log: &[LogEntry],
        taken_over: bool,
        now: Timestamp,
    ) {
        self.logged(migration, log);
        self.reporter = Reporter::Here;
        self.is_sighted = false;
        self.last_progress = now;
        self.source_read = now;
        self.takeovers += u64::from(taken_over);
    }

    /// This process no longer works on it, because another does or because it has ended its work.
    pub(super) fn left(&mut self, is_lost: bool) {
        self.lost += u64::from(is_lost);
        self.reporter = if is_lost { Reporter::Elsewhere } else { Reporter::Anyone };
    }

    /// The row and the log, as they were read again.
    pub(super) fn logged(&mut self, migration: &Migration, log: &[LogEntry]) {
        self.migration = migration.clone();
        self.open_violations = open_violations(migration);
        self.read(log);
    }

    /// Another process works on it.
    pub(super) fn is_elsewhere(&mut self, migration: &Migration) {
        self.reporter = Reporter::Elsewhere;
        self.open_violations = open_violations(migration);
    }

    /// A server reports it, and this process need not.
    pub(super) fn is_unsighted(&mut self) {
        self.reporter = Reporter::Elsewhere;
        self.is_sighted = false;
    }

    /// This process recorded a fact.
    pub(super) fn recorded(&mut self, fact: &Fact, at: Timestamp) {
        self.tally.add(at, fact);
    }

    /// The whole log, whichever process recorded it. Facts recorded here since it was read stay.
    fn read(&mut self, log: &[LogEntry]) {
        if log.is_empty() {
            return;
        }
        self.stays = timeline(log.iter().map(|entry| (entry.at, &entry.fact)));
        let tally = Tally::of(log.iter().map(|entry| (entry.at, &entry.fact)));
        if tally.covers(&self.tally) {
            self.tally = tally;
        }
    }

    /// A part of a cutover is over in this process.
    pub(super) fn cutover(&mut self, part: CutoverPart, took: Duration) {
        match part {
            CutoverPart::Refused => self.refused += 1,
            CutoverPart::Pause => self.paused(took),
            CutoverPart::Verify | CutoverPart::Switch => {}
        }
    }

    /// A verification came to its end.
    pub(super) fn verified(&mut self, report: &Report, took: Duration) {
        let histogram = &mut self.verification[report.level as usize];
        histogram.get_or_insert_with(|| Histogram::new(VERIFICATION_BUCKETS)).observe(took);
        self.checked += report.events_checked;
        for (kind, times) in &report.violations_by_type {
            self.violated(*kind, *times);
        }
    }

    /// A cutover is over in this process.
    fn paused(&mut self, took: Duration) {
        if self.phase() == Phase::CutoverPaused {
            return;
        }
        if let Some(last) = self.tally.cutovers.len().checked_sub(1) {
            self.pauses.insert(last, took);
        }
    }

    pub(super) fn violated(&mut self, kind: ViolationType, times: u64) {
        self.violations[kind as usize] += times;
    }

    /// This process keeps the old source up to date: reported as long as it does.
    pub(super) fn keeps_window(&self) -> bool {
        let window = matches!(
            self.migration.state,
            State::Migrated { old_source: OldSource::Window { .. }, .. }
        );
        window && self.reporter == Reporter::Here
    }

    /// Ended for longer than `retention`; or another's, and without a signal for as long.
    /// Or failed, and acknowledged.
    pub(super) fn is_expired(&self, now: Timestamp, retention: Duration) -> bool {
        let retention = match self.migration.state {
            State::Failed { acknowledged: true } => retention.min(FAILURE_SHOWN_FOR),
            _ => retention,
        };
        let over = match self.phase() {
            Phase::Migrated | Phase::RolledBack | Phase::Failed => self.migration.completed_at,
            _ => None,
        };
        let since = if self.is_reported() { over } else { Some(self.touched) };
        let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        since.is_some_and(|since| now.micros().saturating_sub(since.micros()) >= retention)
    }
}
