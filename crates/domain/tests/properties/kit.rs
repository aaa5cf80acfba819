//! What the tests are written with.

use proptest::test_runner::Config;
use rehome_domain::append::{self, Append, Decision};
use rehome_domain::digest::{self, Digest};
use rehome_domain::event::{Event, EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Role};
use rehome_domain::migration::{Fact, Migration, Options, Refusal, RollBackReason, apply};
use rehome_domain::route::Route;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_domain::verification::{Coverage, Finding, Level, Side};

pub(crate) const SOURCE: &str = "source";
pub(crate) const TARGET: &str = "target";
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// So many cases; a failure prints its input and its seed, and leaves no file.
pub(crate) fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::from_slice(&[7; 16]).unwrap()
}

pub(crate) fn event_id(n: u64) -> EventId {
    EventId::from_slice(&u128::from(n).to_be_bytes()).unwrap()
}

pub(crate) fn migration_id(n: u64) -> MigrationId {
    MigrationId::from_slice(&u128::from(n).to_be_bytes()).unwrap()
}

pub(crate) fn store_id(name: &str) -> StoreId {
    name.parse().unwrap()
}

pub(crate) fn stream(id: &str) -> StreamName {
    StreamName::new("order", id).unwrap()
}

pub(crate) fn new_event(n: u64) -> NewEvent {
    NewEvent {
        id: event_id(n),
        event_type: EventType::new("order_placed").unwrap(),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!("{{\"n\":{n}}}")),
        metadata: Json::trusted("{}"),
    }
}

pub(crate) fn append_of(id: &str, expected: ExpectedVersion, events: Vec<NewEvent>) -> Append {
    Append { stream: stream(id), expected, events }
}

/// The event that comes after `head`, the `n`th one of one stream.
pub(crate) fn next_event(head: Head, n: u64) -> Event {
    let append = append_of("a", ExpectedVersion::Any, vec![new_event(n)]);
    match append::decide(&append, &[None], head.seq, head, NOW) {
        Ok(Decision::Write(mut events)) => events.remove(0),
        other => panic!("{other:?}"),
    }
}

/// A history of `n` events.
pub(crate) fn history(n: u64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for i in 1..=n {
        events.push(next_event(head_of(&events), i));
    }
    events
}

pub(crate) fn head_of(events: &[Event]) -> Head {
    events.last().map_or(Head::EMPTY, Head::of)
}

pub(crate) fn ledger(role: Role, epoch: u64, events: &[Event]) -> Ledger {
    Ledger { role, epoch: Epoch(epoch), head: head_of(events) }
}

/// The store in the route of an existing tenant.
pub(crate) const fn at_epoch(epoch: u64) -> Activation {
    Activation { epoch: Epoch(epoch), base: 0, created: true }
}

pub(crate) const NEWBORN: Activation = Activation { epoch: Epoch(1), base: 0, created: false };

/// The chain after `event`, for an event that was changed.
pub(crate) fn rechained(previous: &Digest, event: &Event) -> Event {
    Event { digest: digest::chain(previous, event), ..event.clone() }
}

/// The route of a tenant that was created at [`SOURCE`].
pub(crate) fn created() -> Route {
    Route { created: true, ..Route::create(tenant(), store_id(SOURCE)) }
}

pub(crate) fn started(n: u64, target: &str, options: Options) -> Fact {
    Fact::Started { migration: migration_id(n), target: store_id(target), options }
}

pub(crate) fn with_window() -> Options {
    Options { rollback_window_ms: 60_000, ..Options::default() }
}

pub(crate) const PAUSE: Fact = Fact::CutoverStarted { deadline_ms: 5_000 };
pub(crate) const ROLL_BACK: Fact = Fact::CutoverRolledBack { reason: RollBackReason::TimedOut };

/// A route and its migration, moved by facts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    pub(crate) route: Route,
    pub(crate) migration: Migration,
}

impl Rows {
    /// A migration of `route`'s tenant to `target`.
    pub(crate) fn start(route: &Route, target: &str, options: Options) -> Self {
        let n = route.rev;
        let (route, migration) = apply(route, None, &started(n, target, options), NOW).unwrap();
        Self { route, migration }
    }

    pub(crate) fn apply(&self, fact: &Fact) -> Result<Self, Refusal> {
        let (route, migration) = apply(&self.route, Some(&self.migration), fact, NOW)?;
        Ok(Self { route, migration })
    }

    /// Moved by facts that can follow.
    pub(crate) fn after(&self, facts: &[Fact]) -> Self {
        facts.iter().fold(self.clone(), |rows, fact| rows.apply(fact).unwrap())
    }

    /// In dual write.
    pub(crate) fn mirroring(options: Options) -> Self {
        Self::start(&created(), TARGET, options)
            .after(&[Fact::CopyStarted, Fact::CopyCompleted { events: 0 }])
    }
}

/// That a verification of the whole found something at seq 7.
pub(crate) fn violated(side: Side) -> Fact {
    Fact::Violated { finding: finding(Level::Hash, 0, 9, side) }
}

pub(crate) fn finding(level: Level, after: u64, upto: u64, side: Side) -> Finding {
    let coverage = Coverage { level, after, upto, whole: true };
    Finding { coverage, violations: 1, seq: Some(7), side, first: "missing at seq 7".into() }
}

/// A verification of the whole range that found nothing.
pub(crate) const fn verified(level: Level, after: u64, seq: u64, refutes: Option<u32>) -> Fact {
    Fact::Verified { level, after, seq, whole: true, violations: 0, refutes }
}

/// One fact of each kind.
pub(crate) fn one_of_each() -> Vec<Fact> {
    vec![
        started(99, TARGET, Options::default()),
        started(99, SOURCE, Options::default()),
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 10 },
        PAUSE,
        Fact::Switched { head: Head { seq: 10, digest: Digest::EMPTY } },
        ROLL_BACK,
        Fact::CutoverRolledBack { reason: RollBackReason::Failed("no".into()) },
        Fact::Paused,
        Fact::Resumed,
        Fact::Failed { error: "the disk is full".into() },
        Fact::Acknowledged,
        Fact::Aborted { purge: false },
        Fact::Aborted { purge: true },
        Fact::WindowClosed,
        Fact::Recovered { store: store_id(SOURCE), n: Epoch(50), base: 3 },
        Fact::CutoverRequested,
        Fact::CutoverWithdrawn,
        Fact::CutoverVetoed { hook: "calendar".into(), why: "a freeze".into() },
        Fact::LeaseTaken { holder: "driver".into() },
        Fact::TargetActivated { epoch: Epoch(4) },
        Fact::ReadBack { seq: 9 },
        verified(Level::Hash, 0, 9, None),
        verified(Level::Full, 0, 20, Some(1)),
        violated(Side::Copy),
        violated(Side::Authority),
        Fact::RepairRequested,
        Fact::RepairRefused { why: "the source has no row at seq 7".into() },
        Fact::CutBack { to: Head { seq: 6, digest: Digest::EMPTY }, events: 4 },
        Fact::ReplicaDropped,
        Fact::Purged { events: 3 },
        Fact::Tuned { was: None, options: with_window() },
    ]
}
