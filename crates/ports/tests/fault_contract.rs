//! A decorator with an empty script fulfils the contract of the decorated adapter.

use std::sync::Arc;

use rehome_ports::clock::SystemClock;
use rehome_ports::fault::{FaultyControlPlane, FaultyStore, Script};
use rehome_ports::memory::{ManualClock, MemoryControlPlane, MemoryStore};
use rehome_ports::{ControlPlane, LedgerStore};

async fn store() -> (Arc<dyn LedgerStore>, ()) {
    let id = "memory".parse().expect("a store id");
    let inner = Arc::new(MemoryStore::new(id, Arc::new(SystemClock)));
    (Arc::new(FaultyStore::new(inner, Script::new())), ())
}

async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, ()) {
    let inner = Arc::new(MemoryControlPlane::new(clock));
    (Arc::new(FaultyControlPlane::new(inner, Script::new())), ())
}

rehome_ports::ledger_store_contract!(store);
rehome_ports::control_plane_contract!(control);
