//! The control plane in PostgreSQL: the contract of its port, and what is particular to it.

mod kit;
mod news;
mod processes;

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_ports::ControlPlane;
use rehome_ports::memory::ManualClock;

async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, Database) {
    let database = kit::database();
    let control = kit::open(&database.url()).await.by_clock(clock);
    (Arc::new(control), database)
}

rehome_ports::control_plane_contract!(control);
