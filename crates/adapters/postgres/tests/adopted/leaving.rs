//! A single tenant is released from the guard, and returns; rows of unguarded tenants fire no trigger.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Role, follow_chain};
use rehome_ports::{BatchLimit, LedgerStore, TenantNames};
use uuid::Uuid;

use crate::kit::{
    FIRST, Place, TENANT, adoption, copy, insert, insert_of, layout, refusal, session, until,
};

const IS_LEAVING: &str = "SELECT count(*) > 0 FROM rehome_guard.tenants WHERE leaving IS NOT NULL";

/// Whose decision it is.
const US: Uuid = Uuid::from_u128(1);

/// The recorded state of any tenant.
const NOTED: &str = "SELECT (SELECT count(*) FROM rehome_guard.tenants) \
    + (SELECT count(*) FROM rehome_guard.ledger) + (SELECT count(*) FROM rehome_guard.heads) \
    + (SELECT count(*) FROM rehome_guard.positions) + (SELECT count(*) FROM rehome_guard.arrivals)";

/// A tenant whose rows have another mark than [`TENANT`]'s.
async fn other(place: &Place) -> Uuid {
    let found = place
        .app
        .query_one(
            "SELECT min(u::text)::uuid FROM (SELECT md5(n::text)::uuid AS u FROM generate_series(1, 99) AS n) AS x \
             WHERE uuid_hash(u) & 63 <> uuid_hash($1) & 63",
            &[&TENANT.uuid()],
        )
        .await
        .expect("a tenant");
    found.get(0)
}

/// The guard's triggers that an insert sets off, by the server's own account.
async fn triggers(place: &Place, tenant: Uuid, stream: u128) -> usize {
    let sql = format!("EXPLAIN (ANALYZE) {}", insert_of(tenant, stream, 1));
    let lines = place.app.query(&sql, &[]).await.expect("a plan");
    lines.iter().filter(|line| line.get::<_, &str>(0).contains("Trigger zzzz_rehome")).count()
}

#[tokio::test]
async fn a_row_of_a_tenant_that_nobody_guards_sets_off_no_trigger() {
    let place = Place::new("shared").await;
    let other = other(&place).await;
    assert_eq!(triggers(&place, TENANT.uuid(), 1).await, 0, "nobody is guarded");
    place.store.activate(TENANT, FIRST).await.unwrap();
    assert_eq!(triggers(&place, TENANT.uuid(), 2).await, 2);
    assert_eq!(triggers(&place, other, 3).await, 0);
    // It comes under the guard, and every row is noted.
    let store = &place.store;
    let tenant = rehome_domain::ids::TenantId::new(other);
    store.activate(tenant, FIRST).await.unwrap();
    assert_eq!(triggers(&place, other, 4).await, 2);
    assert_eq!(store.ledger(tenant).await.unwrap().head.seq, 2);
    assert_eq!(place.head().await.seq, 2);
}

/// An unknown mark counts as set.
#[tokio::test]
async fn marks_that_cannot_be_read_let_no_row_pass() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.batch_execute("ALTER SEQUENCE rehome_guard.marks RESTART").await.unwrap();
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    assert_eq!(place.head().await.seq, 1);
}

/// Names that the triggers' condition uses, as a writer could have them before those of the server. Each fails when
/// it is called.
const TRAPS: &str = "\
    CREATE SCHEMA near; \
    CREATE FUNCTION near.int8ne(bigint, bigint) RETURNS boolean LANGUAGE plpgsql \
        AS 'BEGIN RAISE EXCEPTION ''a trap sprang''; END'; \
    CREATE FUNCTION near.int8shr(bigint, integer) RETURNS bigint LANGUAGE plpgsql \
        AS 'BEGIN RAISE EXCEPTION ''a trap sprang''; END'; \
    CREATE FUNCTION near.int4and(integer, integer) RETURNS integer LANGUAGE plpgsql \
        AS 'BEGIN RAISE EXCEPTION ''a trap sprang''; END'; \
    CREATE FUNCTION near.pg_sequence_last_value(regclass) RETURNS bigint LANGUAGE plpgsql \
        AS 'BEGIN RAISE EXCEPTION ''a trap sprang''; END'; \
    CREATE OPERATOR near.<> (leftarg = bigint, rightarg = bigint, function = near.int8ne); \
    CREATE OPERATOR near.= (leftarg = bigint, rightarg = bigint, function = near.int8ne); \
    CREATE OPERATOR near.>> (leftarg = bigint, rightarg = integer, function = near.int8shr); \
    CREATE OPERATOR near.& (leftarg = integer, rightarg = integer, function = near.int4and); \
    CREATE DOMAIN near.int8 AS text; \
    SET search_path = near, pg_catalog, public";

