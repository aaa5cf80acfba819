//! Log lines about migrations: each signal of interest to an operator becomes a `tracing` event
//! of the logger `eventsource.migration`, with `migration_id`, `tenant_id`, `phase` and `operation`.
//!
//! Progress and repeated failures are rate-limited, the latter with a count of the suppressed
//! ones. The log level filters afterwards; no signal comes from the
//! hot path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Migration, Phase};
use rehome_ports::LogEntry;
use rehome_ports::clock::Clock;
use tracing::Level;

use super::names::message;
use super::quiet::Quiet;
use crate::signal::{Observer, Signal, Way};
use crate::verifier::Report;

const SECOND: i64 = 1_000_000;
/// Shortest time between two lines about the progress of one copy, and between two about one kind of
/// failure, in microseconds.
const EVERY: i64 = 10 * SECOND;
/// Progress that is worth a line before that time, in percent.
const STEP_PERCENT: f64 = 5.0;

/// An observer that writes log lines.
pub struct Logs {
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<MigrationId, Known>>,
}

/// State of a migration that this process drives, for rate limiting.
struct Known {
    migration: Migration,
    progress: Option<Progress>,
    target_failed: Quiet,
    retried: Quiet,
    /// When the cutover that is under way began.
    cutover_at: Option<Timestamp>,
}

/// The last line about progress.
#[derive(Clone, Copy)]
struct Progress {
    at: Timestamp,
    percent: f64,
    events: u64,
}

/// One line. `None` fields are omitted.
struct Line<'a> {
    level: Level,
    message: &'static str,
    operation: &'static str,
    duration: Option<Duration>,
    events: Option<u64>,
    total: Option<u64>,
    percent: Option<f64>,
    violations: Option<u64>,
    attempt: Option<u32>,
    suppressed: Option<u64>,
    actor: Option<&'a str>,
    error: Option<&'a str>,
}

impl Line<'_> {
    const fn new(level: Level, message: &'static str, operation: &'static str) -> Self {
        Self {
            level,
            message,
            operation,
            duration: None,
            events: None,
            total: None,
            percent: None,
            violations: None,
            attempt: None,
            suppressed: None,
            actor: None,
            error: None,
        }
    }
}

