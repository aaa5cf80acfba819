//! The PostgreSQL adapters keep the contracts of their ports.

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_ports::LedgerStore;
use rehome_ports::clock::SystemClock;
use rehome_postgres::{PgStore, PgStoreOptions};

async fn store() -> (Arc<dyn LedgerStore>, Database) {
    let database = rehome_cluster::shared().database().expect("a new database");
    let store = PgStore::open(PgStoreOptions {
        id: "shared".parse().expect("a store id"),
        url: database.url().parse().expect("a URL"),
        deployment: "contract".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    });
    (Arc::new(store.await.expect("a new store")), database)
}

rehome_ports::ledger_store_contract!(store);
