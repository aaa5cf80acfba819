//! Signals in, lines and spans out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{
    Fact, Migration, Options, RollBackReason, State, Violations, Working,
};
use rehome_ports::LogEntry;
use rehome_ports::memory::ManualClock;
use tracing::field::{Field, Visit};
use uuid::Uuid;

use super::names::span as name;
use super::phases::{of_last_tenure, phases};
use super::*;
use crate::signal::{CutoverPart, Observer as _, Signal, Way};

fn migration(state: State, cutover_attempts: u32) -> Migration {
    let store = |id: &str| id.parse::<StoreId>().unwrap();
    Migration {
        id: MigrationId::new(Uuid::from_u128(7)),
        tenant: TenantId::new(Uuid::from_u128(8)),
        source: store("shared"),
        target: store("dedicated"),
        m: Epoch(2),
        state,
        options: Options::default(),
        cutover_attempts,
        created_at: at(0),
        started_at: Some(at(1)),
        completed_at: None,
        error: None,
        violations: Violations::default(),
    }
}

fn copying() -> Migration {
    migration(State::Working(Working::BulkCopy), 0)
}

fn mirroring(attempts: u32) -> Migration {
    migration(State::Working(Working::DualWrite { cutover_requested: false }), attempts)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn started() -> Fact {
    let Migration { id, target, options, .. } = copying();
    Fact::Started { migration: id, target, options }
}

fn log(facts: impl IntoIterator<Item = Fact>) -> Vec<LogEntry> {
    let entry = |(index, fact): (u64, Fact)| LogEntry {
        index: index + 1,
        at: at(i64::try_from(index).unwrap()),
        actor: "somebody".to_owned(),
        fact,
        text: String::new(),
        hash: Digest::EMPTY,
    };
    (0_u64..).zip(facts).map(entry).collect()
}

fn lease() -> Fact {
    Fact::LeaseTaken { holder: "somebody".into() }
}

/// One that pauses, is rolled back once, and comes through.
fn life() -> Vec<LogEntry> {
    let cutover = || Fact::CutoverStarted { deadline_ms: 1 };
    log([
        started(),
        lease(),
        Fact::CopyStarted,
        Fact::Paused,
        Fact::Resumed,
        lease(),
        Fact::CopyCompleted { events: 9 },
        cutover(),
        Fact::CutoverRolledBack { reason: RollBackReason::TimedOut },
        cutover(),
        Fact::Switched { head: Head::EMPTY },
        Fact::TargetActivated { epoch: Epoch(9) },
    ])
}

#[test]
fn a_log_makes_one_tree_of_phases() {
    let log = life();
    let spans: Vec<Span> = phases(&copying(), &log).into_iter().map(|phase| phase.span).collect();
    let shape: Vec<_> = spans
        .iter()
        .map(|span| (span.name, span.start.micros() / 1_000_000, span.end.micros() / 1_000_000))
        .collect();
    assert_eq!(
        shape,
        [
            (name::START, 0, 2),
            (name::BULK_COPY, 2, 6),
            (name::DUAL_WRITE, 6, 7),
            (name::CUTOVER, 7, 8),
            (name::DUAL_WRITE, 8, 9),
            (name::CUTOVER, 9, 11),
        ]
    );
    assert_eq!(spans[0].parent, None);
    assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].id)));
    assert!(spans.iter().all(|span| span.trace == *copying().id.as_bytes()));
    let mut ids: Vec<_> = spans.iter().map(|span| span.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());

    let events: Vec<_> = spans[1].events.iter().map(|event| event.name).collect();
    assert_eq!(events, ["paused", "resumed", "lease_taken"]);
    assert_eq!(spans[3].error.as_deref(), Some("the cutover's deadline passed"));
    assert_eq!(spans[3].events.last().unwrap().name, "cutover_rolled_back");
    assert!(spans.iter().filter(|span| span.error.is_some()).count() == 1);
    let phase =
        |span: &Span| span.attributes.iter().find(|(key, _)| *key == "migration.phase").cloned();
    assert_eq!(phase(&spans[5]).unwrap().1, "cutover_paused".into());
}

