//! A deployment in memory for drains: a store that is emptied, two that are filled, any number of processes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::append::Append;
use rehome_domain::drain::{Drain, Limits, Settings, State, Target, Tenant, TenantState};
use rehome_domain::event::{EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{DrainId, EventId, StoreId, TenantId};
use rehome_domain::ledger::{Head, follow_chain};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_engine::drain::{DrainPlan, DrainRequest, Drains, Workers};
use rehome_engine::migration::Supervisor;
use rehome_engine::{Engine, EngineConfig, Observers, Stores};
use rehome_ports::clock::Clock;
use rehome_ports::fault::{FaultyControlPlane, FaultyFleet, FaultyStore, Script};
use rehome_ports::log_chain::{Followed, drain_follows};
use rehome_ports::memory::{MemoryControlPlane, MemoryStore};
use rehome_ports::{BatchLimit, ControlPlane, DrainTenants, EventStore, Fleet, LedgerStore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// tokio's virtual time, from a Monday, 00:00 UTC.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).unwrap();
        Timestamp::from_micros(1_767_571_200_000_000 + micros)
    }
}

pub const NAMES: [&str; 3] = ["shared", "x", "y"];

pub struct Deployment {
    pub stores: [Arc<MemoryStore>; 3],
    pub control: Arc<MemoryControlPlane>,
    clock: Arc<dyn Clock>,
}

pub struct Process {
    pub engine: Engine,
    pub drains: Drains,
    pub workers: Workers,
    pub supervisor: Supervisor,
    /// Faults of this process's calls to the stores, in the order of [`NAMES`].
    pub stores: [Arc<Script>; 3],
    /// Faults of its calls to the control plane, and of those to the fleet.
    pub control: Arc<Script>,
}

/// A process at work: dropped, it dies.
pub struct AtWork {
    pub stop: CancellationToken,
    _drains: AbortOnDropHandle<()>,
    _migrations: AbortOnDropHandle<()>,
}

pub fn store(name: &str) -> StoreId {
    name.parse().unwrap()
}

pub fn tenant(n: u64) -> TenantId {
    TenantId::new(Uuid::from_u128(0x7e_0000 + u128::from(n)))
}

pub fn drain_id(n: u128) -> DrainId {
    DrainId::new(Uuid::from_u128(n))
}

pub fn settings(at_once: u32) -> Settings {
    let target = |name| Target { store: store(name), weight: 1 };
    let base = Settings::new(vec![store("shared")], vec![target("x"), target("y")]);
    let limits = Limits { at_once, ..Limits::default() };
    Settings { limits, retry_after_ms: 1_000, patience_ms: 60_000, ..base }
}