/// The triggers' condition runs with the writer's search path.
#[tokio::test]
async fn no_search_path_of_a_writer_changes_which_rows_are_guarded() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let other = other(&place).await;
    place.app.batch_execute(TRAPS).await.unwrap();
    let sprung = place.app.batch_execute("SELECT 1::pg_catalog.int8 <> 2::pg_catalog.int8").await;
    assert!(format!("{:?}", sprung.unwrap_err()).contains("a trap sprang"));
    assert_eq!(triggers(&place, TENANT.uuid(), 1).await, 2);
    assert_eq!(triggers(&place, other, 2).await, 0);
    assert_eq!(place.head().await.seq, 1);
}

#[tokio::test]
async fn a_tenant_that_is_unguarded_is_free_and_is_numbered_anew_when_it_comes_back() {
    let place = Place::new("shared").await;
    for n in 1..=5 {
        place.app.batch_execute(&insert(1, n)).await.unwrap();
    }
    place.store.activate(TENANT, FIRST).await.unwrap();
    place.app.batch_execute(&insert(2, 1)).await.unwrap();
    place.store.leave(TENANT, Epoch(1), US).await.unwrap();
    place.store.unguard(TENANT, Epoch(1), US).await.unwrap();
    place.store.unguard(TENANT, Epoch(1), US).await.expect("done already");
    assert_eq!(place.count(NOTED).await, 0);
    assert_eq!(place.store.ledger(TENANT).await.unwrap(), Ledger::ABSENT);
    assert_eq!(triggers(&place, TENANT.uuid(), 3).await, 0);
    // Its rows are the application's again.
    place.app.batch_execute("DELETE FROM events WHERE version = 5").await.unwrap();
    place.app.batch_execute(&insert(4, 1)).await.unwrap();
    let route = Activation { epoch: Epoch(1), base: 6, created: true };
    let ledger = place.store.activate(TENANT, route).await.unwrap();
    assert_eq!((ledger.role, ledger.head.seq), (Role::Active, 7));
    place.app.batch_execute(&insert(4, 2)).await.unwrap();
    place.head().await;
    let feed = place.store.read_feed(TENANT, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), feed.ledger.head);
    assert_eq!(feed.events.len(), 8);
}

#[tokio::test]
async fn r3_only_the_authority_is_unguarded() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    source.app.batch_execute(&insert(1, 1)).await.unwrap();
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
    assert_eq!(refusal(&target.app, &insert(2, 1)).await.0, "RH001");
}

/// Data that is needed until no reader needs it: the floor, for transactions that drew a position below it.
#[tokio::test]
async fn r11_who_holds_the_table_is_waited_for_before_the_guard_goes() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    source.app.batch_execute(&insert(1, 1)).await.unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let mut inside = target.session().await;
    let early = inside.transaction().await.unwrap();
    // It holds the table, and has a position from before the copy.
    early.batch_execute(&insert_of(Uuid::from_u128(7), 70, 1)).await.unwrap();
    let drawn: i64 =
        early.query_one("SELECT nextval('events_global_position_seq')", &[]).await.unwrap().get(0);
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    let route = Activation { epoch: Epoch(3), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    target.store.leave(TENANT, Epoch(3), US).await.unwrap();
    until(&target.app, IS_LEAVING).await;
    let unguarding = tokio::spawn({
        let store = Arc::clone(&target.store);
        async move { store.unguard(TENANT, Epoch(3), US).await }
    });
    // One that comes later is not waited for.
    let mut late = target.session().await;
    let later = late.transaction().await.unwrap();
    later.batch_execute(&insert_of(Uuid::from_u128(7), 71, 1)).await.unwrap();
    let below = insert(2, 1).replacen("(event_id,", "(global_position, event_id,", 1).replacen(
        "VALUES (",
        &format!("VALUES ({drawn}, "),
        1,
    );
    let refused = early.batch_execute(&below).await.expect_err("the floor is in force");
    assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("40001"));
    assert!(!unguarding.is_finished());
    early.rollback().await.unwrap();
    unguarding.await.unwrap().expect("nobody is left");
    assert_eq!(target.count(NOTED).await, 0);
    later.commit().await.unwrap();
}