#[test]
fn a_failure_ends_the_phase_that_is_open_and_nothing_after_it() {
    let failed = Fact::Failed { error: "disk".into() };
    let log = log([started(), Fact::CopyStarted, failed, Fact::Aborted { purge: false }]);
    let spans = phases(&copying(), &log);
    assert_eq!(spans.len(), 2);
    assert_eq!((spans[1].span.error.as_deref(), spans[1].ended_by), (Some("disk"), 3));
}

#[test]
fn who_takes_over_sends_again_what_ended_under_the_last_holder() {
    let mut facts: Vec<_> = life().into_iter().map(|entry| entry.fact).collect();
    facts.truncate(7);
    facts.push(lease());
    let spans = of_last_tenure(&copying(), &log(facts));
    assert_eq!(spans.iter().map(|span| span.name).collect::<Vec<_>>(), [name::BULK_COPY]);
    assert!(of_last_tenure(&copying(), &log([started(), lease()])).is_empty());
}

#[test]
fn a_pause_lies_within_its_cutover_by_the_clock_of_the_log() {
    let mut facts: Vec<_> = life().into_iter().map(|entry| entry.fact).collect();
    facts.insert(7, lease());
    facts.push(lease());
    let log = log(facts);
    let spans = of_last_tenure(&copying(), &log);
    let named =
        |name| spans.iter().filter(move |span: &&Span| span.name == name).collect::<Vec<_>>();
    let (cutovers, pauses) = (named(name::CUTOVER), named(name::PAUSE));
    assert_eq!((cutovers.len(), pauses.len()), (2, 2));
    for (cutover, pause) in cutovers.iter().zip(&pauses) {
        assert_eq!(pause.parent, Some(cutover.id));
        assert_ne!(pause.id, cutover.id);
        assert_eq!((pause.start, pause.end), (cutover.start, cutover.end));
        assert_eq!(pause.error, cutover.error);
    }
    assert!(pauses[0].error.is_some() && pauses[1].error.is_none());
}

#[derive(Default)]
struct Kept(Mutex<Vec<Told>>);

impl SpanSink for Kept {
    fn take(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }
}

