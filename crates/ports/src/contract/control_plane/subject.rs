//! A tenant in a control plane under test, with what the cases do to it.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::digest::Digest;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{
    CutoverPolicy, Fact, Migration, MirrorAck, Options, RollBackReason, fold,
};
use rehome_domain::route::Route;
use rehome_domain::verification::{Coverage, Finding, Level, Side};

use crate::clock::Clock;
use crate::contract::kit::{migration_id, store_id, tenant};
use crate::memory::ManualClock;
use crate::record::{log_hash, write_fact};
use crate::{Change, ControlError, ControlPlane, LogEntry, Recorded};

/// A control plane under test.
pub type Control = Arc<dyn ControlPlane>;

/// Where the tenants of the cases begin.
pub const SOURCE: &str = "shared";

/// Where they move to.
pub const TARGET: &str = "dedicated";

/// A tenant that was created at [`SOURCE`].
#[derive(Clone)]
pub struct Subject {
    pub control: Control,
    pub clock: Arc<ManualClock>,
    pub tenant: TenantId,
}

/// All that a control plane holds about a migration and its tenant.
#[derive(Debug, PartialEq)]
pub struct Rows {
    pub route: Option<Route>,
    pub migration: Option<Migration>,
    pub log: Vec<LogEntry>,
}

impl Subject {
    /// The `n`th tenant, created.
    pub async fn new(control: &Control, clock: &Arc<ManualClock>, n: u64) -> Self {
        let tenant = tenant(n);
        control.create_route(tenant, &store_id(SOURCE)).await.unwrap();
        control.mark_created(tenant, Epoch(1)).await.unwrap();
        Self { control: Arc::clone(control), clock: Arc::clone(clock), tenant }
    }

    /// The tenant's route.
    pub async fn route(&self) -> Route {
        self.control.route(self.tenant).await.unwrap().unwrap()
    }

    /// All rows.
    pub async fn rows(&self, id: MigrationId) -> Rows {
        let migration = match self.control.migration(id).await {
            Ok(migration) => Some(migration),
            Err(ControlError::UnknownMigration(unknown)) => {
                assert_eq!(unknown, id);
                None
            }
            Err(other) => panic!("{other}"),
        };
        let log = match migration {
            Some(_) => self.log(id).await,
            None => Vec::new(),
        };
        Rows { route: self.control.route(self.tenant).await.unwrap(), migration, log }
    }

    /// The log, page by page, its hash chain recomputed.
    pub async fn log(&self, id: MigrationId) -> Vec<LogEntry> {
        let mut log: Vec<LogEntry> = Vec::new();
        loop {
            let after = log.last().map_or(0, |last| last.index);
            let page = self.control.log(id, after, 3).await.unwrap();
            assert!(page.len() <= 3);
            let Some(first) = page.first() else { break };
            assert_eq!(first.index, after + 1, "a page goes on where the last one ended");
            log.extend(page);
        }
        let mut previous = Digest::EMPTY;
        for (index, entry) in (1..).zip(&log) {
            assert_eq!(entry.index, index);
            let fact = write_fact(&entry.fact);
            let hash = log_hash(&previous, entry.index, entry.at, &entry.actor, &fact);
            assert_eq!(entry.hash, hash, "entry {index}");
            previous = hash;
        }
        log
    }

    /// What a caller sends who has just read the route.
    pub async fn change(&self, id: MigrationId, fact: Fact) -> Change {
        let rev = if fact.routes() { Some(self.route().await.rev) } else { None };
        Change { tenant: self.tenant, migration: id, rev, fact, actor: "operator".to_owned() }
    }

