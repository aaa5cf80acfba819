//! The rules of `docs/guard.md`, each as an interleaving that is forced on the real server.

use std::sync::Arc;
use std::time::Duration;

use rehome_cluster::{Cluster, Options};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Role};
use rehome_ports::{LedgerStore, TenantNames};

use crate::kit::{
    EVENTS, FIRST, Place, TENANT, copy, insert, layout, refusal, until, until_somebody_waits,
};

/// A transaction of this database holds a tenant's lock, or waits inside of it.
const SOMEBODY_IS_INSIDE: &str = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' \
    AND mode = 'ShareLock' \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Waits until the guarding of the tenant has come to this phase.
async fn until_phase(place: &Place, phase: &str) {
    until(
        &place.app,
        &format!("SELECT count(*) > 0 FROM rehome_guard.tenants WHERE phase = '{phase}'"),
    )
    .await;
}

#[tokio::test]
async fn r1_a_writer_that_asked_before_the_guard_is_waited_for() {
    let place = Place::new("shared").await;
    let mut early = place.session().await;
    let writer = early.transaction().await.unwrap();
    writer.batch_execute(&insert(1, 1)).await.unwrap();
    let guarding = tokio::spawn({
        let store = Arc::clone(&place.store);
        async move { store.activate(TENANT, FIRST).await }
    });
    until_phase(&place, "draining").await;
    // One that comes later is not waited for.
    let mut late = place.session().await;
    let later = late.transaction().await.unwrap();
    later.batch_execute(&insert(2, 1)).await.unwrap();
    assert!(!guarding.is_finished());
    writer.commit().await.unwrap();
    let ledger = guarding.await.unwrap().unwrap();
    assert_eq!(ledger.head.seq, 1, "its row has a number");
    later.commit().await.unwrap();
    assert_eq!(place.head().await.seq, 2);
}

#[tokio::test]
async fn r1_a_prepared_transaction_is_waited_for_by_name() {
    let place = Place::new("shared").await;
    place
        .app
        .batch_execute(&format!("BEGIN; {}; PREPARE TRANSACTION 'an order'", insert(1, 1)))
        .await
        .unwrap();
    let refused =
        place.store.activate(TENANT, FIRST).await.expect_err("it is not over").to_string();
    assert!(refused.contains("the prepared transaction 'an order'"), "{refused}");
    place.app.batch_execute("COMMIT PREPARED 'an order'").await.unwrap();
    assert_eq!(place.store.activate(TENANT, FIRST).await.unwrap().head.seq, 1);
}

/// A restarted server gives a prepared transaction another virtual id; it may have read before the
/// guard nevertheless.
#[tokio::test]
async fn r1_a_prepared_transaction_is_waited_for_after_the_server_was_killed() {
    let options = Options::default().in_memory().set("max_prepared_transactions", "5");
    let cluster = Cluster::start(&options).expect("a server");
    let mut place = Place::at(&cluster, "shared").await;
    let prepare = format!("BEGIN; {}; PREPARE TRANSACTION 'an order'", insert(1, 1));
    place.app.batch_execute(&prepare).await.unwrap();
    for killed in [false, true] {
        if killed {
            cluster.kill().expect("killed");
            cluster.begin().expect("begun again");
            place.reopen().await;
        }
        let refused = place.store.activate(TENANT, FIRST).await.expect_err("it is not over");
        assert!(refused.to_string().contains("the prepared transaction 'an order'"), "{refused}");
    }
    let session = place.session().await;
    session.batch_execute("COMMIT PREPARED 'an order'").await.unwrap();
    assert_eq!(place.store.activate(TENANT, FIRST).await.unwrap().head.seq, 1);
}

#[tokio::test]
async fn r2_a_snapshot_from_before_the_guard_is_sent_back() {
    let place = Place::new("shared").await;
    let old = place.session().await;
    let oldest = place.session().await;
    for (session, level) in [(&old, "REPEATABLE READ"), (&oldest, "SERIALIZABLE")] {
        let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM pg_class");
        session.batch_execute(&begin).await.unwrap();
    }
    place.store.activate(TENANT, FIRST).await.unwrap();
    assert_eq!(refusal(&old, &insert(1, 1)).await.0, "40001");
    assert_eq!(refusal(&oldest, &insert(1, 1)).await.0, "40001");
    old.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    old.batch_execute(&insert(1, 1)).await.unwrap();
    old.batch_execute("COMMIT").await.unwrap();
    assert_eq!(place.head().await.seq, 1);
}

