//! Open rollback windows: what they cost while nothing is written, and how soon a replica follows a write.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::Options;
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::fault::{ControlOp, Op, StoreOp};
use rehome_ports::{ControlPlane as _, LedgerStore as _};
use tokio::time::Instant;
use world::{Acked, Drive, Process, World, auto, one};

const WINDOWS: u32 = 20;

/// Tenants that have moved, each in a window that this process keeps.
async fn at_rest(world: &World, process: &Process) -> Vec<(TenantId, Drive)> {
    let options = Options { rollback_window_ms: 3_600_000, ..auto() };
    let mut windows = Vec::new();
    for n in 0..WINDOWS {
        let tenant = world.tenant_with(u128::from(n), 10).await;
        let id = process.start(tenant, "b", options).await;
        process.drive_to_end(id).await;
        windows.push((tenant, process.supervisor.spawn(id, |_| false)));
    }
    // Until all have come to rest.
    tokio::time::sleep(Duration::from_secs(120)).await;
    windows
}

#[tokio::test(start_paused = true)]
async fn a_window_at_rest_costs_next_to_nothing() {
    let world = World::new();
    let process = world.process("p1");
    let windows = at_rest(&world, &process).await;
    let per_window = |calls: u64| calls as f64 / f64::from(WINDOWS);
    let of_control = || process.control.calls(Op::Any) - process.control.calls(ControlOp::Lease);
    let of_stores = || process.a.calls(Op::Any) + process.b.calls(Op::Any);
    let lengths = || process.b.calls(StoreOp::Lengths);
    let (control, stores, polls) = (of_control(), of_stores(), lengths());
    let memos = process.control.calls(ControlOp::SetMemo);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let memos = per_window(process.control.calls(ControlOp::SetMemo) - memos);
    let control = per_window(of_control() - control);
    let polls = lengths() - polls;
    let stores = per_window(of_stores() - stores - polls);
    assert!((58..=60).contains(&polls), "{polls} times all lengths are read in a minute");
    assert!(memos <= 3.0, "{memos} memos are written for each window in a minute");
    assert!(control <= 24.0, "{control} calls of the control plane for each window in a minute");
    assert!(stores <= 4.0, "{stores} calls of stores for each window in a minute");
    drop(windows);
}

#[tokio::test(start_paused = true)]
async fn a_replica_in_a_window_at_rest_follows_a_write_of_another_process_within_a_second() {
    let world = World::new();
    let (process, other) = (world.process("p1"), world.process("p2"));
    let windows = at_rest(&world, &process).await;
    let (tenant, _) = windows[7];
    for n in 0..5 {
        let began = Instant::now();
        other.append(tenant, one(500 + n, "s", ExpectedVersion::Any)).await.unwrap();
        let head = world.b.ledger(tenant).await.unwrap().head;
        while world.a.ledger(tenant).await.unwrap().head != head {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
        }
        // It comes to rest again.
        tokio::time::sleep(Duration::from_secs(100)).await;
    }
    drop(windows);
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_at_rest_hears_of_a_return_and_of_its_end() {
    let world = World::new();
    let (process, other) = (world.process("p1"), world.process("p2"));
    let windows = at_rest(&world, &process).await;
    let (tenant, _) = windows[3];
    let there = world.migration(tenant).await;
    let began = Instant::now();
    let back = other.operations.start_return(there, auto()).await.unwrap().id;
    other.drive_to_end(back).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // The others end on time, although nobody reads their rows.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    for (n, (tenant, drive)) in windows.into_iter().enumerate() {
        if n != 3 {
            let ended = tokio::time::timeout(Duration::from_secs(5), drive).await.unwrap();
            ended.unwrap().unwrap();
            assert!(!world.control.route(tenant).await.unwrap().unwrap().window);
        }
    }
}
