//! A URL with several servers, of which the one that is used hangs: connections to it are accepted and get no answer.

use std::sync::Arc;
use std::time::Duration;

use rehome_cluster::{Database, Direction, Proxy};
use rehome_domain::ids::TenantId;
use rehome_ports::LedgerStore as _;
use rehome_ports::clock::SystemClock;
use rehome_postgres::{PgStore, PgStoreOptions};
use uuid::Uuid;

const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));
/// Shorter than the timeout of a connection here; only a failing test waits for it.
const BOUND: Duration = Duration::from_secs(30);

async fn store(database: &Database, members: &[&Proxy; 2]) -> Arc<PgStore> {
    let [one, other] = members.map(|member| format!("127.0.0.1:{}", member.port()));
    let url = database.url_at(members[0].port()).replace(&one, &format!("{one},{other}"));
    let store = PgStore::open(PgStoreOptions {
        id: "shared".parse().expect("a store id"),
        url: format!("{url}?connect_timeout=600").parse().expect("a URL"),
        deployment: "members".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    });
    Arc::new(store.await.expect("a new store"))
}

#[tokio::test]
async fn a_process_that_knows_no_member_does_not_wait_for_one_that_hangs() {
    let server = rehome_cluster::shared();
    let database = server.database().expect("a new database");
    let members = [(); 2].map(|()| Proxy::start(server.port()).expect("a proxy"));
    members[0].stall(Direction::Up);
    members[0].stall(Direction::Down);
    let opened = tokio::time::timeout(BOUND, store(&database, &[&members[0], &members[1]])).await;
    let store = opened.expect("the second member answers in time");
    store.ledger(TENANT).await.expect("the second member answers");
}

#[tokio::test]
async fn connections_are_not_waited_for_once_another_member_answers() {
    let server = rehome_cluster::shared();
    let database = server.database().expect("a new database");
    let members = [(); 2].map(|()| Proxy::start(server.port()).expect("a proxy"));
    let store = store(&database, &[&members[0], &members[1]]).await;
    store.ledger(TENANT).await.expect("a connection");

    // Both are the primary, so the one that was looked at last is used for new connections.
    members[1].stall(Direction::Up);
    members[1].stall(Direction::Down);
    // One of them has the pool's connection; the others need new ones.
    let others = (0..3).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.ledger(TENANT).await })
    });
    let others: Vec<_> = others.collect();
    for other in others {
        let answered = tokio::time::timeout(BOUND, other).await;
        let answered = answered.expect("the other member answers in time").expect("no panic");
        answered.expect("the other member answers");
    }
}
