//! The control plane in PostgreSQL: the contract of its port, and what is particular to it.

mod kit;
mod news;
mod processes;

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_domain::event::Timestamp;
use rehome_ports::memory::ManualClock;
use rehome_ports::{ControlPlane, Memo};

async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, Database) {
    let database = kit::database();
    let control = kit::open(&database.url()).await.by_clock(clock);
    (Arc::new(control), database)
}

rehome_ports::control_plane_contract!(control);

#[tokio::test]
async fn a_control_plane_of_format_1_is_upgraded_with_what_it_holds() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    let route = kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    client
        .batch_execute(
            "DROP TABLE rehome.memos; \
             UPDATE rehome.meta SET format = 1, oldest_reader = 1, oldest_writer = 1",
        )
        .await
        .unwrap();
    // Two at once: one upgrades, the other finds it done.
    let url = database.url();
    let (new, other) = tokio::join!(kit::open(&url), kit::open(&url));
    let memo = Memo { at: Timestamp::from_micros(7), text: "kept".to_owned() };
    new.set_memo(kit::migration(1), "baseline", &memo).await.unwrap();
    assert_eq!(other.memo(kit::migration(1), "baseline").await.unwrap(), Some(memo));
    assert_eq!(other.route(kit::tenant(1)).await.unwrap(), Some(route));
    let formats = client
        .query_one("SELECT format, oldest_reader, oldest_writer FROM rehome.meta", &[])
        .await
        .unwrap();
    assert_eq!([0, 1, 2].map(|column| formats.get::<_, i32>(column)), [3, 2, 2]);
}
