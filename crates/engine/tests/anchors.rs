//! What both stores of a migration have seen of its log.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Options, Phase};
use rehome_ports::fault::StoreOp;
use rehome_ports::log_chain::{Followed, LogAnchor, follows};
use rehome_ports::{ControlPlane, LedgerStore};
use world::{World, auto, for_a_while, manual};

const HOURS: Duration = Duration::from_secs(36_000);

async fn seen(store: &dyn LedgerStore) -> Vec<LogAnchor> {
    store.anchors(None, 10).await.unwrap()
}

/// Every anchor of both stores is an entry that the log has; answers how far they are, and the log.
async fn compared(world: &World, id: MigrationId) -> ([u64; 2], u64) {
    let log = world.control.log(id, 0, 1_000).await.unwrap();
    let mut before = Followed::START;
    let mut at = [0; 2];
    for entry in &log {
        follows(before, entry).unwrap();
        before = Followed::to(entry);
    }
    for (far, store) in at.iter_mut().zip([&world.a, &world.b]) {
        for anchor in seen(&**store).await {
            assert_eq!(anchor.migration, id);
            let entry = log.iter().find(|entry| entry.index == anchor.seen.index).unwrap();
            assert_eq!(Followed::to(entry), anchor.seen);
            *far = anchor.seen.index;
        }
    }
    (at, before.index)
}

#[tokio::test(start_paused = true)]
async fn both_stores_have_seen_the_log_to_its_end_when_a_migration_is_over() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    let (seen, entries) = compared(&world, id).await;
    assert_eq!(seen, [entries; 2]);
    assert!(entries > 5, "{entries}");
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_while_it_waits_is_seen_and_so_is_what_an_heir_records() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let (first, _) = compared(&world, id).await;
    assert!(first[0] > 1 && first[0] == first[1], "{first:?}");
    drop(driving);
    let heir = world.process("p2");
    let driving = heir.drive(id);
    heir.operations.request_cutover(id).await.unwrap();
    world.reached(tenant, Phase::Migrated).await;
    driving.await.unwrap().unwrap();
    let (last, entries) = compared(&world, id).await;
    assert_eq!(last, [entries; 2]);
    assert!(entries > first[0]);
}

/// A store that answers nothing about anchors, or refuses them, holds up nobody; the other store has them.
#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_none_holds_up_nobody() {
    for hangs in [true, false] {
        let world = World::new();
        let tenant = world.tenant_with(1, 60).await;
        let process = world.process("p1");
        if hangs {
            process.b.slow(StoreOp::Anchors, HOURS);
        } else {
            process.b.down_for(StoreOp::Anchors);
        }
        let began = tokio::time::Instant::now();
        let id = process.start(tenant, "b", Options { lag_events_max: 1_000, ..auto() }).await;
        process.drive_to_end(id).await;
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        let (seen, entries) = compared(&world, id).await;
        assert_eq!(seen[1], 0, "the target was asked in vain");
        assert!(seen[0] > 0 && seen[0] <= entries, "{seen:?} of {entries}");
    }
}

/// Writers wait for a cutover: nothing is written then that is not needed for it.
#[tokio::test(start_paused = true)]
async fn no_anchor_is_written_while_writers_wait() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let gate = process.a.gate_after(StoreOp::Fence);
    process.operations.request_cutover(id).await.unwrap();
    gate.reached().await;
    let calls = || [&process.a, &process.b].map(|script| script.calls(StoreOp::Anchors));
    let before = calls();
    let activated = process.b.gate_before(StoreOp::Activate);
    gate.open();
    activated.reached().await;
    assert_eq!(calls(), before);
    activated.open();
    driving.await.unwrap().unwrap();
    assert!(calls()[0] > before[0]);
}
