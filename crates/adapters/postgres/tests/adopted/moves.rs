//! A tenant goes from one adopted table to another and back, row for row.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Role, follow_chain};
use rehome_domain::stream::StreamName;
use rehome_ports::{BatchLimit, LedgerStore, TenantNames};
use rehome_postgres::PgAdopted;
use uuid::Uuid;

use crate::kit::{
    EVENTS, FIRST, Place, TENANT, adoption, copy, insert, insert_of, layout, refusal, session,
};

/// All columns that the application sees of the tenant's rows, except the position and the database's own.
const ROWS: &str = "SELECT string_agg((to_jsonb(e) - 'global_position' - 'txid')::text, ';' \
                    ORDER BY aggregate_id, version) FROM events AS e \
                    WHERE tenant_id = '0190a5de-6f6b-7c3d-8a55-000000000001'";

async fn rows(place: &Place) -> Option<String> {
    place.app.query_one(ROWS, &[]).await.expect("the rows").get(0)
}

#[tokio::test]
async fn a_history_is_numbered_and_chained_and_new_rows_follow() {
    let place = Place::new("shared").await;
    for n in 1..=7 {
        place
            .app
            .batch_execute(&insert(1 + n % 3, i32::try_from(n.div_ceil(3)).unwrap()))
            .await
            .unwrap();
    }
    place.app.batch_execute(&insert_of(Uuid::from_u128(5), 99, 1)).await.unwrap();
    assert_eq!(place.store.unguarded(TENANT).await.unwrap(), 7);
    assert_eq!(place.store.ledger(TENANT).await.unwrap().role, Role::Absent);

    let ledger = place.store.activate(TENANT, FIRST).await.unwrap();
    assert_eq!((ledger.role, ledger.epoch, ledger.head.seq), (Role::Active, Epoch(1), 7));
    assert_eq!(place.store.unguarded(TENANT).await.unwrap(), 0);
    place.app.batch_execute(&insert(9, 1)).await.unwrap();
    assert_eq!(place.head().await.seq, 8);

    let feed = place.store.read_feed(TENANT, 0, BatchLimit::PAGE).await.unwrap();
    // The database chained what this code chains.
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
}

