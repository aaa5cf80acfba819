//! A tenant goes from one adopted file to another and back, row for row.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Role, follow_chain};
use rehome_domain::stream::StreamName;
use rehome_ports::{BatchLimit, LedgerStore, TenantNames};
use rehome_sqlite::SqliteAdopted;
use uuid::Uuid;

use crate::kit::{
    ALL, EVENTS, FIRST, Place, TENANT, adoption, copy, insert, insert_of, layout, refusal, rows,
    schema, session,
};

#[tokio::test]
async fn a_history_is_numbered_and_chained_and_new_rows_follow() {
    let place = Place::new("shared").await;
    for n in 1..=7 {
        place.app.execute_batch(&insert(1 + n % 3, i64::try_from(n.div_ceil(3)).unwrap())).unwrap();
    }
    place.app.execute_batch(&insert_of(Uuid::from_u128(5), 99, 1)).unwrap();
    assert_eq!(place.store.unguarded(TENANT).await.unwrap(), 7);
    assert_eq!(place.store.ledger(TENANT).await.unwrap().role, Role::Absent);

    let ledger = place.store.activate(TENANT, FIRST).await.unwrap();
    assert_eq!((ledger.role, ledger.epoch, ledger.head.seq), (Role::Active, Epoch(1), 7));
    assert_eq!(place.store.unguarded(TENANT).await.unwrap(), 0);
    place.app.execute_batch(&insert(9, 1)).unwrap();

    // A page numbers what came in.
    let feed = place.store.read_feed(TENANT, 0, ALL).await.unwrap();
    assert_eq!(feed.ledger.head.seq, 8);
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), feed.ledger.head);
    let last = feed.events.last().unwrap();
    assert_eq!(last.data.as_str(), r#"{"n": 1, "text": "a\"b, (c)"}"#);
    assert_eq!((last.version, last.occurred_at.micros()), (1, 1_767_315_845_678_901));
    let stream = StreamName::new("Order", Uuid::from_u128(2).to_string()).unwrap();
    let slice = place.store.read_stream(TENANT, &stream, 2, BatchLimit::PAGE).await.unwrap();
    assert_eq!((slice.version, slice.events.len(), slice.events[0].version), (3, 2, 2));
    let streams = place.store.streams(TENANT, 8, None, 10).await.unwrap();
    assert_eq!(
        streams.iter().map(|s| (s.events, s.last)).collect::<Vec<_>>(),
        [(2, 2), (3, 3), (2, 2), (1, 1)]
    );
    assert_eq!(place.store.streams(TENANT, 8, Some(&streams[1].stream), 1).await.unwrap().len(), 1);
    assert_eq!(place.store.tenants(None, 10).await.unwrap()[0].tenant, TENANT);
}

#[tokio::test]
async fn a_tenant_moves_there_and_back_row_for_row() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    for n in 1..=300_u16 {
        source
            .app
            .execute_batch(&insert(u128::from(n % 7 + 1), i64::from((n - 1) / 7 + 1)))
            .unwrap();
    }
    // Another tenant's rows are at the target already, so positions differ.
    target.app.execute_batch(&insert_of(Uuid::from_u128(5), 99, 1)).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    let m = Epoch(2);
    target.store.adopt(TENANT, m, Head::EMPTY).await.unwrap();
    copy(&source.store, &target.store, m).await;
    source.app.execute_batch(&insert(50, 1)).unwrap();
    // Only the copy writes at the target.
    assert!(refusal(&target.app, &insert(51, 1)).starts_with("RH001"));

    let head = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(copy(&source.store, &target.store, m).await, head);
    let again = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(again, head, "a lost answer");
    let refused = refusal(&source.app, &insert(52, 1));
    assert!(refused.starts_with("RH003"), "{refused}");
    let route = Activation { epoch: Epoch(4), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    source.store.settle(TENANT, Epoch(3), target.store.id()).await.unwrap();
    assert_eq!(rows(&source), rows(&target));

    let refused = refusal(&source.app, &insert(52, 1));
    assert!(refused.starts_with("RH001"), "{refused}");
    target.app.execute_batch(&insert(50, 2)).unwrap();

    // Back: the old rows are a prefix already.
    let m = Epoch(5);
    let old = source.store.ledger(TENANT).await.unwrap().head;
    source.store.adopt(TENANT, m, old).await.unwrap();
    copy(&target.store, &source.store, m).await;
    let head = target.store.fence(TENANT, Epoch(4), Epoch(6)).await.unwrap();
    assert_eq!(copy(&target.store, &source.store, m).await, head);
    let route = Activation { epoch: Epoch(7), base: head.seq, created: true };
    source.store.activate(TENANT, route).await.unwrap();
    source.app.execute_batch(&insert(50, 3)).unwrap();
    assert_eq!(source.head().await.seq, 303);
    source.store.fence(TENANT, Epoch(7), Epoch(8)).await.unwrap();
    assert!(refusal(&source.app, &insert(50, 4)).starts_with("RH003"), "it is a switch again");

    // The copy that is left is purged in chunks, and stays shut.
    let mut ledger = target.store.ledger(TENANT).await.unwrap();
    while ledger.role != Role::Absent {
        ledger = target.store.purge(TENANT, Epoch(6), 100).await.unwrap();
    }
    assert_eq!(rows(&target), Vec::<String>::new());
    assert!(refusal(&target.app, &insert(1, 1)).starts_with("RH001"));
    // Others write there as before.
    target.app.execute_batch(&insert_of(Uuid::from_u128(5), 99, 2)).unwrap();
}

