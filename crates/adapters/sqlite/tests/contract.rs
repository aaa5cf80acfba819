//! The SQLite adapters keep the contracts of their ports.

use std::sync::Arc;

use rehome_ports::clock::SystemClock;
use rehome_ports::contract::fleet::Plane;
use rehome_ports::memory::ManualClock;
use rehome_ports::{AccessRegistry, ControlPlane, LedgerStore};
use rehome_sqlite::{SqliteControlPlane, SqliteStore, SqliteStoreOptions};
use tempfile::TempDir;

async fn store() -> (Arc<dyn LedgerStore>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(SqliteStoreOptions {
        id: "shared".parse().expect("a store id"),
        path: folder.path().join("store.db"),
        deployment: "contract".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    });
    (Arc::new(store.await.expect("a new store")), folder)
}

async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let control = SqliteControlPlane::open(folder.path().join("control.db"), true, clock);
    (Arc::new(control.await.expect("a new control plane")), folder)
}

async fn registry(clock: Arc<ManualClock>) -> (Arc<dyn AccessRegistry>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let control = SqliteControlPlane::open(folder.path().join("control.db"), true, clock);
    (Arc::new(control.await.expect("a new control plane")), folder)
}

async fn fleet(clock: Arc<ManualClock>) -> (Plane, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let control = SqliteControlPlane::open(folder.path().join("control.db"), true, clock);
    (Arc::new(control.await.expect("a new control plane")), folder)
}

rehome_ports::access_registry_contract!(registry);
rehome_ports::fleet_contract!(fleet);
rehome_ports::ledger_store_contract!(store);
rehome_ports::control_plane_contract!(control);
