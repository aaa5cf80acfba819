//! How what is seen of a migration changes its entry.

use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{Fact, Migration, OldSource, Phase, State, Stay, Tally, timeline};
use rehome_domain::verification::ViolationType;
use rehome_ports::LogEntry;

use super::{Entry, FAILURE_SHOWN_FOR, Reporter, open_violations};
use crate::brake::{Braked, Slowed};
use crate::heads::Heads;
use crate::histogram::Histogram;
use crate::metrics::families::VERIFICATION_BUCKETS;
use crate::metrics::{Reached, SEEN_FOR, Sighting};
use crate::signal::CutoverPart;
use crate::verifier::Report;

impl Entry {
    pub(in crate::metrics::tracker) fn update(&mut self, migration: &Migration, now: Timestamp) {
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

    pub(in crate::metrics::tracker) fn get_to(
        &mut self,
        reached: Reached,
        read_back_seq: Option<u64>,
        now: Timestamp,
    ) {
        if self.reached.is_none_or(|before| reached.target_seq > before.target_seq) {
            self.last_progress = now;
        }
        let source_seq = self.reached.map_or(0, |before| before.source_seq).max(reached.source_seq);
        self.reached = Some(Reached { source_seq, ..reached });
        self.read_back_seq = read_back_seq.or(self.read_back_seq);
    }

    pub(in crate::metrics::tracker) fn sighted(&mut self, sighting: &Sighting<'_>, now: Timestamp) {
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
    pub(in crate::metrics::tracker) fn forget_old_numbers(&mut self, now: Timestamp) {
        if self.is_sighted && !self.phase().is_terminal() {
            let seen_for = i64::try_from(SEEN_FOR.as_micros()).unwrap_or(i64::MAX);
            self.reached.take_if(|reached| now.micros() - reached.at.micros() > seen_for);
        }
    }

    pub(in crate::metrics::tracker) fn braked(&mut self, braked: Braked, took: Duration) {
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
    pub(in crate::metrics::tracker) fn learn(&mut self, heads: &Heads) {
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
    pub(in crate::metrics::tracker) fn taken(
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
    pub(in crate::metrics::tracker) fn left(&mut self, is_lost: bool) {
        self.lost += u64::from(is_lost);
        self.reporter = if is_lost { Reporter::Elsewhere } else { Reporter::Anyone };
    }

    /// The row and the log, as they were read again.
    pub(in crate::metrics::tracker) fn logged(&mut self, migration: &Migration, log: &[LogEntry]) {
        self.migration = migration.clone();
        self.open_violations = open_violations(migration);
        self.read(log);
    }

    /// Another process works on it.
    pub(in crate::metrics::tracker) fn is_elsewhere(&mut self, migration: &Migration) {
        self.reporter = Reporter::Elsewhere;
        self.open_violations = open_violations(migration);
    }

    /// A server reports it, and this process need not.
    pub(in crate::metrics::tracker) fn is_unsighted(&mut self) {
        self.reporter = Reporter::Elsewhere;
        self.is_sighted = false;
    }

    /// This process recorded a fact.
    pub(in crate::metrics::tracker) fn recorded(&mut self, fact: &Fact, at: Timestamp) {
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
    pub(in crate::metrics::tracker) fn cutover(&mut self, part: CutoverPart, took: Duration) {
        match part {
            CutoverPart::Refused => self.refused += 1,
            CutoverPart::Pause => self.paused(took),
            CutoverPart::Verify | CutoverPart::Switch => {}
        }
    }

    /// A verification came to its end.
    pub(in crate::metrics::tracker) fn verified(&mut self, report: &Report, took: Duration) {
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

    pub(in crate::metrics::tracker) fn violated(&mut self, kind: ViolationType, times: u64) {
        self.violations[kind as usize] += times;
    }

    /// This process keeps the old source up to date: reported as long as it does.
    pub(in crate::metrics::tracker) fn keeps_window(&self) -> bool {
        let window = matches!(
            self.migration.state,
            State::Migrated { old_source: OldSource::Window { .. }, .. }
        );
        window && self.reporter == Reporter::Here
    }

    /// Ended for longer than `retention`; or another's, and without a signal for as long.
    /// Or failed, and acknowledged.
    pub(in crate::metrics::tracker) fn is_expired(
        &self,
        now: Timestamp,
        retention: Duration,
    ) -> bool {
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
