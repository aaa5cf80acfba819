//! The rules of `docs/guard.md`, each as an interleaving that is forced on a real file.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::Epoch;
use rehome_domain::layout::{Layout, TenantPart, tenant_of};
use rehome_domain::ledger::{Activation, Head, follow_chain};
use rehome_ports::{LedgerStore, TenantNames};
use rehome_sqlite::{Adoption, FileOptions, SqliteAdopted};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use uuid::Uuid;

use crate::kit::{ALL, EVENTS, FIRST, Place, TENANT, copy, insert, insert_of, layout, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn r13_the_fence_waits_for_who_is_inside_and_numbers_what_they_committed() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let mut inside = place.session();
    let writer = inside.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    writer.execute_batch(&insert(1, 1)).unwrap();
    let file = FileOptions { locked_after: Duration::from_millis(20), ..FileOptions::default() };
    let impatient = Adoption { file, ..place.adoption.clone() };
    let impatient = SqliteAdopted::open(impatient).await.unwrap();
    let refused = impatient.fence(TENANT, Epoch(1), Epoch(2)).await.expect_err("it is held");
    assert!(refused.to_string().contains("is locked by another process"), "{refused}");
    let fencing = tokio::spawn({
        let store = Arc::clone(&place.store);
        async move { store.fence(TENANT, Epoch(1), Epoch(2)).await }
    });
    writer.commit().unwrap();
    assert_eq!(fencing.await.unwrap().unwrap().seq, 1);
}

/// SQLite's own rule replaces R1 and R2: no writer commits on an old snapshot.
#[tokio::test]
async fn r2_a_snapshot_from_before_the_guard_does_not_write() {
    let place = Place::new("shared").await;
    let mut old = place.session();
    let before = old.transaction().unwrap();
    let count: i64 = before.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
    place.store.activate(TENANT, FIRST).await.unwrap();
    let error = before.execute_batch(&insert(1, 1)).expect_err("it is too old");
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy), "{error}");
    drop(before);
    old.execute_batch(&insert(1, 1)).unwrap();
    assert_eq!(place.head().await.seq, 1);
}

/// The same insert with a position that the writer gives.
fn placed(sql: &str, position: i64) -> String {
    sql.replacen("(event_id,", "(global_position, event_id,", 1).replacen(
        "VALUES (",
        &format!("VALUES ({position}, "),
        1,
    )
}

#[tokio::test]
async fn r4_a_writer_behind_the_floor_is_refused() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    source.app.execute_batch(&insert(1, 1)).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    for n in 1..=3 {
        target.app.execute_batch(&insert_of(Uuid::from_u128(5), 99, n)).unwrap();
    }
    target.app.execute_batch("DELETE FROM events WHERE global_position = 2").unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let beside = placed(&insert_of(Uuid::from_u128(5), 99, 4), 50);
    target.app.execute_batch(&beside).unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    let route = Activation { epoch: Epoch(3), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    // Before the existing rows, and before the rows of the copy.
    for position in [2, 10] {
        let refused = refusal(&target.app, &placed(&insert(2, 1), position));
        assert!(refused.starts_with("RH007"), "{refused}");
    }
    target.app.execute_batch(&insert(2, 1)).unwrap();
    // The same where the tenant is at home: numbers and positions have one order.
    let refused = refusal(&source.app, &placed(&insert(2, 1), -1));
    assert!(refused.starts_with("RH007"), "{refused}");
}

#[tokio::test]
async fn r7_versions_that_contradict_positions_keep_their_order() {
    let place = Place::new("shared").await;
    for (stream, version) in [(1, 2), (2, 1), (1, 1)] {
        place.app.execute_batch(&insert(stream, version)).unwrap();
    }
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.execute_batch(&insert(1, 3)).unwrap();
    let feed = place.store.read_feed(TENANT, 0, ALL).await.unwrap();
    let order: Vec<_> = feed
        .events
        .iter()
        .map(|e| (e.stream.stream_id().as_bytes()[35] - b'0', e.version))
        .collect();
    assert_eq!(order, [(2, 1), (1, 1), (1, 2), (1, 3)]);
    // Positions 1 to 4 are numbers 3, 1, 2, 4: a reader at 2 has not seen number 2, so it continues after number 1 at most.
    let number = async |position| place.store.number_of_position(TENANT, position).await.unwrap();
    assert_eq!(
        (number(0).await, number(2).await, number(3).await, number(4).await),
        (Some(0), Some(1), Some(3), Some(4))
    );
    let position = async |seq| place.store.position_of_number(TENANT, seq).await.unwrap();
    assert_eq!(
        (position(0).await, position(1).await, position(3).await, position(4).await),
        (Some(0), Some(0), Some(3), Some(4))
    );
}