#[tokio::test]
async fn r2_an_old_snapshot_changes_nothing_either() {
    for change in ["TRUNCATE events", "DELETE FROM events", "UPDATE events SET version = 9"] {
        let place = Place::new("shared").await;
        place.app.batch_execute(&insert(1, 1)).await.unwrap();
        let old = place.session().await;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
        old.batch_execute(begin).await.unwrap();
        place.store.activate(TENANT, FIRST).await.unwrap();
        assert_eq!(refusal(&old, change).await.0, "40001", "{change}");
    }
}

#[tokio::test]
async fn r4_a_writer_behind_the_floor_is_sent_back() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    source.app.batch_execute(&insert(1, 1)).await.unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    // A writer at the target draws its position before the copy does.
    let drawn: i64 = target
        .app
        .query_one("SELECT nextval('events_global_position_seq')", &[])
        .await
        .unwrap()
        .get(0);
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    let route = Activation { epoch: Epoch(3), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    let late = insert(2, 1).replacen("(event_id,", "(global_position, event_id,", 1).replacen(
        "VALUES (",
        &format!("VALUES ({drawn}, "),
        1,
    );
    assert_eq!(refusal(&target.app, &late).await.0, "40001");
    target.app.batch_execute(&insert(2, 1)).await.unwrap();
}

/// A reader that goes up to the oldest running transaction sees that this one runs, though it waits.
#[tokio::test]
async fn r5_a_writer_has_its_transaction_id_while_it_waits() {
    // No default of a column draws the id.
    let table = EVENTS.split("ALTER TABLE").next().expect("the table without its column txid");
    let mut layout = layout();
    layout.anew.clear();
    let place = Place::with("shared", table, layout, &TenantNames::default()).await;
    // A sequence draws one too when it writes its values ahead, which it did now.
    place.app.batch_execute(&insert(9, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    let waiting = place.session().await;
    let waiter = tokio::spawn(async move { waiting.batch_execute(&insert(1, 1)).await });
    until(&place.app, SOMEBODY_IS_INSIDE).await;
    let with_id = "SELECT count(*) FROM pg_locks AS k JOIN pg_stat_activity AS a ON a.pid = k.pid \
        WHERE k.locktype = 'advisory' AND k.mode = 'ShareLock' AND a.backend_xid IS NOT NULL \
            AND a.datname = current_database()";
    assert_eq!(place.count(with_id).await, 1);
    let route = Activation { epoch: Epoch(3), base: 1, created: true };
    place.store.activate(TENANT, route).await.unwrap();
    waiter.await.unwrap().expect("it is in");
}

#[tokio::test]
async fn r6_a_row_that_commits_late_is_numbered() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let mut slow = place.session().await;
    let first = slow.transaction().await.unwrap();
    first.batch_execute(&insert(1, 1)).await.unwrap();
    place.app.batch_execute(&insert(2, 1)).await.unwrap();
    assert_eq!(place.head().await.seq, 1);
    first.commit().await.unwrap();
    assert_eq!(place.head().await.seq, 2);
    assert_eq!(place.count("SELECT count(*) FROM rehome_guard.arrivals").await, 0);
}

#[tokio::test]
async fn r7_versions_that_contradict_positions_keep_their_order() {
    let place = Place::new("shared").await;
    place.app.batch_execute(&insert(1, 2)).await.unwrap();
    place.app.batch_execute(&insert(2, 1)).await.unwrap();
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let feed = place.store.read_feed(TENANT, 0, rehome_ports::BatchLimit::PAGE).await.unwrap();
    let order: Vec<_> = feed
        .events
        .iter()
        .map(|e| (e.stream.stream_id().as_bytes()[35] - b'0', e.version))
        .collect();
    assert_eq!(order, [(2, 1), (1, 1), (1, 2)]);
}

#[tokio::test]
async fn r13_the_fence_numbers_what_committed_while_it_waited() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let mut inside = place.session().await;
    let writer = inside.transaction().await.unwrap();
    writer.batch_execute(&insert(1, 1)).await.unwrap();
    let fencing = tokio::spawn({
        let store = Arc::clone(&place.store);
        async move { store.fence(TENANT, Epoch(1), Epoch(2)).await }
    });
    until_somebody_waits(&place.app).await;
    writer.commit().await.unwrap();
    assert_eq!(fencing.await.unwrap().unwrap().seq, 1);
}

/// A stopped process is stopped on all its connections. In another database of the server, the holder of
/// the lock of the same number is not terminated.
#[tokio::test]
async fn r8_writers_that_stand_still_inside_are_freed_by_name_and_nobody_else() {
    let (place, other) = (Place::new("shared").await, Place::new("dedicated").await);
    let mut sessions = Vec::new();
    for at in [&place, &place, &place, &other] {
        at.store.activate(TENANT, FIRST).await.unwrap();
        let session = at.session().await;
        session.batch_execute("BEGIN").await.unwrap();
        session.batch_execute(&insert(sessions.len() as u128 + 1, 1)).await.unwrap();
        sessions.push(session);
    }
    let head = place.store.fence(TENANT, Epoch(1), Epoch(2)).await.expect("in bounded time");
    assert_eq!(head.seq, 0, "nobody was told that it committed");
    let elsewhere = sessions.pop().unwrap();
    for stopped in sessions {
        stopped.batch_execute("COMMIT").await.expect_err("its session is gone");
    }
    elsewhere.batch_execute("COMMIT").await.expect("it holds up nobody");
}

