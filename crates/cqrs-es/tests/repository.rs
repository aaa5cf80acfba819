//! The requirements of cqrs-es on an event repository, on both engines, at rest and while the tenant moves.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{
    PersistedEventRepository as _, PersistedEventStore, PersistenceError, SerializedEvent,
};
use cqrs_es::{Aggregate, AggregateError, CqrsFramework, DomainEvent};
use rehome::{Rehome, TenantId};
use rehome_cqrs_es::EventRepository;
use rehome_domain::migration::{Migration, Options, State};
use rehome_engine::migration::{Operations, Supervisor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Counts up, but not beyond 1,000.
#[derive(Default, Serialize, Deserialize)]
struct Counter(u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counted(u32);

impl DomainEvent for Counted {
    fn event_type(&self) -> String {
        "Counted".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, PartialEq)]
struct TooMuch;

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("beyond 1,000")
    }
}

impl std::error::Error for TooMuch {}

impl Aggregate for Counter {
    type Command = u32;
    type Event = Counted;
    type Error = TooMuch;
    type Services = ();

    const TYPE: &'static str = "counter";

    async fn handle(&mut self, by: u32, (): &(), sink: &EventSink<Self>) -> Result<(), TooMuch> {
        if self.0 + by > 1_000 {
            return Err(TooMuch);
        }
        sink.write(Counted(by), self).await;
        Ok(())
    }

    fn apply(&mut self, Counted(by): Counted) {
        self.0 += by;
    }
}

fn event(id: &str, sequence: usize) -> SerializedEvent {
    SerializedEvent::new(
        id.to_owned(),
        sequence,
        Counter::TYPE.to_owned(),
        "Counted".to_owned(),
        "1.0".to_owned(),
        json!(sequence),
        json!({ "who": "a test" }),
    )
}

async fn sequences(repository: &EventRepository, id: &str) -> Vec<usize> {
    let events = repository.get_events::<Counter>(id).await.unwrap();
    events.iter().map(|event| event.sequence).collect()
}

/// What a repository has to do, on aggregates of its own.
async fn demands(store: &Rehome, tenant: TenantId) {
    let repository = EventRepository::new(store.clone(), tenant);
    let (one, other) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    assert_eq!(sequences(&repository, &one).await, Vec::<usize>::new());

    // Persisted events are returned unchanged, and only those of that aggregate.
    let events = [event(&one, 1), event(&one, 2)];
    repository.persist::<Counter>(&events, None).await.unwrap();
    repository.persist::<Counter>(&[event(&other, 1)], None).await.unwrap();
    assert_eq!(repository.get_events::<Counter>(&one).await.unwrap(), events);
    assert_eq!(sequences(&repository, &other).await, [1]);

    // A used sequence number, and one that leaves a gap, are conflicts, and nothing of them is stored.
    for sequence in [2, 4] {
        let late = [event(&one, sequence), event(&one, sequence + 1)];
        let refused = repository.persist::<Counter>(&late, None).await.unwrap_err();
        assert!(matches!(refused, PersistenceError::OptimisticLockError), "{refused}");
    }
    assert_eq!(sequences(&repository, &one).await, [1, 2]);
    repository.persist::<Counter>(&[event(&one, 3)], None).await.unwrap();
    repository.persist::<Counter>(&[], None).await.unwrap();

    let last = repository.get_last_events::<Counter>(&one, 1).await.unwrap();
    assert_eq!(last.iter().map(|event| event.sequence).collect::<Vec<_>>(), [2, 3]);
    assert!(repository.get_last_events::<Counter>(&one, 3).await.unwrap().is_empty());

    // Replays.
    let mut replay = repository.stream_events::<Counter>(&one).await.unwrap();
    let mut replayed = Vec::new();
    while let Some(event) = replay.next::<Counter>(&[]).await {
        replayed.push(event.unwrap().sequence);
    }
    assert_eq!(replayed, [1, 2, 3]);
    let mut replay = repository.stream_all_events::<Counter>().await.unwrap();
    let mut of_both = Vec::new();
    while let Some(event) = replay.next::<Counter>(&[]).await {
        let event = event.unwrap();
        if [&one, &other].contains(&&event.aggregate_id) {
            of_both.push((event.aggregate_id == one, event.sequence));
        }
    }
    assert_eq!(of_both, [(true, 1), (true, 2), (false, 1), (true, 3)]);

    // Snapshots are refused, and are no obstacle.
    assert!(repository.get_snapshot::<Counter>(&one).await.unwrap().is_none());
    let snapshot = Some((one.clone(), Value::Null, 1));
    assert!(repository.persist::<Counter>(&[event(&one, 4)], snapshot).await.is_err());
    assert_eq!(sequences(&repository, &one).await, [1, 2, 3]);

    // By the framework: commands are decided on the stored events.
    let id = Uuid::new_v4().to_string();
    let events = PersistedEventStore::<_, Counter>::new_event_store(repository);
    let framework = CqrsFramework::new(events, Vec::new(), ());
    for _ in 0..3 {
        framework.execute(&id, 300).await.unwrap();
    }
    let refused = framework.execute(&id, 300).await.unwrap_err();
    assert!(matches!(refused, AggregateError::UserError(TooMuch)), "{refused:?}");
}

/// Moves the tenant to the store while the demands are checked again and again.
async fn demands_on_the_way(store: &Rehome, tenant: TenantId, target: &str) {
    let engine = store.engine();
    let operations = Operations::new(engine, "a test");
    let target = target.parse().unwrap();
    let migration = operations.start(tenant, &target, Options::default()).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let enough = Arc::clone(&over);
    let work = Supervisor::new(engine, "a test")
        .spawn(migration.id, move |_: &Migration| enough.load(Ordering::Relaxed));
    let mut rounds = 0;
    loop {
        demands(store, tenant).await;
        rounds += 1;
        let state = operations.status(migration.id).await.unwrap().migration.state;
        match state {
            State::Migrated { activated: true, .. } => break,
            State::Failed { .. } | State::RolledBack(_) => panic!("it did not move: {state:?}"),
            _ => assert!(rounds < 1_000, "it does not come to its end: {state:?}"),
        }
    }
    over.store(true, Ordering::Relaxed);
    drop(work);
    demands(store, tenant).await;
}

async fn both_ways(store: Rehome) {
    let tenant = TenantId::new(Uuid::new_v4());
    demands(&store, tenant).await;
    demands_on_the_way(&store, tenant, "dedicated").await;
    demands_on_the_way(&store, tenant, "shared").await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_at_rest_and_while_the_tenant_moves() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let builder = Rehome::builder().control_plane(url("control.db")).create(true);
    let builder = builder.store("shared", url("shared.db"));
    both_ways(builder.store("dedicated", url("dedicated.db")).open().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_at_rest_and_while_the_tenant_moves() {
    let database = rehome_cluster::shared().database().unwrap();
    let url = |schema: &str| {
        let url = database.url();
        let sign = if url.contains('?') { '&' } else { '?' };
        format!("{url}{sign}schema={schema}")
    };
    let builder = Rehome::builder().control_plane(url("control")).create(true);
    let builder = builder.store("shared", url("shared"));
    both_ways(builder.store("dedicated", url("dedicated")).open().await.unwrap()).await;
}
