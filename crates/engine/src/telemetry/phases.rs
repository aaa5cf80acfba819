//! The spans of phases, folded from a migration's log.
//!
//! ```text
//! started ──start── copy_started ──bulk_copy── copy_completed ──dual_write── cutover_started
//!                                                   ▲                             │ cutover
//!                                                   └──── cutover_rolled_back ◀───┤
//!                                                              target_activated ◀─┘
//! ```
//!
//! A pause does not end a span; it is an event in it. `failed`, `aborted`, `recovered` and
//! `repair_requested` end every open span; after a repair there is another bulk copy. Since everything comes from the log, every process
//! computes the same span; the process that recorded the fact which ended it sends it.

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{Fact, Migration, Phase, State};
use rehome_ports::{ControlError, ControlPlane, LogEntry};

use super::names::{attribute, span as name};
use super::span::{Span, SpanEvent, span_id};

/// A phase may have ended by a fact that this process recorded.
#[derive(Clone, Debug)]
pub struct Ended {
    pub(super) migration: Migration,
    pub(super) fact: Fact,
    pub(super) actor: String,
}

impl Ended {
    /// The spans that the fact ended, from the migration's log.
    pub async fn spans(&self, control: &dyn ControlPlane) -> Result<Vec<Span>, ControlError> {
        const PAGE: usize = 1_000;
        let mut log: Vec<LogEntry> = Vec::new();
        loop {
            let after = log.last().map_or(0, |entry| entry.index);
            let page = control.log(self.migration.id, after, PAGE).await?;
            let over = page.len() < PAGE;
            log.extend(page);
            if over {
                break;
            }
        }
        let mine =
            log.iter().rev().find(|entry| entry.fact == self.fact && entry.actor == self.actor);
        let Some(index) = mine.map(|entry| entry.index) else { return Ok(Vec::new()) };
        let spans = phases(&self.migration, &log).into_iter();
        Ok(spans.filter(|phase| phase.ended_by == index).flat_map(PhaseSpan::all).collect())
    }
}

/// Whether the fact may end a phase.
pub(super) const fn ends_a_phase(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::CopyStarted
            | Fact::CopyCompleted { .. }
            | Fact::CutoverStarted { .. }
            | Fact::CutoverRolledBack { .. }
            | Fact::TargetActivated { .. }
            | Fact::Failed { .. }
            | Fact::Aborted { .. }
            | Fact::Recovered { .. }
            | Fact::RepairRequested
    )
}

/// The spans of phases that ended while the last holder but one of the lease had it. It may have died
/// before it sent them.
pub(super) fn of_last_tenure(migration: &Migration, log: &[LogEntry]) -> Vec<Span> {
    let mut leases = log.iter().rev().filter(|entry| matches!(entry.fact, Fact::LeaseTaken { .. }));
    let Some(before) = leases.nth(1).map(|entry| entry.index) else { return Vec::new() };
    let spans = phases(migration, log).into_iter();
    spans.filter(|phase| phase.ended_by > before).flat_map(PhaseSpan::all).collect()
}

/// A phase that is over.
pub(super) struct PhaseSpan {
    pub(super) span: Span,
    /// The log entry that ended it.
    pub(super) ended_by: u64,
    /// The id of the pause, if it is a cutover.
    pause_id: [u8; 8],
}

impl PhaseSpan {
    /// The span, and for a cutover also the pause within it, which is as long: writers wait from the intent
    /// until a store accepts writes again. Both are dated by the log, so neither exceeds the other.
    fn all(self) -> impl Iterator<Item = Span> {
        let pause = (self.span.name == name::CUTOVER).then(|| self.pause());
        std::iter::once(self.span).chain(pause)
    }

    fn pause(&self) -> Span {
        let cutover = &self.span;
        Span {
            id: self.pause_id,
            parent: Some(cutover.id),
            name: name::PAUSE,
            events: Vec::new(),
            ..cutover.clone()
        }
    }
}

/// A phase that is not over yet.
struct Open {
    name: &'static str,
    phase: Phase,
    number: u64,
    from: Timestamp,
    events: Vec<SpanEvent>,
}