#[tokio::test]
async fn r7_what_comes_while_a_long_history_is_numbered_is_numbered_after_it() {
    let place = Place::new("shared").await;
    // One position is free.
    place.app.execute_batch(&many("n + (n = 30000)")).unwrap();
    let ledger = place.store.activate(TENANT, FIRST).await.unwrap();
    assert!(ledger.head.seq < 30_000, "one look numbers no more than it may");
    // Neither into the history nor before it.
    for position in [-5, 30_000] {
        let refused = refusal(&place.app, &placed(&insert(9, 1), position));
        assert!(refused.starts_with("RH007"), "{refused}");
    }
    place.app.execute_batch(&insert(9, 1)).unwrap();
    for _ in 0..3 {
        place.head().await;
    }
    assert_eq!(place.head().await.seq, 30_001);
    let last = place.store.read_feed(TENANT, 29_999, ALL).await.unwrap().events;
    let versions: Vec<_> = last.iter().map(|event| event.version).collect();
    assert_eq!(versions, [30_000, 1]);
    assert_eq!(place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap().seq, 30_001);
}

#[tokio::test]
async fn r6_a_checkpoint_does_not_pass_a_row_that_came_in_and_has_no_number() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let at = |position: i64, version: i64| placed(&insert(1, version), position);
    place.app.execute_batch(&at(100, 1)).unwrap();
    place.head().await;
    let refused = refusal(&place.app, &at(50, 2));
    assert!(refused.starts_with("RH007"), "{refused}");
    place.app.execute_batch(&at(101, 2)).unwrap();
    assert_eq!(place.store.position_of_number(TENANT, 1).await.unwrap(), Some(100));
    // Two came, the later at the lower position.
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.execute_batch(&at(100, 1)).unwrap();
    place.app.execute_batch(&at(90, 2)).unwrap();
    place.head().await;
    assert_eq!(place.store.position_of_number(TENANT, 1).await.unwrap(), Some(89));
    assert_eq!(place.store.number_of_position(TENANT, 95).await.unwrap(), Some(0));
    // Many arrived, each before the last, and one pass does not number them all.
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.execute_batch(&many("30001 - n")).unwrap();
    assert!(place.head().await.seq < 30_000);
    assert_eq!(place.store.position_of_number(TENANT, 1).await.unwrap(), Some(0));
}

/// 30,000 rows of one stream, each at the position that an expression over its version gives.
fn many(position: &str) -> String {
    format!(
        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 30000) \
         INSERT INTO events (global_position, event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, \
         timestamp, payload) SELECT {position}, 'e' || n, 'a', 'Order', 'Changed', '{}', n, '', '{{}}' FROM n",
        TENANT.uuid()
    )
}

#[tokio::test]
async fn r3_only_the_authority_may_be_released() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let head = place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    let refused = place.adoption.release(false).await.expect_err("it is fenced").to_string();
    assert!(refused.contains("(fenced)"), "{refused}");
    let route = Activation { epoch: Epoch(3), base: head.seq, created: true };
    place.store.activate(TENANT, route).await.unwrap();
    place.adoption.release(false).await.unwrap();
    place.app.execute_batch(&insert(1, 1)).unwrap();
}

