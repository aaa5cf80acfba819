//! Anchors of logs beside another library's table.

use std::sync::Arc;

use rehome_ports::contract::ledger_store::anchors;
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_ports::{LedgerStore, TenantNames};
use rehome_postgres::PgAdopted;

use crate::kit::{FIRST, Place, TENANT, adoption, insert, layout};

#[tokio::test]
async fn anchors_are_kept_listed_and_forgotten_as_by_a_store_of_ours() {
    let one = Place::new("shared").await;
    anchors::anchors_are_kept_and_never_go_back(one.store.clone()).await;
    let two = Place::new("shared").await;
    anchors::anchors_are_listed_in_pages_and_forgotten_by_tenant(two.store.clone()).await;
    // They go with the guard.
    let adoption = adoption(&two.database, "shared", layout(), &TenantNames::default());
    adoption.release(false).await.expect("nobody is fenced");
    let left = "SELECT count(*) FROM pg_class WHERE relname = 'log_anchors'";
    assert_eq!(two.count(left).await, 0);
}

#[tokio::test]
async fn a_guard_of_format_2_is_upgraded_under_a_writer_and_can_keep_anchors() {
    let place = Place::new("shared").await;
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let before = "DROP TABLE rehome_guard.log_anchors; ALTER TABLE rehome_guard.heads DROP COLUMN row_order; \
                  UPDATE rehome_guard.meta SET format = 2 WHERE kind = 'guard'";
    place.app.batch_execute(before).await.unwrap();
    // A transaction that holds the table is not waited for.
    let writer = place.session().await;
    writer.batch_execute(&format!("BEGIN; {}", insert(1, 2))).await.unwrap();
    let open =
        || PgAdopted::open(adoption(&place.database, "shared", layout(), &TenantNames::default()));
    let (new, other) = tokio::join!(open(), open());
    let (new, other) = (Arc::new(new.expect("upgraded")), other.expect("upgraded"));
    writer.batch_execute("COMMIT").await.unwrap();
    let head = new.ledger(TENANT).await.unwrap().head;
    assert_eq!(head.seq, 2);
    let migration = rehome_ports::contract::kit::migration_id(1);
    let seen = Followed { index: 3, hash: head.digest };
    let anchor = LogAnchor { tenant: TENANT, migration, seen };
    new.keep_anchor(&anchor).await.unwrap();
    assert_eq!(other.anchors(None, 9).await.unwrap(), [anchor]);
    let report = other.check().await.unwrap();
    assert_eq!((report.format, report.problems.len()), (4, 0), "{:?}", report.problems);
}

/// One that numbers a long history holds a row of the guard for as long: an upgrade that waited for it would let everybody wait.
#[tokio::test]
async fn an_upgrade_does_not_wait_for_who_uses_the_guard() {
    let place = Place::new("shared").await;
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let before = "ALTER TABLE rehome_guard.heads DROP COLUMN row_order; \
                  UPDATE rehome_guard.meta SET format = 3 WHERE kind = 'guard'";
    place.app.batch_execute(before).await.unwrap();
    let numbering = place.session().await;
    numbering.batch_execute("BEGIN; SELECT FROM rehome_guard.heads FOR UPDATE").await.unwrap();
    let open =
        || PgAdopted::open(adoption(&place.database, "shared", layout(), &TenantNames::default()));
    let refused = open().await.map(drop).expect_err("it is in use").to_string();
    assert!(
        refused.contains("its guard stays in format 3: a transaction has used the guard"),
        "{refused}"
    );
    numbering.batch_execute("COMMIT").await.unwrap();
    let report = open().await.expect("upgraded").check().await.unwrap();
    assert_eq!((report.format, report.problems.len()), (4, 0), "{:?}", report.problems);
}
