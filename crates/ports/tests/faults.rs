//! Scripted faults: what is applied, what the caller gets, and which calls wait.

// The helpers are test code too.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Role};
use rehome_domain::migration::{Fact, Options};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::fault::{
    Chances, ControlOp, FaultyControlPlane, FaultyStore, Op, Script, StoreOp,
};
use rehome_ports::memory::{MemoryControlPlane, MemoryStore};
use rehome_ports::{Change, Class, ControlError, ControlPlane, LedgerStore, StoreError};

const NEWBORN: Activation = Activation { epoch: Epoch(1), base: 0, created: false };

fn tenant() -> TenantId {
    TenantId::from_slice(&[7; 16]).unwrap()
}

fn store_id() -> StoreId {
    "shared".parse().unwrap()
}

fn append(n: u8) -> Append {
    let event = NewEvent {
        id: EventId::from_slice(&[n; 16]).unwrap(),
        event_type: EventType::new("happened").unwrap(),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted("{}"),
        metadata: Json::trusted("{}"),
    };
    let stream = StreamName::new("order", "1").unwrap();
    Append { stream, expected: ExpectedVersion::Any, events: vec![event] }
}

/// A store in memory, the same behind a script, and the script. The tenant is `active@1`.
async fn store() -> (Arc<MemoryStore>, Arc<FaultyStore>, Arc<Script>) {
    let inner = Arc::new(MemoryStore::new(store_id(), Arc::new(SystemClock)));
    inner.activate(tenant(), NEWBORN).await.unwrap();
    let script = Script::new();
    let faulty = FaultyStore::new(Arc::clone(&inner) as _, Arc::clone(&script));
    (inner, Arc::new(faulty), script)
}

async fn length(store: &MemoryStore) -> u64 {
    store.ledger(tenant()).await.unwrap().head.seq
}

async fn send(store: &FaultyStore, n: u8) -> Result<u64, StoreError> {
    let outcomes = store.append(tenant(), Epoch(1), &[append(n)]).await?;
    Ok(outcomes[0].as_ref().unwrap().last_seq)
}

#[tokio::test]
async fn a_refused_call_is_not_applied() {
    let (inner, store, script) = store().await;
    script.refuse(StoreOp::Append, 2);
    for _ in 0..2 {
        let error = send(&store, 1).await.unwrap_err();
        assert!(!error.maybe_applied());
        assert_eq!(error.class(), Class::Retry);
        assert!(error.to_string().contains("store \"shared\" cannot be reached"), "{error}");
    }
    assert_eq!(length(&inner).await, 0);
    assert_eq!(send(&store, 1).await.unwrap(), 1);
    assert_eq!((script.calls(StoreOp::Append), script.calls(StoreOp::Ledger)), (3, 0));
    assert_eq!(script.calls(Op::Any), 3);
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_is_applied() {
    let (inner, store, script) = store().await;
    script.lose_reply(StoreOp::Append, 1);
    let error = send(&store, 1).await.unwrap_err();
    assert!(error.maybe_applied());
    assert_eq!(length(&inner).await, 1);
    assert_eq!(send(&store, 1).await.unwrap(), 1, "the retry finds it");
    assert_eq!(length(&inner).await, 1);
}

#[tokio::test]
async fn the_reply_of_a_refusal_by_the_rules_is_lost_too() {
    let (_, store, script) = store().await;
    script.lose_reply(StoreOp::Fence, 1);
    let error = store.fence(tenant(), Epoch(5), Epoch(6)).await.unwrap_err();
    assert!(error.maybe_applied());
    let error = store.fence(tenant(), Epoch(5), Epoch(6)).await.unwrap_err();
    assert!(error.refused().is_some());
}

#[tokio::test]
async fn what_is_down_stays_down_until_it_is_healed() {
    let (inner, store, script) = store().await;
    script.down_for(StoreOp::Append);
    for n in 1..4 {
        assert!(!send(&store, n).await.unwrap_err().maybe_applied());
    }
    assert_eq!(store.ledger(tenant()).await.unwrap().head.seq, 0, "other calls pass");
    script.down();
    store.ledger(tenant()).await.unwrap_err();
    script.heal();
    assert_eq!(send(&store, 1).await.unwrap(), 1);
    assert_eq!(length(&inner).await, 1);
    assert_eq!(script.calls(StoreOp::Append), 4, "healing forgets no call");
}

#[tokio::test]
async fn a_slow_call_takes_its_time_and_is_applied() {
    let (_, store, script) = store().await;
    script.slow(StoreOp::Append, Duration::from_millis(30));
    let begun = Instant::now();
    assert_eq!(send(&store, 1).await.unwrap(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_gate_before_stops_a_call_that_is_not_applied_yet() {
    let (inner, store, script) = store().await;
    let gate = script.gate_before(StoreOp::Fence);
    let fence = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.fence(tenant(), Epoch(1), Epoch(2)).await })
    };
    gate.reached().await;
    // Others pass: this append is in the head that the fence will answer.
    send(&store, 1).await.unwrap();
    assert_eq!(inner.ledger(tenant()).await.unwrap().role, Role::Active);
    assert!(!fence.is_finished());
    gate.open();
    assert_eq!(fence.await.unwrap().unwrap().seq, 1);
}

#[tokio::test]
async fn a_gate_after_stops_a_call_that_is_applied_already() {
    let (inner, store, script) = store().await;
    let gate = script.gate_after(StoreOp::Append);
    let sent = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { send(&store, 1).await })
    };
    gate.reached().await;
    assert_eq!(length(&inner).await, 1);
    assert!(!sent.is_finished());
    gate.open();
    assert_eq!(sent.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn what_goes_down_meanwhile_refuses_before_and_loses_after() {
    for (after, applied) in [(false, 0), (true, 1)] {
        let (inner, store, script) = store().await;
        let gate = if after {
            script.gate_after(StoreOp::Append)
        } else {
            script.gate_before(StoreOp::Append)
        };
        let sent = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { send(&store, 1).await })
        };
        gate.reached().await;
        script.down();
        gate.open();
        assert_eq!(sent.await.unwrap().unwrap_err().maybe_applied(), after);
        assert_eq!(length(&inner).await, applied);
    }
}

