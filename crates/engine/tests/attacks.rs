//! Attacks on what guards the data: each test forces one schedule that has no place in a good day.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::append::{Append, AppendConflict, Appended};
use rehome_domain::digest::Digest;
use rehome_domain::event::Json;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Role;
use rehome_domain::migration::{Fact, Options, Phase, RollBackReason};
use rehome_domain::stream::ExpectedVersion;
use rehome_engine::migration::OperationError;
use rehome_ports::fault::{Chances, ControlOp, Op, StoreOp};
use rehome_ports::{AppendError, BatchLimit, Change, ControlPlane, EventStore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use world::{Acked, Process, World, auto, for_a_while, manual, one, store_id};

/// A second process that has the tenant's route in its cache.
async fn warm(world: &World, tenant: TenantId, name: &str) -> Process {
    let process = world.process(name);
    process.engine.router().read_feed(tenant, 0, BatchLimit::events(1)).await.unwrap();
    process
}

fn note(acked: &Acked, id: u128, told: Appended) {
    acked.lock().unwrap().insert(world::event(id).id, (told.last_version, told.last_seq));
}

/// An append in a task of its own.
fn append(
    process: &Process,
    tenant: TenantId,
    append: Append,
) -> JoinHandle<Result<Appended, AppendError>> {
    let engine = process.engine.clone();
    tokio::spawn(async move { engine.router().append(tenant, append).await })
}

async fn roll_back_by_hand(world: &World, tenant: TenantId) {
    let paused = world.control.route(tenant).await.unwrap().unwrap();
    let change = Change {
        tenant,
        migration: paused.migration.unwrap().0,
        rev: Some(paused.rev),
        fact: Fact::CutoverRolledBack { reason: RollBackReason::TimedOut },
        actor: "another process".to_owned(),
    };
    world.control.record(change).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cutover_right_after_a_roll_back_that_nobody_finished_works() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, other) = (world.process("p1"), world.process("p2"));
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let gate = driver.a.gate_after(StoreOp::Fence);
    driver.operations.request_cutover(id).await.unwrap();
    gate.reached().await;
    drop(driving);
    // Rolled back, and the source is not activated: it is fenced, the route is in dual_write.
    roll_back_by_hand(&world, tenant).await;
    assert_eq!(world.ledgers(tenant).await.0.role, Role::Fenced);
    other.operations.request_cutover(id).await.unwrap();
    let ended = other.drive_to_end(id).await;
    assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Migrated, 2));
    world.check(tenant, &Acked::default()).await;
}

/// In a table of another library a writer may bypass the fence: the source is checked last before the switch.
#[tokio::test(start_paused = true)]
async fn a_fence_that_does_not_hold_is_no_switch() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let driver = world.process("p1");
    driver.a.refuse(StoreOp::FenceHolds, 1);
    let id = driver.start(tenant, "b", auto()).await;
    let ended = driver.drive_to_end(id).await;
    assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Migrated, 2));
    world.check(tenant, &Acked::default()).await;
}

/// What the source holds for a fence is released if the intent cannot be recorded: there is no fence then.
#[tokio::test(start_paused = true)]
async fn without_an_intent_nothing_is_held_for_the_fence() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let driver = world.process("p1");
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    driver.control.refuse(Op::record("cutover_started"), 1);
    driver.operations.request_cutover(id).await.unwrap();
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Migrated, 1));
    assert_eq!(driver.a.calls(StoreOp::BeforeFence), 2);
    // Once after the intent that was refused, once after the switch.
    assert_eq!(driver.a.calls(StoreOp::FenceIsOver), 2);
    world.check(tenant, &Acked::default()).await;
}

