//! Each race of the protocol, forced: one process is stopped at the worst moment, the others go
//! on, then it wakes. Gates decide the order, not time.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Role;
use rehome_domain::migration::{Options, Phase};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::fault::{ControlOp, Op, StoreOp};
use rehome_ports::{AppendError, BatchLimit, ControlPlane, EventStore, LedgerStore};
use world::{Acked, World, auto, for_a_while, manual, one, store_id, tenant};

/// A second process that has the tenant's route in its cache.
async fn warm(world: &World, tenant: TenantId, name: &str) -> world::Process {
    let process = world.process(name);
    process.engine.router().read_feed(tenant, 0, BatchLimit::events(1)).await.unwrap();
    process
}

fn note(acked: &Acked, id: u128, told: rehome_domain::append::Appended) {
    acked.lock().unwrap().insert(world::event(id).id, (told.last_version, told.last_seq));
}

#[tokio::test(start_paused = true)]
async fn an_append_that_slept_through_the_cutover_is_refused_there_and_lands_here() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, sleeper) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();

    let gate = sleeper.a.gate_before(StoreOp::Append);
    let engine = sleeper.engine.clone();
    let append = tokio::spawn(async move {
        engine.router().append(tenant, one(7, "s", ExpectedVersion::NoStream)).await
    });
    gate.reached().await;
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    let (source, _) = world.ledgers(tenant).await;
    gate.open();

    let told = append.await.unwrap().unwrap();
    note(&acked, 7, told);
    assert_eq!(world.ledgers(tenant).await.0, source, "the old store took nothing");
    assert_eq!(told.last_seq, 51);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn an_append_in_flight_at_the_fence_is_part_of_the_final_head() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, writer) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;

    // Committed at the source, not yet answered, when the fence comes.
    let gate = writer.a.gate_after(StoreOp::Append);
    let engine = writer.engine.clone();
    let append = tokio::spawn(async move {
        engine.router().append(tenant, one(7, "s", ExpectedVersion::NoStream)).await
    });
    gate.reached().await;
    driver.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    gate.open();
    note(&acked, 7, append.await.unwrap().unwrap());
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_lands_in_the_other_store_answers_as_the_first_time() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, writer) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();

    // Applied at the source, the reply lost, and every retry held up until after the switch.
    writer.a.lose_reply(StoreOp::Append, 1);
    let first = writer.a.gate_after(StoreOp::Append);
    let retry = writer.a.gate_before(StoreOp::Append);
    let engine = writer.engine.clone();
    let append = tokio::spawn(async move {
        engine.router().append(tenant, one(7, "s", ExpectedVersion::NoStream)).await
    });
    tokio::select! { () = first.reached() => {}, () = retry.reached() => {} }
    retry.open();
    first.reached().await;
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    driver.append(tenant, one(8, "s", ExpectedVersion::Exact(1))).await.unwrap();
    first.open();
    let told = append.await.unwrap().unwrap();
    assert_eq!((told.last_seq, told.last_version), (51, 1));
    note(&acked, 7, told);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_comes_after_the_roll_back_is_refused() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, other) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    let id = driver.start(tenant, "b", Options { cutover_timeout_ms: 1_000, ..manual() }).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let gate = driver.a.gate_before(StoreOp::Fence);
    // The driver's own timer ends its wait; the abandoned call is executed by hand below.
    driver.operations.request_cutover(id).await.unwrap();
    gate.reached().await;
    let paused = world.control.route(tenant).await.unwrap().unwrap();
    assert!(paused.is_cutover_paused());
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;

    let late = world.a.fence(tenant, paused.prev_epoch, paused.epoch).await;
    assert!(late.is_err(), "the sleeper's fence is refused: {late:?}");
    note(&acked, 7, other.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    gate.open();
    driver.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_rolls_back_a_cutover_whose_driver_died_and_the_next_cutover_works() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, other) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    let options = Options { cutover_timeout_ms: 1_000, ..manual() };
    let id = driver.start(tenant, "b", options).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let gate = driver.a.gate_after(StoreOp::Fence);
    driver.operations.request_cutover(id).await.unwrap();
    gate.reached().await;
    drop(driving);

    // The source is fenced, without a driver: the writer waits for the deadline and rolls back itself.
    let began = tokio::time::Instant::now();
    note(&acked, 7, other.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(began.elapsed() < Duration::from_millis(1_100));
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite));

    other.operations.request_cutover(id).await.unwrap();
    other.drive_to_end(id).await;
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn of_the_switch_and_the_roll_back_exactly_one_happens() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, other) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    // The driver that stalls measures its deadline from the intent too, so give it none to speak
    // of: only the other process rolls back.
    let id = driver.start(tenant, "b", Options { cutover_timeout_ms: 2_000, ..manual() }).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let gate = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    gate.reached().await;
    let paused = world.control.route(tenant).await.unwrap().unwrap();

    // The other process rolls back and writes; then the sleeper's commit arrives.
    let change = rehome_ports::Change {
        tenant,
        migration: id,
        rev: Some(paused.rev),
        fact: rehome_domain::migration::Fact::CutoverRolledBack {
            reason: rehome_domain::migration::RollBackReason::TimedOut,
        },
        actor: "p2".to_owned(),
    };
    world.control.record(change).await.unwrap();
    note(&acked, 7, other.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    gate.open();
    for_a_while().await;
    let route = world.control.route(tenant).await.unwrap().unwrap();
    assert_eq!((route.phase(), route.store.as_str()), (Some(Phase::DualWrite), "a"));
    driver.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_whose_reply_was_lost_is_not_rolled_back() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 4, &acked);
    process.control.lose_reply(Op::record("switched"), 1);
    let id = process.start(tenant, "b", auto()).await;
    let ended = process.drive_to_end(id).await;
    for_a_while().await;
    writers.stop().await;
    assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Migrated, 1));
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_comes_after_the_switch_is_refused() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, driver) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let id = sleeper.start(tenant, "b", manual()).await;
    let sleeping = sleeper.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let gate = sleeper.b.gate_before(StoreOp::Extend);
    note(&acked, 7, driver.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    gate.reached().await;
    // The stopped driver's lease cannot be renewed: another takes over and finishes.
    sleeper.control.down();
    driver.operations.request_cutover(id).await.unwrap();
    driver.drive_to_end(id).await;
    note(&acked, 8, driver.append(tenant, one(8, "s", ExpectedVersion::Any)).await.unwrap());
    let (_, before) = world.ledgers(tenant).await;
    gate.open();
    for_a_while().await;
    assert_eq!(world.ledgers(tenant).await.1, before);
    drop(sleeping);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn an_activation_that_comes_after_a_later_cutover_is_refused() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, helper) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    let id = driver.start(tenant, "b", Options { cutover_timeout_ms: 500, ..manual() }).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    // The first cutover is rolled back; the helper that would activate the source falls asleep.
    driver.b.down_for(StoreOp::Ledger);
    let driver_activation = driver.a.gate_before(StoreOp::Activate);
    driver_activation.open();
    driver.operations.request_cutover(id).await.unwrap();
    let gate = helper.a.gate_before(StoreOp::Activate);
    let engine = helper.engine.clone();
    let append = tokio::spawn(async move {
        engine.router().append(tenant, one(7, "s", ExpectedVersion::Any)).await
    });
    for_a_while().await;
    driver.b.heal();
    for_a_while().await;
    // Whether the helper got to its gate depends on who was first; both orders must hold.
    let slept = gate.is_reached();
    driver.operations.request_cutover(id).await.ok();
    driving.await.unwrap().unwrap();
    gate.open();
    let told = append.await.unwrap().unwrap();
    note(&acked, 7, told);
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.role, b.role), (Role::Fenced, Role::Active), "slept: {slept}");
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_fenced_source_is_not_given_once_the_switch_is_made() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let (driver, reader) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let switch = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    switch.reached().await;

    // The fenced source answers during the pause; the answer is on its way when the switch is made
    // and a write is acknowledged by the target.
    let answer = reader.a.gate_after(StoreOp::ReadFeed);
    let engine = reader.engine.clone();
    let read =
        tokio::spawn(async move { engine.router().read_feed(tenant, 0, BatchLimit::PAGE).await });
    answer.reached().await;
    switch.open();
    driving.await.unwrap().unwrap();
    driver.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    answer.open();
    assert_eq!(read.await.unwrap().unwrap().len(), 5 + 1, "the acknowledged write is seen");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_source_serves_reads_during_the_pause() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let (driver, reader) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let switch = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    switch.reached().await;
    let read = reader.engine.router().read_feed(tenant, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!(read.len(), 5);
    switch.open();
    driving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_comes_after_a_later_migration_does_not_touch_its_target() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, driver) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let first = sleeper.start(tenant, "b", manual()).await;
    let sleeping = sleeper.drive(first);
    world.reached(tenant, Phase::DualWrite).await;
    let gate = sleeper.b.gate_before(StoreOp::Drop);
    sleeper.operations.abort(first, true).await.unwrap();
    gate.reached().await;

    let second = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(second).await;
    note(&acked, 7, driver.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    gate.open();
    sleeping.await.unwrap().unwrap();
    assert_eq!(world.ledgers(tenant).await.1.role, Role::Active);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_comes_after_the_tenant_is_back_does_not_touch_it() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, driver) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let there = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(there).await;
    let gate = sleeper.a.gate_before(StoreOp::Purge);
    let operations = sleeper.operations.clone();
    let purge = tokio::spawn(async move { operations.purge(tenant, &store_id("a")).await });
    gate.reached().await;
    let back = driver.start(tenant, "a", auto()).await;
    driver.drive_to_end(back).await;
    note(&acked, 7, driver.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    gate.open();
    assert!(purge.await.unwrap().is_err());
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_comes_after_the_first_store_was_purged_is_refused() {
    let world = World::new();
    let tenant = tenant(9);
    let (sleeper, driver) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let gate = sleeper.a.gate_before(StoreOp::Activate);
    let engine = sleeper.engine.clone();
    let append = tokio::spawn(async move {
        engine.router().append(tenant, one(7, "s", ExpectedVersion::Any)).await
    });
    gate.reached().await;
    note(&acked, 8, driver.append(tenant, one(8, "s", ExpectedVersion::Any)).await.unwrap());
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    driver.operations.purge(tenant, &store_id("a")).await.unwrap();
    gate.open();
    note(&acked, 7, append.await.unwrap().unwrap());
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.role, b.role, b.head.seq), (Role::Absent, Role::Active, 2));
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn an_adoption_that_comes_after_the_abort_is_refused() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, other) = (world.process("p1"), world.process("p2"));
    let id = sleeper.start(tenant, "b", manual()).await;
    let gate = sleeper.b.gate_before(StoreOp::Adopt);
    let sleeping = sleeper.drive(id);
    gate.reached().await;
    sleeper.control.down();
    other.operations.abort(id, true).await.unwrap();
    other.drive_to_end(id).await;
    gate.open();
    for_a_while().await;
    let (_, b) = world.ledgers(tenant).await;
    assert_eq!(b.role, Role::Absent, "the tombstone refuses the sleeper: {b:?}");
    drop(sleeping);
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_store_takes_no_writes_as_if_the_tenant_were_new() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = warm(&world, tenant, "p1").await;
    world.a.forget(tenant);
    let refused = process.append(tenant, one(7, "s", ExpectedVersion::Any)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    assert!(process.engine.router().read_feed(tenant, 0, BatchLimit::PAGE).await.is_err());
    assert_eq!(world.ledgers(tenant).await.0.role, Role::Absent);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_lost_time_is_noticed_and_nothing_is_written() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = world.process("p1");
    let backup = world.control.snapshot();
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    world.control.restore(backup);
    let fresh = world.process("p2");
    let refused = fresh.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap_err();
    let source = std::error::Error::source(&refused).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains("rehome recover"), "{source}");
}