#[tokio::test]
async fn a_gate_stops_one_call_and_gates_are_taken_in_order() {
    let (_, store, script) = store().await;
    let gates = [script.gate_before(StoreOp::Append), script.gate_before(StoreOp::Append)];
    let first = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { send(&store, 1).await })
    };
    gates[0].reached().await;
    assert!(!gates[1].is_reached());
    let second = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { send(&store, 2).await })
    };
    gates[1].reached().await;
    assert_eq!(send(&store, 3).await.unwrap(), 1, "there is no third gate");
    gates[1].open();
    assert_eq!(second.await.unwrap().unwrap(), 2);
    gates[0].open();
    assert_eq!(first.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_gate_that_is_dropped_or_open_stops_nobody() {
    let (_, store, script) = store().await;
    drop(script.gate_before(StoreOp::Append));
    let open = script.gate_after(StoreOp::Append);
    open.open();
    assert_eq!(send(&store, 1).await.unwrap(), 1);
    open.reached().await;
}

#[tokio::test]
async fn calls_are_waited_for_instead_of_slept_for() {
    let (_, store, script) = store().await;
    let sent = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 1..=3 {
                send(&store, n).await.unwrap();
            }
        })
    };
    script.called(StoreOp::Append, 3).await;
    script.called(Op::Any, 1).await;
    sent.await.unwrap();
}

async fn outcomes(seed: u64, chances: Chances) -> (Vec<&'static str>, u64) {
    let (inner, store, script) = store().await;
    script.random(seed, chances);
    let mut outcomes = Vec::new();
    for n in 0..=199 {
        outcomes.push(match send(&store, n).await {
            Ok(_) => "ok",
            Err(error) if error.maybe_applied() => "lost",
            Err(_) => "refused",
        });
    }
    (outcomes, length(&inner).await)
}

#[tokio::test]
async fn random_faults_are_the_same_for_the_same_seed() {
    let chances = Chances { refuse: 0.2, lose: 0.3, ..Chances::default() };
    let (first, length) = outcomes(42, chances).await;
    assert_eq!(outcomes(42, chances).await.0, first);
    assert_ne!(outcomes(43, chances).await.0, first);
    let count = |what| first.iter().filter(|outcome| **outcome == what).count();
    let (refused, lost) = (count("refused"), count("lost"));
    assert!((20..=60).contains(&refused), "{refused} refused of 200");
    assert!((35..=85).contains(&lost), "{lost} lost of 200");
    assert_eq!(length, 200 - refused as u64);
}

