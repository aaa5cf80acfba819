//! Whole migrations over stores in memory, with writers that never stop.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::event::{Json, Timestamp};
use rehome_domain::ledger::Role;
use rehome_domain::migration::{CutoverPolicy, MirrorAck, OldSource, Options, Phase, State};
use rehome_domain::stream::ExpectedVersion;
use rehome_domain::verification::{Level, ViolationType};
use rehome_engine::Subscription;
use rehome_engine::verifier::Request;
use rehome_ports::fault::{Op, StoreOp};
use rehome_ports::{BatchLimit, ControlPlane, EventStore};
use world::{Acked, World, auto, for_a_while, manual, one, store_id};

#[tokio::test(start_paused = true)]
async fn a_tenant_moves_while_eight_writers_append() {
    let world = World::new();
    let tenant = world.tenant_with(1, 500).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 8, &acked);
    for_a_while().await;

    let id = process.start(tenant, "b", auto()).await;
    let migration = process.drive_to_end(id).await;
    for_a_while().await;
    writers.stop().await;

    assert_eq!(migration.state.phase(), Phase::Migrated);
    assert_eq!(migration.cutover_attempts, 1);
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.role, b.role), (Role::Fenced, Role::Active));
    assert!(b.head.seq > a.head.seq, "writers went on at the target");
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_returns_within_its_window_and_its_positions_stay() {
    let world = World::new();
    let tenant = world.tenant_with(1, 200).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 4, &acked);

    let options = Options { rollback_window_ms: 600_000, ..auto() };
    let there = process.start(tenant, "b", options).await;
    process.drive_to_end(there).await;
    let keep = process.supervisor.spawn(there, |_| false);
    for_a_while().await;
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.role, b.role), (Role::Replica, Role::Active));
    assert!(b.head.seq - a.head.seq < 50, "the old source is kept level");
    drop(keep);

    let back = process.operations.start_return(there, auto()).await.unwrap().id;
    process.drive_to_end(back).await;
    for_a_while().await;
    writers.stop().await;
    assert_eq!(world.control.route(tenant).await.unwrap().unwrap().store, store_id("a"));
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_over_is_closed_and_the_old_source_fenced() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let options = Options { rollback_window_ms: 500, ..auto() };
    let id = process.start(tenant, "b", options).await;
    let ended = process.supervisor.run(id, |_| false).await.unwrap().migration;
    let State::Migrated { old_source: OldSource::Fenced { at }, .. } = ended.state else {
        panic!("the window is closed: {:?}", ended.state);
    };
    let (a, _) = world.ledgers(tenant).await;
    assert_eq!((a.role, a.epoch), (Role::Fenced, at));
    assert!(process.operations.start_return(id, auto()).await.is_err());
    assert_eq!(process.operations.purge(tenant, &store_id("a")).await.unwrap(), 50);
    assert_eq!(world.ledgers(tenant).await.0.role, Role::Absent);
    world.check(tenant, &Acked::default()).await;
}

/// Each reads the options before the other's change is there.
#[tokio::test(start_paused = true)]
async fn of_two_who_retune_at_once_neither_takes_back_what_the_other_changed() {
    let world = World::new();
    let tenant = world.tenant_with(1, 5).await;
    let (slow, quick) = (world.process("slow"), world.process("quick"));
    let id = slow.start(tenant, "b", auto()).await;
    slow.control.slow(Op::record("tuned"), Duration::from_millis(500));
    let tuned = slow.operations.tune(id, |options| Options { batch_events: 7, ..options });
    let other = async {
        for_a_while().await;
        let change = |options| Options { cutover: CutoverPolicy::Manual, ..options };
        quick.operations.tune(id, change).await.unwrap();
    };
    let (tuned, ()) = tokio::join!(tuned, other);
    let options = tuned.unwrap().options;
    assert_eq!((options.batch_events, options.cutover), (7, CutoverPolicy::Manual));
    assert_eq!(world.control.migration(id).await.unwrap().options, options);
}

/// An hour in seconds, by which a host's clock is off.
const HOUR: i64 = 3_600;

