//! A finding prevents every cutover until it is refuted or repaired, for any finder and any
//! driver; and correct events cause no finding.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

mod repairs;
#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
#[path = "../world/mod.rs"]
mod world;

use std::time::Duration;

use rehome_domain::digest;
use rehome_domain::event::Json;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Migration, OpenViolation, Options, Phase, Refusal, Repair};
use rehome_domain::stream::ExpectedVersion;
use rehome_domain::verification::{Level, Side};
use rehome_engine::migration::OperationError;
use rehome_engine::verifier::Request;
use rehome_ports::fault::{ControlOp, StoreOp};
use rehome_ports::{Change, ControlError, ControlPlane};
use tokio::task::JoinHandle;
use world::{Acked, Drive, Process, World, auto, for_a_while, manual, one, store_id};

const HASH: Request = Request { level: Level::Hash, sample: 1.0, after_seq: 0, rate_max: 0 };

async fn row(world: &World, id: MigrationId) -> Migration {
    world.control.migration(id).await.unwrap()
}

async fn open(world: &World, id: MigrationId) -> Option<OpenViolation> {
    row(world, id).await.violations.open
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reached).await.expect(what);
}

/// Deletes a row of the copy.
fn delete(world: &World, tenant: TenantId, seq: u64) {
    world.b.tamper(tenant, |rows| rows.events.retain(|event| event.seq != seq));
}

/// A migration that is read back and verified, and waits for an operator.
async fn waiting(world: &World, process: &Process, tenant: TenantId) -> (MigrationId, Drive) {
    let length = world.ledgers(tenant).await.0.head.seq;
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    until("it is verified", async || {
        let marks = world.control.marks(id).await.unwrap();
        marks.verified_seq.is_some() && marks.read_back.is_some_and(|m| m.head.seq >= length)
    })
    .await;
    (id, driving)
}

fn is_refused<T: std::fmt::Debug>(asked: Result<T, OperationError>) -> String {
    match asked {
        Err(OperationError::Control(ControlError::Refused(
            refusal @ (Refusal::Violated { .. } | Refusal::NotRepairable { .. }),
        ))) => refusal.to_string(),
        other => panic!("refused for what is open: {other:?}"),
    }
}

/// Where the repairs of a migration have cut back to.
async fn cut_back_to(world: &World, id: MigrationId) -> Vec<u64> {
    let log = world.control.log(id, 0, 1_000).await.unwrap();
    let cuts = log.iter().filter_map(|entry| match entry.fact {
        Fact::CutBack { to, .. } => Some(to.seq),
        _ => None,
    });
    cuts.collect()
}

#[tokio::test(start_paused = true)]
async fn a_violation_that_a_verification_found_refuses_the_cutover_of_every_process() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, other) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    delete(&world, tenant, 70);
    let report = other.operations.verify(id, &HASH).await.unwrap().report;
    // The row that is missing, and the next one, which continues nothing.
    assert_eq!(report.violations_total, 2);
    assert!(!other.violations().is_empty(), "told as every other one is");

    for process in [&driver, &other, &world.process("one that was started later")] {
        let text = is_refused(process.operations.request_cutover(id).await);
        assert!(text.contains("missing at seq 70"), "{text}");
    }
    for_a_while().await;
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite), "the mirror goes on");
    // Nor does a policy cut over.
    let auto = |options| Options { cutover: auto().cutover, ..options };
    driver.operations.tune(id, auto).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite));
    drop(driving);
    // Nor does a process that takes over.
    let heir = world.process("p3");
    let inherited = heir.drive(id);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite));
    assert_eq!(row(&world, id).await.cutover_attempts, 0);
    drop(inherited);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_right_by_hand_is_closed_by_a_verification_that_looks_at_as_much() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let (id, driving) = waiting(&world, &process, tenant).await;
    let mut taken = None;
    world.b.tamper(tenant, |rows| taken = Some(rows.events.remove(69)));
    process.operations.verify(id, &HASH).await.unwrap();
    world.b.tamper(tenant, |rows| rows.events.push(taken.unwrap()));

    let count = Request { level: Level::Count, ..HASH };
    let part = Request { after_seq: 70, ..HASH };
    let sample = Request { sample: 0.9, ..HASH };
    for less in [count, part, sample] {
        let verified = process.operations.verify(id, &less).await.unwrap();
        assert_eq!(verified.report.violations_total, 0);
        assert!(verified.migration.violations.open.is_some(), "{less:?}");
        is_refused(process.operations.request_cutover(id).await);
    }
    let verified = process.operations.verify(id, &HASH).await.unwrap();
    assert_eq!(verified.migration.violations.open, None);
    process.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
    world.check(tenant, &Acked::default()).await;
}

