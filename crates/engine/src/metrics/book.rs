//! What one process has seen of each migration: folded from signals, forgotten after the retention.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{
    Cleanup, CutoverOutcome, Fact, Migration, OldSource, Phase, State, Stay, Tally, timeline,
};
use rehome_domain::verification::{Level, ViolationType};
use rehome_ports::LogEntry;

use super::families::{MIRROR_BUCKETS, PAUSE_BUCKETS, VERIFICATION_BUCKETS};
use super::{Reached, SEEN_FOR, Sighting};
use crate::heads::Heads;
use crate::histogram::{Histogram, Snapshot};
use crate::signal::{CutoverPart, Signal, Way};
use crate::verifier::Report;

/// How a cutover was begun or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Started,
    Succeeded,
    RolledBack,
    TimedOut,
    Refused,
}

impl Attempt {
    pub(super) const ALL: [Self; 5] =
        [Self::Started, Self::Succeeded, Self::RolledBack, Self::TimedOut, Self::Refused];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
        }
    }
}

/// A failure is told for at least this long, however soon an operator has seen it: otherwise a scrape
/// every 15 seconds may see a migration vanish that never ended.
const FAILURE_TOLD: Duration = Duration::from_secs(20);

pub(super) const LEVELS: [Level; 3] = [Level::Count, Level::Hash, Level::Full];
pub(super) const VIOLATION_TYPES: [ViolationType; 6] = [
    ViolationType::Missing,
    ViolationType::Unexpected,
    ViolationType::Content,
    ViolationType::Order,
    ViolationType::Version,
    ViolationType::Ledger,
];

/// Whose it is to tell where the migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// This process drives it.
    Here,
    /// Nobody drives it; every process that serves tells.
    ByAnyone,
    /// Another process does.
    Elsewhere,
}

impl Reached {
    pub(super) fn lag(self) -> u64 {
        self.source_seq.saturating_sub(self.target_seq)
    }

    pub(super) fn copied(self) -> u64 {
        self.target_seq.min(self.source_seq)
    }

    pub(super) fn percent(self) -> f64 {
        if self.source_seq == 0 {
            100.0
        } else {
            self.copied() as f64 * 100.0 / self.source_seq as f64
        }
    }
}

/// One migration.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) migration: Migration,
    pub(super) told: Told,
    /// Another process drives it, or nobody does, and this one sees it from outside.
    is_sighted: bool,
    /// Something was heard of it.
    touched: Timestamp,
    stays: Vec<Stay>,
    pub(super) reached: Option<Reached>,
    /// When the source's length was read.
    pub(super) source_read: Timestamp,
    pub(super) last_progress: Timestamp,
    pub(super) read_back_seq: Option<u64>,
    pub(super) window_lag: Option<u64>,
    pub(super) bytes: u64,
    pub(super) throttled: Duration,
    pub(super) takeovers: u64,
    pub(super) lost: u64,
    pub(super) retries: u64,
    /// The cutovers of the migration, whichever process did them.
    tally: Tally,
    /// How long writers waited, of each cutover that ended in this process, by its number.
    pauses: BTreeMap<usize, Duration>,
    refused: u64,
    /// Only the rollback window is told of.
    is_past: bool,
    verification: [Option<Histogram>; LEVELS.len()],
    violations: [u64; VIOLATION_TYPES.len()],
    pub(super) checked: u64,
    /// By the row, as it was last seen.
    pub(super) open_violations: u64,
}

/// What the migration's row says is open, whichever process found it.
fn open_violations(migration: &Migration) -> u64 {
    migration.violations.open.as_ref().map_or(0, |open| open.finding.violations)
}

