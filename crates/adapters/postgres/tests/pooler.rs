//! Stores and a control plane behind pgbouncer in transaction mode.

use std::sync::Arc;
use std::time::Duration;

use rehome_cluster::{Database, Pooler};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head};
use rehome_domain::migration::{Fact, Options};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{append_of, migration_id, store_id, tenant};
use rehome_ports::memory::{ManualClock, MemoryStore};
use rehome_ports::{BatchLimit, Change, ControlPlane, Fault, LedgerStore, RouteNews};
use rehome_postgres::{PgControlPlane, PgStore, PgStoreOptions, PostgresOptions};
use tokio_postgres::NoTls;

/// Fewer than the concurrent requests of tests, so that transactions of different clients share connections.
const FEW: u32 = 2;
/// Longest wait for anything; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn pooled(server_connections: u32) -> (Database, Pooler) {
    let database = rehome_cluster::shared().database().expect("a new database");
    let pooler = Pooler::start(&database, server_connections).expect("a pooler");
    (database, pooler)
}

fn url(database: &Database, pooler: &Pooler) -> String {
    format!("{}?pooler=transaction", database.url_at(pooler.port()))
}

async fn try_open(url: &str) -> Result<PgStore, Fault> {
    PgStore::open(PgStoreOptions {
        id: "shared".parse().expect("a store id"),
        url: url.parse().expect("a URL"),
        deployment: "pooler".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    })
    .await
}

async fn open(url: &str) -> Arc<PgStore> {
    Arc::new(try_open(url).await.expect("a store"))
}

async fn open_control(url: &str) -> PgControlPlane {
    let url = url.parse().expect("a URL");
    let opened = PgControlPlane::open(url, true, PostgresOptions::default()).await;
    opened.expect("a control plane")
}

mod stores {
    use super::{Arc, Database, FEW, LedgerStore, Pooler, open, pooled, url};

    async fn store() -> (Arc<dyn LedgerStore>, (Pooler, Database)) {
        let (database, pooler) = pooled(FEW);
        let store = open(&url(&database, &pooler)).await;
        (store, (pooler, database))
    }

    rehome_ports::ledger_store_contract!(store);
}

mod control_planes {
    use super::{Arc, ControlPlane, Database, FEW, ManualClock, Pooler, open_control, pooled, url};

    async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, (Pooler, Database)) {
        let (database, pooler) = pooled(FEW);
        // Notifications bypass the pooler.
        let url = format!("{}&direct=127.0.0.1:{}", url(&database, &pooler), database.port());
        let control = open_control(&url).await.by_clock(clock);
        (Arc::new(control), (pooler, database))
    }

    rehome_ports::control_plane_contract!(control);
}

/// An active tenant with so many events, in memory.
async fn source(tenant_no: u64, events: u64) -> MemoryStore {
    let source = MemoryStore::new(store_id("source"), Arc::new(SystemClock));
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    source.activate(tenant(tenant_no), newborn).await.expect("an active tenant");
    let id = tenant_no.to_string();
    let append = append_of(&id, ExpectedVersion::Any, 1..=events);
    let outcomes = source.append(tenant(tenant_no), Epoch(1), &[append]).await.expect("an answer");
    outcomes[0].as_ref().expect("it is taken");
    source
}