/// Every call of the driver that a death can fall before or after.
fn deaths() -> Vec<(&'static str, Op)> {
    let mut deaths: Vec<(&'static str, Op)> = Vec::new();
    for op in [StoreOp::Fence, StoreOp::Activate, StoreOp::ReadFeed] {
        deaths.push(("a", op.into()));
    }
    for op in
        [StoreOp::Adopt, StoreOp::Extend, StoreOp::Activate, StoreOp::ReadFeed, StoreOp::Ledger]
    {
        deaths.push(("b", op.into()));
    }
    let facts = [
        "lease_taken",
        "copy_started",
        "copy_completed",
        "verified",
        "read_back",
        "cutover_started",
        "switched",
        "target_activated",
    ];
    deaths.extend(facts.map(|fact| ("control", Op::record(fact))));
    deaths.push(("control", ControlOp::SetMarks.into()));
    deaths
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_dies_before_or_after_any_call_is_followed_by_one_that_finishes() {
    for (place, op) in deaths() {
        for after in [false, true] {
            let world = World::new();
            let tenant = world.tenant_with(1, 120).await;
            let (dying, heir) = (world.process("p1"), world.process("p2"));
            let acked = Acked::default();
            let writers = heir.writers(tenant, 3, &acked);
            for_a_while().await;
            let script = match place {
                "a" => &dying.a,
                "b" => &dying.b,
                _ => &dying.control,
            };
            let id = dying.start(tenant, "b", auto()).await;
            let gate = if after { script.gate_after(op) } else { script.gate_before(op) };
            let driving = dying.drive(id);
            let reached = tokio::time::timeout(Duration::from_secs(60), gate.reached()).await;
            assert!(reached.is_ok(), "the driver never got to {op:?} at {place}");
            drop(driving);
            println!("died {} {op:?} at {place}", if after { "after" } else { "before" });
            let ended = heir.drive_to_end(id).await;
            for_a_while().await;
            writers.stop().await;
            assert_eq!(ended.state.phase(), Phase::Migrated, "{op:?} at {place}");
            assert_eq!(ended.cutover_attempts, 1, "finished without rolling back: {op:?}");
            world.check(tenant, &acked).await;
        }
    }
}

/// Two drivers begin the same migration. The one that was stopped reads the route only after the other
/// has recorded the beginning: its own fact is refused, which is not a failure.
#[tokio::test(start_paused = true)]
async fn a_driver_that_comes_late_with_a_fact_does_not_fail_the_migration() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, heir) = (world.deaf_process("p1"), world.process("p2"));
    let id = heir.start(tenant, "b", manual()).await;

    let gate = sleeper.control.gate_before(ControlOp::Route);
    let sleeping = sleeper.drive(id);
    gate.reached().await;
    // It is never informed that its lease was taken.
    sleeper.control.down_for(ControlOp::Lease);
    let driving = heir.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let late = sleeper.control.calls(Op::record("copy_started"));
    gate.open();
    sleeper.control.called(Op::record("copy_started"), late + 1).await;
    for_a_while().await;
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite), "nothing failed");

    heir.operations.request_cutover(id).await.unwrap();
    world.reached(tenant, Phase::Migrated).await;
    drop((sleeping, driving));
    world.check(tenant, &Acked::default()).await;
}
