//! Anchors of logs beside another library's table.

use rehome_ports::LedgerStore;
use rehome_ports::contract::ledger_store::anchors;
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_sqlite::SqliteAdopted;

use crate::kit::{FIRST, FORMAT_3, Place, TENANT, insert};

#[tokio::test]
async fn anchors_are_kept_listed_and_forgotten_as_by_a_store_of_ours() {
    let one = Place::new("shared").await;
    anchors::anchors_are_kept_and_never_go_back(one.store.clone()).await;
    let two = Place::new("shared").await;
    anchors::anchors_are_listed_in_pages_and_forgotten_by_tenant(two.store.clone()).await;
}

#[tokio::test]
async fn a_guard_of_format_2_is_upgraded_and_can_keep_anchors() {
    let place = Place::of_an_earlier_rehome("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let before = "DROP TABLE rehome_guard_log_anchors; UPDATE rehome_guard_meta SET format = 2";
    place.app.execute_batch(&format!("{FORMAT_3} {before}")).unwrap();
    let (new, other) = tokio::join!(
        SqliteAdopted::open(place.adoption.clone()),
        SqliteAdopted::open(place.adoption.clone())
    );
    let (new, other) = (new.unwrap(), other.unwrap());
    place.app.execute_batch(&insert(1, 2)).unwrap();
    let head = new.ledger(TENANT).await.unwrap().head;
    assert_eq!(head.seq, 2);
    let migration = rehome_ports::contract::kit::migration_id(1);
    let seen = Followed { index: 3, hash: head.digest };
    let anchor = LogAnchor { tenant: TENANT, migration, seen };
    new.keep_anchor(&anchor).await.unwrap();
    assert_eq!(other.anchors(None, 9).await.unwrap(), [anchor]);
    // The process that had it open before goes on.
    assert_eq!(place.head().await, head);
    let report = other.check().await.unwrap();
    assert_eq!((report.format, report.problems.len()), (5, 0), "{:?}", report.problems);
}