/// Copies all of a tenant, by `some` events at a time; the head it ends with.
async fn copy(source: &MemoryStore, target: &PgStore, tenant_no: u64, some: usize) -> Head {
    let tenant = tenant(tenant_no);
    let whole = source.ledger(tenant).await.expect("a ledger").head;
    let mut head = target.adopt(tenant, Epoch(2), Head::EMPTY).await.expect("a replica").head;
    while head != whole {
        let limit = BatchLimit::events(some);
        let page = source.read_feed(tenant, head.seq, limit).await.expect("a page").events;
        head = target.extend(tenant, Epoch(2), head, &page).await.expect("it is taken");
    }
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_extend_goes_by_copy() {
    let (database, pooler) = pooled(FEW);
    let target = open(&url(&database, &pooler)).await;
    let source = source(1, 5_000).await;
    let head = copy(&source, &target, 1, 5_000).await;
    assert_eq!(target.ledger(tenant(1)).await.expect("a ledger").head, head);
    assert_eq!(events(&*target, 1).await, events(&source, 1).await);
}

async fn events(store: &dyn LedgerStore, tenant_no: u64) -> Vec<rehome_domain::event::Event> {
    let mut events = Vec::new();
    loop {
        let after = events.len() as u64;
        let page = store.read_feed(tenant(tenant_no), after, BatchLimit::PAGE).await;
        let page = page.expect("a page").events;
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

/// Statements of both by turns on the same session of the server: what one leaves behind in it, the
/// other would trip over.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_share_one_server_connection() {
    let (database, pooler) = pooled(1);
    let url = url(&database, &pooler);
    let (one, other) = (open(&url).await, open(&url).await);
    let (first, second) = (source(1, 600).await, source(2, 600).await);
    // Of 100 events: by COPY. Of 10: by a function call. In between come reads.
    let copies = async {
        tokio::join!(
            copy(&first, &one, 1, 100),
            copy(&second, &other, 2, 10),
            events(&*one, 2),
            events(&*other, 1),
        )
    };
    let (first_head, second_head, ..) =
        tokio::time::timeout(PATIENCE, copies).await.expect("nobody waits for ever");
    // Each reads what the other wrote.
    assert_eq!(other.ledger(tenant(1)).await.expect("a ledger").head, first_head);
    assert_eq!(one.ledger(tenant(2)).await.expect("a ledger").head, second_head);
    assert_eq!(events(&*other, 1).await, events(&first, 1).await);
    assert_eq!(events(&*one, 2).await, events(&second, 2).await);
    let sessions = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND usename <> current_user";
    let sessions = rehome_cluster::shared().sql(database.name(), sessions).expect("an answer");
    assert_eq!(sessions, "1");
}

/// A client that disconnects inside a transaction leaves nothing of it to the next one on the same session.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_cut_off_leaves_nothing_behind() {
    let (database, pooler) = pooled(1);
    let store = open(&url(&database, &pooler)).await;
    let replica = store.adopt(tenant(1), Epoch(2), Head::EMPTY).await.expect("a replica");
    let connected = tokio_postgres::connect(&database.url_at(pooler.port()), NoTls).await;
    let (vanishes, connection) = connected.expect("a session");
    let connection = tokio::spawn(connection);
    vanishes
        .batch_execute("BEGIN; UPDATE rehome.ledger SET seq = 9, role = 'active'")
        .await
        .expect("the row is held");
    drop(vanishes);
    connection.await.expect("no panic").expect("it ends");
    assert_eq!(store.ledger(tenant(1)).await.expect("a ledger"), replica);
    let source = source(1, 200).await;
    copy(&source, &store, 1, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_routes_come_past_the_pooler() {
    let (database, pooler) = pooled(1);
    let through = url(&database, &pooler);
    let one = open_control(&through).await;
    let other = open_control(&format!("{through}&direct=127.0.0.1:{}", database.port())).await;
    let mut listener = other.listen().expect("it tells news");
    let news = async |listener: &mut rehome_ports::RouteListener| {
        let news = tokio::time::timeout(PATIENCE, listener.next()).await;
        news.expect("there is news").expect("there is more to come")
    };
    assert_eq!(news(&mut listener).await, RouteNews::Listening);
    one.create_route(tenant(1), &store_id("shared")).await.expect("a route");
    let route = one.mark_created(tenant(1), Epoch(1)).await.expect("a route");
    let start = Change {
        tenant: tenant(1),
        migration: migration_id(1),
        rev: Some(route.rev),
        fact: Fact::Started {
            migration: migration_id(1),
            target: store_id("b"),
            options: Options::default(),
        },
        actor: "a test".to_owned(),
    };
    let rev = one.record(start).await.expect("it starts").route.rev;
    assert_eq!(news(&mut listener).await, RouteNews::Changed { tenant: tenant(1), rev });
}

#[tokio::test]
async fn a_pooler_that_is_not_named_or_not_fit_is_named_with_the_setting() {
    let database = rehome_cluster::shared().database().expect("a new database");
    for (lines, query, words) in [
        ("", "", ["is a pooler that does not pass session settings", "pooler=transaction"]),
        (
            "pool_mode = session",
            "",
            ["is a pooler that does not pass session settings", "pooler=transaction"],
        ),
        (
            "pool_mode = statement",
            "?pooler=transaction",
            ["statement mode", "pool_mode = transaction"],
        ),
    ] {
        let pooler = Pooler::start_with(&database, FEW, lines).expect("a pooler");
        let url = format!("{}{query}", database.url_at(pooler.port()));
        let problem = match try_open(&url).await {
            Ok(_) => panic!("{lines}: it was opened"),
            Err(fault) => fault.to_string(),
        };
        for word in words {
            assert!(problem.contains(word), "{lines}: {problem}");
        }
    }
}

/// It discards settings of sessions, and assigns transactions: each transaction sets what it needs.
#[tokio::test]
async fn a_store_works_behind_a_pooler_that_nobody_named_and_says_that_there_is_one() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let lines = "ignore_startup_parameters = options";
    let pooler = Pooler::start_with(&database, 1, lines).expect("a pooler");
    let store = open(&database.url_at(pooler.port())).await;
    let source = source(1, 300).await;
    copy(&source, &store, 1, 100).await;
    assert_eq!(events(&*store, 1).await, events(&source, 1).await);
    let problems = store.check().await.expect("a report").problems;
    assert!(problems.iter().any(|one| one.contains("pooler=transaction")), "{problems:?}");
}
