//! Many followers of one tenant: each gets every event once, in order, and one read serves those that are level.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::migration::{Options, Phase};
use rehome_domain::stream::ExpectedVersion;
use rehome_engine::Follower;
use rehome_ports::BatchLimit;
use rehome_ports::fault::StoreOp;
use tokio::task::JoinSet;
use world::{Process, World, one};

const FOLLOWERS: usize = 50;
const BEFORE: u64 = 10;

/// Followers after `after`, and each one's events up to `upto`.
fn follow(
    process: &Process,
    after: u64,
    upto: u64,
    at_once: usize,
) -> JoinSet<Vec<rehome_domain::event::Event>> {
    let mut all = JoinSet::new();
    for _ in 0..FOLLOWERS {
        let mut follower = Follower::new(&process.engine, world::tenant(1), after);
        all.spawn(async move {
            let mut events = Vec::new();
            while follower.position() < upto {
                follower.ready().await;
                let some = follower.next(BatchLimit::events(at_once)).await.unwrap();
                assert!(some.len() <= at_once);
                events.extend(some);
            }
            events
        });
    }
    all
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test(start_paused = true)]
async fn one_read_serves_all_that_are_level() {
    let world = World::new();
    let tenant = world.tenant_with(1, BEFORE.into()).await;
    let process = world.process("p1");
    let received = follow(&process, BEFORE, BEFORE + 20, 100);
    // They have all found nothing yet.
    a_moment().await;
    let before = process.a.calls(StoreOp::ReadFeed);
    for n in 0..20 {
        process.append(tenant, one(n, "new", ExpectedVersion::Any)).await.unwrap();
        a_moment().await;
    }
    let history = world.history(tenant).await;
    for events in received.join_all().await {
        assert_eq!(events, history[10..]);
    }
    let reads = process.a.calls(StoreOp::ReadFeed) - before;
    assert!(reads <= 25, "{reads} reads of 20 events");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_behind_or_takes_little_at_once_gets_every_event_too() {
    let world = World::new();
    let tenant = world.tenant_with(1, BEFORE.into()).await;
    let process = world.process("p1");
    let received = [(0, 3), (4, 100), (BEFORE, 1), (BEFORE, 7)]
        .map(|(after, at_once)| (after, follow(&process, after, BEFORE + 300, at_once)));
    a_moment().await;
    // More at once than the tail reads at once.
    for some in 0..2_u128 {
        let ids = some * 150..(some + 1) * 150;
        let appends = ids.map(|n| one(n, "new", ExpectedVersion::Any)).collect();
        let outcomes = process.engine.router().append_all(tenant, appends).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
    let history = world.history(tenant).await;
    for (after, received) in received {
        for events in received.join_all().await {
            assert_eq!(events, history[usize::try_from(after).unwrap()..]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn they_follow_across_a_cutover() {
    let world = World::new();
    let tenant = world.tenant_with(1, BEFORE.into()).await;
    let process = world.process("p1");
    let received = follow(&process, BEFORE, BEFORE + 40, 100);
    let id = process.start(tenant, "b", Options::default()).await;
    let driving = process.drive(id);
    for n in 0..40 {
        process.append(tenant, one(n, "new", ExpectedVersion::Any)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.reached(tenant, Phase::Migrated).await;
    let history = world.history(tenant).await;
    for events in received.join_all().await {
        assert_eq!(events, history[10..]);
    }
    drop(driving);
}
