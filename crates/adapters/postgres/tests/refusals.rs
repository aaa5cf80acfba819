//! Places that are not to be written to: of another deployment, of a newer rehome, of a standby.

use std::sync::Arc;

use rehome_cluster::{Cluster, Database, Options};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{store_id, tenant};
use rehome_ports::{Class, Fault, FaultKind, LedgerStore as _};
use rehome_postgres::{PgControlPlane, PgStore, PgStoreOptions, PostgresOptions};

async fn open(url: &str, deployment: &str) -> Result<PgStore, Fault> {
    PgStore::open(PgStoreOptions {
        id: store_id("far"),
        url: url.parse().expect("a URL"),
        deployment: deployment.to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    })
    .await
}

async fn open_control(url: &str) -> Result<PgControlPlane, Fault> {
    PgControlPlane::open(url.parse().expect("a URL"), true, PostgresOptions::default()).await
}

fn fault<T>(opened: Result<T, Fault>) -> Fault {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(fault) => fault,
    }
}

#[tokio::test]
async fn a_store_of_another_deployment_is_never_touched() {
    let database = rehome_cluster::shared().database().expect("a database");
    open(&database.url(), "theirs").await.expect("a new store");
    let fault = fault(open(&database.url(), "ours").await);
    let (found, expected) = ("theirs".to_owned(), "ours".to_owned());
    assert_eq!(fault.kind, FaultKind::OtherDeployment { found, expected });
    assert_eq!(fault.class(), Class::Fatal);
    open(&database.url(), "theirs").await.expect("it is still theirs");
}

/// As a newer rehome leaves it, which only it may write.
fn grow(cluster: &Cluster, database: &Database, kind: &str) {
    let sql = format!(
        "UPDATE rehome.meta SET format = 99, oldest_writer = 98 WHERE kind = '{kind}' \
         RETURNING kind"
    );
    let grown = cluster.sql(database.name(), &sql).expect("an answer");
    assert_eq!(grown, kind);
}

#[tokio::test]
async fn what_only_a_newer_rehome_may_write_is_refused() {
    let cluster = rehome_cluster::shared();
    let database = cluster.database().expect("a database");
    open(&database.url(), "ours").await.expect("a new store");
    open_control(&database.url()).await.expect("a new control plane");

    grow(cluster, &database, "store");
    let store = fault(open(&database.url(), "ours").await);
    assert!(matches!(store.kind, FaultKind::NewerFormat { found: 98, .. }), "{store}");
    assert_eq!(store.class(), Class::Fatal);
    // The other part of the schema has its own format.
    open_control(&database.url()).await.expect("a control plane that did not grow");

    grow(cluster, &database, "control_plane");
    let control = fault(open_control(&database.url()).await);
    assert!(matches!(control.kind, FaultKind::NewerFormat { found: 98, .. }), "{control}");
}

#[tokio::test]
async fn a_standby_is_passed_over_for_the_server_that_takes_writes() {
    let primary = Cluster::start(&Options::default().in_memory()).expect("a server");
    let database = primary.database().expect("a database");
    open(&database.url(), "ours").await.expect("a new store");
    open_control(&database.url()).await.expect("a new control plane");
    let standby = primary.standby().expect("a standby");

    let there = database.url_at(standby.port());
    let refused = [fault(open(&there, "ours").await), fault(open_control(&there).await)];
    for fault in refused {
        assert!(fault.to_string().contains("does not allow writes"), "{fault}");
        // It may be promoted.
        assert_eq!(fault.class(), Class::Retry, "{fault}");
    }

    let (from, to) = (format!(":{}/", standby.port()), format!(":{}/", primary.port()));
    let both = there.replace(&from, &format!(":{},127.0.0.1{to}", standby.port()));
    let store = open(&both, "ours").await.expect("the primary");
    store.ledger(tenant(1)).await.expect("an answer");
}