#[tokio::test]
async fn a_tail_is_cut_back_and_copied_again() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    for n in 1..=20 {
        source.app.execute_batch(&insert(1, n)).unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    target.store.drop_replica(TENANT, Epoch(2)).await.unwrap();
    let digest = source.store.digest_at(TENANT, 5).await.unwrap().unwrap();
    let to = Head { seq: 5, digest };
    while target.store.cut_back(TENANT, Epoch(2), to, 4).await.unwrap().head != to {}
    assert_eq!(target.count("SELECT count(*) FROM events"), 5);
    target.store.adopt(TENANT, Epoch(3), to).await.unwrap();
    assert_eq!(copy(&source.store, &target.store, Epoch(3)).await, head);
    assert_eq!(rows(&source), rows(&target));
}

#[tokio::test]
async fn values_of_any_class_arrive_as_they_are() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    let values = ["x'00ff'", "CAST(x'80' AS TEXT)", "'5'", "x'7b7d'", "char(0)", "''", "NULL"];
    for (n, value) in (1..).zip(values) {
        let sql = insert(1, n).replace("NULL", value);
        source.app.execute_batch(&sql).unwrap();
    }
    let odd =
        insert(2, 1).replace(", 1, '2026", ", 1.0, '2026").replace("'2026-01-02T03", "'not a time");
    source.app.execute_batch(&odd).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    assert_eq!(head.seq, 8);
    assert_eq!(rows(&source), rows(&target));
    let events = target.store.read_feed(TENANT, 0, ALL).await.unwrap().events;
    assert_eq!(follow_chain(Head::EMPTY, &events).unwrap(), head, "read back, it is the same");
}

#[tokio::test]
async fn a_released_store_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let app = session(&path);
    app.execute_batch(EVENTS).unwrap();
    app.execute_batch("PRAGMA user_version = 7; PRAGMA application_id = 77;").unwrap();
    app.execute_batch(&insert(1, 1)).unwrap();
    let before = schema(&app);
    let adoption = adoption(&path, "shared", layout(), &TenantNames::default());
    assert!(!adoption.is_installed().await.unwrap());
    let steps = adoption.plan().await.unwrap().join("\n");
    assert!(steps.contains("rehome_guard_insert") && steps.contains("\"tenant_id\""), "{steps}");
    assert_eq!(schema(&app), before, "a plan changes nothing");
    adoption.adopt().await.unwrap();
    adoption.adopt().await.expect("adopting twice is no change");
    let (things, header) = schema(&app);
    assert_eq!(header, before.1);
    assert!(things.len() > before.0.len() && things.starts_with(&before.0));
    let store = SqliteAdopted::open(adoption.clone()).await.unwrap();
    store.activate(TENANT, FIRST).await.unwrap();

    // While the tenant is in another store, the guard refuses its old writers.
    store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
    let refused = adoption.release(false).await.expect_err("a fenced tenant is left").to_string();
    assert!(refused.contains(&TENANT.to_string()), "{refused}");
    assert!(refused.contains("--no-writers-left"), "{refused}");
    store.close().await;
    adoption.release(true).await.unwrap();
    assert_eq!(schema(&app), before);
    let sequences: Vec<String> = app
        .prepare("SELECT name FROM sqlite_sequence")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(sequences, ["events"]);
    app.execute_batch(&insert(1, 2)).unwrap();
    adoption.release(true).await.expect_err("it is not adopted");

    // Adopted again, it guards the tenant again under the route that it had: with all its rows, or not at all.
    adoption.adopt().await.unwrap();
    let store = SqliteAdopted::open(adoption).await.unwrap();
    assert_eq!(store.unguarded(TENANT).await.unwrap(), 2);
    let routed = |base| Activation { epoch: Epoch(7), base, created: true };
    store.activate(TENANT, routed(3)).await.expect_err("a row is missing");
    let ledger = store.activate(TENANT, routed(2)).await.unwrap();
    assert_eq!((ledger.role, ledger.epoch, ledger.head.seq), (Role::Active, Epoch(7), 2));
}

#[tokio::test]
async fn a_file_of_another_deployment_is_left_alone() {
    let place = Place::new("shared").await;
    let mut other = place.adoption.clone();
    other.deployment = "another".to_owned();
    let refused = other.adopt().await.expect_err("it is not ours").to_string();
    assert!(refused.contains("belongs to deployment"), "{refused}");
    let refused = SqliteAdopted::open(other).await.err().expect("it is not ours").to_string();
    assert!(refused.contains("belongs to deployment"), "{refused}");
}
