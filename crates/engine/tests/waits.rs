//! What a store refuses for a while, for a reason known or not, is waited out and reported; what shows damage
//! ends the migration.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{CutoverPolicy, Options, Phase};
use rehome_domain::stream::ExpectedVersion;
use rehome_engine::migration::Waiting;
use rehome_ports::fault::{ControlOp, StoreOp};
use rehome_ports::{
    BatchLimit, ControlPlane as _, EventStore as _, FaultKind, LedgerStore as _, ReadError,
};
use world::{World, one};

fn passing() -> Vec<FaultKind> {
    vec![
        FaultKind::Failing("not now (SQLSTATE P0001)".to_owned()),
        FaultKind::ReadOnly,
        FaultKind::Full,
        FaultKind::Missing("there".to_owned()),
        FaultKind::Foreign("its meta table is missing".to_owned()),
        FaultKind::NewerFormat { found: 9, known: 1 },
        FaultKind::OtherDeployment { found: "x".to_owned(), expected: "y".to_owned() },
    ]
}

async fn for_long() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

async fn waiting(world: &World, id: MigrationId) -> Option<Waiting> {
    Waiting::of(&*world.control, id).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_copy_waits_for_a_target_that_refuses_and_says_why() {
    for kind in passing() {
        let world = World::new();
        let tenant = world.tenant_with(1, 300).await;
        let process = world.process("p1");
        process.b.fail_with(StoreOp::Extend, kind.clone());
        let options = Options { lag_events_max: 100, ..Options::default() };
        let id = process.start(tenant, "b", options).await;
        let driving = process.drive(id);
        for_long().await;
        assert_eq!(world.phase(tenant).await, Some(Phase::BulkCopy), "{kind:?}");
        let why = waiting(&world, id).await.expect("it waits").why;
        assert!(why.contains(&kind.to_string()), "{why}");
        process.b.heal();
        driving.await.unwrap().unwrap();
        assert_eq!(world.phase(tenant).await, Some(Phase::Migrated), "{kind:?}");
        assert_eq!(waiting(&world, id).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_waits_for_a_target_that_refuses_and_says_why() {
    for kind in passing() {
        let world = World::new();
        let tenant = world.tenant_with(1, 300).await;
        let process = world.process("p1");
        let manual = Options { cutover: CutoverPolicy::Manual, ..Options::default() };
        let id = process.start(tenant, "b", manual).await;
        let _driving = process.drive(id);
        world.reached(tenant, Phase::DualWrite).await;
        process.b.fail_with(StoreOp::Extend, kind.clone());
        process.append(tenant, one(1, "new", ExpectedVersion::Any)).await.unwrap();
        for_long().await;
        assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite), "{kind:?}");
        let why = waiting(&world, id).await.expect("it waits").why;
        assert!(why.contains(&kind.to_string()), "{why}");
        process.b.heal();
        for_long().await;
        assert_eq!(waiting(&world, id).await, None);
        let (a, b) = world.ledgers(tenant).await;
        assert_eq!(a.head, b.head);
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_fails_in_an_unknown_way_is_waited_out() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options::default()).await;
    process.control.fail_with(ControlOp::Record, FaultKind::Failing("not now".to_owned()));
    let driving = process.drive(id);
    for_long().await;
    process.control.heal();
    driving.await.unwrap().unwrap();
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
}

#[tokio::test(start_paused = true)]
async fn damage_ends_a_migration() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let process = world.process("p1");
    process.b.fail_with(StoreOp::Extend, FaultKind::Corrupt("a torn page".to_owned()));
    let id = process.start(tenant, "b", Options::default()).await;
    let _driving = process.drive(id);
    world.reached(tenant, Phase::Failed).await;
    let error = world.control.migration(id).await.unwrap().error.unwrap();
    assert!(error.contains("a torn page"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_position_beyond_the_end_is_no_empty_answer() {
    let world = World::new();
    let tenant = world.tenant_with(1, 10).await;
    let process = world.process("p1");
    let router = process.engine.router();
    let read = |after| router.read_feed(tenant, after, BatchLimit::PAGE);
    assert_eq!(read(10).await.unwrap().len(), 0);
    let Err(ReadError::BeyondEnd(beyond)) = read(11).await else { panic!("a quiet success") };
    assert_eq!((beyond.position, beyond.end), (11, 10));
    let set = |seq| router.set_checkpoint(tenant, "projection", seq);
    set(10).await.unwrap();
    assert!(matches!(set(11).await, Err(ReadError::BeyondEnd(_))));
    assert_eq!(process.engine.control().checkpoint(tenant, "projection").await.unwrap(), 10);
}

/// A position that the new authority has handed out, read through a process that knows the old one only.
#[tokio::test(start_paused = true)]
async fn a_position_from_beyond_the_cutover_is_no_false_alarm_where_the_route_is_stale() {
    let world = World::new();
    let tenant = world.tenant_with(1, 10).await;
    let stale = world.deaf_process("stale");
    assert_eq!(stale.engine.router().head(tenant).await.unwrap(), 10);
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options::default()).await;
    process.drive_to_end(id).await;
    for n in 1..=5 {
        process.append(tenant, one(n, "new", ExpectedVersion::Any)).await.unwrap();
    }
    assert_eq!(world.a.ledger(tenant).await.unwrap().head.seq, 10);
    let read = stale.engine.router().read_feed(tenant, 15, BatchLimit::PAGE).await;
    assert_eq!(read.unwrap().len(), 0);
}
