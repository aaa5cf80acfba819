//! Removals of tenants: schedules with writers, crashes and late calls.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use rehome_domain::append::AppendConflict;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Role;
use rehome_domain::migration::Options;
use rehome_domain::removal::{Removal, Turn};
use rehome_domain::stream::ExpectedVersion;
use rehome_engine::migration::{OperationError, Removed};
use rehome_ports::fault::{ControlOp, StoreOp};
use rehome_ports::{
    AppendError, BatchLimit, ControlError, ControlPlane, EventStore, LedgerStore, ReadError,
};
use world::{Acked, Process, World, auto, one, store_id};

/// What one process does not finish because it dies when the call was carried out.
async fn dies_after(process: &Process, tenant: TenantId, events: u64, at: Death) {
    let gate = match at {
        Death::Store(op) => process.a.gate_after(op),
        Death::Control => process.control.gate_after(ControlOp::Remove),
    };
    let operations = process.operations.clone();
    let task = tokio::spawn(async move { operations.remove(tenant, events).await });
    gate.reached().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
}

#[derive(Clone, Copy)]
enum Death {
    Store(StoreOp),
    Control,
}

fn not_removable(outcome: Result<Removed, OperationError>) -> String {
    match outcome {
        Err(OperationError::NotRemovable(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn feed(process: &Process, tenant: TenantId) -> Result<usize, ReadError> {
    let limit = BatchLimit::events(1_000);
    Ok(process.engine.router().read_feed(tenant, 0, limit).await?.len())
}

#[tokio::test(start_paused = true)]
async fn a_removed_tenant_is_unknown_and_lives_again_with_another_history() {
    let world = World::new();
    let tenant = world.tenant_with(1, 700).await;
    let (remover, other) = (world.process("p1"), world.process("p2"));
    assert_eq!(feed(&other, tenant).await.unwrap(), 700);
    other.engine.control().set_checkpoint(tenant, "projection", 600).await.unwrap();

    let found = remover.operations.removable(tenant).await.unwrap();
    assert_eq!(found.ledger.head.seq, 700);
    for wrong in [0, 699, 701] {
        let why = not_removable(remover.operations.remove(tenant, wrong).await);
        assert!(why.contains("has 700 events, not"), "{why}");
    }
    let removed = remover.operations.remove(tenant, 700).await.unwrap();
    assert_eq!(removed, Removed { store: store_id("a"), events: 700 });
    assert_eq!(world.ledgers(tenant).await.0.role, Role::Absent);
    for process in [&remover, &other] {
        assert!(matches!(feed(process, tenant).await, Err(ReadError::UnknownTenant(_))));
    }
    assert_eq!(world.control.checkpoint(tenant, "projection").await.unwrap(), 0);
    // Again: nothing is left to remove.
    assert_eq!(remover.operations.remove(tenant, 700).await.unwrap().events, 0);

    // Another history, in the other store, which a process with an old route finds.
    other.engine.router().ensure_tenant(tenant, &store_id("b")).await.unwrap();
    let acked = Acked::default();
    for id in 1..=3 {
        let appended = other.append(tenant, one(id, "new", ExpectedVersion::Any)).await.unwrap();
        assert_eq!(appended.last_seq, u64::try_from(id).unwrap());
        acked
            .lock()
            .unwrap()
            .insert(world::event(id).id, (appended.last_version, appended.last_seq));
    }
    assert_eq!(feed(&remover, tenant).await.unwrap(), 3);
    let id = remover.start(tenant, "a", auto()).await;
    remover.drive_to_end(id).await;
    world.check(tenant, &acked).await;
}

/// A late append of the old life, under its epoch, and a late fence and purge of the removal.
#[tokio::test(start_paused = true)]
async fn late_calls_of_the_old_life_find_a_later_epoch() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let process = world.process("p1");
    process.operations.remove(tenant, 5).await.unwrap();
    let expected = ExpectedVersion::Exact(0);
    process.append(tenant, one(9, "new", expected)).await.unwrap();
    let route = world.control.route(tenant).await.unwrap().unwrap();
    assert_eq!((route.epoch, route.n), (Epoch(3), Epoch(3)));
    let late = one(10, "late", ExpectedVersion::Any);
    assert!(world.a.append(tenant, Epoch(1), std::slice::from_ref(&late)).await.is_err());
    assert!(world.a.fence(tenant, Epoch(1), Epoch(2)).await.is_err());
    assert!(world.a.purge(tenant, Epoch(2), 100).await.is_err());
    let rev = route.rev - 1;
    assert!(world.control.remove(tenant, rev, Turn::Finish).await.is_err());
    let history = world.history(tenant).await;
    assert_eq!(history.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_appended_meanwhile_is_kept_with_all_the_others() {
    for before in [StoreOp::Fence, StoreOp::Purge] {
        let world = World::new();
        let tenant = world.tenant_with(1, 50).await;
        let (remover, writer) = (world.process("p1"), world.deaf_process("p2"));
        let acked = Acked::default();
        assert_eq!(feed(&writer, tenant).await.unwrap(), 50);
        let gate = remover.a.gate_before(before);
        let operations = remover.operations.clone();
        let removing = tokio::spawn(async move { operations.remove(tenant, 50).await });
        gate.reached().await;
        let appended = writer.append(tenant, one(7, "s", ExpectedVersion::Any)).await;
        if before == StoreOp::Fence {
            let appended = appended.unwrap();
            acked
                .lock()
                .unwrap()
                .insert(world::event(7).id, (appended.last_version, appended.last_seq));
            gate.open();
            let why = not_removable(removing.await.unwrap());
            assert!(why.contains("were appended after the 50"), "{why}");
            assert_eq!(world.history(tenant).await.len(), 51);
            world.check(tenant, &acked).await;
        } else {
            // The fence is up: the writer learns at once that it has come too late.
            let Err(AppendError::NotWritten { why, .. }) = appended else { panic!("{appended:?}") };
            assert!(why.contains("is being removed"), "{why}");
            assert!(matches!(
                feed(&writer, tenant).await,
                Err(ReadError::Control(ControlError::BeingRemoved(_)))
            ));
            gate.open();
            assert_eq!(removing.await.unwrap().unwrap().events, 50);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_process_died_is_continued_by_another() {
    let deaths = [Death::Control, Death::Store(StoreOp::Fence), Death::Store(StoreOp::Purge)];
    for death in deaths {
        let world = World::new();
        let tenant = world.tenant_with(1, 1_300).await;
        dies_after(&world.process("p1"), tenant, 1_300, death).await;
        let route = world.control.route(tenant).await.unwrap().unwrap();
        assert!(matches!(route.removal, Some(Removal::Running { events: 1_300, .. })));
        let other = world.process("p2");
        let start = other.operations.start(tenant, &store_id("b"), Options::default()).await;
        assert!(start.is_err(), "{start:?}");
        let why = not_removable(other.operations.remove(tenant, 9).await);
        assert!(why.contains("was requested for 1300 events, not 9"), "{why}");
        assert_eq!(other.operations.removable(tenant).await.unwrap().route.removal, route.removal);
        assert_eq!(other.operations.remove(tenant, 1_300).await.unwrap().events, 1_300);
        assert_eq!(world.ledgers(tenant).await.0.role, Role::Absent);
        other.append(tenant, one(9, "new", ExpectedVersion::Exact(0))).await.unwrap();
        world.check(tenant, &Acked::default()).await;
    }
}

/// The process dies after it gave the removal up, and before it opened the fence: the next writer opens it.
#[tokio::test(start_paused = true)]
async fn a_fence_of_a_removal_that_was_given_up_is_opened_by_a_writer() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (remover, writer) = (world.process("p1"), world.deaf_process("p2"));
    assert_eq!(feed(&writer, tenant).await.unwrap(), 50);
    let fence = remover.a.gate_before(StoreOp::Fence);
    let activation = remover.a.gate_before(StoreOp::Activate);
    let operations = remover.operations.clone();
    let removing = tokio::spawn(async move { operations.remove(tenant, 50).await });
    // The first activation is the one before it begins.
    activation.reached().await;
    activation.open();
    fence.reached().await;
    writer.append(tenant, one(7, "s", ExpectedVersion::Any)).await.unwrap();
    let activation = remover.a.gate_before(StoreOp::Activate);
    fence.open();
    activation.reached().await;
    removing.abort();
    assert!(removing.await.unwrap_err().is_cancelled());
    assert_eq!(world.ledgers(tenant).await.0.role, Role::Fenced);
    writer.append(tenant, one(8, "s", ExpectedVersion::Any)).await.unwrap();
    assert_eq!(world.history(tenant).await.len(), 52);
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_a_migration_or_a_copy_elsewhere_is_not_removed() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", auto()).await;
    let refused = process.operations.remove(tenant, 50).await;
    assert!(refused.unwrap_err().to_string().contains("the tenant has another migration"));
    process.drive_to_end(id).await;
    let why = not_removable(process.operations.remove(tenant, 50).await);
    assert!(why.contains("store \"a\" has an old copy"), "{why}");
    process.operations.purge(tenant, &store_id("a")).await.unwrap();
    let removed = process.operations.remove(tenant, 50).await.unwrap();
    assert_eq!((removed.store, removed.events), (store_id("b"), 50));
    let unknown = process.operations.remove(world::tenant(2), 0).await;
    assert!(matches!(unknown, Err(OperationError::Control(ControlError::UnknownTenant(_)))));
    // It begins at the default store, where a tombstone is, and moves to where it was removed.
    let appended = process.append(tenant, one(9, "new", ExpectedVersion::Exact(0))).await.unwrap();
    assert_eq!(appended.last_seq, 1);
    let again = process.append(tenant, one(9, "new", ExpectedVersion::Exact(0))).await.unwrap();
    assert_eq!(again, appended);
    let conflict = process.append(tenant, one(10, "new", ExpectedVersion::Exact(0))).await;
    assert!(matches!(
        conflict,
        Err(AppendError::Conflict(AppendConflict::Version { actual: 1, .. }))
    ));
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    world.check(tenant, &Acked::default()).await;
}
