//! The adapters in memory keep the contracts of their ports.

use std::sync::Arc;

use rehome_ports::clock::SystemClock;
use rehome_ports::contract::fleet::Plane;
use rehome_ports::memory::{ManualClock, MemoryControlPlane, MemoryStore};
use rehome_ports::{AccessRegistry, ControlPlane, LedgerStore};

async fn store() -> (Arc<dyn LedgerStore>, ()) {
    let id = "memory".parse().expect("a store id");
    (Arc::new(MemoryStore::new(id, Arc::new(SystemClock))), ())
}

async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, ()) {
    (Arc::new(MemoryControlPlane::new(clock)), ())
}

async fn registry(clock: Arc<ManualClock>) -> (Arc<dyn AccessRegistry>, ()) {
    (Arc::new(MemoryControlPlane::new(clock)), ())
}

async fn fleet(clock: Arc<ManualClock>) -> (Plane, ()) {
    (Arc::new(MemoryControlPlane::new(clock)), ())
}

rehome_ports::access_registry_contract!(registry);
rehome_ports::fleet_contract!(fleet);
rehome_ports::ledger_store_contract!(store);
rehome_ports::control_plane_contract!(control);
