//! A single tenant is released from the guard, and returns.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Role, follow_chain};
use rehome_ports::LedgerStore as _;
use rehome_sqlite::SqliteAdopted;
use uuid::Uuid;

use crate::kit::{ALL, FIRST, FORMAT_3, Place, TENANT, copy, insert, refusal};

/// Whose decision it is.
const US: Uuid = Uuid::from_u128(1);

/// What the guard keeps of any tenant.
const NOTED: &str = "SELECT (SELECT count(*) FROM rehome_guard_tenants) \
    + (SELECT count(*) FROM rehome_guard_positions) + (SELECT count(*) FROM rehome_guard_arrivals) \
    + (SELECT count(*) FROM rehome_guard_leaving)";

#[tokio::test]
async fn a_tenant_that_is_unguarded_is_free_and_is_numbered_anew_when_it_comes_back() {
    let place = Place::new("shared").await;
    // More than one chunk of numbers.
    let many: String = (1..=1_200).map(|n| insert(1, n) + ";").collect();
    place.app.execute_batch(&format!("BEGIN; {many} COMMIT")).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.execute_batch(&insert(2, 1)).unwrap();
    place.store.leave(TENANT, Epoch(1), US).await.unwrap();
    place.store.unguard(TENANT, Epoch(1), US).await.unwrap();
    place.store.unguard(TENANT, Epoch(1), US).await.expect("done already");
    assert_eq!(place.count(NOTED), 0);
    assert_eq!(place.store.ledger(TENANT).await.unwrap(), Ledger::ABSENT);
    // Its rows are the application's again.
    place.app.execute_batch("DELETE FROM events WHERE version > 5").unwrap();
    place.app.execute_batch(&insert(4, 1)).unwrap();
    let route = Activation { epoch: Epoch(1), base: 6, created: true };
    let ledger = place.store.activate(TENANT, route).await.unwrap();
    assert_eq!((ledger.role, ledger.head.seq), (Role::Active, 7));
    place.app.execute_batch(&insert(4, 2)).unwrap();
    place.head().await;
    let feed = place.store.read_feed(TENANT, 0, ALL).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), feed.ledger.head);
    assert_eq!(feed.events.len(), 8);
    assert!(refusal(&place.app, "DELETE FROM events").contains("RH002"));
}

#[tokio::test]
async fn r3_only_the_authority_is_unguarded() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    source.app.execute_batch(&insert(1, 1)).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    source.store.leave(TENANT, Epoch(1), US).await.unwrap();
    source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    for (place, epoch) in [(&source, 1), (&source, 3), (&target, 2)] {
        let refused = place.store.leave(TENANT, Epoch(epoch), US).await.expect_err("no authority");
        assert!(refused.refused().is_some(), "{refused}");
    }
    source.store.unguard(TENANT, Epoch(1), US).await.expect_err("it is fenced since");
    assert_eq!(source.store.ledger(TENANT).await.unwrap().head, head);
    assert!(refusal(&target.app, &insert(2, 1)).contains("RH001"));
}

#[tokio::test]
async fn r11_a_migration_that_begins_calls_it_off() {
    let place = Place::new("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.store.leave(TENANT, Epoch(1), US).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let refused = place.store.unguard(TENANT, Epoch(1), US).await.expect_err("it was called off");
    assert!(refused.to_string().contains("a migration or another call has started"), "{refused}");
    // Nor does one that slept carry out what another has decided since.
    place.store.leave(TENANT, Epoch(1), Uuid::from_u128(2)).await.unwrap();
    place.store.unguard(TENANT, Epoch(1), US).await.expect_err("that is another's");
    assert_eq!(place.head().await.seq, 1);
}

/// A process died between the removal and the deletion of the numbers: the next guarding deletes them first.
#[tokio::test]
async fn numbers_that_were_left_behind_are_deleted_before_the_next_guarding() {
    let place = Place::new("shared").await;
    for n in 1..=3 {
        place.app.execute_batch(&insert(1, n)).unwrap();
    }
    place.store.activate(TENANT, FIRST).await.unwrap();
    assert_eq!(place.head().await.seq, 3);
    place.store.leave(TENANT, Epoch(1), US).await.unwrap();
    // What the first transaction of the removal does.
    place
        .app
        .execute_batch(
            "DELETE FROM rehome_guard_tenants; UPDATE rehome_guard_leaving SET decided_by = NULL",
        )
        .unwrap();
    assert_eq!(place.count("SELECT count(*) FROM rehome_guard_positions"), 3);
    let ledger = place.store.activate(TENANT, FIRST).await.unwrap();
    assert_eq!(ledger.head.seq, 3);
    assert_eq!(place.count("SELECT count(*) FROM rehome_guard_positions"), 3);
    assert_eq!(place.count("SELECT count(*) FROM rehome_guard_leaving"), 0);
}

#[tokio::test]
async fn a_guard_of_format_1_is_upgraded_with_what_it_holds() {
    let place = Place::of_an_earlier_rehome("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    place
        .app
        .execute_batch(&format!(
            "{FORMAT_3} DROP TABLE rehome_guard_leaving; DROP TABLE rehome_guard_log_anchors; \
             UPDATE rehome_guard_meta SET format = 1, oldest_reader = 1, oldest_writer = 1",
        ))
        .unwrap();
    let store = SqliteAdopted::open(place.adoption.clone()).await.unwrap();
    assert_eq!(place.count("SELECT format FROM rehome_guard_meta"), 5);
    assert_eq!(store.ledger(TENANT).await.unwrap().head.seq, 1);
    store.leave(TENANT, Epoch(1), US).await.unwrap();
    store.unguard(TENANT, Epoch(1), US).await.unwrap();
    assert_eq!(place.count(NOTED), 0);
}
