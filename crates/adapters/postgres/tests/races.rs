//! Forced changes of a ledger row between an operation's read and its write: another session
//! holds the row while the operation reads the old state, and then releases it.

use std::sync::Arc;
use std::time::Duration;

use rehome_cluster::Database;
use rehome_domain::digest::Digest;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Refusal, Role};
use rehome_ports::LedgerStore;
use rehome_ports::clock::SystemClock;
use rehome_postgres::{PgStore, PgStoreOptions};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

async fn store(database: &Database) -> Arc<PgStore> {
    let store = PgStore::open(PgStoreOptions {
        id: "shared".parse().expect("a store id"),
        url: database.url().parse().expect("a URL"),
        deployment: "races".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    });
    Arc::new(store.await.expect("a new store"))
}

async fn session(database: &Database) -> Client {
    let connected = tokio_postgres::connect(&database.url(), NoTls).await;
    let (client, connection) = connected.expect("a session");
    tokio::spawn(connection);
    client
}

/// Waits until some session of the database waits for a row.
async fn until_somebody_waits(session: &Client) {
    let waits = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waited = async {
        loop {
            let row = session.query_one(waits, &[]).await.expect("who waits");
            if row.get::<_, i64>(0) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("nobody waits");
}

#[tokio::test]
async fn a_replica_that_grew_since_its_head_was_proven_is_not_adopted() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let store = store(&database).await;
    let tenant = TenantId::new(Uuid::from_u128(7));
    store.adopt(tenant, Epoch(2), Head::EMPTY).await.expect("a first replica");

    // A sleeper of the earlier migration is inside its extend.
    let mut sleeper = session(&database).await;
    let watch = session(&database).await;
    let grow = sleeper.transaction().await.expect("a transaction");
    let digest = [9_u8; 32];
    grow.execute(
        "UPDATE rehome.ledger SET seq = 1, digest = $2 WHERE tenant = $1",
        &[&tenant.uuid(), &digest.as_slice()],
    )
    .await
    .expect("the head moves");

    let adopting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.adopt(tenant, Epoch(3), Head::EMPTY).await }
    });
    until_somebody_waits(&watch).await;
    grow.commit().await.expect("the sleeper is done");

    let refused = adopting.await.expect("no panic").expect_err("the head is another one");
    let refused = refused.refused().expect("a refusal");
    assert_eq!(refused.why, Refusal::NotAtHead);
    let ledger = store.ledger(tenant).await.expect("the ledger");
    assert_eq!((ledger.role, ledger.epoch), (Role::Replica, Epoch(2)));
    assert_eq!(ledger.head, Head { seq: 1, digest: Digest::new(digest) });
}