#[tokio::test]
async fn r9_numbering_sends_no_snapshot_back_and_a_fence_does() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let old = place.session().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    old.batch_execute(begin).await.unwrap();
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    assert_eq!(place.head().await.seq, 1, "numbered since");
    old.batch_execute(&insert(2, 1)).await.expect("the head is not the role");
    old.batch_execute("COMMIT").await.unwrap();

    old.batch_execute(begin).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    assert_eq!(refusal(&old, &insert(3, 1)).await.0, "40001", "the role of its snapshot is stale");
    assert_eq!(place.head().await.seq, 2);
}

#[tokio::test]
async fn r10_who_waits_for_a_switch_goes_on_when_it_is_rolled_back() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    let waiting = place.session().await;
    let waiter = tokio::spawn(async move { waiting.batch_execute(&insert(1, 1)).await });
    until(&place.app, SOMEBODY_IS_INSIDE).await;
    let route = Activation { epoch: Epoch(3), base: 0, created: true };
    place.store.activate(TENANT, route).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap().expect("it is in");
    assert_eq!(place.head().await.seq, 1);
}

#[tokio::test]
async fn who_waits_for_a_switch_is_sent_away_when_it_is_over() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    let waiting = place.session().await;
    let waiter = tokio::spawn(async move { refusal(&waiting, &insert(1, 1)).await });
    until(&place.app, SOMEBODY_IS_INSIDE).await;
    place.store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
    let (code, text) = tokio::time::timeout(Duration::from_secs(2), waiter).await.unwrap().unwrap();
    assert_eq!(code, "RH001", "{text}");
    // A snapshot does not wait: it could not see the end.
    place.app.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(refusal(&place.app, &insert(1, 1)).await.0, "RH001");
}

#[tokio::test]
async fn r12_a_target_with_rows_of_the_tenant_is_refused_and_not_shut() {
    let target = Place::new("dedicated").await;
    target.app.batch_execute(&insert(1, 1)).await.unwrap();
    let refused = target
        .store
        .adopt(TENANT, Epoch(2), Head::EMPTY)
        .await
        .expect_err("it has rows")
        .to_string();
    assert!(refused.contains("rows of tenant"), "{refused}");
    target.app.batch_execute(&insert(1, 2)).await.unwrap();
}

/// A row that came in while the target was being guarded can be deleted, and then the tenant may come.
#[tokio::test]
async fn r12_rows_of_a_tenant_that_is_absent_can_be_deleted() {
    let target = Place::new("dedicated").await;
    let mut early = target.session().await;
    let writer = early.transaction().await.unwrap();
    writer.batch_execute(&insert(1, 1)).await.unwrap();
    let adopting = tokio::spawn({
        let store = Arc::clone(&target.store);
        async move { store.adopt(TENANT, Epoch(2), Head::EMPTY).await }
    });
    until_phase(&target, "draining").await;
    writer.commit().await.unwrap();
    let refused = adopting.await.unwrap().expect_err("it has a row").to_string();
    assert!(refused.contains("delete them"), "{refused}");
    assert_eq!(refusal(&target.app, &insert(1, 2)).await.0, "RH001");
    assert_eq!(refusal(&target.app, "UPDATE events SET version = 9").await.0, "RH002");
    target.app.batch_execute("DELETE FROM events").await.expect("they are in no history");
    let ledger = target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.expect("it is empty");
    assert_eq!((ledger.role, ledger.head), (Role::Replica, Head::EMPTY));
    assert_eq!(target.count("SELECT count(*) FROM rehome_guard.arrivals").await, 0);
}

/// The database commits asynchronously, and is killed before it has written what it committed.
#[tokio::test]
async fn r14_a_fence_is_there_after_a_crash_that_loses_commits() {
    let options = Options::default()
        .in_memory()
        .set("synchronous_commit", "off")
        .set("full_page_writes", "off")
        .set("wal_writer_delay", "10000");
    let cluster = Cluster::start(&options).expect("a server");
    let mut place = Place::at(&cluster, "shared").await;
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let head = place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    cluster.kill().expect("killed");
    cluster.begin().expect("begun again");
    place.reopen().await;
    let ledger = place.store.ledger(TENANT).await.unwrap();
    assert_eq!((ledger.role, ledger.epoch, ledger.head), (Role::Fenced, Epoch(2), head));
}

