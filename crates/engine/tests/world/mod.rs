//! A deployment in memory: two stores, a control plane, any number of processes, virtual time.
//!
//! Each process accesses stores and control plane through its own decorators, so that a test can
//! stop, refuse or lose the calls of one process and of no other. The check at the end knows only
//! the writers' responses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rehome_domain::append::{Append, Appended};
use rehome_domain::event::{Event, EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{EventId, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Head, Ledger, follow_chain};
use rehome_domain::migration::{Migration, Options, Phase, State};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_engine::metrics::{Format, Metrics, RETENTION, Surroundings};
use rehome_engine::migration::{DriveError, Operations, Supervised, Supervisor};
use rehome_engine::{Engine, EngineConfig, Observers, Stores};
use rehome_ports::clock::Clock;
use rehome_ports::fault::{FaultyControlPlane, FaultyStore, Script};
use rehome_ports::memory::{MemoryControlPlane, MemoryStore};
use rehome_ports::{AppendError, BatchLimit, ControlPlane, EventStore, LedgerStore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// The wall clock of a test: tokio's virtual time.
pub struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).unwrap();
        Timestamp::from_micros(1_700_000_000_000_000 + micros)
    }
}

/// The wall clock of a host that is off.
struct SkewedClock {
    clock: Arc<dyn Clock>,
    by_s: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.now().micros() + self.by_s * 1_000_000)
    }
}

/// A driver.
pub type Drive = AbortOnDropHandle<Result<Supervised, DriveError>>;

pub struct World {
    pub a: Arc<MemoryStore>,
    pub b: Arc<MemoryStore>,
    pub control: Arc<MemoryControlPlane>,
    pub clock: Arc<dyn Clock>,
}

pub fn store_id(name: &str) -> StoreId {
    name.parse().unwrap()
}

pub fn tenant(n: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(0x7e_0000 + n))
}

pub fn stream(id: &str) -> StreamName {
    StreamName::new("order", id).unwrap()
}

pub fn event(id: u128) -> NewEvent {
    NewEvent {
        id: EventId::new(Uuid::from_u128(id)),
        event_type: EventType::new("OrderChanged").unwrap(),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!("{{\"n\":{id}}}")),
        metadata: Json::trusted("{}"),
    }
}

pub fn one(id: u128, to: &str, expected: ExpectedVersion) -> Append {
    Append { stream: stream(to), expected, events: vec![event(id)] }
}

pub fn config() -> EngineConfig {
    EngineConfig { lease_ttl: Duration::from_millis(600), ..EngineConfig::default() }
}