impl Entry {
    fn new(migration: &Migration, now: Timestamp) -> Self {
        let entered = migration.completed_at.or(migration.started_at);
        let from = entered.unwrap_or(migration.created_at);
        let phase = migration.state.phase();
        Self {
            migration: migration.clone(),
            told: Told::Elsewhere,
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
            takeovers: 0,
            lost: 0,
            retries: 0,
            tally: Tally::default(),
            pauses: BTreeMap::new(),
            refused: 0,
            is_past: false,
            verification: [const { None }; 3],
            violations: [0; 6],
            checked: 0,
            open_violations: open_violations(migration),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.migration.state.phase()
    }

    /// This process tells where the migration stands.
    pub(super) fn is_told(&self) -> bool {
        self.told != Told::Elsewhere || self.is_sighted
    }

    /// What was counted here is all that was, or nobody counts: then also a 0 tells something. What a
    /// command counts that drives it is not known here.
    pub(super) fn is_counted(&self) -> bool {
        self.told != Told::Elsewhere
    }

    /// Cutovers and verifications may be counted from here on.
    pub(super) fn has_mirrored(&self) -> bool {
        let mirroring = |stay: &Stay| stay.phase == Phase::DualWrite;
        self.stays.iter().any(mirroring) || self.phase() == Phase::Migrated
    }

    /// There is work to do and nobody does it.
    pub(super) fn is_unattended(&self) -> bool {
        let works = match self.migration.state {
            State::Pending | State::Working(_) | State::CutoverPaused => true,
            State::Paused(_) | State::Failed { .. } => false,
            State::RolledBack(cleanup) => cleanup != Cleanup::Done,
            State::Migrated { activated, old_source } => {
                !activated || matches!(old_source, OldSource::Closing { .. })
            }
        };
        self.told == Told::ByAnyone && works
    }

    /// The switch is done; the target's activation, or its publication, is not.
    pub(super) fn is_unpublished(&self) -> bool {
        matches!(self.migration.state, State::Migrated { activated: false, .. })
    }

    /// When the state was entered that it is in.
    pub(super) fn since(&self) -> Timestamp {
        self.stays.last().map_or(self.migration.created_at, |stay| stay.from)
    }

    pub(super) fn attempts(&self, attempt: Attempt) -> u64 {
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
    pub(super) fn pause(&self) -> Snapshot {
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
    pub(super) fn has_to_pass(&self, level: Level) -> bool {
        self.migration.options.verification == level
    }

    /// A verification here, or a finding anywhere: there is something to tell of what is open.
    pub(super) fn was_verified(&self) -> bool {
        self.checked > 0 || self.migration.violations.found > 0
    }

    pub(super) fn violations(&self, kind: ViolationType) -> u64 {
        self.violations[kind as usize]
    }

    pub(super) fn verification(&self, level: Level) -> Option<&Histogram> {
        self.verification[level as usize].as_ref()
    }

    /// Seconds in each phase that was entered.
    pub(super) fn durations(&self, now: Timestamp) -> BTreeMap<Phase, f64> {
        let mut durations = BTreeMap::new();
        for stay in &self.stays {
            let micros = stay.until.unwrap_or(now).micros() - stay.from.micros();
            *durations.entry(stay.phase).or_default() += micros.max(0) as f64 / 1e6;
        }
        durations
    }

    fn update(&mut self, migration: &Migration, now: Timestamp) {
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

    fn get_to(&mut self, reached: Reached, read_back_seq: Option<u64>, now: Timestamp) {
        if self.reached.is_none_or(|before| reached.target_seq > before.target_seq) {
            self.last_progress = now;
        }
        let source_seq = self.reached.map_or(0, |before| before.source_seq).max(reached.source_seq);
        self.reached = Some(Reached { source_seq, ..reached });
        self.read_back_seq = read_back_seq.or(self.read_back_seq);
    }

    fn sighted(&mut self, sighting: &Sighting<'_>, now: Timestamp) {
        self.told = if sighting.held { Told::Elsewhere } else { Told::ByAnyone };
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

    /// What was seen from outside too long ago is not shown as if it were so now.
    fn forget_old_numbers(&mut self, now: Timestamp) {
        if self.is_sighted && !self.phase().is_terminal() {
            let seen_for = i64::try_from(SEEN_FOR.as_micros()).unwrap_or(i64::MAX);
            self.reached.take_if(|reached| now.micros() - reached.at.micros() > seen_for);
        }
    }

    /// The source's length was read, or what is known of both from before.
    fn learn(&mut self, heads: &Heads) {
        self.source_read = heads.source_at.max(self.source_read);
        let target_seq = match (self.reached, heads.target_seq) {
            (Some(reached), known) => reached.target_seq.max(known.unwrap_or(0)),
            (None, Some(known)) => known,
            (None, None) => return,
        };
        let source_seq = self.reached.map_or(0, |before| before.source_seq).max(heads.source_seq);
        self.reached = Some(Reached { source_seq, target_seq, at: heads.source_at });
    }

    /// All that was recorded, by whichever process. What was recorded here since it was read stays.
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
    fn cutover(&mut self, part: CutoverPart, took: Duration) {
        match part {
            CutoverPart::Refused => self.refused += 1,
            CutoverPart::Pause => self.paused(took),
            CutoverPart::Verify | CutoverPart::Switch => {}
        }
    }

    /// A verification came to its end.
    fn verified(&mut self, report: &Report, took: Duration) {
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

    fn violated(&mut self, kind: ViolationType, times: u64) {
        self.violations[kind as usize] += times;
    }

    /// The old source is kept level here: of that is told for as long as it lasts.
    fn keeps_window(&self) -> bool {
        let window = matches!(
            self.migration.state,
            State::Migrated { old_source: OldSource::Window { .. }, .. }
        );
        window && self.told == Told::Here
    }

    /// Over for longer than `retention`; or another's, and nothing was heard of it for as long.
    /// Or failed, and an operator knows.
    fn is_expired(&self, now: Timestamp, retention: Duration) -> bool {
        let retention = match self.migration.state {
            State::Failed { acknowledged: true } => retention.min(FAILURE_TOLD),
            _ => retention,
        };
        let over = match self.phase() {
            Phase::Migrated | Phase::RolledBack | Phase::Failed => self.migration.completed_at,
            _ => None,
        };
        let since = if self.is_told() { over } else { Some(self.touched) };
        let retention = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        since.is_some_and(|since| now.micros().saturating_sub(since.micros()) >= retention)
    }
}

/// The dual write of one tenant.
#[derive(Clone, Debug)]
pub(super) struct DualWrite {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) latency: Histogram,
}

/// All that this process has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<MigrationId, Entry>,
    dual_writes: BTreeMap<TenantId, DualWrite>,
    /// When this process last looked which migrations there are.
    pub(super) looked: Option<Timestamp>,
}

impl Book {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.is_past)
    }

    /// The open rollback windows, however long ago their migrations ended.
    pub(super) fn windows(&self) -> impl Iterator<Item = (&Entry, u64)> {
        self.entries.values().filter_map(|entry| entry.window_lag.map(|lag| (entry, lag)))
    }

    pub(super) fn dual_writes(&self) -> impl Iterator<Item = (TenantId, &DualWrite)> {
        self.dual_writes.iter().map(|(tenant, dual_write)| (*tenant, dual_write))
    }

    /// Forgets what is over for longer than `retention`.
    pub(super) fn forget(&mut self, now: Timestamp, retention: Duration) {
        self.entries.retain(|_, entry| {
            entry.forget_old_numbers(now);
            entry.is_past = entry.is_expired(now, retention);
            !entry.is_past || entry.keeps_window()
        });
        let told: BTreeSet<_> = self.entries().map(|entry| entry.migration.tenant).collect();
        self.dual_writes.retain(|tenant, _| told.contains(tenant));
    }

    pub(super) fn hear(&mut self, signal: &Signal<'_>, now: Timestamp, retention: Duration) {
        match signal {
            Signal::Taken { migration, log, taken_over } => {
                let entry = self.entry(migration, now);
                entry.migration = (*migration).clone();
                entry.open_violations = open_violations(migration);
                entry.read(log);
                entry.told = Told::Here;
                entry.is_sighted = false;
                entry.last_progress = now;
                entry.source_read = now;
                entry.takeovers += u64::from(*taken_over);
                if migration.state.phase() == Phase::DualWrite {
                    self.dual_write(migration.tenant);
                }
            }
            Signal::Seen { migration } => {
                // After its end a driver may keep a window open for days.
                if self.entries.contains_key(&migration.id) {
                    self.entry(migration, now).update(migration, now);
                }
            }
            Signal::Unattended { migration } => {
                let entry = self.entry(migration, now);
                entry.told = Told::ByAnyone;
                entry.update(migration, now);
                if entry.is_expired(now, retention) {
                    self.entries.remove(&migration.id);
                }
            }
            Signal::Looked => self.looked = Some(now),
            Signal::Logged { migration, log } => {
                if let Some(entry) = self.entries.get_mut(&migration.id) {
                    entry.migration = (*migration).clone();
                    entry.open_violations = open_violations(migration);
                    entry.read(log);
                }
            }
            Signal::Elsewhere { migration } => {
                if let Some(entry) = self.entries.get_mut(&migration.id) {
                    entry.told = Told::Elsewhere;
                    entry.open_violations = open_violations(migration);
                }
            }
            Signal::Left { migration, lost_to } => {
                let entry = self.entry(migration, now);
                entry.lost += u64::from(lost_to.is_some());
                entry.told = if lost_to.is_some() { Told::Elsewhere } else { Told::ByAnyone };
            }
            Signal::Recorded { migration, fact, at, .. } => {
                self.recorded(migration, fact, *at, now);
            }
            Signal::Retrying { migration, .. } => {
                if let Some(entry) = self.entries.get_mut(migration) {
                    entry.retries += 1;
                }
            }
            Signal::Progress { migration, way, source_seq, target_seq, read_back_seq } => {
                let reached = Reached { source_seq: *source_seq, target_seq: *target_seq, at: now };
                match way {
                    Way::There => {
                        self.entry(migration, now).get_to(reached, *read_back_seq, now);
                    }
                    Way::Back => self.entry(migration, now).window_lag = Some(reached.lag()),
                }
            }
            Signal::Head { migration, heads } => match heads.way {
                Way::There => self.entry(migration, now).learn(heads),
                Way::Back => {
                    let lag = heads.target_seq.map(|seq| heads.source_seq.saturating_sub(seq));
                    let entry = self.entry(migration, now);
                    entry.window_lag = lag.or(entry.window_lag);
                }
            },
            Signal::Copied { migration, bytes, waited, .. } => {
                let entry = self.entry(migration, now);
                entry.bytes += bytes;
                entry.throttled += *waited;
            }
            Signal::Mirrored { migration, way: Way::There, written, took, .. } => {
                let dual_write = self.dual_write(migration.tenant);
                dual_write.succeeded += written;
                dual_write.latency.observe_many(*took, *written);
            }
            Signal::MirrorFailed { migration, way: Way::There, written, .. } => {
                self.dual_write(migration.tenant).failed += written;
            }
            Signal::Mirrored { .. } | Signal::MirrorFailed { .. } | Signal::Stopped { .. } => {}
            Signal::Cutover { migration, part, took, .. } => {
                self.entry(migration, now).cutover(*part, *took);
            }
            Signal::Verified { migration, report, took } => {
                self.entry(migration, now).verified(report, *took);
            }
            Signal::Violated { migration, violation } => {
                self.entry(migration, now).violated(violation.kind, 1);
            }
        }
    }

    /// See [`super::Metrics::sighted`].
    pub(super) fn sighted(&mut self, sighting: &Sighting<'_>, now: Timestamp) {
        let driven = |entry: &Entry| entry.told == Told::Here;
        if !self.entries.get(&sighting.migration.id).is_some_and(driven) {
            self.entry(sighting.migration, now).sighted(sighting, now);
        }
    }

    /// See [`super::Metrics::driven_by_another_server`].
    pub(super) fn unsighted(&mut self, id: MigrationId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.told != Told::Here
        {
            entry.told = Told::Elsewhere;
            entry.is_sighted = false;
        }
    }

    fn recorded(&mut self, migration: &Migration, fact: &Fact, at: Timestamp, now: Timestamp) {
        let entry = self.entry(migration, now);
        entry.update(migration, now);
        entry.tally.add(at, fact);
        if migration.state.phase() == Phase::DualWrite {
            self.dual_write(migration.tenant);
        }
    }

    fn entry(&mut self, migration: &Migration, now: Timestamp) -> &mut Entry {
        let entry = self.entries.entry(migration.id).or_insert_with(|| Entry::new(migration, now));
        entry.touched = now;
        entry
    }

    fn dual_write(&mut self, tenant: TenantId) -> &mut DualWrite {
        self.dual_writes.entry(tenant).or_insert_with(|| DualWrite {
            succeeded: 0,
            failed: 0,
            latency: Histogram::new(MIRROR_BUCKETS),
        })
    }
}
