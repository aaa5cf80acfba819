//! The brake: a copy gives way to writers and to stores that are slower than usual, says why, recovers, and never
//! stands still. Where nothing is slower than usual it costs nothing.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{CutoverPolicy, Options, Phase};
use rehome_engine::{Braked, Slowed};
use rehome_ports::ControlPlane as _;
use rehome_ports::fault::StoreOp;
use tokio::time::Instant;
use world::{Acked, World};

const EVENTS: u128 = 4_000;
/// What a batch of the copy takes.
const BATCH: Duration = Duration::from_millis(20);

fn batches() -> Options {
    Options { batch_events: 10, lag_events_max: 1, ..Options::default() }
}

async fn braked(world: &World, id: MigrationId) -> Option<Braked> {
    let memo = world.control.memo(id, Braked::MEMO).await.unwrap();
    memo.as_ref().and_then(Braked::of_memo)
}

/// Waits until the brake says so.
async fn until(world: &World, id: MigrationId, what: &str, is_so: impl Fn(Braked) -> bool) {
    let waits = async {
        while !braked(world, id).await.is_some_and(&is_so) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(300), waits).await;
    assert!(in_time.is_ok(), "{what}: {:?}", braked(world, id).await);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_slower_than_usual_a_copy_is_as_fast_as_without_a_brake() {
    let world = World::new();
    let tenant = world.tenant_with(1, EVENTS).await;
    let process = world.process("p1");
    process.b.slow(StoreOp::Extend, BATCH);
    let manual = Options { cutover: CutoverPolicy::Manual, ..batches() };
    let id = process.start(tenant, "b", manual).await;
    let began = Instant::now();
    let _driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let took = began.elapsed().as_secs_f64();
    let needed = BATCH.as_secs_f64() * (EVENTS as f64 / 10.0);
    assert!(took < needed * 1.03 + 0.2, "{took} s instead of {needed} s");
    assert_eq!(braked(&world, id).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_copy_gives_way_to_writers_of_its_source_and_goes_on_when_they_are_quick_again() {
    let world = World::new();
    let (tenant, other) = (world.tenant_with(1, EVENTS).await, world.tenant_with(2, 10).await);
    let process = world.process("p1");
    process.b.slow(StoreOp::Extend, BATCH);
    let acked = Acked::default();
    let writers = process.writers(other, 2, &acked);
    let id = process.start(tenant, "b", batches()).await;
    let driving = process.drive(id);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(braked(&world, id).await, None);
    process.a.slow(StoreOp::Append, Duration::from_millis(30));
    until(&world, id, "it is slowed", |braked| {
        braked.why == Some(Slowed::SourceAppends) && braked.percent <= 10
    })
    .await;
    // It goes on all the same.
    let before = world.ledgers(tenant).await.1.head.seq;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.ledgers(tenant).await.1.head.seq > before);
    process.a.heal();
    until(&world, id, "it has recovered", |braked| braked.percent == 100 && braked.why.is_none())
        .await;
    writers.stop().await;
    driving.await.unwrap().unwrap();
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_becomes_slow_is_spared_and_a_copy_to_one_that_stays_slow_comes_to_its_end() {
    let world = World::new();
    let tenant = world.tenant_with(1, 1_000).await;
    let process = world.process("p1");
    process.b.slow(StoreOp::Extend, BATCH);
    let id = process.start(tenant, "b", batches()).await;
    let driving = process.drive(id);
    tokio::time::sleep(Duration::from_millis(700)).await;
    process.b.slow(StoreOp::Extend, Duration::from_millis(300));
    until(&world, id, "it is slowed", |braked| braked.why == Some(Slowed::TargetWrites)).await;
    tokio::time::timeout(Duration::from_secs(3_600), driving).await.unwrap().unwrap().unwrap();
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
}