fn heard(ratio: f64, signals: &[Signal<'_>]) -> Vec<Span> {
    let (kept, clock) = (Arc::new(Kept::default()), Arc::new(ManualClock::new(at(100))));
    let spans = Spans::new(clock, Arc::clone(&kept) as Arc<dyn SpanSink>, ratio);
    for signal in signals {
        spans.hear(signal);
    }
    let told = std::mem::take(&mut *kept.0.lock().unwrap());
    told.into_iter()
        .map(|told| match told {
            Told::Span(span) => *span,
            Told::Ended(_) => panic!("no phase ended"),
        })
        .collect()
}

#[test]
fn leaves_hang_on_the_phases_that_the_log_makes() {
    let phases: Vec<_> = phases(&copying(), &life()).into_iter().map(|phase| phase.span).collect();
    let (copying, mirroring) = (copying(), mirroring(1));
    let paused = migration(State::CutoverPaused, 1);
    let took = Duration::from_secs(3);
    let part = |migration, part| Signal::Cutover { migration, part, took, error: None };
    let spans = heard(
        1.0,
        &[
            Signal::Copied {
                migration: &copying,
                events: 4,
                bytes: 40,
                upto: 4,
                took,
                waited: Duration::ZERO,
            },
            Signal::Mirrored {
                migration: &mirroring,
                way: Way::There,
                events: 2,
                written: 2,
                upto: 11,
                took,
            },
            // By the row before the intent; the pause is made from the log.
            part(&mirroring, CutoverPart::Verify),
            part(&paused, CutoverPart::Pause),
            part(&mirroring, CutoverPart::Refused),
            Signal::Mirrored {
                migration: &mirroring,
                way: Way::Back,
                events: 2,
                written: 2,
                upto: 11,
                took,
            },
        ],
    );
    let found: Vec<_> = spans.iter().map(|span| (span.name, span.parent.unwrap())).collect();
    assert_eq!(
        found,
        [(name::BATCH, phases[1].id), (name::APPEND, phases[4].id), (name::VERIFY, phases[5].id),]
    );
    assert_eq!((spans[0].start, spans[0].end), (at(97), at(100)));
    let mirrored = spans[1].mirrored.unwrap();
    assert_eq!((mirrored.after, mirrored.upto), (9, 11));
}

#[test]
fn sampling_leaves_out_what_went_well_and_chooses_the_same_each_time() {
    let (row, took) = (mirroring(0), Duration::ZERO);
    let commits = |ratio| {
        let signals: Vec<_> = (0..1_000)
            .map(|upto| Signal::Mirrored {
                migration: &row,
                way: Way::There,
                events: 1,
                written: 1,
                upto,
                took,
            })
            .collect();
        heard(ratio, &signals).into_iter().map(|span| span.mirrored.unwrap().upto).collect()
    };
    let some: Vec<u64> = commits(0.1);
    assert!((50..200).contains(&some.len()), "{}", some.len());
    assert_eq!(some, commits(0.1));
    assert!(commits(0.0).is_empty());
    let error = "refused";
    let failed = Signal::MirrorFailed {
        migration: &row,
        way: Way::There,
        events: 1,
        written: 1,
        error,
        took,
    };
    let failed = heard(0.0, &[failed]);
    assert_eq!(failed[0].error.as_deref(), Some("refused"));
}

/// What was written: level, message and the other fields.
type Lines = Arc<Mutex<Vec<String>>>;

struct Listener(Lines);

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                match field.name() {
                    "message" => self.0 = format!("{value:?} {}", self.0),
                    name => self.0 = format!("{}{name}={value:?} ", self.0),
                }
            }
        }
        assert_eq!(event.metadata().target(), names::LOGGER);
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), text.0));
    }
}

/// Runs `play` with `logs` as its observer; returns the lines.
fn lines(play: impl FnOnce(&Logs, &ManualClock)) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(Listener(Arc::clone(&lines)), || {
        let clock = Arc::new(ManualClock::new(at(100)));
        play(&Logs::new(Arc::clone(&clock) as Arc<_>), &clock);
    });
    Arc::try_unwrap(lines).unwrap().into_inner().unwrap()
}

#[test]
fn each_fact_has_its_message_and_every_line_the_four_fields() {
    let (row, at) = (migration(State::CutoverPaused, 1), at(9));
    let head = Head { seq: 5, digest: Digest::EMPTY };
    let facts = [
        (started(), "INFO Migration started"),
        (Fact::CopyCompleted { events: 5 }, "INFO Bulk copy complete"),
        (Fact::CutoverStarted { deadline_ms: 1 }, "INFO Cutover initiated"),
        (Fact::CutoverWithdrawn, "INFO Cutover withdrawn"),
        (
            Fact::CutoverVetoed { hook: "calendar".into(), why: "a freeze".into() },
            "WARN Cutover vetoed",
        ),
        (Fact::Switched { head }, "INFO Cutover completed"),
        (Fact::TargetActivated { epoch: Epoch(3) }, "INFO Migration completed"),
        (Fact::Failed { error: "why".into() }, "ERROR Migration failed"),
        (Fact::Paused, "INFO Migration paused"),
        (Fact::Resumed, "INFO Migration resumed"),
        (Fact::Aborted { purge: true }, "INFO Migration aborted"),
        (Fact::WindowClosed, "DEBUG Fact recorded"),
    ];
    let written = lines(|logs, _| {
        for (fact, _) in &facts {
            logs.hear(&Signal::Recorded { migration: &row, fact, actor: "ops", at });
        }
    });
    assert_eq!(written.len(), facts.len());
    for (line, (fact, begin)) in written.iter().zip(&facts) {
        assert!(line.starts_with(begin), "{line}");
        let fields = format!(
            "migration_id={} tenant_id={} phase=\"cutover_paused\" operation={:?}",
            row.id,
            row.tenant,
            fact.name()
        );
        assert!(line.contains(&fields), "{line}");
    }
    assert!(written[7].contains("error=\"why\""), "{}", written[7]);
    assert!(written[4].contains("error=\"hook calendar: a freeze\""), "{}", written[4]);
}

