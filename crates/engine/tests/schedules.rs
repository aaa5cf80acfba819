//! Defects that were found by attack, each with the schedule that showed it.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::append::{Append, Appended};
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Role;
use rehome_domain::migration::{MirrorAck, Options, Phase};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::fault::{ControlOp, Op, StoreOp};
use rehome_ports::{AppendError, BatchLimit, ControlPlane, EventStore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use world::{Acked, Process, World, auto, for_a_while, manual, one, store_id, tenant};

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

#[tokio::test(start_paused = true)]
async fn a_driver_that_slept_before_its_cutover_activates_no_store_that_the_route_does_not_name() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, other) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let first = sleeper.start(tenant, "b", manual()).await;
    let sleeping = sleeper.drive(first);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let gate = sleeper.control.gate_before(ControlOp::Route);
    other.operations.request_cutover(first).await.unwrap();
    gate.reached().await;

    other.operations.abort(first, false).await.unwrap();
    let second = other.start(tenant, "b", auto()).await;
    other.drive_to_end(second).await;
    gate.open();
    for_a_while().await;
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.role, b.role), (Role::Fenced, Role::Active), "{a:?} {b:?}");
    drop(sleeping);
    note(&acked, 7, other.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap());
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_slept_before_it_read_the_ledger_takes_nothing_from_an_authority_in_its_pause()
{
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (sleeper, driver) = (world.process("p1"), world.process("p2"));
    let acked = Acked::default();
    let there = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(there).await;

    // The route says b; the operator's purge of a is stopped before it reads a.
    let gate = sleeper.a.gate_before(StoreOp::Ledger);
    let operations = sleeper.operations.clone();
    let purge = tokio::spawn(async move { operations.purge(tenant, &store_id("a")).await });
    gate.reached().await;

    // The tenant goes back to a, and is fenced there by the next cutover.
    let back = driver.start(tenant, "a", auto()).await;
    driver.drive_to_end(back).await;
    let again = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(again);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    driver.b.slow(StoreOp::Extend, Duration::from_millis(500));
    let late = append(&driver, tenant, one(7, "s", ExpectedVersion::Any));
    let fenced = driver.a.gate_after(StoreOp::Fence);
    driver.operations.request_cutover(again).await.unwrap();
    fenced.reached().await;
    note(&acked, 7, late.await.unwrap().unwrap());
    gate.open();
    let purged = purge.await.unwrap();
    fenced.open();
    driver.b.heal();
    for_a_while().await;
    let (a, b) = world.ledgers(tenant).await;
    assert!(purged.is_err(), "purged {purged:?} events of the authority: {a:?} {b:?}");
    driving.await.unwrap().unwrap();
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn writers_of_two_paused_tenants_do_not_wake_each_other_in_a_busy_loop() {
    let world = World::new();
    let (one_tenant, other) = (world.tenant_with(1, 5).await, world.tenant_with(2, 5).await);
    let driver = world.process("p1");
    let writer = world.process("p2");
    let mut drives = Vec::new();
    let mut gates = Vec::new();
    for tenant in [one_tenant, other] {
        let id = driver.start(tenant, "b", manual()).await;
        drives.push(driver.drive(id));
        world.reached(tenant, Phase::DualWrite).await;
        let gate = driver.control.gate_before(Op::record("switched"));
        driver.operations.request_cutover(id).await.unwrap();
        gate.reached().await;
        gates.push(gate);
    }
    let appends = [one_tenant, other]
        .map(|tenant| append(&writer, tenant, one(7, "s", ExpectedVersion::Any)));
    let before = writer.control.calls(ControlOp::Route);
    tokio::select! {
        () = writer.control.called(ControlOp::Route, before + 10_000) => {
            panic!("10000 looks at the routes before 100 ms have passed");
        }
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    drop(gates);
    for append in appends {
        append.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_store_never_answers_is_told_so_within_its_bound() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let (hanging, driver) = (warm(&world, tenant, "p1").await, world.process("p2"));
    let acked = Acked::default();
    let gate = hanging.a.gate_before(StoreOp::Append);
    let first = append(&hanging, tenant, one(7, "s", ExpectedVersion::Any));
    gate.reached().await;
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    let within = Duration::from_secs(12);
    let told = tokio::time::timeout(within, first).await.expect("bounded").unwrap();
    assert!(matches!(told, Err(AppendError::OutcomeUnknown { .. })), "{told:?}");
    // The tenant is not wedged in this process: it is active at b.
    let next =
        tokio::time::timeout(within, hanging.append(tenant, one(8, "s", ExpectedVersion::Any)));
    note(&acked, 8, next.await.expect("bounded").unwrap());
    gate.open();
    for_a_while().await;
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_lost_time_serves_no_answers_of_a_store_that_lost_the_authority() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = world.process("p1");
    let backup = world.control.snapshot();
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    process.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    world.control.restore(backup);
    let fresh = world.process("p2");
    let read = fresh.engine.router().read_feed(tenant, 0, BatchLimit::PAGE).await;
    let seen = read.as_ref().map(Vec::len);
    assert!(!matches!(seen, Ok(5)), "an acknowledged write is missing from the answer");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_knew_later_revisions_follows_a_recovered_route() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = world.process("p1");
    let backup = world.control.snapshot();
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    process.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    world.control.restore(backup);
    let (a, b) = world.ledgers(tenant).await;
    let route = world.control.route(tenant).await.unwrap().unwrap();
    let n = a.epoch.max(b.epoch);
    world
        .control
        .recover(tenant, route.rev, &store_id("b"), n, b.head.seq, "operator")
        .await
        .unwrap();
    let fresh = world.process("p2");
    fresh.append(tenant, one(8, "s", ExpectedVersion::Any)).await.unwrap();
    let told = process.append(tenant, one(9, "s", ExpectedVersion::Any)).await;
    assert!(told.is_ok(), "{told:?} {:?}", std::error::Error::source(&told.as_ref().unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_for_the_target_is_answered_when_the_mirror_stops() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = world.process("p1");
    let options =
        Options { mirror_ack: MirrorAck::Target, mirror_ack_timeout_ms: 60_000, ..manual() };
    let id = process.start(tenant, "b", options).await;
    let _driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let gate = process.a.gate_after(StoreOp::ReadFeed);
    gate.reached().await;
    let waiting = append(&process, tenant, one(7, "s", ExpectedVersion::Any));
    process.a.called(StoreOp::Append, 1).await;
    process.operations.pause(id).await.unwrap();
    for_a_while().await;
    gate.open();
    let began = Instant::now();
    waiting.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "held for {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cutover_does_not_begin_before_the_mirror_has_seen_how_far_the_source_is() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (dying, heir) = (world.process("p1"), world.process("p2"));
    let id = dying.start(tenant, "b", manual()).await;
    let driving = dying.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(driving);
    for i in 0..500 {
        heir.append(tenant, one(i + 1, "s", ExpectedVersion::Any)).await.unwrap();
    }
    heir.a.slow(StoreOp::ReadFeed, Duration::from_millis(100));
    heir.operations.request_cutover(id).await.unwrap();
    let gate = heir.control.gate_before(Op::record("cutover_started"));
    let driving = heir.drive(id);
    gate.reached().await;
    let (a, b) = world.ledgers(tenant).await;
    assert!(a.head.seq - b.head.seq <= 20, "begins {} behind", a.head.seq - b.head.seq);
    gate.open();
    driving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_slow_to_read_is_verified_while_writers_go_on() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let acked = Acked::default();
    process.b.slow(StoreOp::ReadFeed, Duration::from_millis(20));
    let id = process
        .start(tenant, "b", Options { batch_events: 2_000, lag_events_max: 1_000, ..auto() })
        .await;
    let writers = process.writers(tenant, 4, &acked);
    let driving = process.drive(id);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let phase = world.phase(tenant).await;
    let log = world.control.log(id, 0, 100).await.unwrap();
    let facts: Vec<_> = log.iter().map(|entry| entry.fact.name()).collect();
    writers.stop().await;
    drop(driving);
    assert_eq!(phase, Some(Phase::Migrated), "{facts:?}");
    world.check(tenant, &acked).await;
}

#[tokio::test]
async fn a_copy_throttled_to_a_crawl_can_be_retuned() {
    let world = World::new();
    let tenant = world.tenant_with(1, 100).await;
    let process = world.process("p1");
    let options = Options { copy_bytes_rate_max: 1, ..auto() };
    let id = process.start(tenant, "b", options).await;
    let driving = process.drive(id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    process
        .operations
        .tune(id, |options| Options { copy_bytes_rate_max: 0, ..options })
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), driving).await;
    ended.expect("the new rate is taken over").unwrap().unwrap();
}

#[tokio::test]
async fn a_verification_throttled_to_a_crawl_can_be_retuned() {
    let world = World::new();
    let tenant = world.tenant_with(1, 100).await;
    let process = world.process("p1");
    let options = Options { lag_events_max: 1_000, ..auto() };
    let id = process.start(tenant, "b", options).await;
    process.operations.tune(id, |options| Options { copy_rate_max: 1, ..options }).await.unwrap();
    let driving = process.drive(id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.operations.tune(id, |options| Options { copy_rate_max: 0, ..options }).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), driving).await;
    ended.expect("the new rate is taken over").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_return_works_while_a_driver_keeps_the_window() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (driver, operator) = (world.process("p1"), world.process("p2"));
    let options = Options { rollback_window_ms: 600_000, ..auto() };
    let there = driver.start(tenant, "b", options).await;
    driver.drive_to_end(there).await;
    let keep = driver.supervisor.spawn(there, |_| false);
    for_a_while().await;
    let gate = operator.a.gate_before(StoreOp::Drop);
    let operations = operator.operations.clone();
    let back = tokio::spawn(async move { operations.start_return(there, auto()).await });
    gate.reached().await;
    for_a_while().await;
    gate.open();
    let back = back.await.unwrap();
    assert!(back.is_ok(), "{:?}", back.err());
    driver.drive_to_end(back.unwrap().id).await;
    keep.await.unwrap().unwrap();
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_version_that_would_be_checked_wrongly_stops_the_migration() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let options = Options { verification: rehome_domain::verification::Level::Count, ..auto() };
    let gate = process.b.gate_after(StoreOp::Extend);
    let id = process.start(tenant, "b", options).await;
    let driving = process.drive(id);
    gate.reached().await;
    world.b.tamper(tenant, |rows| {
        rows.versions.insert(world::stream("old-1"), 3);
    });
    gate.open();
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!(ended.state.phase(), Phase::Failed);
}

#[tokio::test(start_paused = true)]
async fn two_drivers_at_once_do_no_harm() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 4, &acked);
    let id = process.start(tenant, "b", auto()).await;
    // The same holder: both have the lease.
    let (left, right) = (process.drive(id), process.drive(id));
    left.await.unwrap().unwrap();
    right.await.unwrap().unwrap();
    for_a_while().await;
    writers.stop().await;
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_met_a_tenant_half_created_is_not_told_that_its_history_is_lost() {
    let world = World::new();
    let tenant = tenant(1);
    // The route is there and the first store has not been activated: absent, and rightly so.
    world.control.create_route(tenant, &store_id("a")).await.unwrap();
    let (reader, writer) = (world.process("p1"), world.process("p2"));
    let gate = reader.a.gate_after(StoreOp::ReadFeed);
    let engine = reader.engine.clone();
    let reading =
        tokio::spawn(
            async move { engine.router().read_feed(tenant, 0, BatchLimit::events(9)).await },
        );
    gate.reached().await;
    // The creation is completed before the reader reads the route again. No `rev` moves by that.
    writer.append(tenant, one(7, "s", ExpectedVersion::NoStream)).await.unwrap();
    gate.open();

    let events = reading.await.unwrap().unwrap();
    assert_eq!(events.len(), 1, "the store is asked again");
}
