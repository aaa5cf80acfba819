//! The copy's rate, in real time: only lower bounds are asserted, so a slow machine changes nothing.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::{Duration, Instant};

use rehome_domain::migration::{Options, Phase};
use rehome_ports::fault::StoreOp;
use world::{Acked, World, auto};

#[tokio::test]
async fn a_copy_is_never_faster_than_its_rate() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let options = Options { copy_rate_max: 1_000, lag_events_max: 1, ..auto() };
    let began = Instant::now();
    let id = process.start(tenant, "b", options).await;
    process.drive_to_end(id).await;
    // 400 events at 1,000 per second, of which a burst of 100 may come at once.
    assert!(began.elapsed() >= Duration::from_millis(290), "took {:?}", began.elapsed());
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test]
async fn a_copy_is_never_faster_than_its_bytes_rate() {
    let world = World::new();
    let tenant = world.tenant_with(1, 200).await;
    let process = world.process("p1");
    // An event counts as about 190 bytes: 200 of them take about 0.4 s.
    let options = Options { copy_bytes_rate_max: 100_000, lag_events_max: 1, ..auto() };
    let began = Instant::now();
    let id = process.start(tenant, "b", options).await;
    process.drive_to_end(id).await;
    assert!(began.elapsed() >= Duration::from_millis(200), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_copy_is_retuned_while_it_runs() {
    let world = World::new();
    let tenant = world.tenant_with(1, 2_000).await;
    let process = world.process("p1");
    let slow = Options { copy_rate_max: 10, lag_events_max: 1, ..auto() };
    let id = process.start(tenant, "b", slow).await;
    let driving = process.drive(id);
    process.b.called(StoreOp::Extend, 3).await;
    assert_eq!(world.phase(tenant).await, Some(Phase::BulkCopy));
    process.operations.tune(id, |options| Options { copy_rate_max: 0, ..options }).await.unwrap();
    // At the old rate this would take more than three minutes; `drive_to_end` waits for two.
    let ended = tokio::time::timeout(Duration::from_secs(60), driving).await;
    assert_eq!(ended.unwrap().unwrap().unwrap().migration.state.phase(), Phase::Migrated);
}
