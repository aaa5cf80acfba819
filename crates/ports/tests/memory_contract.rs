//! The adapters in memory keep the contracts of their ports.

use std::sync::Arc;

use rehome_ports::LedgerStore;
use rehome_ports::clock::SystemClock;
use rehome_ports::memory::MemoryStore;

async fn store() -> (Arc<dyn LedgerStore>, ()) {
    let id = "memory".parse().expect("a store id");
    (Arc::new(MemoryStore::new(id, Arc::new(SystemClock))), ())
}

rehome_ports::ledger_store_contract!(store);