impl World {
    pub fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
        Self {
            a: Arc::new(MemoryStore::new(store_id("a"), Arc::clone(&clock))),
            b: Arc::new(MemoryStore::new(store_id("b"), Arc::clone(&clock))),
            control: Arc::new(MemoryControlPlane::new(Arc::clone(&clock))),
            clock,
        }
    }

    /// A process of the deployment.
    pub fn process(&self, name: &str) -> Process {
        self.process_that(name, FaultyControlPlane::new, &self.clock, true)
    }

    /// A process whose configuration lacks store b.
    pub fn process_without_b(&self, name: &str) -> Process {
        self.process_that(name, FaultyControlPlane::new, &self.clock, false)
    }

    /// A process on a host whose clock is so many seconds ahead.
    pub fn skewed_process(&self, name: &str, by_s: i64) -> Process {
        let clock: Arc<dyn Clock> = Arc::new(SkewedClock { clock: Arc::clone(&self.clock), by_s });
        self.process_that(name, FaultyControlPlane::new, &clock, true)
    }

    /// A process without notifications of other processes' route changes.
    pub fn deaf_process(&self, name: &str) -> Process {
        self.process_that(name, FaultyControlPlane::deaf, &self.clock, true)
    }

    fn process_that(
        &self,
        name: &str,
        plane: fn(Arc<dyn ControlPlane>, Arc<Script>) -> FaultyControlPlane,
        clock: &Arc<dyn Clock>,
        has_b: bool,
    ) -> Process {
        let (a, b, control) = (Script::new(), Script::new(), Script::new());
        let stores: [Arc<dyn LedgerStore>; 2] = [
            Arc::new(FaultyStore::new(self.a.clone(), Arc::clone(&a))),
            Arc::new(FaultyStore::new(self.b.clone(), Arc::clone(&b))),
        ];
        let plane = plane(self.control.clone(), Arc::clone(&control));
        let metrics = Metrics::new(Arc::clone(clock), RETENTION);
        let engine = Engine::watched(
            Arc::new(plane),
            Stores::new(stores.into_iter().take(1 + usize::from(has_b)), store_id("a")).unwrap(),
            Arc::clone(clock),
            config(),
            Observers::new([metrics.observer()]),
        );
        Process {
            operations: Operations::new(&engine, format!("operator at {name}")),
            supervisor: Supervisor::new(&engine, name.to_owned()),
            engine,
            metrics,
            a,
            b,
            control,
        }
    }

    /// A tenant with so many events in store a, written by a process that is gone.
    pub async fn tenant_with(&self, n: u128, events: u128) -> TenantId {
        let tenant = tenant(n);
        let process = self.process("history");
        for i in 0..events {
            let append = one(1_000_000 + i, &format!("old-{}", i % 7), ExpectedVersion::Any);
            process.engine.router().append(tenant, append).await.unwrap();
        }
        tenant
    }

    pub async fn phase(&self, tenant: TenantId) -> Option<Phase> {
        self.control.route(tenant).await.unwrap().and_then(|route| route.phase())
    }

    /// The migration that the tenant's route names.
    pub async fn migration(&self, tenant: TenantId) -> MigrationId {
        self.control.route(tenant).await.unwrap().unwrap().migration.expect("it migrates").0
    }

    /// Waits, in virtual time, until the tenant's migration is in this phase.
    pub async fn reached(&self, tenant: TenantId, phase: Phase) {
        let within = Duration::from_secs(120);
        let reached = async {
            while self.phase(tenant).await != Some(phase) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(within, reached).await.is_ok();
        assert!(in_time, "still {:?}, not {phase}", self.phase(tenant).await);
    }

    pub async fn ledgers(&self, tenant: TenantId) -> (Ledger, Ledger) {
        (self.a.ledger(tenant).await.unwrap(), self.b.ledger(tenant).await.unwrap())
    }

    /// The tenant's history at the store in its route, with chain and versions checked.
    pub async fn history(&self, tenant: TenantId) -> Vec<Event> {
        let route = self.control.route(tenant).await.unwrap().expect("the tenant has a route");
        let store = if route.store == store_id("a") { &self.a } else { &self.b };
        checked_history(&**store, tenant).await
    }

    /// Every acknowledged event is in the authority, once, at its acknowledged position; the other store has
    /// only a prefix; the tenant accepts writes.
    pub async fn check(&self, tenant: TenantId, acked: &Acked) {
        let history = self.history(tenant).await;
        let mut by_id = BTreeMap::new();
        for event in &history {
            assert!(by_id.insert(event.id, event).is_none(), "event {} is there twice", event.id);
        }
        for (id, told) in acked.lock().unwrap().iter() {
            let event = by_id.get(id).unwrap_or_else(|| panic!("acknowledged {id} is lost"));
            assert_eq!((event.version, event.seq), *told, "event {id} is not where it was told");
        }
        let (a, b) =
            (checked_history(&*self.a, tenant).await, checked_history(&*self.b, tenant).await);
        let shorter = a.len().min(b.len());
        assert_eq!(a[..shorter], b[..shorter], "one store is not a prefix of the other");

        let process = self.process("checker");
        let id = 0xffff_0000 + history.len() as u128;
        let append = one(id, "after-all", ExpectedVersion::Any);
        process.engine.router().append(tenant, append).await.expect("the tenant takes writes");
        let (a, b) = self.ledgers(tenant).await;
        let active = [a, b].iter().filter(|l| l.role.as_str() == "active").count();
        assert_eq!(active, 1, "exactly one store is active: {a:?} {b:?}");
    }
}

async fn checked_history(store: &dyn LedgerStore, tenant: TenantId) -> Vec<Event> {
    let limit = BatchLimit { events: usize::MAX, bytes: usize::MAX };
    let feed = store.read_feed(tenant, 0, limit).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events), Ok(feed.ledger.head));
    let mut versions = BTreeMap::new();
    for event in &feed.events {
        let version = versions.entry(event.stream.clone()).or_insert(0);
        *version += 1;
        assert_eq!(event.version, *version, "versions of {} are 1..n", event.stream);
    }
    feed.events
}

