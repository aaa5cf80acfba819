//! Long-lived processes: they take over from those that were killed or hang, and leave operators'
//! decisions to operators.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::migration::{Cleanup, Fact, Options, Phase, State};
use rehome_domain::stream::ExpectedVersion;
use rehome_engine::migration::DriveError;
use rehome_ports::fault::{Op, StoreOp};
use rehome_ports::{Class, ControlPlane};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use world::{Acked, Process, World, auto, for_a_while, manual, one};

/// A process that drives all work without a driver.
fn worker(process: &Process) -> (CancellationToken, AbortOnDropHandle<()>) {
    let stop = CancellationToken::new();
    let (supervisor, stopped) = (process.supervisor.clone(), stop.clone());
    let task = tokio::spawn(async move { supervisor.run_all(&stopped).await });
    (stop, AbortOnDropHandle::new(task))
}

#[tokio::test(start_paused = true)]
async fn what_dead_processes_left_is_brought_to_its_end() {
    let world = World::new();
    let starter = world.process("starter");
    let tenants = [world.tenant_with(1, 200).await, world.tenant_with(2, 20).await];
    let acked = [Acked::default(), Acked::default()];
    // One was only started; of the other the driver dies between fence and switch.
    let ids = [starter.start(tenants[0], "b", auto()).await, {
        let id = starter.start(tenants[1], "b", auto()).await;
        let fenced = starter.a.gate_after(StoreOp::Fence);
        let driving = starter.drive(id);
        fenced.reached().await;
        drop(driving);
        id
    }];
    assert_eq!(world.phase(tenants[1]).await, Some(Phase::CutoverPaused));
    let writer = world.process("writer");
    let writers =
        [writer.writers(tenants[0], 2, &acked[0]), writer.writers(tenants[1], 2, &acked[1])];
    let (one, other) = (world.process("one"), world.process("other"));
    let workers = [worker(&one), worker(&other)];
    for tenant in tenants {
        world.reached(tenant, Phase::Migrated).await;
    }
    for_a_while().await;
    for writers in writers {
        writers.stop().await;
    }
    for ((tenant, id), acked) in tenants.into_iter().zip(ids).zip(&acked) {
        world.check(tenant, acked).await;
        let log = world.control.log(id, 0, 1_000).await.unwrap();
        let taken = log.iter().filter(|entry| matches!(entry.fact, Fact::LeaseTaken { .. }));
        assert!(taken.count() <= 2, "one of them worked on it: {log:?}");
    }
    for (stop, task) in workers {
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_lacks_a_store_leaves_the_lease_to_one_that_has_it() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let starter = world.process("starter");
    let lacking = world.process_without_b("lacking");
    let (stop, looking) = worker(&lacking);
    let id = starter.start(tenant, "b", auto()).await;
    tokio::time::sleep(world::config().lease_ttl * 10).await;
    assert_eq!(world.control.lease_holder(id).await.unwrap(), None);
    let told = lacking.scrape();
    let unattended = told.lines().find(|line| line.starts_with("migration_unattended{"));
    assert!(unattended.is_some_and(|line| line.ends_with(" 1.0")), "{told}");
    let refused = lacking.supervisor.run(id, |_| false).await.unwrap_err();
    assert!(matches!(refused, DriveError::UnknownStore(_)), "{refused}");
    assert!(refused.to_string().contains("\"b\" is not configured"), "{refused}");
    assert_eq!(refused.class(), Class::Fatal);
    let log = world.control.log(id, 0, 1_000).await.unwrap();
    let taken = log.iter().filter(|entry| matches!(entry.fact, Fact::LeaseTaken { .. }));
    assert_eq!(taken.count(), 0, "{log:?}");

    let able = world.process("able");
    let (stop_able, working) = worker(&able);
    world.reached(tenant, Phase::Migrated).await;
    for_a_while().await;
    let told = lacking.scrape();
    let mut unattended = told.lines().filter(|line| line.starts_with("migration_unattended{"));
    assert!(unattended.all(|line| line.ends_with(" 0.0")), "another works on it: {told}");
    for (stop, task) in [(stop, looking), (stop_able, working)] {
        stop.cancel();
        task.await.unwrap();
    }
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_hangs_is_taken_over_from_and_harms_nothing_when_it_wakes() {
    let world = World::new();
    let tenant = world.tenant_with(1, 200).await;
    let acked = Acked::default();
    let (sleeper, keeper) = (world.process("sleeper"), world.process("keeper"));
    let id = sleeper.start(tenant, "b", auto()).await;
    let asleep = sleeper.b.gate_before(StoreOp::Extend);
    let sleeping = sleeper.drive(id);
    asleep.reached().await;
    sleeper.control.down();
    let (stop, keeping) = worker(&keeper);
    let writers = keeper.writers(tenant, 2, &acked);
    world.reached(tenant, Phase::Migrated).await;
    sleeper.control.heal();
    asleep.open();
    for_a_while().await;
    writers.stop().await;
    world.check(tenant, &acked).await;
    stop.cancel();
    keeping.await.unwrap();
    drop(sleeping);
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_has_to_decide_is_left_alone_until_then() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (keeper, operator) = (world.process("keeper"), world.process("operator"));
    let id = operator.start(tenant, "b", manual()).await;
    let (stop, keeping) = worker(&keeper);
    world.reached(tenant, Phase::DualWrite).await;
    operator.operations.pause(id).await.unwrap();
    for_a_while().await;
    let entries = world.control.log(id, 0, 1_000).await.unwrap().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.control.log(id, 0, 1_000).await.unwrap().len(), entries);
    assert_eq!(world.control.lease_holder(id).await.unwrap(), None);
    operator.operations.resume(id).await.unwrap();
    for_a_while().await;
    operator.operations.abort(id, true).await.unwrap();
    let cleaned = async {
        let done = State::RolledBack(Cleanup::Done);
        while world.control.migration(id).await.unwrap().state != done {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), cleaned).await.unwrap();
    stop.cancel();
    keeping.await.unwrap();
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_down_makes_migrations_wait_and_nobody_else() {
    let world = World::new();
    let tenant = world.tenant_with(1, 200).await;
    let acked = Acked::default();
    let keeper = world.process("keeper");
    let writers = keeper.writers(tenant, 2, &acked);
    let id = keeper.start(tenant, "b", manual()).await;
    let (stop, keeping) = worker(&keeper);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    keeper.control.down();
    let before = acked.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let during = acked.lock().unwrap().len() - before;
    assert!(during > 1_000, "{during} appends in twenty seconds");
    let read = rehome_ports::BatchLimit::events(9);
    rehome_ports::EventStore::read_feed(keeper.engine.router(), tenant, 0, read).await.unwrap();
    keeper.control.heal();
    world.process("operator").operations.request_cutover(id).await.unwrap();
    world.reached(tenant, Phase::Migrated).await;
    writers.stop().await;
    world.check(tenant, &acked).await;
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_stopped_gives_its_leases_up() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let keeper = world.process("keeper");
    let id = keeper.start(tenant, "b", manual()).await;
    let (stop, keeping) = worker(&keeper);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    assert!(world.control.lease_holder(id).await.unwrap().is_some());
    let since = Instant::now();
    stop.cancel();
    keeping.await.unwrap();
    assert!(since.elapsed() < Duration::from_millis(500), "{:?}", since.elapsed());
    assert_eq!(world.control.lease_holder(id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_cutover_whose_driver_died_is_ended_and_then_aborted() {
    let world = World::new();
    let acked = Acked::default();
    // The driver dies before its fence, and after it.
    for (n, fenced) in [(1, false), (2, true)] {
        let tenant = world.tenant_with(n, 50).await;
        let (driver, operator) = (world.process("driver"), world.process("operator"));
        let id = driver.start(tenant, "b", Options { cutover_timeout_ms: 3_000, ..auto() }).await;
        let gate = if fenced {
            driver.a.gate_after(StoreOp::Fence)
        } else {
            driver.a.gate_before(StoreOp::Fence)
        };
        let driving = driver.drive(id);
        gate.reached().await;
        drop(driving);
        let refused = operator.operations.abort(id, false).await;
        assert!(refused.is_err(), "a cutover is under way");
        let since = Instant::now();
        let ended = operator.operations.end_cutover(id).await.unwrap();
        assert_eq!(ended.state.phase(), Phase::DualWrite);
        let waited = since.elapsed();
        assert!((2_900..=3_100).contains(&waited.as_millis()), "the deadline is kept: {waited:?}");
        let source = world.ledgers(tenant).await.0;
        assert_eq!(source.role.as_str(), "active", "the source takes writes");
        operator.operations.abort(id, false).await.unwrap();
        let told = operator.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
        acked.lock().unwrap().insert(world::event(7).id, (told.last_version, told.last_seq));
        world.check(tenant, &acked).await;
        acked.lock().unwrap().clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cutover_whose_driver_lives_is_waited_for() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, operator) = (world.process("driver"), world.process("operator"));
    let id = driver.start(tenant, "b", auto()).await;
    let switch = driver.control.gate_before(Op::record("switched"));
    let driving = driver.drive(id);
    switch.reached().await;
    let operations = operator.operations.clone();
    let ending = tokio::spawn(async move { operations.end_cutover(id).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    switch.open();
    assert_eq!(ending.await.unwrap().unwrap().state.phase(), Phase::Migrated);
    driving.await.unwrap().unwrap();
    let refused = operator.operations.abort(id, false).await.unwrap_err();
    assert!(matches!(refused, rehome_engine::migration::OperationError::Control(error)
        if error.class() == Class::Fatal));
    world.check(tenant, &Acked::default()).await;
}
