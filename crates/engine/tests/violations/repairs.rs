//! Repairs of a copy.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_repair_cuts_the_copy_back_copies_it_again_and_closes_what_was_open() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 2, &acked);
    let (id, driving) = waiting(&world, &process, tenant).await;
    delete(&world, tenant, 70);
    process.operations.verify(id, &HASH).await.unwrap();
    let before = row(&world, id).await;
    process.operations.request_repair(id).await.unwrap();
    until("it is repaired", async || open(&world, id).await.is_none()).await;
    let after = row(&world, id).await;
    assert!(after.m > before.m, "under an epoch of its own");
    assert_eq!((after.state.phase(), after.violations.repairs), (Phase::DualWrite, 1));
    assert_eq!(cut_back_to(&world, id).await, [69]);
    // Positions read back before the repair do not count.
    let mark = world.control.marks(id).await.unwrap().read_back.unwrap();
    assert_eq!(mark.m, after.m);
    writers.stop().await;
    process.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_repair_brings_a_migration_back_that_failed_for_it() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let gate = process.b.gate_after(StoreOp::Extend);
    let id = process.start(tenant, "b", auto()).await;
    let driving = process.drive(id);
    gate.reached().await;
    world.b.tamper(tenant, |rows| rows.events[9].data = Json::trusted("{\"n\":0}"));
    gate.open();
    assert_eq!(driving.await.unwrap().unwrap().migration.state.phase(), Phase::Failed);
    process.operations.request_repair(id).await.unwrap();
    let ended = process.drive_to_end(id).await;
    assert_eq!(ended.state.phase(), Phase::Migrated);
    assert_eq!((ended.error, ended.violations.open), (None, None));
    world.check(tenant, &Acked::default()).await;
}

/// The damage is not in the rows of events: there is no position to truncate to.
#[tokio::test(start_paused = true)]
async fn a_repair_of_what_has_no_position_copies_all_again() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let (id, driving) = waiting(&world, &process, tenant).await;
    world.b.tamper(tenant, |rows| {
        rows.versions.insert(world::stream("old-1"), 3);
    });
    process.operations.verify(id, &Request { level: Level::Count, ..HASH }).await.unwrap();
    assert_eq!(open(&world, id).await.unwrap().finding.seq, None);
    process.operations.request_repair(id).await.unwrap();
    until("it is repaired", async || open(&world, id).await.is_none()).await;
    assert_eq!(cut_back_to(&world, id).await, [0]);
    process.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    world.check(tenant, &Acked::default()).await;
}

/// A driver is stopped before it truncates; another repairs, verifies and switches. The late request of the first
/// would remove events from the authority.
#[tokio::test(start_paused = true)]
async fn a_cut_back_that_sleeps_through_the_repair_and_the_switch_is_refused() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (sleeper, heir) = (world.deaf_process("p1"), world.process("p2"));
    let (id, sleeping) = waiting(&world, &sleeper, tenant).await;
    delete(&world, tenant, 70);
    heir.operations.verify(id, &HASH).await.unwrap();
    let cut = sleeper.b.gate_before(StoreOp::CutBack);
    sleeper.operations.request_repair(id).await.unwrap();
    cut.reached().await;
    sleeper.control.down_for(ControlOp::Lease);
    let driving = heir.drive(id);
    until("it is repaired", async || open(&world, id).await.is_none()).await;
    // And once more in the middle of the cutover, when both are compared.
    heir.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    heir.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    cut.open();
    for_a_while().await;
    assert_eq!(world.ledgers(tenant).await.1.head.seq, 401);
    drop(sleeping);
    world.check(tenant, &Acked::default()).await;
}

/// The auditor of the copy that was thrown away has a mark of its own, and so has its mirror.
#[tokio::test(start_paused = true)]
async fn an_auditor_and_a_mirror_that_sleep_through_a_repair_touch_nothing_of_the_new_copy() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (sleeper, heir) = (world.deaf_process("p1"), world.process("p2"));
    let (id, sleeping) = waiting(&world, &sleeper, tenant).await;
    delete(&world, tenant, 70);
    heir.operations.verify(id, &HASH).await.unwrap();
    let stale = world.control.marks(id).await.unwrap();
    let extend = sleeper.b.gate_before(StoreOp::Extend);
    heir.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    extend.reached().await;
    sleeper.control.down_for(ControlOp::Lease);
    heir.operations.request_repair(id).await.unwrap();
    let driving = heir.drive(id);
    until("it is repaired", async || open(&world, id).await.is_none()).await;
    let mark = world.control.marks(id).await.unwrap().read_back;
    world.control.set_marks(id, &stale).await.unwrap();
    assert_eq!(
        world.control.marks(id).await.unwrap().read_back,
        mark,
        "a stale mark claims nothing"
    );
    extend.open();
    for_a_while().await;
    heir.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    drop(sleeping);
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn damage_at_the_source_is_named_and_not_repaired_from_itself() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let (id, driving) = waiting(&world, &process, tenant).await;
    world.a.tamper(tenant, |rows| rows.events[99].data = Json::trusted("{\"n\":0}"));
    process.operations.verify(id, &HASH).await.unwrap();
    assert_eq!(open(&world, id).await.unwrap().finding.side, Side::Authority);
    let text = is_refused(process.operations.request_repair(id).await);
    assert!(text.contains("authority") && text.contains("seq 100"), "{text}");
    is_refused(process.operations.request_cutover(id).await);
    drop(driving);
}

/// The copy may be the only remaining one of the events damaged at the source.
#[tokio::test(start_paused = true)]
async fn a_copy_is_not_thrown_away_for_rows_that_are_damaged_themselves() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let (id, driving) = waiting(&world, &process, tenant).await;
    delete(&world, tenant, 70);
    process.operations.verify(id, &HASH).await.unwrap();
    assert_eq!(open(&world, id).await.unwrap().finding.side, Side::Copy);
    world.a.tamper(tenant, |rows| rows.events[99].data = Json::trusted("{\"n\":0}"));
    process.operations.request_repair(id).await.unwrap();
    until("the repair is refused", async || {
        let open = open(&world, id).await.unwrap();
        open.repair == Repair::NotRequested && open.finding.side == Side::Authority
    })
    .await;
    let text = is_refused(process.operations.request_cutover(id).await);
    assert!(text.contains("source's own row at seq 100 in store \"a\""), "{text}");
    assert_eq!(cut_back_to(&world, id).await, [0; 0]);
    world.reached(tenant, Phase::DualWrite).await;
    assert_eq!(world.ledgers(tenant).await.1.head.seq, 400);
    drop(driving);
}
