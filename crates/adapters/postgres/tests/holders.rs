//! A stopped process that holds a ledger row: simulated by a session that locks it as a copy does and then
//! sends nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt as _;
use rehome_cluster::Database;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Activation, Head, Role};
use rehome_ports::clock::SystemClock;
use rehome_ports::{BatchLimit, Class, LedgerStore};
use rehome_postgres::{PgStore, PgStoreOptions};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// Longer than a still holder is borne with; only a failing test waits for it.
const BOUND: Duration = Duration::from_secs(8);

async fn store(database: &Database) -> Arc<PgStore> {
    let store = PgStore::open(PgStoreOptions {
        id: "shared".parse().expect("a store id"),
        url: database.url().parse().expect("a URL"),
        deployment: "holders".to_owned(),
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

const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));

/// Locks the row in a transaction.
async fn lock(session: &Client) {
    session.batch_execute("BEGIN").await.expect("a transaction");
    let lock = "SELECT seq FROM rehome.ledger WHERE tenant = $1 FOR NO KEY UPDATE";
    session.query_one(lock, &[&TENANT.uuid()]).await.expect("the row");
}

#[tokio::test]
async fn who_stopped_inside_a_copy_holds_nobody_up() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let store = store(&database).await;
    store.adopt(TENANT, Epoch(2), Head::EMPTY).await.expect("a replica");
    let stopped = session(&database).await;
    lock(&stopped).await;
    let copy = stopped.copy_in::<_, Bytes>("COPY rehome.events FROM STDIN (FORMAT binary)").await;
    let mut copy = Box::pin(copy.expect("a copy"));
    // A header, and then nothing more.
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    copy.send(Bytes::from_static(header)).await.expect("it is sent");

    let began = Instant::now();
    let route = Activation { epoch: Epoch(3), base: 0, created: true };
    let ledger = store.activate(TENANT, route).await.expect("it goes on");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!((ledger.role, ledger.epoch), (Role::Active, Epoch(3)));
    // The stopped one wakes up and gets the refusal.
    copy.as_mut().finish().await.expect_err("its session was ended");
}

#[tokio::test]
async fn who_stopped_inside_a_transaction_does_not_hold_up_a_fence() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let store = store(&database).await;
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(TENANT, newborn).await.expect("an active tenant");
    let stopped = session(&database).await;
    lock(&stopped).await;

    let began = Instant::now();
    let head = store.fence(TENANT, Epoch(1), Epoch(2)).await.expect("it is fenced");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(head, Head::EMPTY);
    stopped.batch_execute("COMMIT").await.expect_err("its session was ended");
}

#[tokio::test]
async fn who_works_is_waited_for() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let store = store(&database).await;
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(TENANT, newborn).await.expect("an active tenant");
    let busy = session(&database).await;
    lock(&busy).await;

    // Longer than the tolerance for a stopped holder.
    let works = async {
        busy.batch_execute("SELECT pg_sleep(2.5)").await?;
        busy.batch_execute("COMMIT").await
    };
    let (worked, fenced) = tokio::join!(works, store.fence(TENANT, Epoch(1), Epoch(2)));
    worked.expect("it was not ended");
    fenced.expect("it is fenced");
}

#[tokio::test]
async fn an_append_that_is_cut_off_leaves_a_pool_that_works() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let store = store(&database).await;
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(TENANT, newborn).await.expect("an active tenant");
    let holder = session(&database).await;
    lock(&holder).await;
    for _ in 0..30 {
        // More than the pool has; each is dropped while the server waits for the row.
        let append = store.append(TENANT, Epoch(1), &[]);
        assert!(tokio::time::timeout(Duration::from_millis(20), append).await.is_err());
    }
    holder.batch_execute("ROLLBACK").await.expect("it lets go");
    store.append(TENANT, Epoch(1), &[]).await.expect("an answer");
    let feed = store.read_feed(TENANT, 0, BatchLimit::PAGE).await.expect("an answer");
    assert_eq!(feed.ledger.head, Head::EMPTY);
}

#[tokio::test]
async fn a_server_that_is_gone_is_said_in_time_and_found_again() {
    let cluster = rehome_cluster::Cluster::start(&rehome_cluster::Options::default());
    let cluster = cluster.expect("a server");
    let database = cluster.database().expect("a new database");
    let store = store(&database).await;
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(TENANT, newborn).await.expect("an active tenant");
    cluster.kill().expect("it is gone");
    let began = Instant::now();
    for _ in 0..3 {
        let error = store.ledger(TENANT).await.expect_err("nobody is there");
        assert_eq!((error.class(), error.maybe_applied()), (Class::Retry, false), "{error}");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    cluster.begin().expect("it is back");
    let there = async {
        loop {
            if let Ok(ledger) = store.ledger(TENANT).await {
                break ledger;
            }
            tokio::task::yield_now().await;
        }
    };
    let ledger = tokio::time::timeout(BOUND, there).await.expect("it is found again");
    assert_eq!(ledger.role, Role::Active);
}