impl Deployment {
    pub fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
        Self {
            stores: NAMES.map(|name| Arc::new(MemoryStore::new(store(name), Arc::clone(&clock)))),
            control: Arc::new(MemoryControlPlane::new(Arc::clone(&clock))),
            clock,
        }
    }

    pub fn process(&self, name: &str) -> Process {
        self.process_with(name, true)
    }

    pub fn process_that_makes_no_tenants(&self) -> Process {
        self.process_with("strict", false)
    }

    fn process_with(&self, name: &str, create_tenants: bool) -> Process {
        let scripts = NAMES.map(|_| Script::new());
        let control = Script::new();
        let stores = self.stores.iter().zip(&scripts).map(|(store, script)| {
            let store: Arc<dyn LedgerStore> =
                Arc::new(FaultyStore::new(store.clone(), Arc::clone(script)));
            store
        });
        let plane = FaultyControlPlane::new(self.control.clone(), Arc::clone(&control));
        let fleet: Arc<dyn Fleet> =
            Arc::new(FaultyFleet::new(self.control.clone(), Arc::clone(&control)));
        let lease_ttl = Duration::from_millis(600);
        let config = EngineConfig { lease_ttl, create_tenants, ..EngineConfig::default() };
        let engine = Engine::watched(
            Arc::new(plane),
            Stores::new(stores, store("shared")).unwrap(),
            Arc::clone(&self.clock),
            config,
            Observers::default(),
        )
        .with_fleet(Arc::clone(&fleet));
        Process {
            drains: Drains::new(&engine, Arc::clone(&fleet), format!("operator at {name}")),
            workers: Workers::new(&engine, fleet, name.to_owned()),
            supervisor: Supervisor::new(&engine, name.to_owned()),
            engine,
            stores: scripts,
            control,
        }
    }

    /// So many tenants in the store that is emptied, the `n`th with `n % 7 + 1` events.
    pub async fn fill(&self, tenants: u64) {
        let process = self.process("history");
        for n in 1..=tenants {
            for event in 0..=(n % 7) {
                process.append(tenant(n), event).await;
            }
        }
    }

    pub async fn rows(&self, drain: DrainId) -> Vec<Tenant> {
        let which = DrainTenants { drain, state: None, after: 0, limit: usize::MAX };
        self.control.drain_tenants(which).await.unwrap()
    }

    /// Waits, in virtual time, until the drain is over.
    pub async fn over(&self, drain: DrainId) -> Drain {
        self.until(drain, |drain| drain.state.is_over()).await
    }

    pub async fn until(&self, drain: DrainId, what: impl Fn(&Drain) -> bool) -> Drain {
        let reached = async {
            loop {
                let now = self.control.drain(drain).await.unwrap();
                if what(&now) {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if let Ok(drain) = tokio::time::timeout(Duration::from_secs(3_600), reached).await {
            return drain;
        }
        panic!("it does not come: {:?}", self.control.drain(drain).await.unwrap());
    }

    pub async fn store_of(&self, tenant: TenantId) -> StoreId {
        self.control.route(tenant).await.unwrap().unwrap().store
    }

    /// Every tenant has its whole history where its route says, once, and accepts writes only there;
    /// the counts of the drain are those of its rows; its log is complete.
    pub async fn check(&self, drain: DrainId, tenants: u64) {
        let rows = self.rows(drain).await;
        let process = self.process("checker");
        for n in 1..=tenants {
            let tenant = tenant(n);
            let at = self.store_of(tenant).await;
            let place = NAMES.iter().position(|name| store(name) == at).unwrap();
            let limit = BatchLimit { events: usize::MAX, bytes: usize::MAX };
            let feed = self.stores[place].read_feed(tenant, 0, limit).await.unwrap();
            assert_eq!(follow_chain(Head::EMPTY, &feed.events), Ok(feed.ledger.head));
            let ids: BTreeSet<_> = feed.events.iter().map(|event| event.id).collect();
            assert_eq!(ids.len(), feed.events.len(), "each once");
            for event in 0..=(n % 7) {
                assert!(ids.contains(&event_id(event)), "event {event} of {tenant} is lost");
            }
            process.append(tenant, 1_000).await;
            let mut active = 0;
            for store in &self.stores {
                let ledger = store.ledger(tenant).await.unwrap();
                active += u32::from(ledger.role.as_str() == "active");
            }
            assert_eq!(active, 1, "exactly one store is active for {tenant}");
            if let Some(row) = rows.iter().find(|row| row.tenant == tenant) {
                let moved = row.state == TenantState::Moved;
                assert_eq!(moved, at != store("shared") && Some(&at) == row.target.as_ref());
            }
        }
        let now = self.control.drain(drain).await.unwrap();
        let count = |state| rows.iter().filter(|row| row.state == state).count() as u64;
        assert_eq!(now.counts.moved, count(TenantState::Moved));
        assert_eq!(now.counts.moving, count(TenantState::Moving));
        assert_eq!(now.counts.set_aside, count(TenantState::SetAside));
        let mut followed = Followed::START;
        for entry in self.control.drain_log(drain, 0, usize::MAX).await.unwrap() {
            drain_follows(followed, &entry).unwrap();
            followed = Followed { index: entry.index, hash: entry.hash };
        }
        assert_eq!(followed.index, now.entries);
    }
}

fn event_id(n: u64) -> EventId {
    EventId::new(Uuid::from_u128(u128::from(n) + 1))
}

/// The append of the `n`th event of a tenant.
pub fn one_event(n: u64) -> Append {
    let event = NewEvent {
        id: event_id(n),
        event_type: EventType::new("OrderChanged").unwrap(),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!("{{\"n\":{n}}}")),
        metadata: Json::trusted("{}"),
    };
    let stream = StreamName::new("order", format!("{}", n % 3)).unwrap();
    Append { stream, expected: ExpectedVersion::Any, events: vec![event] }
}

impl Process {
    pub async fn append(&self, tenant: TenantId, n: u64) {
        let append = one_event(n);
        loop {
            match self.engine.router().append(tenant, append.clone()).await {
                Ok(_) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub async fn plan(&self, settings: Settings) -> DrainPlan {
        let (only, exclude) = (BTreeSet::new(), BTreeSet::new());
        self.drains.plan(DrainRequest { settings, only, exclude }).await.unwrap()
    }

    /// Plans and starts a drain.
    pub async fn start(&self, id: DrainId, settings: Settings) -> Drain {
        let plan = self.plan(settings).await;
        self.drains.start(id, plan).await.unwrap()
    }

    /// Drives drains and all migrations without a driver.
    pub fn work(&self) -> AtWork {
        let stop = CancellationToken::new();
        let (workers, supervisor) = (self.workers.clone(), self.supervisor.clone());
        let (drains, migrations) = (stop.clone(), stop.clone());
        AtWork {
            stop,
            _drains: AbortOnDropHandle::new(tokio::spawn(async move {
                workers.run_all(&drains).await;
            })),
            _migrations: AbortOnDropHandle::new(tokio::spawn(async move {
                supervisor.run_all(&migrations).await;
            })),
        }
    }
}

pub fn is_finished(drain: &Drain) -> bool {
    drain.state == State::Finished
}