#[tokio::test(start_paused = true)]
async fn a_window_is_as_long_as_promised_whatever_the_drivers_clock_says() {
    for by_s in [-HOUR, HOUR] {
        let world = World::new();
        let tenant = world.tenant_with(1, 50).await;
        let process = world.skewed_process("p1", by_s);
        let options = Options { rollback_window_ms: 60_000, ..auto() };
        let id = process.start(tenant, "b", options).await;
        let ended = process.supervisor.run(id, |_| false).await.unwrap().migration;
        let completed = ended.completed_at.expect("it was switched");
        let closed = world.control.log(id, 0, 1_000).await.unwrap().pop().expect("a log").at;
        let kept_ms = (closed.micros() - completed.micros()) / 1_000;
        assert!((60_000..65_000).contains(&kept_ms), "{by_s} s off: kept for {kept_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cutover_is_at_its_moment_whatever_the_drivers_clock_says() {
    for by_s in [-HOUR, HOUR] {
        let world = World::new();
        let tenant = world.tenant_with(1, 50).await;
        let process = world.skewed_process("p1", by_s);
        let moment = world.control.now().await.unwrap().micros() + 20_000_000;
        let cutover = CutoverPolicy::At(Timestamp::from_micros(moment));
        let id = process.start(tenant, "b", Options { cutover, ..auto() }).await;
        let ended = process.drive_to_end(id).await;
        let late_ms = (ended.completed_at.expect("it was switched").micros() - moment) / 1_000;
        assert!((0..5_000).contains(&late_ms), "{by_s} s off: {late_ms} ms late");
    }
}

#[tokio::test(start_paused = true)]
async fn pausing_and_resuming_from_both_working_phases_loses_nothing() {
    let world = World::new();
    let tenant = world.tenant_with(1, 2_000).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 2, &acked);

    let options = Options { copy_rate_max: 0, batch_events: 5, ..manual() };
    process.b.slow(StoreOp::Extend, Duration::from_millis(30));
    let id = process.start(tenant, "b", options).await;
    let driving = process.drive(id);
    for phase in [Phase::BulkCopy, Phase::DualWrite] {
        world.reached(tenant, phase).await;
        for_a_while().await;
        process.operations.pause(id).await.unwrap();
        for_a_while().await;
        let (_, before) = world.ledgers(tenant).await;
        for_a_while().await;
        let (_, after) = world.ledgers(tenant).await;
        assert_eq!(before, after, "nothing is copied while paused from {phase}");
        process.operations.resume(id).await.unwrap();
        world.reached(tenant, phase).await;
        process.b.heal();
    }
    process.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    writers.stop().await;
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn an_abort_with_purge_leaves_the_source_as_it_was() {
    let world = World::new();
    let tenant = world.tenant_with(1, 1_200).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 2, &acked);
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    process.operations.abort(id, true).await.unwrap();
    let ended = driving.await.unwrap().unwrap().migration;
    writers.stop().await;
    assert_eq!(ended.state.phase(), Phase::RolledBack);
    let (a, b) = world.ledgers(tenant).await;
    assert_eq!((a.role, b.role, b.head.seq), (Role::Active, Role::Absent, 0));
    world.check(tenant, &acked).await;

    let again = process.start(tenant, "b", auto()).await;
    process.drive_to_end(again).await;
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_kept_by_an_abort_is_continued_by_the_next_migration() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    process.operations.abort(id, false).await.unwrap();
    driving.await.unwrap().unwrap();
    let (_, kept) = world.ledgers(tenant).await;
    assert_eq!((kept.role, kept.head.seq), (Role::Fenced, 300));

    let extends = process.b.calls(StoreOp::Extend);
    let again = process.start(tenant, "b", auto()).await;
    process.drive_to_end(again).await;
    assert_eq!(process.b.calls(StoreOp::Extend), extends, "nothing had to be copied again");
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_sees_every_event_once_in_order_across_the_cutover() {
    let world = World::new();
    let tenant = world.tenant_with(1, 100).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 4, &acked);
    let reader = world.process("p2");
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let follower = tokio::spawn(async move {
        let mut feed = Subscription::open(&reader.engine, tenant, "projection").await.unwrap();
        loop {
            for event in feed.next(BatchLimit::events(13)).await.unwrap() {
                sender.send(event).unwrap();
            }
            feed.commit().await.unwrap();
        }
    });
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    for_a_while().await;
    writers.stop().await;
    for_a_while().await;
    follower.abort();

    let mut followed = Vec::new();
    while let Ok(event) = seen.try_recv() {
        followed.push(event);
    }
    assert_eq!(followed, world.history(tenant).await);
    let checkpoint = world.control.checkpoint(tenant, "projection").await.unwrap();
    assert_eq!(checkpoint, followed.len() as u64);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_in_the_target_stops_the_migration_before_the_switch() {
    let world = World::new();
    let tenant = world.tenant_with(1, 400).await;
    let process = world.process("p1");
    let gate = process.b.gate_after(StoreOp::Extend);
    let id = process.start(tenant, "b", auto()).await;
    let driving = process.drive(id);
    gate.reached().await;
    world.b.tamper(tenant, |rows| rows.events[9].data = Json::trusted("{\"n\":0}"));
    gate.open();
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!(ended.state, State::Failed { acknowledged: false });
    assert!(ended.error.as_deref().unwrap_or_default().contains("seq 10"), "{:?}", ended.error);

    let request = Request { level: Level::Full, ..Request::default() };
    let report = process.operations.verify(id, &request).await.unwrap().report;
    let found: Vec<_> = report.violations.iter().map(|v| (v.kind, v.seq)).collect();
    assert_eq!(found, [(ViolationType::Content, Some(10))]);

    process.operations.abort(id, true).await.unwrap();
    process.drive_to_end(id).await;
    world.check(tenant, &Acked::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_fails_no_write_and_is_caught_up() {
    let world = World::new();
    let tenant = world.tenant_with(1, 100).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let options = Options { mirror_ack: MirrorAck::Target, ..manual() };
    let id = process.start(tenant, "b", options).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let writers = process.writers(tenant, 3, &acked);
    for_a_while().await;
    process.b.down();
    let before = acked.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(acked.lock().unwrap().len() > before + 100, "writers do not notice");
    process.operations.request_cutover(id).await.unwrap();
    for_a_while().await;
    assert_eq!(world.phase(tenant).await, Some(Phase::DualWrite), "not ready while it is down");
    process.b.heal();
    let ended = driving.await.unwrap().unwrap().migration;
    writers.stop().await;
    assert_eq!(ended.state.phase(), Phase::Migrated);
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_writers_answer_waits_for_the_target_when_it_is_told_to() {
    let world = World::new();
    let tenant = world.tenant_with(1, 10).await;
    let process = world.process("p1");
    let options = Options { mirror_ack: MirrorAck::Target, ..manual() };
    let id = process.start(tenant, "b", options).await;
    let _driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    for i in 0..20_u64 {
        let append = one(i.into(), "s", ExpectedVersion::Exact(i));
        let told = process.append(tenant, append).await;
        let (_, b) = world.ledgers(tenant).await;
        assert!(b.head.seq >= told.unwrap().last_seq, "the target has it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cached_route_needs_no_control_plane() {
    let world = World::new();
    let tenant = world.tenant_with(1, 10).await;
    let process = world.process("p1");
    process.append(tenant, one(1, "s", ExpectedVersion::NoStream)).await.unwrap();
    process.control.down();
    process.append(tenant, one(2, "s", ExpectedVersion::Exact(1))).await.unwrap();
    let read = process.engine.router().read_feed(tenant, 10, BatchLimit::PAGE).await.unwrap();
    assert_eq!(read.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_outage_delays_a_migration_and_stops_no_writer() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let process = world.process("p1");
    let acked = Acked::default();
    let writers = process.writers(tenant, 2, &acked);
    process.b.slow(StoreOp::Extend, Duration::from_millis(10));
    let id = process.start(tenant, "b", auto()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::BulkCopy).await;
    process.control.down();
    process.b.heal();
    let before = acked.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(acked.lock().unwrap().len() > before + 100);
    process.control.heal();
    driving.await.unwrap().unwrap();
    writers.stop().await;
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_with_other_events_of_the_tenant_is_refused_and_nothing_is_changed() {
    let world = World::new();
    let tenant = world.tenant_with(1, 10).await;
    let process = world.process("p1");
    world.b.tamper(tenant, |rows| {
        rows.ledger.role = Role::Fenced;
        rows.ledger.head.seq = 3;
    });
    let route = world.control.route(tenant).await.unwrap();
    let refused = process.operations.start(tenant, &store_id("b"), auto()).await;
    assert!(refused.unwrap_err().to_string().contains("3 other events"));
    assert_eq!(world.control.route(tenant).await.unwrap(), route);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_lost_fails_the_migration_instead_of_hanging_it() {
    let world = World::new();
    let tenant = world.tenant_with(1, 100).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let driving = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    world.b.forget(tenant);
    process.append(tenant, one(1, "s", ExpectedVersion::Any)).await.unwrap();
    let ended = driving.await.unwrap().unwrap().migration;
    assert_eq!(ended.state, State::Failed { acknowledged: false });
    process.operations.abort(id, false).await.unwrap();
    process.drive_to_end(id).await;
    world.check(tenant, &Acked::default()).await;
}
