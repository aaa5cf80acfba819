//! The reported state while a store or the control plane hangs: it accepts calls and does not respond. There is no
//! error; only the numbers show it.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]
#![allow(clippy::float_cmp, reason = "counts of whole things are compared")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::migration::{MirrorAck, Options, Phase};
use rehome_domain::stream::ExpectedVersion;
use rehome_engine::metrics::{Format, Surroundings};
use rehome_ports::fault::{ControlOp, StoreOp};
use tokio::time::sleep;
use world::{Process, World, for_a_while, manual, one};

const HOURS: Duration = Duration::from_secs(36_000);
const SECOND: Duration = Duration::from_secs(1);

/// The value of the only series of a family that has `label` in it; `None`: there is no such series.
fn told(process: &Process, family: &str, label: &str) -> Option<f64> {
    let appends = process.engine.router().appends();
    let text = process.metrics.render(Format::Text, appends, &Surroundings::default());
    let mut found = text
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(family) && line.contains(label));
    let value = found.next()?.rsplit(' ').next()?.parse().unwrap();
    assert_eq!(found.next(), None, "{family} is there once");
    Some(value)
}

fn lag(process: &Process) -> f64 {
    told(process, "dual_write_sync_lag_events", "").expect("the lag is told")
}

fn lag_age(process: &Process) -> f64 {
    told(process, "dual_write_sync_lag_age_seconds", "").expect("its age is told")
}

async fn append(
    process: &Process,
    tenant: rehome_domain::ids::TenantId,
    ids: std::ops::Range<u128>,
) {
    for id in ids {
        process.append(tenant, one(id, "s", ExpectedVersion::Any)).await.unwrap();
    }
}

/// Every call of the process to store b hangs.
fn target_hangs(process: &Process) {
    process.b.slow(rehome_ports::fault::Op::Any, HOURS);
}

#[tokio::test(start_paused = true)]
async fn the_lag_grows_while_the_targets_write_hangs() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    target_hangs(&process);
    append(&process, tenant, 0..7).await;
    sleep(SECOND * 2).await;
    assert_eq!(lag(&process), 7.0);
    append(&process, tenant, 10..2_010).await;
    sleep(SECOND * 2).await;
    assert_eq!(lag(&process), 2_007.0);
    assert!(lag_age(&process) < 2.0);

    // The write that hangs has failed once it is over its patience, and fails on.
    let failures = || told(&process, "dual_write_target_failures_total", "").unwrap();
    sleep(SECOND * 5).await;
    let first = failures();
    assert!(first >= 1.0, "{first}");
    sleep(SECOND * 10).await;
    assert!(failures() >= first + 2.0, "{} after {first}", failures());

    process.b.heal();
    drop(drive);
}

#[tokio::test(start_paused = true)]
async fn while_the_source_hangs_too_the_lag_stays_as_it_was_and_gets_older() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    target_hangs(&process);
    append(&process, tenant, 0..7).await;
    sleep(SECOND * 2).await;
    process.a.slow(StoreOp::Ledger, HOURS);
    process.a.slow(StoreOp::ReadFeed, HOURS);
    append(&process, tenant, 10..20).await;
    sleep(SECOND * 20).await;
    assert_eq!(lag(&process), 7.0);
    assert!((19.0..=22.0).contains(&lag_age(&process)), "{}", lag_age(&process));
    process.a.heal();
    sleep(SECOND * 7).await;
    assert_eq!(lag(&process), 17.0);
    assert!(lag_age(&process) < 2.0);
    drop(drive);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_while_the_target_hangs_knows_the_lag_and_so_does_everybody() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (one, two) = (world.process("one"), world.process("two"));
    let id = one.start(tenant, "b", manual()).await;
    let first = one.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    sleep(SECOND * 3).await;
    drop(first);
    target_hangs(&two);
    append(&two, tenant, 0..9).await;
    let second = two.drive(id);
    sleep(SECOND * 5).await;
    assert_eq!(lag(&two), 9.0);
    // A process that does not drive it, and whose target hangs too.
    let other = world.process("other");
    target_hangs(&other);
    let progress = other.operations.status(id).await.unwrap().progress.unwrap();
    assert_eq!((progress.lag_events, progress.events_total), (9, 59));
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn the_length_of_the_history_is_told_while_the_copy_hangs() {
    let world = World::new();
    let tenant = world.tenant_with(1, 500).await;
    let process = world.process("p1");
    let gate = process.b.gate_before(StoreOp::Extend);
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    gate.reached().await;
    append(&process, tenant, 0..30).await;
    sleep(SECOND * 2).await;
    assert_eq!(told(&process, "migration_events_total", ""), Some(530.0));
    assert_eq!(told(&process, "migration_progress_percent", ""), Some(0.0));
    drop((gate, drive));
}

#[tokio::test(start_paused = true)]
async fn the_windows_lag_grows_while_the_old_source_hangs() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let options = Options { rollback_window_ms: 3_600_000, ..world::auto() };
    let id = process.start(tenant, "b", options).await;
    let drive = process.supervisor.spawn(id, |_| false);
    world.reached(tenant, Phase::Migrated).await;
    for_a_while().await;
    process.a.slow(rehome_ports::fault::Op::Any, HOURS);
    append(&process, tenant, 0..12).await;
    sleep(SECOND * 2).await;
    assert_eq!(told(&process, "migration_rollback_window_lag_events", ""), Some(12.0));
    drop(drive);
}