#[tokio::test]
async fn r15_a_guard_that_was_switched_off_and_on_does_not_fence() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.batch_execute("ALTER TABLE events DISABLE TRIGGER USER").await.unwrap();
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    for name in ["insert", "note", "change", "truncate"] {
        let on = format!("ALTER TABLE events ENABLE ALWAYS TRIGGER zzzz_rehome_{name}");
        place.app.batch_execute(&on).await.unwrap();
    }
    let refused = place
        .store
        .fence(TENANT, Epoch(1), Epoch(2))
        .await
        .expect_err("a row may be missing")
        .to_string();
    assert!(refused.contains("were changed since installation"), "{refused}");
    let report = place.store.check().await.unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.contains("triggers")),
        "{:?}",
        report.problems
    );
    // The tenant continues.
    place.app.batch_execute(&insert(1, 2)).await.unwrap();
}

/// The process that fenced it is killed, and its lock, which protects the triggers, is lost; rows come in around them
/// before another driver continues.
#[tokio::test]
async fn r15_a_fence_whose_holder_died_is_looked_at_again() {
    let mut place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    place.store.fence_holds(TENANT).await.expect("it holds");
    place.reopen().await;
    let names = ["insert", "note", "change", "truncate"];
    let triggers = |how: &str| -> String {
        let each =
            names.map(|name| format!("ALTER TABLE events {how} TRIGGER zzzz_rehome_{name};"));
        each.concat()
    };
    place.app.batch_execute(&triggers("DISABLE")).await.expect("nobody holds the table");
    place.app.batch_execute(&insert(1, 2)).await.expect("nobody looks");
    place.app.batch_execute(&triggers("ENABLE ALWAYS")).await.unwrap();
    let refused =
        place.store.fence(TENANT, Epoch(1), Epoch(2)).await.expect_err("a row is missing");
    assert!(refused.to_string().contains("were changed since installation"), "{refused}");
    place.store.fence_holds(TENANT).await.expect_err("not for the switch either");
}

/// The lock is lost in the pause: the last check before the switch takes it again.
#[tokio::test]
async fn r15_a_lock_that_was_lost_is_taken_again_before_the_switch() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    let holders = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
        WHERE relation = 'events'::regclass AND mode = 'RowExclusiveLock'";
    assert_eq!(place.count(holders).await, 1);
    until(
        &place.app,
        "SELECT count(*) = 0 FROM pg_locks WHERE relation = 'events'::regclass \
            AND mode = 'RowExclusiveLock'",
    )
    .await;
    place.store.fence_holds(TENANT).await.expect("taken again, and nothing was changed");
    let alter = "SET lock_timeout = '100ms'; ALTER TABLE events DISABLE TRIGGER zzzz_rehome_insert";
    assert_eq!(refusal(&place.app, alter).await.0, "55P03");
}

/// What a fence checks of the table is checked before writers wait, and the lock that keeps it so is held from then on.
#[tokio::test]
async fn r15_the_table_is_held_before_the_fence_until_it_is_over() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let alter = "SET lock_timeout = '100ms'; ALTER TABLE events DISABLE TRIGGER zzzz_rehome_insert";
    let held = "SELECT min(pid)::bigint FROM pg_locks \
        WHERE relation = 'events'::regclass AND mode = 'RowExclusiveLock' AND granted";
    place.store.before_fence(TENANT).await;
    assert_eq!(refusal(&place.app, alter).await.0, "55P03");
    let holder = place.count(held).await;
    // Writers come in, and the fence uses the same lock.
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    assert_eq!(place.count(held).await, holder);
    place.store.fence_is_over(TENANT).await;
    until(&place.app, "SELECT count(*) = 0 FROM pg_locks WHERE relation = 'events'::regclass")
        .await;

    // What is wrong with the table is the answer of the fence.
    place
        .store
        .activate(TENANT, Activation { epoch: Epoch(3), base: 1, created: false })
        .await
        .unwrap();
    place.app.batch_execute(alter).await.unwrap();
    place.store.before_fence(TENANT).await;
    let refused =
        place.store.fence(TENANT, Epoch(3), Epoch(4)).await.expect_err("a trigger is disabled");
    assert!(refused.to_string().contains("trigger"), "{refused}");
}

#[tokio::test]
async fn r15_logical_apply_is_guarded_too() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    place.store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
    let cluster = rehome_cluster::shared();
    let sql = format!("SET session_replication_role = replica; {}", insert(1, 1));
    let refused =
        cluster.sql(place.database.name(), &sql).expect_err("the trigger fires all the same");
    assert!(format!("{refused:#}").contains("is not written in this database"), "{refused:#}");
}
