//! Read-back and verification before a cutover, and their visibility for other processes.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Fact, Options, Phase, RollBackReason};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::fault::{ControlOp, Gate, StoreOp};
use rehome_ports::{Change, ControlPlane};
use world::{Drive, Process, World, auto, for_a_while, manual, one};

/// A history within the lag bound is not copied but mirrored as a whole: the target is empty when
/// mirroring begins, and a verification then would have compared nothing.
#[tokio::test(start_paused = true)]
async fn the_verification_covers_a_history_that_was_mirrored_as_a_whole() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options { lag_events_max: 1_000, ..auto() }).await;
    process.drive_to_end(id).await;
    let log = world.control.log(id, 0, 100).await.unwrap();
    let verified = log.iter().find_map(|entry| match entry.fact {
        Fact::Verified { seq, violations, .. } => Some((seq, violations)),
        _ => None,
    });
    assert_eq!(verified, Some((60, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_mark_of_the_read_back_is_kept_also_when_nothing_more_comes() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options { lag_events_max: 1_000, ..manual() }).await;
    let _driving = process.supervisor.spawn(id, |_| false);
    world.reached(tenant, Phase::DualWrite).await;
    let marked = async {
        loop {
            let mark = world.control.marks(id).await.unwrap().read_back;
            if mark.is_some_and(|mark| mark.head.seq == 60) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), marked).await.expect("a mark at the last event");
}

/// An auditor stops in the middle of the dual write; another process switches, and the target continues
/// after the source's last event. The events that the auditor then reads there are not a violation.
#[tokio::test(start_paused = true)]
async fn an_auditor_that_slept_through_the_switch_finds_no_violation() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let (sleeper, heir) = (world.deaf_process("p1"), world.process("p2"));
    let id = sleeper.start(tenant, "b", manual()).await;
    let sleeping = sleeper.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;

    let gate = sleeper.b.gate_before(StoreOp::ReadFeed);
    gate.reached().await;
    sleeper.control.down_for(ControlOp::Lease);
    let driving = heir.drive(id);
    heir.operations.request_cutover(id).await.unwrap();
    world.reached(tenant, Phase::Migrated).await;
    heir.append(tenant, one(2, "s", ExpectedVersion::Any)).await.unwrap();
    gate.open();
    for_a_while().await;

    assert_eq!(sleeper.violations(), [""; 0]);
    drop((sleeping, driving));
}

/// A driver that is to compare, and sleeps there; its lease is lost.
async fn asleep_before_the_comparison(world: &World, tenant: TenantId) -> (Process, Drive, Gate) {
    let sleeper = world.deaf_process("p1");
    let options = Options { cutover_timeout_ms: 60_000, ..manual() };
    let id = sleeper.start(tenant, "b", options).await;
    let sleeping = sleeper.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let fenced = sleeper.a.gate_after(StoreOp::Fence);
    sleeper.operations.request_cutover(id).await.unwrap();
    fenced.reached().await;
    // The replica's head is read to extend, then to compare.
    sleeper.b.gate_before(StoreOp::Ledger).open();
    let compare = sleeper.b.gate_before(StoreOp::Ledger);
    fenced.open();
    compare.reached().await;
    sleeper.control.down_for(ControlOp::Lease);
    (sleeper, sleeping, compare)
}

/// Another process finishes the cutover, and the target continues.
#[tokio::test(start_paused = true)]
async fn a_driver_that_slept_through_the_switch_before_it_compared_finds_no_violation() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let (sleeper, sleeping, compare) = asleep_before_the_comparison(&world, tenant).await;
    let heir = world.process("p2");
    let driving = heir.drive(world.migration(tenant).await);
    world.reached(tenant, Phase::Migrated).await;
    heir.append(tenant, one(2, "s", ExpectedVersion::Any)).await.unwrap();
    compare.open();
    for_a_while().await;
    assert_eq!(sleeper.violations(), [""; 0]);
    drop((sleeping, driving));
}

/// Another process rolls back; the source continues, and the target, which is a replica still, follows.
#[tokio::test(start_paused = true)]
async fn a_driver_that_slept_through_a_roll_back_before_it_compared_finds_no_violation() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let (sleeper, sleeping, compare) = asleep_before_the_comparison(&world, tenant).await;
    let (id, heir) = (world.migration(tenant).await, world.process("p2"));
    let paused = world.control.route(tenant).await.unwrap().unwrap();
    let fact = Fact::CutoverRolledBack { reason: RollBackReason::TimedOut };
    let actor = "another process".to_owned();
    let change = Change { tenant, migration: id, rev: Some(paused.rev), fact, actor };
    world.control.record(change).await.unwrap();
    let driving = heir.drive(id);
    let told = heir.append(tenant, one(2, "s", ExpectedVersion::Any)).await.unwrap();
    let mirrored = async {
        while world.ledgers(tenant).await.1.head.seq < told.last_seq {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), mirrored).await.expect("it is mirrored");
    compare.open();
    for_a_while().await;
    assert_eq!(sleeper.violations(), [""; 0]);
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite));
    drop((sleeping, driving));
}
