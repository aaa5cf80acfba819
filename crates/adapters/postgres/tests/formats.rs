//! Stores of older formats.

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Activation;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{event_id, store_id, tenant};
use rehome_ports::{BatchLimit, LedgerStore};
use rehome_postgres::{PgStore, PgStoreOptions};

async fn open(database: &Database) -> PgStore {
    let options = PgStoreOptions {
        id: store_id("server"),
        url: database.url().parse().expect("a URL"),
        deployment: "formats".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    };
    PgStore::open(options).await.expect("a store")
}

/// Appends `count` events to one stream, and answers how many the history has then.
async fn append(store: &PgStore, first: u64, count: u64) -> usize {
    let event = |n| NewEvent {
        id: event_id(n),
        event_type: EventType::new("placed").expect("a type"),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted("{}"),
        metadata: Json::trusted("{}"),
    };
    let append = Append {
        stream: StreamName::new("order", "1").expect("a name"),
        expected: ExpectedVersion::Exact(first - 1),
        events: (first..first + count).map(event).collect(),
    };
    let outcomes = store.append(tenant(1), Epoch(1), &[append]).await.expect("an answer");
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    let all = BatchLimit { events: usize::MAX, bytes: usize::MAX };
    store.read_feed(tenant(1), 0, all).await.expect("a history").events.len()
}

#[tokio::test]
async fn a_store_of_format_1_is_upgraded_with_what_it_holds() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let old = open(&database).await;
    old.activate(tenant(1), Activation { epoch: Epoch(1), base: 0, created: false })
        .await
        .expect("an active tenant");
    assert_eq!(append(&old, 1, 3).await, 3);
    // What the functions of format 1 were does not matter: they are not to be called again.
    let (client, connection) =
        tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.expect("a session");
    let driven = tokio::spawn(connection);
    client
        .batch_execute(
            "DROP FUNCTION rehome.append_one; \
             DROP FUNCTION rehome.append; \
             DROP FUNCTION rehome.chain; \
             CREATE FUNCTION rehome.append() RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
             CREATE FUNCTION rehome.chain() RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
             UPDATE rehome.meta SET format = 1, oldest_reader = 1, oldest_writer = 1 \
             WHERE kind = 'store'",
        )
        .await
        .expect("functions of format 1");
    // Two at once: one upgrades, the other finds it done.
    let (new, other) = tokio::join!(open(&database), open(&database));
    assert_eq!(append(&new, 4, 1).await, 4);
    assert_eq!(append(&other, 5, 2).await, 6);
    let formats = client
        .query_one(
            "SELECT format, oldest_reader, oldest_writer FROM rehome.meta WHERE kind = 'store'",
            &[],
        )
        .await
        .expect("a row");
    assert_eq!([0, 1, 2].map(|column| formats.get::<_, i32>(column)), [2, 2, 2]);
    drop(client);
    driven.await.expect("no panic").expect("an orderly end");
}