/// Between the intent and the switch: the switch is refused, and writers continue at the source.
#[tokio::test(start_paused = true)]
async fn what_is_found_in_the_pause_rolls_the_cutover_back() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, other) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    delete(&world, tenant, 70);
    let fenced = driver.a.gate_after(StoreOp::Fence);
    driver.operations.request_cutover(id).await.unwrap();
    fenced.reached().await;
    let found = other.operations.verify(id, &HASH).await.unwrap();
    assert_eq!(found.migration.state.phase(), Phase::CutoverPaused);
    fenced.open();
    other.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let route = world.control.route(tenant).await.unwrap().unwrap();
    let phase = route.phase();
    assert_eq!((route.store, phase), (store_id("a"), Some(Phase::DualWrite)));
    let log = world.control.log(id, 0, 100).await.unwrap();
    assert!(!log.iter().any(|entry| matches!(entry.fact, Fact::Switched { .. })));
    drop(driving);
}

/// The same, and the driver is killed: the process that takes over does not fence first.
#[tokio::test(start_paused = true)]
async fn who_takes_over_a_pause_with_what_was_found_in_it_rolls_back_at_once() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, heir) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    delete(&world, tenant, 70);
    let fence = driver.a.gate_before(StoreOp::Fence);
    driver.operations.request_cutover(id).await.unwrap();
    fence.reached().await;
    heir.operations.verify(id, &HASH).await.unwrap();
    drop(driving);
    let inherited = heir.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    assert_eq!(heir.a.calls(StoreOp::Fence), 0);
    heir.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    drop((inherited, fence));
}

fn verify(process: &Process, id: MigrationId) -> JoinHandle<Result<u64, String>> {
    let operations = process.operations.clone();
    tokio::spawn(async move {
        let verified = operations.verify(id, &HASH).await;
        verified.map(|it| it.report.violations_total).map_err(|error| error.to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn a_verification_that_read_the_rows_before_they_were_damaged_closes_nothing() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, slow) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    let read = slow.b.gate_after(StoreOp::ReadFeed);
    let slowly = verify(&slow, id);
    read.reached().await;
    delete(&world, tenant, 70);
    driver.operations.verify(id, &HASH).await.unwrap();
    read.open();
    assert_eq!(slowly.await.unwrap(), Ok(0));
    assert_eq!(open(&world, id).await.unwrap().finding.seq, Some(70));
    is_refused(driver.operations.request_cutover(id).await);
    drop(driving);
}

#[tokio::test(start_paused = true)]
async fn rows_that_go_while_they_are_compared_are_no_violation() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, slow) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    let read = slow.b.gate_before(StoreOp::ReadFeed);
    let slowly = verify(&slow, id);
    read.reached().await;
    driver.operations.abort(id, true).await.unwrap();
    world.reached(tenant, Phase::RolledBack).await;
    until("it is purged", async || world.ledgers(tenant).await.1.head.seq == 0).await;
    read.open();
    let refused = slowly.await.unwrap().unwrap_err();
    assert!(refused.contains("verify again"), "{refused}");
    assert_eq!(row(&world, id).await.violations.found, 0);
    drop(driving);
}

#[tokio::test(start_paused = true)]
async fn a_verification_that_a_switch_overtakes_finds_nothing() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, slow) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    let read = slow.b.gate_before(StoreOp::ReadFeed);
    let slowly = verify(&slow, id);
    read.reached().await;
    driver.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    driver.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    read.open();
    assert_eq!(slowly.await.unwrap(), Ok(0));
    assert_eq!(open(&world, id).await, None);
}