impl Logs {
    /// Writes through `tracing`; nothing is written where no one listens.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<MigrationId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, migration: &Migration, log: &[LogEntry], taken_over: bool) {
        let cutover_at = log.iter().rev().find_map(|entry| match entry.fact {
            Fact::CutoverStarted { .. } => Some(entry.at),
            _ => None,
        });
        let known = Known {
            migration: migration.clone(),
            progress: None,
            target_failed: Quiet::default(),
            retried: Quiet::default(),
            cutover_at,
        };
        self.known().insert(migration.id, known);
        let operation = if taken_over { "take_over" } else { "take" };
        let holder = log.iter().rev().find(|entry| matches!(entry.fact, Fact::LeaseTaken { .. }));
        write(
            migration,
            &Line {
                actor: holder.map(|entry| entry.actor.as_str()),
                ..Line::new(Level::INFO, message::LEASE_TAKEN, operation)
            },
        );
    }

    fn recorded(&self, migration: &Migration, fact: &Fact, actor: &str, at: Timestamp) {
        let line =
            |level, message| Line { actor: Some(actor), ..Line::new(level, message, fact.name()) };
        let mut known = self.known();
        let known = known.get_mut(&migration.id);
        match fact {
            Fact::Started { .. } => write(migration, &line(Level::INFO, message::STARTED)),
            Fact::CopyCompleted { events } => {
                let written = known.and_then(|known| known.progress.take());
                if written.is_some_and(|written| written.events < *events) {
                    write(migration, &progress(*events, *events, 100.0));
                }
                write(
                    migration,
                    &Line {
                        duration: migration.started_at.map(|began| since(began, at)),
                        events: Some(*events),
                        ..line(Level::INFO, message::COPY_COMPLETE)
                    },
                );
            }
            Fact::CutoverStarted { .. } => {
                if let Some(known) = known {
                    known.cutover_at = Some(at);
                }
                let attempt = Some(migration.cutover_attempts);
                write(
                    migration,
                    &Line { attempt, ..line(Level::INFO, message::CUTOVER_INITIATED) },
                );
            }
            Fact::CutoverRolledBack { reason } => {
                let reason_text = reason.to_string();
                let ended = |level, message| Line {
                    duration: known
                        .as_ref()
                        .and_then(|known| known.cutover_at)
                        .map(|b| since(b, at)),
                    attempt: Some(migration.cutover_attempts),
                    error: Some(&reason_text),
                    ..line(level, message)
                };
                if reason.is_timeout() {
                    write(migration, &ended(Level::ERROR, message::CUTOVER_TIMEOUT));
                }
                write(migration, &ended(Level::WARN, message::ROLLED_BACK));
            }
            Fact::CutoverWithdrawn => {
                write(migration, &line(Level::INFO, message::CUTOVER_WITHDRAWN));
            }
            Fact::CutoverVetoed { hook, why } => {
                let error = format!("hook {hook}: {why}");
                write(
                    migration,
                    &Line { error: Some(&error), ..line(Level::WARN, message::CUTOVER_VETOED) },
                );
            }
            Fact::Switched { head } => write(
                migration,
                &Line {
                    duration: known
                        .and_then(|known| known.cutover_at)
                        .map(|began| since(began, at)),
                    events: Some(head.seq),
                    attempt: Some(migration.cutover_attempts),
                    ..line(Level::INFO, message::CUTOVER_COMPLETED)
                },
            ),
            Fact::TargetActivated { .. } => write(
                migration,
                &Line {
                    duration: Some(since(migration.started_at.unwrap_or(migration.created_at), at)),
                    ..line(Level::INFO, message::COMPLETED)
                },
            ),
            Fact::Failed { error } => write(
                migration,
                &Line { error: Some(error), ..line(Level::ERROR, message::FAILED) },
            ),
            Fact::Paused => write(migration, &line(Level::INFO, message::PAUSED)),
            Fact::Resumed => write(migration, &line(Level::INFO, message::RESUMED)),
            Fact::Aborted { .. } => write(migration, &line(Level::INFO, message::ABORTED)),
            // Logged by `Taken`, when the work starts.
            Fact::LeaseTaken { .. } => {}
            _ => write(migration, &line(Level::DEBUG, message::RECORDED)),
        }
    }

    fn progress(&self, migration: &Migration, source_seq: u64, target_seq: u64) {
        let now = self.clock.now();
        let mut known = self.known();
        let Some(known) = known.get_mut(&migration.id) else { return };
        let percent = match source_seq {
            0 => 100.0,
            total => target_seq.min(total) as f64 * 100.0 / total as f64,
        };
        let due = known.progress.is_none_or(|last| {
            now.micros() - last.at.micros() >= EVERY || percent - last.percent >= STEP_PERCENT
        });
        if due {
            known.progress = Some(Progress { at: now, percent, events: target_seq });
            write(migration, &progress(target_seq, source_seq, percent));
        }
    }

    fn target_failed(
        &self,
        migration: &Migration,
        operation: &'static str,
        (events, took): (u64, Duration),
        error: &str,
    ) {
        let mut known = self.known();
        let Some(known) = known.get_mut(&migration.id) else { return };
        if let Some(suppressed) = known.target_failed.ask(self.clock.now(), EVERY) {
            write(
                migration,
                &Line {
                    duration: Some(took),
                    events: Some(events),
                    suppressed: Some(suppressed),
                    error: Some(error),
                    ..Line::new(Level::WARN, message::TARGET_FAILED, operation)
                },
            );
        }
    }

    fn retrying(&self, id: MigrationId, error: &str) {
        let mut known = self.known();
        let Some(known) = known.get_mut(&id) else { return };
        if let Some(suppressed) = known.retried.ask(self.clock.now(), EVERY) {
            write(
                &known.migration,
                &Line {
                    suppressed: Some(suppressed),
                    error: Some(error),
                    ..Line::new(Level::WARN, message::RETRYING, "retry")
                },
            );
        }
    }

    fn left(&self, migration: &Migration, lost_to: Option<&str>) {
        self.known().remove(&migration.id);
        if let Some(holder) = lost_to {
            let line = Line::new(Level::WARN, message::LEASE_LOST, "lose_lease");
            write(migration, &Line { actor: Some(holder), ..line });
        }
    }
}