#[tokio::test]
async fn a_roll_back_lets_writers_in_again() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    assert!(refusal(&place.app, &insert(1, 1)).starts_with("RH003"));
    let route = Activation { epoch: Epoch(3), base: 0, created: true };
    place.store.activate(TENANT, route).await.unwrap();
    place.app.execute_batch(&insert(1, 1)).unwrap();
    assert_eq!(place.head().await.seq, 1);
    // An old fence is refused, and an old notice of a switch has no effect.
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.expect_err("it is stale");
    place.store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
    place.app.execute_batch(&insert(1, 2)).unwrap();
    place.store.fence(TENANT, Epoch(3), Epoch(4)).await.unwrap();
    place.store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
    assert!(refusal(&place.app, &insert(1, 3)).starts_with("RH003"));
}

#[tokio::test]
async fn r12_a_target_with_rows_of_the_tenant_is_refused_and_not_shut() {
    let target = Place::new("dedicated").await;
    target.app.execute_batch(&insert(1, 1)).unwrap();
    let refused = target
        .store
        .adopt(TENANT, Epoch(2), Head::EMPTY)
        .await
        .expect_err("it has rows")
        .to_string();
    assert!(refused.contains("rows of tenant"), "{refused}");
    target.app.execute_batch(&insert(1, 2)).unwrap();
}

/// A connection that switched its triggers off.
fn without_triggers(place: &Place) -> Connection {
    let session = place.session();
    session.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    session
}

