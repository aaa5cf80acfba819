//! Notifications of changed routes: they make things faster, and correctness does not depend on them.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::Phase;
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::fault::{ControlOp, Op, StoreOp};
use rehome_ports::{BatchLimit, EventStore, RouteNews};
use tokio::time::Instant;
use world::{Acked, Process, World, auto, config, for_a_while, manual, migrated_or_done, one};

/// Puts the tenant's route into the process's cache.
async fn warm(process: Process, tenant: TenantId) -> Process {
    process.engine.router().read_feed(tenant, 0, BatchLimit::events(1)).await.unwrap();
    for_a_while().await;
    process
}

/// How often a writer reads the route in a tenth of a second of a cutover's pause, and for how
/// long it waits after the switch.
async fn pause_of(writer: impl FnOnce(&World) -> Process) -> (u64, Duration) {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    let driver = world.process("driver");
    let writer = warm(writer(&world), tenant).await;
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let switch = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    switch.reached().await;

    let acked = Acked::default();
    let engine = writer.engine.clone();
    let append = one(7, "s", ExpectedVersion::Any);
    let waiting = tokio::spawn(async move { engine.router().append(tenant, append).await });
    // Not a multiple of any poll.
    tokio::time::sleep(Duration::from_micros(3_300)).await;
    let before = writer.control.calls(ControlOp::Route);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let looks = writer.control.calls(ControlOp::Route) - before;
    switch.open();
    let since = Instant::now();
    let told = waiting.await.unwrap().unwrap();
    let waited = since.elapsed();
    acked.lock().unwrap().insert(world::event(7).id, (told.last_version, told.last_seq));
    driving.await.unwrap().unwrap();
    world.check(tenant, &acked).await;
    (looks, waited)
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_hears_of_the_switch_and_hardly_looks() {
    let (looks, waited) = pause_of(|world| world.process("writer")).await;
    assert!(looks <= 11, "it looked {looks} times");
    assert!(waited < Duration::from_millis(2), "it waited for {waited:?} more");
    let (looks, waited) = pause_of(|world| world.deaf_process("writer")).await;
    assert!(looks >= 40, "without news it has to look: {looks} times");
    assert!(waited <= Duration::from_millis(3), "it waited for {waited:?} more");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_told_of_the_switch_asks_the_new_store_at_once() {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    let told = warm(world.process("told"), tenant).await;
    let deaf = warm(world.deaf_process("deaf"), tenant).await;
    let driver = world.process("driver");
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    for_a_while().await;

    let reads = told.control.calls(ControlOp::Route);
    told.control.down();
    told.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    assert_eq!(told.a.calls(StoreOp::Append), 0, "the old store was not asked");
    assert_eq!(told.control.calls(ControlOp::Route), reads, "nor the control plane");
    // The writer without the notification is refused, and continues from there.
    deaf.append(tenant, one(8, "s", ExpectedVersion::Any)).await.unwrap();
    assert_eq!(deaf.a.calls(StoreOp::Append), 1);
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_in_a_silence_is_read_once_it_is_over() {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    let (there, back) = (world.process("there"), world.process("back"));
    let process = warm(world.process("listener"), tenant).await;
    world.control.news().tell(RouteNews::Silent);
    let id = there.start(tenant, "b", auto()).await;
    there.drive_to_end(id).await;
    for_a_while().await;
    let reads = process.control.calls(ControlOp::Route);
    world.control.news().tell(RouteNews::Listening);
    for_a_while().await;
    assert_eq!(process.control.calls(ControlOp::Route), reads + 1, "read again, once");
    process.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    assert_eq!(process.a.calls(StoreOp::Append), 0, "the old store was not asked");
    // And so it receives later notifications.
    let id = back.start(tenant, "a", auto()).await;
    back.drive_to_end(id).await;
    for_a_while().await;
    let appends = process.b.calls(StoreOp::Append);
    process.append(tenant, one(8, "s", ExpectedVersion::Any)).await.unwrap();
    assert_eq!(process.b.calls(StoreOp::Append), appends);
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_tells_and_cannot_be_read_stops_no_read_and_no_write() {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    let process = warm(world.process("p"), tenant).await;
    process.control.down();
    let news = world.control.news();
    for rev in [7, 8] {
        news.tell(RouteNews::Changed { tenant, rev });
        news.tell(RouteNews::Silent);
        news.tell(RouteNews::Listening);
        for_a_while().await;
        process.append(tenant, one(rev.into(), "s", ExpectedVersion::Any)).await.unwrap();
        let read = process.engine.router().read_feed(tenant, 19, BatchLimit::events(9)).await;
        assert!(!read.unwrap().is_empty());
    }
    // One that hangs neither.
    process.control.heal();
    process.control.slow(ControlOp::Route, Duration::from_secs(3_600));
    news.tell(RouteNews::Changed { tenant, rev: 9 });
    for_a_while().await;
    process.append(tenant, one(9, "s", ExpectedVersion::Any)).await.unwrap();
    world.check(tenant, &Acked::default()).await;
}

/// The time until a driver acts on an abort by another process.
async fn abort_of(driver: impl FnOnce(&World) -> Process) -> Duration {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    let (driver, operator) = (driver(&world), world.process("operator"));
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.supervisor.spawn(id, |migration| {
        migrated_or_done(migration) || migration.state.phase() == Phase::RolledBack
    });
    world.reached(tenant, Phase::DualWrite).await;
    // Somewhere between two polls of the driver.
    tokio::time::sleep(Duration::from_millis(207)).await;
    operator.operations.abort(id, false).await.unwrap();
    let since = Instant::now();
    driving.await.unwrap().unwrap();
    since.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_driver_hears_of_an_abort_by_another_process() {
    let told = abort_of(|world| world.process("driver")).await;
    assert!(told < Duration::from_millis(2), "{told:?}");
    let deaf = abort_of(|world| world.deaf_process("driver")).await;
    assert!(deaf > told && deaf <= config().idle_poll, "{deaf:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lower_revision_than_was_told_makes_no_busy_loop() {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    let driver = world.process("driver");
    let writer = warm(world.process("writer"), tenant).await;
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let switch = driver.control.gate_before(Op::record("switched"));
    driver.operations.request_cutover(id).await.unwrap();
    switch.reached().await;
    let engine = writer.engine.clone();
    let append = one(7, "s", ExpectedVersion::Any);
    let waiting = tokio::spawn(async move { engine.router().append(tenant, append).await });
    // A control plane that lost time notifies of a revision that it does not have.
    world.control.news().tell(RouteNews::Changed { tenant, rev: 1_000 });
    let before = writer.control.calls(ControlOp::Route);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let looks = writer.control.calls(ControlOp::Route) - before;
    assert!(looks <= 15, "it looked {looks} times");
    switch.open();
    waiting.await.unwrap().unwrap();
    driving.await.unwrap().unwrap();
}
