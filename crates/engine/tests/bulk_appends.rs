//! Bulk appends keep their order, whatever happens on the way.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use rehome_domain::ids::TenantId;
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::fault::StoreOp;
use rehome_ports::{AppendError, BatchLimit, LedgerStore};
use world::{World, config, one};

/// The numbers of the events in the store, in the order of the history.
async fn history(world: &World, tenant: TenantId) -> Vec<u128> {
    let limit = BatchLimit { events: 10_000, bytes: usize::MAX };
    let feed = world.a.read_feed(tenant, 0, limit).await.unwrap();
    feed.events.iter().map(|event| event.id.uuid().as_u128()).collect()
}

#[tokio::test(start_paused = true)]
async fn they_are_committed_in_the_order_given_over_many_groups() {
    let world = World::new();
    let process = world.process("p1");
    let tenant = world::tenant(1);
    let appends = (1..=2_000).map(|n| one(n, &format!("s-{}", n % 5), ExpectedVersion::Any));
    let outcomes = process.engine.router().append_all(tenant, appends.collect()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(history(&world, tenant).await, (1..=2_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn after_a_refused_one_nothing_is_written() {
    let world = World::new();
    let process = world.process("p1");
    let tenant = world::tenant(1);
    let group = u128::try_from(config().group_appends).unwrap();
    let appends = (1..=3 * group).map(|n| {
        let expected = if n == 5 { ExpectedVersion::Exact(99) } else { ExpectedVersion::Any };
        one(n, "s", expected)
    });
    let outcomes = process.engine.router().append_all(tenant, appends.collect()).await;
    assert!(matches!(outcomes[4], Err(AppendError::Conflict(_))));
    assert!(matches!(outcomes.last(), Some(Err(AppendError::Busy))));
    assert!(outcomes[5..].iter().all(|outcome| matches!(outcome, Err(AppendError::Busy))));
    assert_eq!(history(&world, tenant).await, [1, 2, 3, 4]);
}

/// The store refuses until the first group gives up, then accepts everything.
#[tokio::test(start_paused = true)]
async fn when_a_group_gives_up_the_groups_behind_it_do_too() {
    let world = World::new();
    let process = world.process("p1");
    let tenant = world::tenant(1);
    process.a.down_for(StoreOp::Append);
    let appends = (1..=2_000).map(|n| one(n, "s", ExpectedVersion::Any)).collect();
    let heal = async {
        tokio::time::sleep(config().write_pause_timeout).await;
        process.a.heal();
    };
    let (outcomes, ()) = tokio::join!(process.engine.router().append_all(tenant, appends), heal);
    let taken = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(outcomes[taken..].iter().all(Result::is_err), "an append was sent out of its turn");
    assert_eq!(history(&world, tenant).await.len(), taken);
}
