//! The series that Prometheus would see, against what really happened.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]
#![allow(clippy::float_cmp, reason = "counts of whole things are compared")]

mod scrape;
#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
#[path = "../world/mod.rs"]
mod world;

use std::time::Duration;

use rehome_domain::event::Json;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Options, Phase};
use rehome_domain::stream::ExpectedVersion;
use rehome_domain::verification::{Coverage, Finding, Level, Side};
use rehome_engine::Signal;
use rehome_engine::metrics::{
    FAMILIES, Format, Kind, RETENTION, Reached, SEEN_FOR, Sighting, StoreChecked, Surroundings,
    reference,
};
use rehome_engine::verifier::Request;
use rehome_ports::fault::{ControlOp, StoreOp};
use rehome_ports::{Change, ControlPlane};
use scrape::{Scrape, text};
use world::{Acked, World, auto, for_a_while, manual, one};

/// After a restart a store has no values until it was verified: a 0 would end an alert without a repair.
#[tokio::test(start_paused = true)]
async fn a_store_that_was_not_gone_through_is_not_reported_as_whole() {
    let world = World::new();
    let process = world.process("p1");
    let damaged = |checked: StoreChecked| {
        let checked = vec![StoreChecked { store: "s".to_owned(), ..checked }];
        let around = Surroundings { checked, ..Surroundings::default() };
        let appends = process.engine.router().appends();
        let scrape = Scrape::parse(&process.metrics.render(Format::Text, appends, &around));
        scrape.0.get("store_damaged_tenants{store_id=\"s\"}").copied()
    };
    assert_eq!(damaged(StoreChecked::default()), None);
    assert_eq!(damaged(StoreChecked { damaged: 2, ..StoreChecked::default() }), Some(2.0));
    assert_eq!(damaged(StoreChecked { whole_at: 5.0, ..StoreChecked::default() }), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_whole_migration_is_told_as_it_was() {
    let world = World::new();
    let tenant = world.tenant_with(1, 500).await;
    let (process, acked) = (world.process("p1"), Acked::default());
    let writers = process.writers(tenant, 4, &acked);
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;

    let (m, t) = (id.to_string(), tenant.to_string());
    let (m, t) = (m.as_str(), t.as_str());
    let mid = Scrape::of(&process);
    assert_eq!(mid.value("migration_state", &[("migration_id", m), ("tenant_id", t)]), 2.0);
    assert!(mid.value("migration_duration_seconds", &[("phase", "dual_write")]) >= 0.2);
    assert!(mid.get("migration_duration_seconds", &[("phase", "cutover_paused")]).is_none());
    assert!(mid.value("dual_write_sync_lag_events", &[("tenant_id", t)]) <= 20.0);
    assert!(mid.value("dual_write_operations_total", &[("status", "success")]) > 0.0);
    assert_eq!(mid.value("dual_write_operations_total", &[("status", "target_failed")]), 0.0);
    assert_eq!(mid.value("dual_write_target_failures_total", &[("tenant_id", t)]), 0.0);
    for status in ["started", "succeeded", "rolled_back", "timed_out", "refused"] {
        assert_eq!(mid.value("cutover_attempts_total", &[("status", status)]), 0.0);
    }
    assert_eq!(mid.value("cutover_blocked_writers", &[("migration_id", m)]), 0.0);
    assert_eq!(mid.value("verification_duration_seconds_count", &[("level", "hash")]), 1.0);
    assert!(mid.value("verification_events_checked_total", &[]) >= 500.0);
    assert_eq!(mid.naming("verification_violations_total").len(), 6);

    process.operations.request_cutover(id).await.unwrap();
    drive.await.unwrap().unwrap();
    writers.stop().await;
    let end = Scrape::of(&process);
    let switched = world.ledgers(tenant).await.0.head.seq as f64;
    assert_eq!(end.value("migration_state", &[]), 4.0);
    assert_eq!(end.value("migration_progress_percent", &[]), 100.0);
    assert_eq!(end.value("migration_events_copied_total", &[]), switched);
    assert_eq!(end.value("migration_events_total", &[]), switched);
    assert_eq!(end.value("cutover_attempts_total", &[("status", "started")]), 1.0);
    assert_eq!(end.value("cutover_attempts_total", &[("status", "succeeded")]), 1.0);
    assert_eq!(end.value("cutover_pause_duration_seconds_count", &[]), 1.0);
    assert_eq!(end.value("cutover_timeout_total", &[]), 0.0);
    assert!(end.get("dual_write_sync_lag_events", &[]).is_none(), "it no longer applies");
    let appended = acked.lock().unwrap().len() as f64;
    let appends =
        end.value("append_duration_seconds_count", &[("tenant_id", t), ("outcome", "ok")]);
    assert!(appends > 0.0 && appends <= appended, "{appends} appends of {appended} events");
    let mirrored = end.value("dual_write_operations_total", &[("status", "success")]);
    let measured = end.value("dual_write_latency_seconds_count", &[("tenant_id", t)]);
    assert_eq!(mirrored, measured);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_is_counted_and_so_is_its_return() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (process, acked) = (world.process("p1"), Acked::default());
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    process.b.refuse(StoreOp::Extend, 3);
    let writers = process.writers(tenant, 1, &acked);
    for_a_while().await;
    writers.stop().await;
    for_a_while().await;

    let scrape = Scrape::of(&process);
    let failed = scrape.value("dual_write_operations_total", &[("status", "target_failed")]);
    assert!(failed >= 3.0, "three refusals of at least one event each: {failed}");
    assert_eq!(scrape.value("dual_write_target_failures_total", &[]), failed);
    let mirrored = scrape.value("dual_write_operations_total", &[("status", "success")]);
    assert_eq!(mirrored, acked.lock().unwrap().len() as f64, "each in the end");
    assert_eq!(scrape.value("dual_write_sync_lag_events", &[]), 0.0);
    drop(drive);
}

/// The read-back continues in memory; its progress cannot be stored.
#[tokio::test(start_paused = true)]
async fn marks_that_cannot_be_kept_in_dual_write_are_told() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (process, acked) = (world.process("p1"), Acked::default());
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    assert_eq!(Scrape::of(&process).value("migration_retries_total", &[]), 0.0);
    process.control.refuse(ControlOp::SetMarks, 3);
    let writers = process.writers(tenant, 1, &acked);
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    writers.stop().await;
    assert_eq!(Scrape::of(&process).value("migration_retries_total", &[]), 3.0);
    process.operations.request_cutover(id).await.unwrap();
    drive.await.unwrap().unwrap();
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_is_behind_by_what_was_appended_meanwhile() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    for op in [StoreOp::Extend, StoreOp::Ledger, StoreOp::ReadFeed] {
        process.b.down_for(op);
    }
    for n in 1..=5 {
        process.append(tenant, one(n, "s", ExpectedVersion::Any)).await.unwrap();
    }
    let seen = async {
        while Scrape::of(&process).value("dual_write_sync_lag_events", &[]) != 5.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it is 5 events behind");
    drop(drive);
}

#[tokio::test(start_paused = true)]
async fn a_cutover_that_times_out_is_told_once_and_writers_are_told_to_wait() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (process, acked) = (world.process("p1"), Acked::default());
    let writers = process.writers(tenant, 3, &acked);
    let options = Options { cutover_timeout_ms: 1_000, ..manual() };
    let id = process.start(tenant, "b", options).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    process.b.slow(StoreOp::Ledger, Duration::from_secs(30));
    process.operations.request_cutover(id).await.unwrap();
    world.reached(tenant, Phase::CutoverPaused).await;
    for_a_while().await;

    let paused = Scrape::of(&process);
    assert_eq!(paused.value("migration_state", &[]), 3.0);
    assert_eq!(paused.value("cutover_blocked_writers", &[]), 3.0);
    assert!(paused.value("append_longest_wait_seconds", &[]) >= 0.2);

    world.reached(tenant, Phase::DualWrite).await;
    process.b.heal();
    for_a_while().await;
    let after = Scrape::of(&process);
    assert_eq!(after.value("cutover_attempts_total", &[("status", "timed_out")]), 1.0);
    assert_eq!(after.value("cutover_timeout_total", &[]), 1.0);
    assert_eq!(after.value("cutover_attempts_total", &[("status", "succeeded")]), 0.0);
    assert_eq!(after.value("cutover_blocked_writers", &[]), 0.0);
    assert_eq!(after.value("append_longest_wait_seconds", &[]), 0.0);
    assert!(after.value("cutover_pause_duration_seconds_sum", &[]) >= 1.0);
    writers.stop().await;
    drop(drive);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_tells_from_there_and_who_lost_it_is_silent() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let (one, two) = (world.process("one"), world.process("two"));
    let options = Options { copy_rate_max: 100, ..manual() };
    let id = one.start(tenant, "b", options).await;
    let first = one.drive(id);
    world.reached(tenant, Phase::BulkCopy).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The lease runs out as if `one` slept.
    one.control.down_for(ControlOp::Lease);
    let second = two.drive(id);
    tokio::time::sleep(Duration::from_secs(1)).await;
    one.control.heal();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let (told, silent) = (Scrape::of(&two), Scrape::of(&one));
    assert_eq!(told.value("migration_state", &[]), 1.0);
    assert_eq!(told.value("migration_lease_takeovers_total", &[]), 1.0);
    let copied = told.value("migration_events_copied_total", &[]);
    let (_, target) = world.ledgers(tenant).await;
    assert_eq!(copied, target.head.seq as f64, "it goes on where the other was");
    assert!(told.value("migration_duration_seconds", &[("phase", "bulk_copy")]) > 2.5);
    assert!(silent.get("migration_state", &[]).is_none(), "{:#?}", silent.0);
    assert_eq!(silent.value("migration_lease_lost_total", &[]), 1.0);
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn an_append_under_a_route_that_is_no_more_is_counted_and_routed_again() {
    let world = World::new();
    let tenant = world.tenant_with(1, 20).await;
    // The writer is notified of nothing, so it sends its next append to the source.
    let (mover, writer) = (world.process("mover"), world.deaf_process("writer"));
    writer.append(tenant, one(1_000, "s", ExpectedVersion::NoStream)).await.unwrap();
    let id = mover.start(tenant, "b", auto()).await;
    mover.drive_to_end(id).await;
    writer.append(tenant, one(1_001, "t", ExpectedVersion::NoStream)).await.unwrap();
    let told = Scrape::of(&writer);
    let tenant = tenant.to_string();
    assert_eq!(told.value("fenced_appends_total", &[("tenant_id", &tenant)]), 1.0);
}

/// A command drives it, and this process serves: by what the process sees from outside.
#[tokio::test(start_paused = true)]
async fn a_migration_that_no_server_drives_is_shown_as_it_was_last_seen() {
    let world = World::new();
    let tenant = world.tenant_with(1, 300).await;
    let (command, server) = (world.process("command"), world.process("server"));
    let id = command.start(tenant, "b", Options { copy_rate_max: 100, ..manual() }).await;
    let drive = command.drive(id);
    world.reached(tenant, Phase::BulkCopy).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let migration = world.control.migration(id).await.unwrap();
    let log = world.control.log(id, 0, 100).await.unwrap();
    let (source, target) = world.ledgers(tenant).await;
    let (source_seq, target_seq) = (source.head.seq, target.head.seq);
    let reached = Reached { source_seq, target_seq, at: world.clock.now() };
    let first =
        Sighting { migration: &migration, log: Some(&log), held: true, reached: Some(reached) };
    server.metrics.sighted(&first);
    // The lease is another's: that alone shows nothing.
    server.metrics.observer().hear(&Signal::Elsewhere { migration: &migration });
    let seen = Scrape::of(&server);
    assert_eq!(seen.value("migration_state", &[]), 1.0);
    assert_eq!(seen.value("migration_events_copied_total", &[]), target_seq as f64);
    assert_eq!(seen.value("migration_events_total", &[]), 300.0);
    assert_eq!(seen.value("migration_unattended", &[]), 0.0);
    assert_eq!(seen.value("migration_info", &[]), 1.0);
    assert!(seen.value("migration_duration_seconds", &[("phase", "bulk_copy")]) >= 1.0);
    for counted_there in ["dual_write_operations", "migration_retries", "cutover_attempts"] {
        assert!(seen.naming(counted_there).is_empty(), "{counted_there} is not known here");
    }

    // Neither store responds any more: the last values are shown for a while, and the state for longer.
    let silent = Sighting { log: None, reached: None, ..first };
    let second = Duration::from_secs(1);
    tokio::time::sleep(SEEN_FOR.saturating_sub(second)).await;
    server.metrics.sighted(&silent);
    let last = Scrape::of(&server);
    assert_eq!(last.value("migration_events_copied_total", &[]), target_seq as f64);
    tokio::time::sleep(second * 2).await;
    let later = Scrape::of(&server);
    assert!(later.get("migration_events_copied_total", &[]).is_none());
    assert!(later.get("migration_progress_percent", &[]).is_none());
    assert_eq!(later.value("migration_state", &[]), 1.0);

    // Another server takes it: that one shows it.
    server.metrics.driven_by_another_server(id);
    assert!(Scrape::of(&server).get("migration_state", &[]).is_none());
    // Migrations of this process are not read from the control plane.
    command.metrics.sighted(&Sighting { held: false, ..silent });
    assert_eq!(Scrape::of(&command).value("migration_unattended", &[]), 0.0);
    drop(drive);
}

/// Work of dead processes is in the log: the next process's metrics include it.
#[tokio::test(start_paused = true)]
async fn cutovers_are_counted_for_the_migration_whoever_works_on_it() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (one, two) = (world.process("one"), world.process("two"));
    let options = Options { cutover_timeout_ms: 1_000, ..manual() };
    let id = one.start(tenant, "b", options).await;
    let first = one.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    one.b.slow(StoreOp::Ledger, Duration::from_secs(30));
    one.operations.request_cutover(id).await.unwrap();
    world.reached(tenant, Phase::CutoverPaused).await;
    world.reached(tenant, Phase::DualWrite).await;
    one.b.heal();
    for_a_while().await;
    let pause = |scrape: &Scrape| scrape.value("cutover_pause_duration_seconds_sum", &[]);
    let measured = pause(&Scrape::of(&one));
    drop(first);

    let second = two.drive(id);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let scrape = Scrape::of(&two);
    let attempts =
        |scrape: &Scrape, status| scrape.value("cutover_attempts_total", &[("status", status)]);
    assert_eq!(attempts(&scrape, "started"), 1.0);
    assert_eq!(attempts(&scrape, "timed_out"), 1.0);
    assert_eq!(scrape.value("cutover_timeout_total", &[]), 1.0);
    assert_eq!(scrape.value("cutover_pause_duration_seconds_count", &[]), 1.0);
    assert!((pause(&scrape) - measured).abs() < 0.1, "{} is {measured}", pause(&scrape));
    two.operations.request_cutover(id).await.unwrap();
    second.await.unwrap().unwrap();

    // One that serves, and was not there.
    let server = world.process("server");
    let stop = tokio_util::sync::CancellationToken::new();
    let (supervisor, stopped) = (server.supervisor.clone(), stop.clone());
    let serve = tokio::spawn(async move { supervisor.run_all(&stopped).await });
    for_a_while().await;
    for scrape in [Scrape::of(&two), Scrape::of(&server)] {
        assert_eq!(scrape.value("migration_state", &[]), 4.0);
        assert_eq!(attempts(&scrape, "started"), 2.0);
        assert_eq!(attempts(&scrape, "succeeded"), 1.0);
        assert_eq!(scrape.value("cutover_pause_duration_seconds_count", &[]), 2.0);
    }
    stop.cancel();
    serve.await.unwrap();
}

/// Until an operator has repaired or acknowledged it.
#[tokio::test(start_paused = true)]
async fn open_violations_and_a_failure_outlive_the_process_that_found_them() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let finder = world.process("finder");
    let id = finder.start(tenant, "b", manual()).await;
    let driving = finder.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    drop(driving);
    tokio::time::sleep(world::config().lease_ttl * 2).await;
    let record = async |fact: Fact| {
        let route = world.control.route(tenant).await.unwrap().unwrap();
        let rev = fact.routes().then_some(route.rev);
        let change = Change { tenant, migration: id, rev, fact, actor: "finder".to_owned() };
        world.control.record(change).await.unwrap();
    };
    let finding = Finding {
        coverage: Coverage { level: Level::Full, after: 0, upto: 50, whole: true },
        violations: 1,
        seq: Some(7),
        side: Side::Copy,
        first: "content at seq 7".into(),
    };
    record(Fact::Violated { finding }).await;
    record(Fact::Failed { error: "verification found 1 violation(s)".into() }).await;
    let failed_at = finder.engine.control().migration(id).await.unwrap().completed_at.unwrap();

    let server = world.process("server");
    let stop = tokio_util::sync::CancellationToken::new();
    let (supervisor, stopped) = (server.supervisor.clone(), stop.clone());
    let serve = tokio::spawn(async move { supervisor.run_all(&stopped).await });
    for_a_while().await;
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.value("migration_state", &[]), 5.0);
    assert_eq!(scrape.value("verification_open_violations", &[]), 1.0);
    let since = scrape.value("migration_state_since_timestamp_seconds", &[]);
    assert!((since - failed_at.micros() as f64 / 1e6).abs() < 0.1, "{since}: {failed_at:?}");
    assert!(scrape.value("migration_last_look_timestamp_seconds", &[]) >= since);

    // An operator may be faster than a scrape: the failure is reported nevertheless, and then no longer.
    server.operations.acknowledge(id).await.unwrap();
    for_a_while().await;
    assert_eq!(Scrape::of(&server).value("migration_state", &[]), 5.0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let silence = Scrape::of(&server);
    assert!(silence.naming("migration_id").is_empty(), "{:#?}", silence.naming("migration_id"));
    stop.cancel();
    serve.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_in_dual_write_tells_what_was_read_back_before() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let (one, two) = (world.process("one"), world.process("two"));
    let id = one.start(tenant, "b", manual()).await;
    let first = one.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let before = Scrape::of(&one);
    assert_eq!(before.value("migration_read_back_lag_events", &[]), 0.0);
    drop(first);
    // Nothing is appended, so there is nothing more to read back.
    let second = two.drive(id);
    let told = async {
        while Scrape::of(&two).get("migration_read_back_lag_events", &[]) != Some(0.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is known from the marks");
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_failed_migration_is_told_for_the_retention_and_then_nothing_is_left() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", manual()).await;
    let drive = process.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    world.b.tamper(tenant, |rows| rows.events[20].data = Json::trusted("7"));
    let request = Request { level: Level::Full, ..Request::default() };
    let report = process.operations.verify(id, &request).await.unwrap().report;
    let found = Scrape::of(&process);
    assert_eq!(
        found.value("verification_violations_total", &[("type", "content")]),
        report.violations_total as f64
    );
    assert!(report.violations_total > 0);
    assert!(found.value("verification_open_violations", &[]) > 0.0);
    drop(drive);
    process.operations.abort(id, false).await.unwrap();
    process.drive_to_end(id).await;
    assert_eq!(Scrape::of(&process).value("migration_state", &[]), 6.0);

    tokio::time::sleep(RETENTION + Duration::from_secs(1)).await;
    let silence = Scrape::of(&process);
    assert!(silence.naming("migration_id").is_empty(), "{:#?}", silence.naming("migration_id"));
    assert!(silence.naming("dual_write").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_paused_one_and_one_that_is_over_are_told_by_a_process_that_serves() {
    let world = World::new();
    let (paused, over) = (world.tenant_with(1, 50).await, world.tenant_with(2, 50).await);
    let worker = world.process("worker");
    let first = worker.start(paused, "b", manual()).await;
    let drive = worker.drive(first);
    world.reached(paused, Phase::DualWrite).await;
    worker.operations.pause(first).await.unwrap();
    drop(drive);
    tokio::time::sleep(world::config().lease_ttl * 2).await;
    let second = worker.start(over, "b", auto()).await;
    worker.drive_to_end(second).await;

    let server = world.process("server");
    let stop = tokio_util::sync::CancellationToken::new();
    let (supervisor, stopped) = (server.supervisor.clone(), stop.clone());
    let serve = tokio::spawn(async move { supervisor.run_all(&stopped).await });
    for_a_while().await;
    let scrape = Scrape::of(&server);
    let state =
        |id: MigrationId| scrape.value("migration_state", &[("migration_id", &id.to_string())]);
    assert_eq!((state(first), state(second)), (7.0, 4.0));
    stop.cancel();
    serve.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_formats_have_the_same_samples_and_every_family_is_declared() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let process = world.process("p1");
    process.append(tenant, one(1, "s", ExpectedVersion::Any)).await.unwrap();
    let id = process.start(tenant, "b", auto()).await;
    process.drive_to_end(id).await;
    let (open, plain) = (text(&process, Format::OpenMetrics), text(&process, Format::Text));
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    let samples = |text: &str| -> Vec<String> {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
    assert!(!open.contains("_total_total"));
    for family in FAMILIES {
        let kind = family.kind.as_str();
        assert!(open.contains(&format!("# TYPE {} {kind}\n", family.name)), "{}", family.name);
        assert!(plain.contains(&format!("# TYPE {} {kind}\n", family.sample())));
    }
    for sample in samples(&plain) {
        let name = sample.split('{').next().unwrap();
        let family = FAMILIES.iter().find(|family| match family.kind {
            Kind::Histogram(_) => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name == family.sample() + end)
            }
            _ => name == family.sample(),
        });
        let family = family.unwrap_or_else(|| panic!("{name} is not declared"));
        for label in family.labels {
            assert!(sample.contains(&format!("{label}=\"")), "{sample} lacks {label}");
        }
    }
}

#[test]
fn the_guides_families_are_there_with_their_types_and_labels() {
    // Name, type, labels: the tables of the guide.
    let guide = [
        ("migration_state", "gauge", "migration_id tenant_id"),
        ("migration_progress_percent", "gauge", "migration_id tenant_id"),
        ("migration_events_copied_total", "counter", "migration_id tenant_id"),
        ("migration_events_total", "gauge", "migration_id tenant_id"),
        ("migration_duration_seconds", "gauge", "migration_id phase"),
        ("dual_write_operations_total", "counter", "tenant_id status"),
        ("dual_write_target_failures_total", "counter", "tenant_id"),
        ("dual_write_latency_seconds", "histogram", "tenant_id"),
        ("dual_write_sync_lag_events", "gauge", "tenant_id"),
        ("cutover_pause_duration_seconds", "histogram", "migration_id"),
        ("cutover_blocked_writers", "gauge", "migration_id"),
        ("cutover_attempts_total", "counter", "migration_id status"),
        ("cutover_timeout_total", "counter", "migration_id"),
        ("verification_duration_seconds", "histogram", "migration_id level"),
        ("verification_violations_total", "counter", "migration_id type"),
        ("verification_events_checked_total", "counter", "migration_id"),
    ];
    for (sample, kind, labels) in guide {
        let family = FAMILIES.iter().find(|family| family.sample() == sample);
        let family = family.unwrap_or_else(|| panic!("{sample} is missing"));
        assert_eq!((family.kind.as_str(), family.labels.join(" ").as_str()), (kind, labels));
    }
    let buckets = |name| FAMILIES.iter().find(|family| family.name == name).unwrap().kind;
    let mirror = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
    let pause = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
    assert_eq!(buckets("dual_write_latency_seconds"), Kind::Histogram(mirror));
    assert_eq!(buckets("cutover_pause_duration_seconds"), Kind::Histogram(pause));
}

#[test]
fn the_reference_page_is_the_table() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitoring/metrics.md");
    if std::env::var_os("REHOME_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitoring"))
            .unwrap();
        std::fs::write(page, reference()).unwrap();
    }
    let written = std::fs::read_to_string(page).unwrap();
    assert_eq!(
        written,
        reference(),
        "REHOME_WRITE_DOCS=1 cargo test -p rehome-engine --test metrics"
    );
}