#[test]
fn a_timeout_is_an_error_of_its_own_and_a_roll_back_a_warning() {
    let row = mirroring(1);
    let told = |reason| {
        let fact = Fact::CutoverRolledBack { reason };
        lines(|logs, _| {
            logs.hear(&Signal::Recorded { migration: &row, fact: &fact, actor: "d", at: at(1) });
        })
    };
    let written = told(RollBackReason::TimedOut);
    assert!(written[0].starts_with("ERROR Cutover timeout"), "{written:?}");
    assert!(written[1].starts_with("WARN Cutover rolled back"), "{written:?}");
    let written = told(RollBackReason::Failed("gone".into()));
    assert!(written.len() == 1 && written[0].contains("error=\"gone\""), "{written:?}");
}

#[test]
fn progress_is_told_first_last_and_now_and_then() {
    let row = copying();
    let written = lines(|logs, clock| {
        logs.hear(&Signal::Taken { migration: &row, log: &[], taken_over: true });
        let reach = |target_seq| {
            logs.hear(&Signal::Progress {
                migration: &row,
                way: Way::There,
                source_seq: 1_000,
                target_seq,
                read_back_seq: None,
            });
        };
        // First; then each twentieth; then by time.
        (0..=120).for_each(&reach);
        clock.advance(Duration::from_secs(10));
        (121..=130).for_each(&reach);
        let fact = Fact::CopyCompleted { events: 990 };
        logs.hear(&Signal::Recorded { migration: &row, fact: &fact, actor: "d", at: at(2) });
    });
    let counts: Vec<_> = written
        .iter()
        .filter(|line| line.contains("Bulk copy progress"))
        .map(|line| line.split("events_count=").nth(1).unwrap().split(' ').next().unwrap())
        .collect();
    assert_eq!(counts, ["0", "50", "100", "121", "990"]);
    assert!(written[0].starts_with("INFO Lease taken") && written[0].contains("take_over"));
    assert!(written.last().unwrap().starts_with("INFO Bulk copy complete"), "{written:?}");
}

#[test]
fn failures_that_repeat_are_counted_and_told_now_and_then() {
    let (row, error, took) = (mirroring(0), "refused", Duration::ZERO);
    let written = lines(|logs, clock| {
        logs.hear(&Signal::Taken { migration: &row, log: &[], taken_over: false });
        for second in 0..=12 {
            logs.hear(&Signal::MirrorFailed {
                migration: &row,
                way: Way::There,
                events: 1,
                written: 1,
                error,
                took,
            });
            logs.hear(&Signal::Retrying { migration: row.id, error });
            if second < 12 {
                clock.advance(Duration::from_secs(1));
            }
        }
        logs.hear(&Signal::Left { migration: &row, lost_to: Some("another") });
    });
    let failed: Vec<_> =
        written.iter().filter(|line| line.starts_with("WARN Target write failed")).collect();
    assert_eq!(failed.len(), 2);
    assert!(failed[0].contains("suppressed_count=0 ") && failed[1].contains("suppressed_count=9 "));
    assert_eq!(written.iter().filter(|line| line.contains("step retried")).count(), 2);
    assert!(written.last().unwrap().starts_with("WARN Lease lost"));
}