#[tokio::test]
async fn r15_a_row_that_came_around_the_triggers_does_not_let_the_tenant_go() {
    // Before the count that precedes the pause, and between it and the pause: the file has both.
    let place = Place::new("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    without_triggers(&place).execute_batch(&insert(1, 2)).unwrap();
    let refused = place
        .store
        .fence(TENANT, Epoch(1), Epoch(2))
        .await
        .expect_err("a row has no number")
        .to_string();
    assert!(
        refused.contains("has 2 rows of tenant") && refused.contains("the guard has recorded 1"),
        "{refused}"
    );
    // The tenant continues.
    place.app.execute_batch(&insert(1, 3)).unwrap();
    // So does one whose number has no row.
    let place = Place::new("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    without_triggers(&place).execute_batch("DELETE FROM events").unwrap();
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.expect_err("a row is gone");
}

#[tokio::test]
async fn r15_a_guard_that_is_not_as_it_was_installed_does_not_fence() {
    for (change, why) in [
        ("DROP TRIGGER rehome_guard_note", "rehome_guard_note was changed since installation"),
        ("ALTER TABLE events ADD COLUMN more TEXT", "changed columns or keys"),
        ("CREATE UNIQUE INDEX one ON events (actor_id, version)", "changed columns or keys"),
        ("ALTER TABLE events RENAME TO other", "has no table"),
    ] {
        let place = Place::new("shared").await;
        place.store.activate(TENANT, FIRST).await.unwrap();
        place.app.execute_batch(change).unwrap();
        let fenced = place.store.fence(TENANT, Epoch(1), Epoch(2)).await;
        let refused = fenced.expect_err("a row may be missing").to_string();
        if !change.contains("RENAME") {
            assert!(refused.contains(why), "{change}: {refused}");
        }
        let problems = place.store.check().await.unwrap().problems.join("; ");
        assert!(problems.contains(why), "{change}: {problems}");
        assert_eq!(place.store.obstacles(TENANT).await.unwrap().join("; "), problems);
    }
}

/// Between the fence and the switch a writer bypasses the guard: there is no switch.
#[tokio::test]
async fn r15_what_comes_around_the_guard_after_the_fence_keeps_it_from_being_switched() {
    for around in ["", "DROP TRIGGER rehome_guard_insert"] {
        let place = Place::new("shared").await;
        place.app.execute_batch(&insert(1, 1)).unwrap();
        place.store.activate(TENANT, FIRST).await.unwrap();
        place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
        place.store.fence_holds(TENANT).await.expect("nobody came");
        if around.is_empty() {
            without_triggers(&place).execute_batch(&insert(1, 2)).unwrap();
        } else {
            place.app.execute_batch(around).unwrap();
        }
        place.store.fence_holds(TENANT).await.expect_err("a row may be missing");
    }
}

/// The library's own upgrade may add a column meanwhile.
#[tokio::test]
async fn a_column_that_came_later_is_in_nobodys_way_until_a_switch() {
    let place = Place::new("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let head = place.head().await;
    place.app.execute_batch("ALTER TABLE events ADD COLUMN a_first TEXT DEFAULT 'x'").unwrap();
    let again = SqliteAdopted::open(place.adoption.clone()).await.unwrap();
    place.app.execute_batch(&insert(1, 2)).unwrap();
    let feed = again.read_feed(TENANT, 0, ALL).await.unwrap();
    assert_eq!(follow_chain(head, &feed.events[1..]).unwrap(), feed.ledger.head);
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), feed.ledger.head);
    again.fence(TENANT, Epoch(1), Epoch(2)).await.expect_err("the column would be lost");
}

/// The library's file may have a rollback journal; it keeps it.
#[tokio::test]
async fn a_rollback_journal_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let app = crate::kit::session(&path);
    app.execute_batch(EVENTS).unwrap();
    app.execute_batch(&insert(1, 1)).unwrap();
    let adoption = crate::kit::adoption(&path, "shared", layout(), &TenantNames::default());
    adoption.adopt().await.unwrap();
    let store = SqliteAdopted::open(adoption).await.unwrap();
    store.activate(TENANT, FIRST).await.unwrap();
    app.execute_batch(&insert(1, 2)).unwrap();
    assert_eq!(store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap().seq, 2);
    assert!(refusal(&app, &insert(1, 3)).starts_with("RH003"));
    let mode: String = app.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    let report = store.check().await.unwrap();
    assert!(report.durable && report.durability.starts_with("DELETE"), "{}", report.durability);
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn tenants_whose_names_are_texts_are_found_and_carried_over() {
    let tenant = tenant_of("acme's \"first\"");
    let insert = |version: i64| {
        format!(
            "INSERT INTO \"Order Events\" (customer, account, revision, kind, body) \
             VALUES ('acme''s \"first\"', 'a/b', {version}, 'Paid', x'7b7d')"
        )
    };
    let schema = "CREATE TABLE \"Order Events\" (id INTEGER PRIMARY KEY AUTOINCREMENT, customer VARCHAR(20) NOT NULL, \
                  account TEXT NOT NULL, revision BIGINT NOT NULL, kind TEXT NOT NULL, body BLOB, \
                  upper TEXT GENERATED ALWAYS AS (upper(kind)) VIRTUAL, UNIQUE (customer, account, revision))";
    let layout = Layout {
        name: "house".to_owned(),
        table: "Order Events".to_owned(),
        tenant: TenantPart::Column("customer".to_owned()),
        stream_type: None,
        stream_id: vec!["account".to_owned()],
        version: "revision".to_owned(),
        first_version: 0,
        position: Some("id".to_owned()),
        event_id: None,
        event_type: "kind".to_owned(),
        occurred_at: None,
        recorded_at: None,
        data: "body".to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
        ..layout()
    };
    let names = TenantNames::default();
    let source = Place::with("shared", schema, layout.clone(), &names).await;
    for version in 0..3 {
        source.app.execute_batch(&insert(version)).unwrap();
    }
    assert_eq!(source.store.unguarded(tenant).await.unwrap(), 3);
    source.store.activate(tenant, FIRST).await.unwrap();
    // Another process, which has seen no row of the source.
    let names = TenantNames::default();
    let target = Place::with("dedicated", schema, layout, &names).await;
    let refused =
        target.store.adopt(tenant, Epoch(2), Head::EMPTY).await.expect_err("no name").to_string();
    assert!(refused.contains("has the name of tenant"), "{refused}");
    names.learn(tenant, "acme's \"first\"");
    target.store.adopt(tenant, Epoch(2), Head::EMPTY).await.unwrap();
    let feed = source.store.read_feed(tenant, 0, ALL).await.unwrap();
    assert_eq!(feed.events[2].version, 3);
    assert_eq!(feed.events[0].data.as_str(), "{}");
    target.store.extend(tenant, Epoch(2), Head::EMPTY, &feed.events).await.unwrap();
    assert_eq!(target.store.read_feed(tenant, 0, ALL).await.unwrap().events, feed.events);
    let refused = refusal(&target.app, &insert(3));
    assert!(refused.starts_with("RH001"), "{refused}");
}