impl Observer for Logs {
    fn hear(&self, signal: &Signal<'_>) {
        match *signal {
            Signal::Taken { migration, log, taken_over } => self.taken(migration, log, taken_over),
            Signal::Seen { migration } => {
                if let Some(known) = self.known().get_mut(&migration.id)
                    && known.migration.state != migration.state
                {
                    known.migration = migration.clone();
                }
            }
            Signal::Recorded { migration, fact, actor, at } => {
                self.recorded(migration, fact, actor, at);
            }
            Signal::Progress { migration, way: Way::There, source_seq, target_seq, .. }
                if migration.state.phase() == Phase::BulkCopy =>
            {
                self.progress(migration, source_seq, target_seq);
            }
            Signal::MirrorFailed { migration, way, events, error, took, .. } => {
                let operation = match way {
                    Way::There => "mirror",
                    Way::Back => "mirror_back",
                };
                self.target_failed(migration, operation, (events, took), error);
            }
            Signal::Verified { migration, report, took } if report.violations_total > 0 => {
                verification_failed(migration, report, took);
            }
            Signal::Violated { migration, violation } => {
                let found = violation.to_string();
                write(
                    migration,
                    &Line {
                        violations: Some(1),
                        error: Some(&found),
                        ..Line::new(Level::ERROR, message::CHECK_FAILED, "read_back")
                    },
                );
            }
            Signal::Retrying { migration, error } => self.retrying(migration, error),
            Signal::Stopped { migration, error } => {
                let line = Line::new(Level::WARN, message::WORK_ENDED, "drive");
                write(migration, &Line { error: Some(error), ..line });
            }
            Signal::Left { migration, lost_to } => self.left(migration, lost_to),
            _ => {}
        }
    }
}

fn progress(events: u64, total: u64, percent: f64) -> Line<'static> {
    Line {
        events: Some(events),
        total: Some(total),
        percent: Some((percent * 10.0).round() / 10.0),
        ..Line::new(Level::INFO, message::COPY_PROGRESS, "copy")
    }
}

fn verification_failed(migration: &Migration, report: &Report, took: Duration) {
    let first = report.violations.first().map(ToString::to_string);
    write(
        migration,
        &Line {
            duration: Some(took),
            events: Some(report.events_checked),
            violations: Some(report.violations_total),
            error: first.as_deref(),
            ..Line::new(Level::ERROR, message::CHECK_FAILED, "verify")
        },
    );
}

/// By two readings of the wall clock, which may have been set back between them.
fn since(began: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(now.micros().saturating_sub(began.micros()).max(0).unsigned_abs())
}

fn write(migration: &Migration, line: &Line<'_>) {
    // A level and a target have to be constants where an event is made.
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: "eventsource.migration",
                $level,
                migration_id = %migration.id,
                tenant_id = %migration.tenant,
                phase = migration.state.phase().as_str(),
                operation = line.operation,
                duration_ms = line.duration.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
                events_count = line.events,
                events_total = line.total,
                progress_percent = line.percent,
                violations_count = line.violations,
                cutover_attempt = line.attempt,
                suppressed_count = line.suppressed,
                actor = line.actor,
                error = line.error,
                "{}",
                line.message,
            )
        };
    }
    match line.level {
        Level::ERROR => event!(Level::ERROR),
        Level::WARN => event!(Level::WARN),
        Level::INFO => event!(Level::INFO),
        _ => event!(Level::DEBUG),
    }
}