#[tokio::test]
async fn a_tenant_moves_there_and_back_row_for_row() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    for n in 1..=300_u16 {
        source
            .app
            .batch_execute(&insert(u128::from(n % 7 + 1), i32::from((n - 1) / 7 + 1)))
            .await
            .unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    let m = Epoch(2);
    target.store.adopt(TENANT, m, Head::EMPTY).await.unwrap();
    copy(&source.store, &target.store, m).await;
    source.app.batch_execute(&insert(50, 1)).await.unwrap();
    // Only the copy writes at the target.
    assert_eq!(refusal(&target.app, &insert(51, 1)).await.0, "RH001");

    let head = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(copy(&source.store, &target.store, m).await, head);
    assert_eq!(
        source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap(),
        head,
        "a lost answer"
    );
    let route = Activation { epoch: Epoch(4), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    source.store.settle(TENANT, Epoch(3), target.store.id()).await.unwrap();
    assert_eq!(rows(&source).await, rows(&target).await);

    let (code, text) = refusal(&source.app, &insert(52, 1)).await;
    assert_eq!(code, "RH001");
    assert!(text.contains("moved to store dedicated"), "{text}");
    target.app.batch_execute(&insert(50, 2)).await.unwrap();

    // Back: the old rows are a prefix already.
    let m = Epoch(5);
    let old = source.store.ledger(TENANT).await.unwrap().head;
    source.store.adopt(TENANT, m, old).await.unwrap();
    copy(&target.store, &source.store, m).await;
    let head = target.store.fence(TENANT, Epoch(4), Epoch(6)).await.unwrap();
    assert_eq!(copy(&target.store, &source.store, m).await, head);
    let route = Activation { epoch: Epoch(7), base: head.seq, created: true };
    source.store.activate(TENANT, route).await.unwrap();
    source.app.batch_execute(&insert(50, 3)).await.unwrap();
    assert_eq!(source.head().await.seq, 303);

    // The copy that is left is purged in chunks, and stays shut.
    let mut ledger = target.store.ledger(TENANT).await.unwrap();
    while ledger.role != Role::Absent {
        ledger = target.store.purge(TENANT, Epoch(6), 100).await.unwrap();
    }
    assert_eq!(rows(&target).await, None);
    assert_eq!(refusal(&target.app, &insert(1, 1)).await.0, "RH001");
}

#[tokio::test]
async fn a_tail_is_cut_back_and_copied_again() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    for n in 1..=20 {
        source.app.batch_execute(&insert(1, n)).await.unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    target.store.drop_replica(TENANT, Epoch(2)).await.unwrap();
    let digest = source.store.digest_at(TENANT, 5).await.unwrap().unwrap();
    let to = Head { seq: 5, digest };
    while target.store.cut_back(TENANT, Epoch(2), to, 4).await.unwrap().head != to {}
    assert_eq!(target.count("SELECT count(*) FROM events").await, 5);
    target.store.adopt(TENANT, Epoch(3), to).await.unwrap();
    assert_eq!(copy(&source.store, &target.store, Epoch(3)).await, head);
    assert_eq!(rows(&source).await, rows(&target).await);
}

#[tokio::test]
async fn rows_of_a_guarded_tenant_are_neither_changed_nor_deleted() {
    let place = Place::new("shared").await;
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.app.batch_execute(&insert_of(Uuid::from_u128(5), 99, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let of = |verb: &str, stream: u128| {
        format!("{verb} WHERE aggregate_id = '{}'", Uuid::from_u128(stream))
    };
    for sql in [
        of("UPDATE events SET actor_id = 'x'", 1),
        of("DELETE FROM events", 1),
        "TRUNCATE events".to_owned(),
    ] {
        assert_eq!(refusal(&place.app, &sql).await.0, "RH002", "{sql}");
    }
    let steal = format!("UPDATE events SET tenant_id = '{}'", TENANT.uuid());
    assert_eq!(refusal(&place.app, &of(&steal, 99)).await.0, "RH002");
    // A tenant without a guard is not affected.
    place.app.batch_execute(&of("UPDATE events SET actor_id = 'x'", 99)).await.unwrap();
    place.app.batch_execute(&of("DELETE FROM events", 99)).await.unwrap();
}

/// The schema of a database, as a dump has it.
fn dump(database: &rehome_cluster::Database) -> String {
    let dumped = std::process::Command::new(rehome_cluster::shared().programs().join("pg_dump"))
        .args(["--schema-only", &database.url()])
        .output()
        .expect("pg_dump runs");
    assert!(dumped.status.success());
    let text = String::from_utf8(dumped.stdout).expect("a text");
    // The key of \restrict is another one each time.
    text.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_released_store_is_what_it_was() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let app = session(&database).await;
    app.batch_execute(EVENTS).await.unwrap();
    app.batch_execute(&insert(1, 1)).await.unwrap();
    let before = dump(&database);
    let adoption = adoption(&database, "shared", layout(), &TenantNames::default());
    assert!(!adoption.is_installed().await.unwrap());
    adoption.adopt().await.unwrap();
    adoption.adopt().await.expect("adopting twice is no change");
    assert_ne!(dump(&database), before);
    let store = PgAdopted::open(adoption.clone()).await.unwrap();
    store.activate(TENANT, FIRST).await.unwrap();

    // While the tenant is in another store, the guard refuses its old writers.
    store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
    let refused = adoption.release(false).await.expect_err("a fenced tenant is left").to_string();
    assert!(refused.contains(&TENANT.to_string()), "{refused}");
    assert!(refused.contains("--no-writers-left"), "{refused}");
    adoption.release(true).await.unwrap();
    assert_eq!(dump(&database), before);
    app.batch_execute(&insert(1, 2)).await.unwrap();

    // Adopted again, it guards the tenant again under the route that it had: with all its rows, or not at all.
    adoption.adopt().await.unwrap();
    let store = PgAdopted::open(adoption).await.unwrap();
    assert_eq!(store.unguarded(TENANT).await.unwrap(), 2);
    let routed = |base| Activation { epoch: Epoch(7), base, created: true };
    store.activate(TENANT, routed(3)).await.expect_err("a row is missing");
    let ledger = store.activate(TENANT, routed(2)).await.unwrap();
    assert_eq!((ledger.role, ledger.epoch, ledger.head.seq), (Role::Active, Epoch(7), 2));
}