#[tokio::test]
async fn r11_a_migration_that_begins_calls_it_off() {
    let place = Place::new("shared").await;
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
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

#[tokio::test]
async fn a_guard_of_format_1_is_upgraded_with_what_it_holds() {
    let place = Place::new("shared").await;
    place.app.batch_execute(&insert(1, 1)).await.unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    // As format 1 had it. What its functions were does not matter: they are not to be called again.
    place
        .app
        .batch_execute(
            "DROP TRIGGER zzzz_rehome_insert ON events; DROP TRIGGER zzzz_rehome_note ON events; \
             CREATE TRIGGER zzzz_rehome_insert BEFORE INSERT ON events FOR EACH ROW \
                 EXECUTE FUNCTION rehome_guard.guard_insert(); \
             CREATE TRIGGER zzzz_rehome_note AFTER INSERT ON events FOR EACH ROW \
                 EXECUTE FUNCTION rehome_guard.guard_note(); \
             ALTER TABLE events ENABLE ALWAYS TRIGGER zzzz_rehome_insert, \
                 ENABLE ALWAYS TRIGGER zzzz_rehome_note; \
             DROP FUNCTION rehome_guard.mark, rehome_guard.unguard, rehome_guard.leave, rehome_guard.sync; \
             DROP SEQUENCE rehome_guard.marks; \
             ALTER TABLE rehome_guard.ledger DROP COLUMN key; \
             ALTER TABLE rehome_guard.tenants DROP COLUMN leaving, DROP COLUMN leaving_by, \
                 ADD COLUMN guarded boolean NOT NULL DEFAULT true; \
             UPDATE rehome_guard.installed SET fingerprint = rehome_guard.fingerprint(); \
             ALTER TABLE rehome_guard.heads DROP COLUMN row_order; \
             DROP TABLE rehome_guard.log_anchors; \
             UPDATE rehome_guard.meta SET format = 1 WHERE kind = 'guard'",
        )
        .await
        .unwrap();
    let open = || {
        let adoption = adoption(&place.database, "shared", layout(), &TenantNames::default());
        rehome_postgres::PgAdopted::open(adoption)
    };
    // Two at once: one upgrades, the other finds it done.
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.expect("upgraded"), two.expect("upgraded"));
    place.app.batch_execute(&insert(1, 2)).await.unwrap();
    assert_eq!(one.ledger(TENANT).await.unwrap().head.seq, 2);
    let report = two.check().await.unwrap();
    assert_eq!((report.format, report.problems.len()), (4, 0), "{:?}", report.problems);
    assert_eq!(triggers(&place, other(&place).await, 9).await, 0);
    two.fence(TENANT, Epoch(1), Epoch(2)).await.expect("it is as it was installed");
}

/// The upgrade keeps changes that were made under a guard of format 1.
#[tokio::test]
async fn an_upgrade_seals_nothing_that_was_changed() {
    let place = Place::new("shared").await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    place
        .app
        .batch_execute(
            "ALTER TABLE events ADD COLUMN more integer; \
             DROP SEQUENCE rehome_guard.marks CASCADE; \
             ALTER TABLE rehome_guard.ledger DROP COLUMN key; \
             ALTER TABLE rehome_guard.tenants DROP COLUMN leaving, DROP COLUMN leaving_by, \
                 ADD COLUMN guarded boolean NOT NULL DEFAULT true; \
             ALTER TABLE rehome_guard.heads DROP COLUMN row_order; \
             DROP TABLE rehome_guard.log_anchors; \
             UPDATE rehome_guard.meta SET format = 1 WHERE kind = 'guard'",
        )
        .await
        .unwrap();
    let adoption = adoption(&place.database, "shared", layout(), &TenantNames::default());
    let store = rehome_postgres::PgAdopted::open(adoption).await.expect("upgraded");
    store.fence(TENANT, Epoch(1), Epoch(2)).await.expect_err("a column came");
    let triggers =
        "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz_rehome%' AND tgenabled = 'A'";
    let app = session(&place.database).await;
    assert_eq!(app.query_one(triggers, &[]).await.unwrap().get::<_, i64>(0), 4);
}