/// The writers' acknowledgements: (version, seq) by event id.
pub type Acked = Arc<Mutex<BTreeMap<EventId, (u64, u64)>>>;

pub struct Process {
    pub engine: Engine,
    pub operations: Operations,
    pub supervisor: Supervisor,
    pub metrics: Metrics,
    /// Faults of this process's calls to store a.
    pub a: Arc<Script>,
    /// Faults of this process's calls to store b.
    pub b: Arc<Script>,
    /// Faults of this process's calls to the control plane.
    pub control: Arc<Script>,
}

impl Process {
    pub async fn append(&self, tenant: TenantId, append: Append) -> Result<Appended, AppendError> {
        self.engine.router().append(tenant, append).await
    }

    /// The series of the violations that this process found, as a scrape has them.
    pub fn violations(&self) -> Vec<String> {
        let appends = self.engine.router().appends();
        let told = self.metrics.render(Format::Text, appends, &Surroundings::default());
        assert!(told.contains("verification_violations_total{"), "they are counted there");
        let found = told.lines().filter(|line| line.contains("verification_violations_total{"));
        found.filter(|line| !line.ends_with(" 0.0")).map(str::to_owned).collect()
    }

    /// All series, as a scrape has them.
    pub fn scrape(&self) -> String {
        let appends = self.engine.router().appends();
        self.metrics.render(Format::Text, appends, &Surroundings::default())
    }

    pub async fn start(&self, tenant: TenantId, to: &str, options: Options) -> MigrationId {
        self.operations.start(tenant, &store_id(to), options).await.unwrap().id
    }

    /// Drives in a task that ends when the handle is dropped: a process that dies.
    pub fn drive(&self, id: MigrationId) -> Drive {
        self.supervisor.spawn(id, migrated_or_done)
    }

    pub async fn drive_to_end(&self, id: MigrationId) -> Migration {
        let run = self.supervisor.run(id, migrated_or_done);
        let ended = tokio::time::timeout(Duration::from_secs(120), run).await;
        ended.expect("the migration comes to its end").unwrap().migration
    }

    /// Starts writers that keep appending, retrying each append with the same ids.
    pub fn writers(&self, tenant: TenantId, count: u128, acked: &Acked) -> Writers {
        let stop = CancellationToken::new();
        let tasks = (0..count).map(|writer| {
            let (engine, acked, stop) = (self.engine.clone(), Arc::clone(acked), stop.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let mut n = 0;
                while !stop.is_cancelled() {
                    n += 1;
                    write(&engine, tenant, writer, n, &acked).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }))
        });
        Writers { tasks: tasks.collect(), stop }
    }
}

async fn write(engine: &Engine, tenant: TenantId, writer: u128, n: u128, acked: &Acked) {
    let id = (writer + 1) << 64 | n << 8;
    let to = if n.is_multiple_of(3) { "shared".to_owned() } else { format!("own-{writer}") };
    let events: Vec<_> = (0..=n % 3).map(|i| event(id + i)).collect();
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let append = Append { stream: stream(&to), expected: ExpectedVersion::Any, events };
    loop {
        match engine.router().append(tenant, append.clone()).await {
            Ok(told) => {
                let mut acked = acked.lock().unwrap();
                for (i, id) in (0..).zip(ids) {
                    acked.insert(id, (told.first_version + i, told.first_seq + i));
                }
                return;
            }
            Err(AppendError::Conflict(conflict)) => panic!("a retry is no conflict: {conflict}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

pub struct Writers {
    tasks: Vec<AbortOnDropHandle<()>>,
    stop: CancellationToken,
}

impl Writers {
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Nothing more to do but to keep a window.
pub fn migrated_or_done(migration: &Migration) -> bool {
    matches!(migration.state, State::Migrated { activated: true, .. })
}

pub fn manual() -> Options {
    Options {
        cutover: rehome_domain::migration::CutoverPolicy::Manual,
        lag_events_max: 20,
        batch_events: 50,
        ..Options::default()
    }
}

pub fn auto() -> Options {
    Options { lag_events_max: 20, batch_events: 50, ..Options::default() }
}

pub async fn for_a_while() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}