/// The events that the mirror catches up on were written before mirroring began.
#[tokio::test(start_paused = true)]
async fn history_that_the_mirror_catches_up_on_is_no_dual_write() {
    let world = World::new();
    let tenant = world.tenant_with(1, 500).await;
    let (one, two) = (world.process("one"), world.process("two"));
    let options = Options { lag_events_max: 1_000, ..manual() };
    let id = one.start(tenant, "b", options).await;
    let first = one.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    sleep(SECOND).await;
    let of = |process: &Process, status| told(process, "dual_write_operations_total", status);
    assert_eq!(world.ledgers(tenant).await.1.head.seq, 500, "the mirror has copied it");
    assert_eq!(of(&one, "success"), Some(0.0));
    append(&one, tenant, 0..5).await;
    for_a_while().await;
    assert_eq!(of(&one, "success"), Some(5.0));
    assert_eq!(told(&one, "dual_write_latency_seconds_count", ""), Some(5.0));
    // Events written without a mirror are dual writes of the process that takes over.
    drop(first);
    append(&two, tenant, 10..20).await;
    let second = two.drive(id);
    sleep(SECOND).await;
    assert_eq!(of(&two, "success"), Some(10.0));
    drop(second);
}

/// The append is at a store that does not respond: the router has no notification of a pause.
#[tokio::test(start_paused = true)]
async fn writers_that_a_hanging_store_keeps_are_counted_from_when_they_came() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    append(&process, tenant, 0..1).await;
    assert_eq!(told(&process, "append_longest_wait_seconds", ""), Some(0.0));
    process.a.slow(StoreOp::Append, HOURS);
    process.a.slow(StoreOp::Ledger, HOURS);
    let writers: Vec<_> = (1..=20)
        .map(|n| {
            let engine = process.engine.clone();
            tokio::spawn(async move {
                use rehome_ports::EventStore as _;
                let append = one(n << 32, "s", ExpectedVersion::Any);
                while engine.router().append(tenant, append.clone()).await.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
            })
        })
        .collect();
    sleep(SECOND * 3).await;
    let waits = |family| told(&process, family, "").unwrap();
    assert!((2.9..=3.1).contains(&waits("append_longest_wait_seconds")));
    assert!((2.9..=3.1).contains(&waits("append_blocked_seconds")));
    sleep(SECOND * 27).await;
    assert!(waits("append_longest_wait_seconds") > 0.0);
    assert!((29.9..=30.1).contains(&waits("append_blocked_seconds")), "they came again");
    process.a.heal();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!((waits("append_longest_wait_seconds"), waits("append_blocked_seconds")), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn writers_behind_a_cutover_are_blocked_by_it_while_source_and_control_plane_hang() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (process, router) = (world.process("driver"), world.process("router"));
    let options = Options { cutover_timeout_ms: 60_000, ..manual() };
    let id = process.start(tenant, "b", options).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    append(&router, tenant, 0..1).await;
    // The fence does not come back, nor does anything else of the source or the control plane.
    let fence = process.a.gate_before(StoreOp::Fence);
    process.operations.request_cutover(id).await.unwrap();
    fence.reached().await;
    for_a_while().await;
    for hangs in [&process, &router] {
        hangs.a.slow(rehome_ports::fault::Op::Any, HOURS);
        hangs.control.slow(rehome_ports::fault::Op::Any, HOURS);
    }
    let mut writers = Vec::new();
    for (n, engine) in
        [&process, &router].iter().cycle().map(|p| p.engine.clone()).take(6).enumerate()
    {
        writers.push(tokio::spawn(async move {
            use rehome_ports::EventStore as _;
            let append = one((n as u128 + 1) << 32, "s", ExpectedVersion::Any);
            let _ = engine.router().append(tenant, append).await;
        }));
    }
    sleep(SECOND * 4).await;
    for waits in [&process, &router] {
        assert_eq!(told(waits, "cutover_blocked_writers", ""), Some(3.0));
        let longest = told(waits, "append_longest_wait_seconds", "").unwrap();
        assert!((3.9..=4.1).contains(&longest), "{longest}");
    }
    for hangs in [&process, &router] {
        hangs.a.heal();
        hangs.control.heal();
    }
    drop((fence, drive, writers));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_waits_for_the_mirror_is_counted_too() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let options =
        Options { mirror_ack: MirrorAck::Target, mirror_ack_timeout_ms: 4_000, ..manual() };
    let id = process.start(tenant, "b", options).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    target_hangs(&process);
    let engine = process.engine.clone();
    let writer = tokio::spawn(async move {
        use rehome_ports::EventStore as _;
        engine.router().append(tenant, one(1, "s", ExpectedVersion::Any)).await
    });
    sleep(SECOND * 2).await;
    let longest = told(&process, "append_longest_wait_seconds", "").unwrap();
    assert!((1.9..=2.1).contains(&longest), "{longest}");
    assert_eq!(told(&process, "cutover_blocked_writers", ""), Some(0.0));
    writer.await.unwrap().unwrap();
    assert_eq!(told(&process, "append_longest_wait_seconds", ""), Some(0.0));
    drop(drive);
}

#[tokio::test(start_paused = true)]
async fn the_heads_are_read_although_the_control_plane_hangs() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    target_hangs(&process);
    for op in [ControlOp::Migration, ControlOp::SetMemo, ControlOp::Lease, ControlOp::Marks] {
        process.control.slow(op, HOURS);
    }
    append(&process, tenant, 0..7).await;
    sleep(SECOND * 3).await;
    assert_eq!(lag(&process), 7.0);
    assert!(lag_age(&process) < 2.0);
    drop(drive);
}