/// Room is made at both stores before the pause, in the order of their names, whichever is the source: so two cutovers in
/// opposite directions do not wait for each other. If it is not there, the tenant's writers do not wait.
#[tokio::test(start_paused = true)]
async fn a_cutover_makes_room_before_its_pause_in_one_order() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let driver = world.process("p1");
    for (target, a, b) in [("b", 1, 1), ("a", 2, 2)] {
        driver.a.refuse(StoreOp::MakeRoom, 1);
        let first = driver.a.gate_before(StoreOp::MakeRoom);
        let id = driver.start(tenant, target, auto()).await;
        let driving = driver.drive(id);
        first.reached().await;
        assert_eq!(driver.b.calls(StoreOp::MakeRoom), b - 1);
        assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite));
        first.open();
        let ended = driving.await.unwrap().unwrap().migration;
        assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Migrated, 1));
        // Once more than at the other store: it was refused once.
        assert_eq!(
            (driver.a.calls(StoreOp::MakeRoom), driver.b.calls(StoreOp::MakeRoom)),
            (2 * a, b)
        );
    }
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_is_applied_after_the_driver_gave_up_waiting_holds() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, other) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    let id = driver.start(tenant, "b", Options { cutover_timeout_ms: 500, ..manual() }).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    // The switch is committed, its answer never comes; at the deadline the wait is dropped.
    let gate = driver.control.gate_after(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    gate.reached().await;
    note(&acked, 7, other.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Migrated, 1));
    // What the fence holds at the source is released on this way too.
    assert!(driver.a.calls(StoreOp::FenceIsOver) >= 1);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn members_of_one_group_have_their_own_outcomes_also_when_the_first_reply_was_lost() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = warm(&world, tenant, "p1").await;
    process.append(tenant, one(1, "s", ExpectedVersion::NoStream)).await.unwrap();
    // The first append of a group holds it up while the others gather behind it.
    let gate = process.a.gate_before(StoreOp::Append);
    let first = append(&process, tenant, one(2, "s", ExpectedVersion::Exact(1)));
    gate.reached().await;
    process.a.lose_reply(StoreOp::Append, 2);
    let good = append(&process, tenant, one(3, "s", ExpectedVersion::Exact(2)));
    let stale = append(&process, tenant, one(4, "s", ExpectedVersion::Exact(2)));
    let mut reused = one(1, "s", ExpectedVersion::Any);
    reused.events[0].data = Json::trusted("{\"n\":0}");
    let reused = append(&process, tenant, reused);
    let replayed = append(&process, tenant, one(1, "s", ExpectedVersion::NoStream));
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(first.await.unwrap().unwrap().last_version, 2);
    assert_eq!(good.await.unwrap().unwrap().last_version, 3);
    let stale = stale.await.unwrap();
    assert!(
        matches!(stale, Err(AppendError::Conflict(AppendConflict::Version { actual: 3, .. }))),
        "{stale:?}"
    );
    let reused = reused.await.unwrap();
    assert!(matches!(reused, Err(AppendError::Conflict(AppendConflict::Id { .. }))), "{reused:?}");
    assert_eq!(replayed.await.unwrap().unwrap().last_version, 1);
    assert_eq!(world.history(tenant).await.len(), 5 + 3);
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_caller_went_away_is_committed_once_or_not_at_all() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = warm(&world, tenant, "p1").await;
    process.a.lose_reply(StoreOp::Append, 1);
    let gate = process.a.gate_before(StoreOp::Append);
    let gone = append(&process, tenant, one(7, "s", ExpectedVersion::NoStream));
    gate.reached().await;
    gone.abort();
    gate.open();
    let next = process.append(tenant, one(8, "s", ExpectedVersion::Exact(1))).await.unwrap();
    assert_eq!((next.last_version, next.last_seq), (2, 7));
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_never_told_as_nothing_was_sent() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, writer) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let acked = Acked::default();
    let options = Options { cutover_timeout_ms: 60_000, ..manual() };
    let id = driver.start(tenant, "b", options).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    // Committed at the source, the reply lost; then a pause that is longer than the writer's bound.
    writer.a.lose_reply(StoreOp::Append, 1);
    let sent = writer.a.gate_after(StoreOp::Append);
    let told = append(&writer, tenant, one(7, "s", ExpectedVersion::Any));
    sent.reached().await;
    let switch = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    switch.reached().await;
    sent.open();
    let told = told.await.unwrap();
    assert!(matches!(told, Err(AppendError::OutcomeUnknown { .. })), "{told:?}");
    // For one that was never sent the result says so.
    let unsent = writer.append(tenant, one(8, "s", ExpectedVersion::Any)).await;
    assert!(matches!(unsent, Err(AppendError::WritesPaused { .. })), "{unsent:?}");
    switch.open();
    driving.await.unwrap().unwrap();
    let again = writer.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    assert_eq!(again.last_seq, 51);
    note(&acked, 7, again);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn stopping_a_process_in_a_pause_answers_every_append_that_it_took() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let (driver, writer) = (world.process("p1"), warm(&world, tenant, "p2").await);
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let switch = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    switch.reached().await;
    let waiting = append(&writer, tenant, one(7, "s", ExpectedVersion::Any));
    writer.control.called(ControlOp::Route, 3).await;
    let stopping = {
        let engine = writer.engine.clone();
        tokio::spawn(async move { engine.shutdown().await })
    };
    for_a_while().await;
    assert!(!stopping.is_finished(), "it waits for what it took");
    let refused = writer.append(tenant, one(8, "s", ExpectedVersion::Any)).await;
    assert!(matches!(refused, Err(AppendError::Busy)), "it takes no more: {refused:?}");
    switch.open();
    assert_eq!(waiting.await.unwrap().unwrap().last_seq, 6);
    let began = Instant::now();
    stopping.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    driving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_in_any_order_nothing_acknowledged_is_lost() {
    for seed in 0..6_u64 {
        let world = World::new();
        let tenant = world.tenant_with(1, 150).await;
        let processes = [world.process("p1"), world.process("p2"), world.process("p3")];
        let chances =
            Chances { refuse: 0.03, lose: 0.03, slow: 0.2, slow_max: Duration::from_millis(40) };
        for (i, process) in (0..).zip(&processes) {
            for (j, script) in (0..).zip([&process.a, &process.b, &process.control]) {
                script.random(seed * 100 + i * 10 + j, chances);
            }
        }
        let acked = Acked::default();
        let writers: Vec<_> =
            processes.iter().map(|process| process.writers(tenant, 1, &acked)).collect();
        // One operator over a plane without faults; three drivers that come and go.
        let operator = world.process("operator");
        let mut to = "b";
        for round in 0..3 {
            let options = Options {
                cutover_timeout_ms: 300,
                rollback_window_ms: if (seed + round).is_multiple_of(2) { 400 } else { 0 },
                lag_events_max: 200,
                ..auto()
            };
            let Ok(migration) = operator.operations.start(tenant, &store_id(to), options).await
            else {
                break;
            };
            let id = migration.id;
            for hop in 0..40 {
                let driving = processes[usize::try_from((seed + hop) % 3).unwrap()].drive(id);
                let _ = tokio::time::timeout(Duration::from_millis(700), driving).await;
                let phase = world.phase(tenant).await.unwrap();
                if phase == Phase::Migrated {
                    break;
                }
                if phase == Phase::Failed {
                    let row = world.control.migration(id).await.unwrap();
                    panic!("seed {seed}: failed: {:?}", row.error);
                }
            }
            if world.phase(tenant).await != Some(Phase::Migrated) {
                break;
            }
            to = if to == "b" { "a" } else { "b" };
        }
        for process in &processes {
            for script in [&process.a, &process.b, &process.control] {
                script.heal();
            }
        }
        let route = world.control.route(tenant).await.unwrap().unwrap();
        if let Some((id, _)) = route.migration.filter(|(_, phase)| *phase != Phase::Migrated) {
            processes[0].drive_to_end(id).await;
        }
        for writers in writers {
            writers.stop().await;
        }
        println!("seed {seed}: {} acknowledged, now to {to}", acked.lock().unwrap().len());
        world.check(tenant, &acked).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_made_only_on_the_revision_that_was_fenced_and_compared() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, other) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let options = Options { cutover_timeout_ms: 60_000, ..manual() };
    let id = sleeper.start(tenant, "b", options).await;
    let sleeping = sleeper.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let fenced = sleeper.a.gate_after(StoreOp::Fence);
    sleeper.operations.request_cutover(id).await.unwrap();
    fenced.reached().await;
    // Stops at the comparison: it reads the replica's head to extend, then to compare.
    sleeper.b.gate_before(StoreOp::Ledger).open();
    let compare = sleeper.b.gate_before(StoreOp::Ledger);
    fenced.open();
    compare.reached().await;
    sleeper.control.down_for(ControlOp::Lease);

    // Rolled back; a second cutover has its intent recorded and has not fenced yet, and a writer
    // at the source, which did not get the notification, is acknowledged. The route says cutover_paused again,
    // on another revision.
    roll_back_by_hand(&world, tenant).await;
    let writer = world.deaf_process("p3");
    writer.engine.router().read_feed(tenant, 0, BatchLimit::events(1)).await.unwrap();
    other.operations.request_cutover(id).await.unwrap();
    let fence = other.a.gate_before(StoreOp::Fence);
    let driving = other.drive(id);
    fence.reached().await;
    note(&acked, 7, writer.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    compare.open();
    for_a_while().await;
    fence.open();
    driving.await.unwrap().unwrap();
    drop(sleeping);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_pause_itself_copied_is_read_back_before_the_switch() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    // The mirror has ended when the intent is recorded; later events are copied in the pause.
    let intent = process.control.gate_before(Op::record("cutover_started"));
    process.operations.request_cutover(id).await.unwrap();
    intent.reached().await;
    process.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    let copied = process.b.gate_after(StoreOp::Extend);
    intent.open();
    copied.reached().await;
    world.b.tamper(tenant, |rows| rows.events[50].data = Json::trusted("{\"n\":0}"));
    copied.open();
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!(ended.state.phase(), Phase::Failed, "{:?}", ended.error);
    assert_eq!(world.control.route(tenant).await.unwrap().unwrap().store, store_id("a"));
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_ledger_has_another_digest_is_not_switched_to() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let fenced = process.a.gate_after(StoreOp::Fence);
    process.operations.request_cutover(id).await.unwrap();
    fenced.reached().await;
    process.b.gate_before(StoreOp::Ledger).open();
    let compare = process.b.gate_before(StoreOp::Ledger);
    fenced.open();
    compare.reached().await;
    world.b.tamper(tenant, |rows| rows.ledger.head.digest = Digest::EMPTY);
    // It is reported where it was found, before anything else finds it.
    let rolled_back = process.control.gate_before(Op::record("cutover_rolled_back"));
    compare.open();
    rolled_back.reached().await;
    let told = process.violations();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("type=\"ledger\"") && told[0].ends_with(" 1.0"), "{told:?}");
    rolled_back.open();
    for_a_while().await;
    let log = world.control.log(id, 0, 100).await.unwrap();
    assert!(log.iter().all(|entry| entry.fact.name() != "switched"));
    assert_eq!(world.control.route(tenant).await.unwrap().unwrap().store, store_id("a"));
    drop(driving);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_the_tenant_has_left_may_fail_and_reads_and_writes_go_on() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let driver = world.process("p1");
    let (reader, writer) = (warm(&world, tenant, "p2").await, warm(&world, tenant, "p3").await);
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    // Both still have the old route; the store that it names is gone.
    reader.a.down();
    writer.a.down();
    let read = reader.engine.router().read_feed(tenant, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!(read.len(), 5);
    let told = writer.append(tenant, one(7, "s", ExpectedVersion::Any)).await;
    // The writer does not know whether the old store accepted it; the response of the new one says so.
    assert_eq!(told.unwrap().last_seq, 6);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_came_to_hold_other_events_after_the_preflight_is_never_adopted() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", auto()).await;
    world.b.tamper(tenant, |rows| {
        rows.ledger.role = Role::Fenced;
        rows.ledger.head.seq = 3;
    });
    let (_, before) = world.ledgers(tenant).await;
    let ended = process.drive_to_end(id).await;
    assert_eq!(ended.state.phase(), Phase::Failed);
    assert_eq!(world.ledgers(tenant).await.1, before, "nothing was changed there");
}

#[tokio::test(start_paused = true)]
async fn an_old_source_that_is_no_prefix_any_more_is_not_taken_as_the_windows_replica() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options { rollback_window_ms: 60_000, ..auto() }).await;
    process.drive_to_end(id).await;
    world.a.tamper(tenant, |rows| rows.ledger.head.digest = Digest::EMPTY);
    let (before, _) = world.ledgers(tenant).await;
    assert_eq!(before.role, Role::Fenced, "the window's replica is not yet made");
    let keeping = process.supervisor.spawn(id, |_| false);
    for_a_while().await;
    assert_eq!(world.ledgers(tenant).await.0, before, "nothing was changed there");
    drop(keeping);
    process.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_abort_removes_nothing_that_the_migration_has_not_copied() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", auto()).await;
    // Never adopted; and the present events are not the tenant's history.
    let mut others = world.history(tenant).await;
    others.truncate(3);
    world.b.tamper(tenant, |rows| {
        rows.ledger.role = Role::Fenced;
        rows.ledger.head.seq = 3;
        rows.events = others;
    });
    let (_, before) = world.ledgers(tenant).await;
    process.operations.abort(id, true).await.unwrap();
    process.drive_to_end(id).await;
    assert_eq!(world.ledgers(tenant).await.1, before);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_may_be_needed_is_never_purged() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let refused = |purged: Result<u64, OperationError>| {
        assert!(matches!(purged, Err(OperationError::NotPurgeable(_))), "{purged:?}");
    };
    // The authority.
    refused(process.operations.purge(tenant, &store_id("a")).await);
    // The point at which the next migration continues.
    let kept = process.start(tenant, "b", manual()).await;
    let driving = process.drive(kept);
    world.reached(tenant, Phase::DualWrite).await;
    process.operations.abort(kept, false).await.unwrap();
    driving.await.unwrap().unwrap();
    let id = process.start(tenant, "b", Options { rollback_window_ms: 60_000, ..auto() }).await;
    refused(process.operations.purge(tenant, &store_id("b")).await);
    // What the tenant can return to.
    process.drive_to_end(id).await;
    refused(process.operations.purge(tenant, &store_id("a")).await);
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.head.seq, b.head.seq), (50, 50));
}
