//! The rules of `docs/guard.md`, each as an interleaving that is forced on the real server.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head};
use rehome_ports::LedgerStore;

use crate::kit::{FIRST, Place, TENANT, copy, insert, refusal, until, until_somebody_waits};

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

/// A process that is stopped stands still on all its connections. In another database of the server, who holds
/// the lock of the same number is left alone.
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
    assert!(refused.contains("not as they were installed"), "{refused}");
    let report = place.store.check().await.unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.contains("triggers")),
        "{:?}",
        report.problems
    );
    // The tenant goes on.
    place.app.batch_execute(&insert(1, 2)).await.unwrap();
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