    /// Sends a change. If it is recorded: all that has to hold of every record does. If not:
    /// nothing was changed.
    pub async fn send(&self, change: Change) -> Result<Recorded, ControlError> {
        let before = self.rows(change.migration).await;
        let answer = self.control.record(change.clone()).await;
        let after = self.rows(change.migration).await;
        match &answer {
            Err(_) => assert_eq!(after, before, "{} changed something", change.fact.name()),
            Ok(recorded) => {
                assert_eq!(after.route.as_ref(), Some(&recorded.route));
                assert_eq!(after.migration.as_ref(), Some(&recorded.migration));
                let rev = before.route.map_or(0, |route| route.rev);
                let moved = u64::from(change.fact.routes());
                assert_eq!(recorded.route.rev, rev + moved, "{}", change.fact.name());
                let (last, others) = after.log.split_last().unwrap();
                assert_eq!(others, before.log);
                let said = (last.at, last.actor.clone(), last.fact.clone());
                assert_eq!(said, (self.clock.now(), change.actor, change.fact));
            }
        }
        answer
    }

    /// Records a fact on the route as it is.
    pub async fn record(&self, id: MigrationId, fact: Fact) -> Result<Recorded, ControlError> {
        self.clock.advance(Duration::from_micros(1_500));
        self.send(self.change(id, fact).await).await
    }

    /// Records facts that can follow.
    pub async fn live(&self, id: MigrationId, facts: impl IntoIterator<Item = Fact>) -> Recorded {
        let mut last = None;
        for fact in facts {
            let name = fact.name();
            let recorded = self.record(id, fact).await;
            last = Some(recorded.unwrap_or_else(|error| panic!("{name}: {error}")));
        }
        last.unwrap()
    }

    /// Starts the `n`th migration, to [`TARGET`].
    pub async fn start(&self, n: u64, options: Options) -> MigrationId {
        self.start_to(n, TARGET, options).await
    }

    /// Starts the `n`th migration.
    pub async fn start_to(&self, n: u64, target: &str, options: Options) -> MigrationId {
        let id = migration_id(n);
        self.live(id, [started(n, target, options)]).await;
        id
    }

    /// Asserts that the rows are the fold of the log over the route that the migration began with.
    pub async fn assert_folds(&self, before: &Route, id: MigrationId) {
        let rows = self.rows(id).await;
        let facts = rows.log.iter().map(|entry| (entry.at, &entry.fact));
        let (route, migration) = fold(before, facts).unwrap().unwrap();
        assert_eq!((Some(route), Some(migration)), (rows.route, rows.migration));
    }
}

/// The beginning of the `n`th migration.
pub fn started(n: u64, target: &str, options: Options) -> Fact {
    Fact::Started { migration: migration_id(n), target: store_id(target), options }
}

/// A head of that many events.
pub fn head(seq: u64) -> Head {
    Head { seq, digest: Digest::new([seq.to_be_bytes()[7]; 32]) }
}

/// Options that differ from the default ones in every field.
pub fn other_options() -> Options {
    Options {
        batch_events: 1,
        batch_bytes: 64 << 20,
        copy_rate_max: u32::MAX,
        copy_bytes_rate_max: 7,
        lag_events_max: u32::MAX,
        cutover: CutoverPolicy::At(rehome_domain::event::Timestamp::from_micros(-1)),
        cutover_timeout_ms: 600_000,
        mirror_ack: MirrorAck::Target,
        mirror_ack_timeout_ms: 60_000,
        verification: Level::Full,
        rollback_window_ms: u64::from(u32::MAX) * 1_000,
    }
}

/// Options with a rollback window.
pub fn with_window() -> Options {
    Options { rollback_window_ms: 60_000, ..Options::default() }
}

/// One fact of each kind, but for the beginning.
pub fn one_of_each() -> Vec<Fact> {
    vec![
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 10 },
        Fact::CutoverStarted { deadline_ms: 5_000 },
        Fact::Switched { head: head(10) },
        Fact::CutoverRolledBack { reason: RollBackReason::TimedOut },
        Fact::CutoverRolledBack { reason: RollBackReason::Failed("no".into()) },
        Fact::Paused,
        Fact::Resumed,
        Fact::Failed { error: "the disk is full".into() },
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
        Fact::Verified {
            level: Level::Hash,
            after: 0,
            seq: 9,
            whole: true,
            violations: 0,
            refutes: None,
        },
        violated(),
        Fact::RepairRequested,
        Fact::RepairRefused { why: "the source has no row at seq 7".into() },
        Fact::CutBack { to: head(6), events: 4 },
        Fact::ReplicaDropped,
        Fact::Purged { events: 3 },
        Fact::Tuned { was: None, options: other_options() },
        Fact::Acknowledged,
    ]
}