/// The target has a valid chain, but another one than the source: recomputing alone would not
/// find it. The auditor compares with the source's own digest.
#[tokio::test(start_paused = true)]
async fn the_read_back_finds_a_history_that_is_consistent_in_itself_and_is_not_the_sources() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let audit = process.b.gate_before(StoreOp::ReadFeed);
    let id = process
        .start(tenant, "b", Options { lag_events_max: 1_000, batch_events: 100, ..manual() })
        .await;
    let driving = process.drive(id);
    audit.reached().await;
    until("all is mirrored", async || world.ledgers(tenant).await.1.head.seq == 60).await;
    world.b.tamper(tenant, |rows| {
        rows.events[9].data = Json::trusted("{\"n\":0}");
        let mut head = Head::EMPTY;
        for event in &mut rows.events {
            event.digest = digest::chain(&head.digest, event);
            head = Head::of(event);
        }
        rows.ledger.head = head;
    });
    audit.open();
    let ended = driving.await.unwrap().unwrap().migration;
    let error = ended.error.as_deref().unwrap_or_default();
    assert!(error.starts_with("read-back found a violation: content at seq 60"), "{error}");
    let found = ended.violations.open.unwrap().finding;
    assert_eq!((found.side, found.coverage.level), (Side::Copy, Level::Hash));
    let log = world.control.log(id, 0, 100).await.unwrap();
    assert!(!log.iter().any(|entry| matches!(entry.fact, Fact::Verified { .. })), "not by another");

    // Cut back to the last event that both have, and copied again.
    process.operations.request_repair(id).await.unwrap();
    let driving = process.drive(id);
    until("it is repaired", async || open(&world, id).await.is_none()).await;
    assert_eq!(cut_back_to(&world, id).await, [9]);
    process.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_found_after_the_switch_is_open_until_a_verification_is_clean() {
    let world = World::new();
    let tenant = world.tenant_with(1, 100).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    let mut taken = None;
    world.a.tamper(tenant, |rows| taken = Some(rows.events.remove(49)));
    let found = process.operations.verify(id, &HASH).await.unwrap();
    assert_eq!(found.migration.violations.open.unwrap().finding.side, Side::Copy);
    world.a.tamper(tenant, |rows| rows.events.push(taken.unwrap()));
    let clean = process.operations.verify(id, &HASH).await.unwrap();
    assert_eq!(clean.migration.violations.open, None);
}

/// A tenant moves back between the same two stores: a verification of the first migration reads the copy of
/// the second.
#[tokio::test(start_paused = true)]
async fn what_the_verification_of_an_old_migration_finds_stops_the_one_that_is_under_way() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let old = process.start(tenant, "b", auto()).await;
    process.drive_to_end(old).await;
    let id = process.start(tenant, "a", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    world.a.tamper(tenant, |rows| rows.events.retain(|event| event.seq != 70));
    process.operations.verify(old, &HASH).await.unwrap();
    is_refused(process.operations.request_cutover(id).await);
    // A clean one of the old migration refutes nothing of the one under way.
    let fact = Fact::Verified {
        level: Level::Full,
        after: 0,
        seq: 1_000,
        whole: true,
        violations: 0,
        refutes: Some(1),
    };
    let actor = "an operator".to_owned();
    world.control.record(Change { tenant, migration: old, rev: None, fact, actor }).await.unwrap();
    is_refused(process.operations.request_cutover(id).await);
    drop(driving);
}

/// Read back, and no read-back runs any more: the auditor verifies while the migration waits for an operator.
#[tokio::test(start_paused = true)]
async fn what_is_damaged_while_a_cutover_is_waited_for_is_found_by_reading_again() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let (_, driving) = waiting(&world, &process, tenant).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite), "nothing is wrong");
    delete(&world, tenant, 70);
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!(ended.state.phase(), Phase::Failed);
    assert_eq!(ended.violations.open.unwrap().finding.seq, Some(70));
}

/// A driver that has just taken over does not know when the mark was made.
#[tokio::test(start_paused = true)]
async fn what_was_read_back_long_ago_is_read_again_before_the_pause() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let (driver, heir) = (world.process("p1"), world.process("p2"));
    let (id, driving) = waiting(&world, &driver, tenant).await;
    drop(driving);
    delete(&world, tenant, 70);
    driver.operations.request_cutover(id).await.unwrap();
    let ended = heir.drive_to_end(id).await;
    assert_eq!((ended.state.phase(), ended.cutover_attempts), (Phase::Failed, 0));
    assert_eq!(ended.violations.open.unwrap().finding.seq, Some(70));
}