/// A control plane in memory behind a script, and the script, with a tenant in it.
async fn control() -> (Arc<MemoryControlPlane>, FaultyControlPlane, Arc<Script>) {
    let inner = Arc::new(MemoryControlPlane::new(Arc::new(SystemClock)));
    inner.create_route(tenant(), &store_id()).await.unwrap();
    inner.mark_created(tenant(), Epoch(1)).await.unwrap();
    let script = Script::new();
    let faulty = FaultyControlPlane::new(Arc::clone(&inner) as _, Arc::clone(&script));
    (inner, faulty, script)
}

fn migration() -> MigrationId {
    MigrationId::from_slice(&[9; 16]).unwrap()
}

async fn record(control: &FaultyControlPlane, rev: u64, fact: Fact) -> Result<u64, ControlError> {
    let change = Change {
        tenant: tenant(),
        migration: migration(),
        rev: Some(rev),
        fact,
        actor: "test".to_owned(),
    };
    Ok(control.record(change).await?.route.rev)
}

#[tokio::test]
async fn a_fault_can_be_about_one_fact() {
    let (inner, control, script) = control().await;
    script.refuse(Op::record("copy_started"), 1);
    script.lose_reply(Op::record("paused"), 1);
    let options = Options::default();
    let target = "dedicated".parse().unwrap();
    let started = Fact::Started { migration: migration(), target, options };
    assert_eq!(record(&control, 1, started).await.unwrap(), 2);
    let error = record(&control, 2, Fact::CopyStarted).await.unwrap_err();
    assert!(error.to_string().contains("control plane cannot be reached"), "{error}");
    assert_eq!(inner.route(tenant()).await.unwrap().unwrap().rev, 2);
    assert_eq!(record(&control, 2, Fact::CopyStarted).await.unwrap(), 3);

    record(&control, 3, Fact::Paused).await.unwrap_err();
    match record(&control, 3, Fact::Paused).await {
        Err(ControlError::Stale(route)) => assert_eq!(route.rev, 4, "it was applied"),
        other => panic!("{other:?}"),
    }
    assert_eq!(script.calls(ControlOp::Record), 5);
    assert_eq!(script.calls(Op::record("paused")), 2);
    assert_eq!(script.calls(Op::record("switched")), 0);
}

#[tokio::test]
async fn a_gate_can_be_about_one_fact() {
    let (inner, control, script) = control().await;
    let control = Arc::new(control);
    let options = Options::default();
    let target = "dedicated".parse().unwrap();
    let gate = script.gate_after(Op::record("copy_started"));
    let started = Fact::Started { migration: migration(), target, options };
    record(&control, 1, started).await.unwrap();
    let recorded = {
        let control = Arc::clone(&control);
        tokio::spawn(async move { record(&control, 2, Fact::CopyStarted).await })
    };
    gate.reached().await;
    assert_eq!(inner.route(tenant()).await.unwrap().unwrap().rev, 3);
    script.refuse(ControlOp::Route, 1);
    control.route(tenant()).await.unwrap_err();
    gate.open();
    assert_eq!(recorded.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn what_a_test_plants_is_what_the_store_tells() {
    let (inner, store, _) = store().await;
    for n in 1..=3 {
        send(&store, n).await.unwrap();
    }
    inner.tamper(tenant(), |rows| {
        rows.events.remove(1);
        rows.ledger.head.seq = 9;
    });
    let feed = store.read_feed(tenant(), 0, rehome_ports::BatchLimit::PAGE).await.unwrap();
    assert_eq!(feed.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(feed.ledger.head.seq, 9);
    assert_eq!(store.digest_at(tenant(), 2).await.unwrap(), None);
    let streams = store.streams(tenant(), 9, None, 9).await.unwrap();
    assert_eq!((streams[0].version, streams[0].events, streams[0].last), (3, 2, 3));
    inner.forget(tenant());
    assert_eq!(store.ledger(tenant()).await.unwrap().role, Role::Absent);
}

#[tokio::test]
async fn a_control_plane_can_lose_time() {
    let (inner, control, _) = control().await;
    let backup = inner.snapshot();
    let options = Options::default();
    let target = "dedicated".parse().unwrap();
    let started = Fact::Started { migration: migration(), target, options };
    record(&control, 1, started).await.unwrap();
    inner.restore(backup);
    assert_eq!(control.route(tenant()).await.unwrap().unwrap().n, Epoch(1));
    assert!(control.migration(migration()).await.is_err());
}