/// That a verification found something.
pub fn violated() -> Fact {
    Fact::Violated {
        finding: Finding {
            coverage: Coverage { level: Level::Full, after: 2, upto: 10, whole: false },
            violations: 2,
            seq: Some(7),
            side: Side::Copy,
            first: "missing at seq 7: a \u{1F9E8} and a \" in it".into(),
        },
    }
}

/// The facts that lead to dual write.
pub fn to_dual_write() -> Vec<Fact> {
    vec![Fact::CopyStarted, Fact::CopyCompleted { events: 10 }]
}

/// The facts that lead to a cutover's pause.
pub fn to_pause() -> Vec<Fact> {
    let mut facts = to_dual_write();
    facts.push(Fact::CutoverStarted { deadline_ms: 5_000 });
    facts
}

/// The facts that lead past step 7.
pub fn to_migrated(events: u64, epoch: u64) -> Vec<Fact> {
    let mut facts = to_pause();
    facts.push(Fact::Switched { head: head(events) });
    facts.push(Fact::TargetActivated { epoch: Epoch(epoch) });
    facts
}

/// The facts that lead to a copy that was cut back, is copied again, and can be cut over once more.
pub fn repaired() -> Vec<Fact> {
    let repair = vec![
        violated(),
        Fact::RepairRequested,
        Fact::CutBack { to: head(6), events: 4 },
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 10 },
        Fact::Verified {
            level: Level::Full,
            after: 0,
            seq: 10,
            whole: true,
            violations: 0,
            refutes: Some(1),
        },
        Fact::CutoverRequested,
    ];
    [to_dual_write(), repair].concat()
}

/// Ways into every state that a migration can be in, with the options it takes.
pub fn ways() -> Vec<(Options, Vec<Fact>)> {
    let plain = Options::default();
    let aborted = |purge| [to_dual_write(), vec![Fact::Aborted { purge }]].concat();
    let closed = || [to_migrated(10, 4), vec![Fact::WindowClosed]].concat();
    vec![
        (plain, vec![]),
        (plain, vec![Fact::CopyStarted]),
        (plain, to_dual_write()),
        (plain, [to_dual_write(), vec![Fact::CutoverRequested]].concat()),
        (plain, to_pause()),
        (plain, vec![Fact::CopyStarted, Fact::Paused]),
        (plain, [to_dual_write(), vec![Fact::Paused]].concat()),
        (plain, [to_dual_write(), vec![Fact::CutoverRequested, Fact::Paused]].concat()),
        (plain, [to_pause(), vec![Fact::Switched { head: head(10) }]].concat()),
        (plain, to_migrated(10, 4)),
        (plain, [to_migrated(10, 4), vec![Fact::Purged { events: 10 }]].concat()),
        (with_window(), to_migrated(10, 4)),
        (with_window(), closed()),
        (with_window(), [closed(), vec![Fact::ReplicaDropped]].concat()),
        (plain, [to_dual_write(), vec![Fact::Failed { error: "x".into() }]].concat()),
        (plain, [to_dual_write(), vec![violated()]].concat()),
        (plain, [to_dual_write(), vec![violated(), Fact::RepairRequested]].concat()),
        (plain, repaired()),
        (plain, vec![Fact::Failed { error: "x".into() }, Fact::Acknowledged]),
        (plain, aborted(false)),
        (plain, aborted(true)),
        (plain, [aborted(true), vec![Fact::ReplicaDropped]].concat()),
        (plain, [aborted(false), vec![Fact::ReplicaDropped]].concat()),
    ]
}