/// The phases that are over, in the order in which they ended.
pub(super) fn phases(migration: &Migration, log: &[LogEntry]) -> Vec<PhaseSpan> {
    let mut phases = Vec::new();
    let mut open: Option<Open> = None;
    let (mut attempts, mut repairs) = (0, 0);
    for entry in log {
        let begin = |name, phase, number| {
            Some(Open { name, phase, number, from: entry.at, events: Vec::new() })
        };
        let (next, error) = match &entry.fact {
            Fact::Started { .. } => (begin(name::START, Phase::Pending, 0), None),
            Fact::CopyStarted => (begin(name::BULK_COPY, Phase::BulkCopy, repaired(repairs)), None),
            Fact::CopyCompleted { .. } => {
                let number = attempts | repaired(repairs);
                (begin(name::DUAL_WRITE, Phase::DualWrite, number), None)
            }
            Fact::CutoverStarted { .. } => {
                attempts += 1;
                (begin(name::CUTOVER, Phase::CutoverPaused, attempts), None)
            }
            Fact::CutoverRolledBack { reason } => {
                let error = Some(reason.to_string().into_boxed_str());
                let number = attempts | repaired(repairs);
                (begin(name::DUAL_WRITE, Phase::DualWrite, number), error)
            }
            Fact::Failed { error } => (None, Some(error.clone())),
            Fact::TargetActivated { .. } | Fact::Aborted { .. } => (None, None),
            Fact::Recovered { .. } => {
                (None, Some("the control plane was older than the stores".into()))
            }
            Fact::RepairRequested => (None, Some("a repair was requested".into())),
            fact => {
                repairs += u64::from(matches!(fact, Fact::CutBack { .. }));
                if let Some(open) = &mut open {
                    open.events.push(event(entry));
                }
                continue;
            }
        };
        if let Some(mut ended) = std::mem::replace(&mut open, next) {
            if !ended.is_left_by(&entry.fact) {
                ended.events.push(event(entry));
            }
            phases.push(PhaseSpan {
                ended_by: entry.index,
                pause_id: span_id(migration, name::PAUSE, ended.number),
                span: ended.close(migration, entry.at, error),
            });
        }
    }
    phases
}

impl Open {
    /// The fact is the normal end of the phase, and adds no event.
    fn is_left_by(&self, fact: &Fact) -> bool {
        matches!(
            (self.name, fact),
            (name::START, Fact::CopyStarted)
                | (name::BULK_COPY, Fact::CopyCompleted { .. })
                | (name::DUAL_WRITE, Fact::CutoverStarted { .. })
        )
    }

    fn close(self, migration: &Migration, until: Timestamp, error: Option<Box<str>>) -> Span {
        let id = span_id(migration, self.name, self.number);
        let parent = (self.name != name::START).then(|| span_id(migration, name::START, 0));
        let mut span = Span::new(migration, id, parent, self.name, self.phase, (self.from, until));
        if self.name == name::CUTOVER {
            span = span.with(attribute::ATTEMPT, self.number);
        }
        span.events = self.events;
        span.error = error;
        span
    }
}

fn event(entry: &LogEntry) -> SpanEvent {
    let mut attributes = vec![(attribute::ACTOR, entry.actor.as_str().into())];
    if let Fact::CutoverRolledBack { reason } = &entry.fact {
        attributes.push((attribute::REASON, reason.to_string().as_str().into()));
    }
    SpanEvent { name: entry.fact.name(), at: entry.at, attributes }
}

/// The part of a number that distinguishes stays before a repair from those after it.
const fn repaired(repairs: u64) -> u64 {
    repairs << 32
}

/// The span of the bulk copy: the parent of its batches.
pub(super) fn bulk_copy(migration: &Migration) -> [u8; 8] {
    span_id(migration, name::BULK_COPY, repaired(u64::from(migration.violations.repairs)))
}

/// The span of the stay in the dual write that this row is in.
pub(super) fn dual_write(migration: &Migration) -> [u8; 8] {
    let repairs = u64::from(migration.violations.repairs);
    let number = u64::from(migration.cutover_attempts) | repaired(repairs);
    span_id(migration, name::DUAL_WRITE, number)
}

/// The cutover that is under way, by a row from before its intent or from within it.
pub(super) fn attempt(migration: &Migration) -> u64 {
    let begun = migration.state == State::CutoverPaused;
    u64::from(migration.cutover_attempts) + u64::from(!begun)
}

/// The span of that cutover.
pub(super) fn cutover(migration: &Migration) -> [u8; 8] {
    span_id(migration, name::CUTOVER, attempt(migration))
}
