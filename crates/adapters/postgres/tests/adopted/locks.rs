//! Rule R16: a library whose writers lock the whole table, so that its readers find positions in the order of commits.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::{Layout, tenant_of};
use rehome_domain::ledger::{Activation, Head};
use rehome_ports::{BatchLimit, End, LedgerStore as _, TenantNames};

use crate::kit::{FIRST, Place, refusal, until, until_somebody_waits};

/// The table of Python's `eventsourcing` 9.5, with ids that are texts.
const STORED_EVENTS: &str = "CREATE TABLE stored_events ( \
        originator_id text NOT NULL, originator_version bigint NOT NULL, topic text, state bytea, \
        notification_id bigserial, PRIMARY KEY (originator_id, originator_version)); \
    CREATE UNIQUE INDEX stored_events_notification_id_idx ON stored_events (notification_id ASC);";

async fn place(id: &str, names: &TenantNames) -> Place {
    let layout = Layout::built_in("pyeventsourcing").expect("it comes with rehome");
    Place::with(id, STORED_EVENTS, layout, names).await
}

fn acme() -> TenantId {
    tenant_of("acme")
}

/// What the library does in one transaction.
fn append(tenant: &str, stream: u32, version: u32) -> String {
    format!(
        "BEGIN; LOCK TABLE stored_events IN EXCLUSIVE MODE; \
         INSERT INTO stored_events (originator_id, originator_version, topic, state) \
         VALUES ('{tenant}/{stream}', {version}, 'Placed', '\\x00'); COMMIT"
    )
}

/// The order of commits is the order of positions: while a copy is inside, a writer of another tenant waits, and
/// while such a writer is inside, a copy has no positions yet.
#[tokio::test]
async fn r16_a_copy_draws_positions_alone() {
    let names = TenantNames::default();
    let (source, target) = (place("shared", &names).await, place("dedicated", &names).await);
    for version in 1..=3 {
        source.app.batch_execute(&append("acme", 1, version)).await.unwrap();
    }
    names.learn(acme(), "acme");
    source.store.activate(acme(), FIRST).await.unwrap();
    target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();

    // A writer of another tenant has the table, and its position.
    let writer = target.session().await;
    let open = append("other", 1, 1).replace("; COMMIT", "");
    writer.batch_execute(&open).await.unwrap();
    let page = source.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap();
    let copying = tokio::spawn({
        let store = std::sync::Arc::clone(&target.store);
        async move { store.extend(acme(), Epoch(2), Head::EMPTY, &page.events).await }
    });
    until_somebody_waits(&target.app).await;
    let drawn = "SELECT last_value FROM stored_events_notification_id_seq";
    assert_eq!(
        target.count(drawn).await,
        1,
        "the copy has drawn positions before the writer ended"
    );
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(copying.await.unwrap().unwrap().seq, 3);

    // A copy that stays inside; it is what `extend` begins with.
    let copy = target.session().await;
    let head = target.store.ledger(acme()).await.unwrap().head;
    let begin = format!(
        "BEGIN; SELECT * FROM rehome_guard.begin_extend('{}', 1000, 2, {}, '\\x{}', 2, NULL)",
        acme().uuid(),
        head.seq,
        head.digest
    );
    copy.batch_execute(&begin).await.unwrap();
    let late = format!("SET lock_timeout = '100ms'; {}", append("other", 1, 2));
    assert_eq!(
        refusal(&target.app, &late).await.0,
        "55P03",
        "a writer got in behind its positions"
    );
    target.app.batch_execute("ROLLBACK").await.unwrap();
    copy.batch_execute("ROLLBACK").await.unwrap();
    target.app.batch_execute(&append("other", 1, 2)).await.unwrap();
}

/// Other tenants' writers wait for the pause and no longer: what keeps the triggers as they are is let go with the
/// switch, whenever that is published.
#[tokio::test]
async fn r16_other_tenants_write_again_once_the_switch_is_recorded() {
    let names = TenantNames::default();
    let source = place("shared", &names).await;
    source.app.batch_execute(&append("acme", 1, 1)).await.unwrap();
    names.learn(acme(), "acme");
    source.store.activate(acme(), FIRST).await.unwrap();
    source.store.fence(acme(), Epoch(1), Epoch(2)).await.unwrap();
    source.store.fence_holds(acme()).await.unwrap();
    let impatient = format!("SET lock_timeout = '100ms'; {}", append("other", 1, 1));
    assert_eq!(refusal(&source.app, &impatient).await.0, "55P03", "the fence holds the table");
    source.app.batch_execute("ROLLBACK").await.unwrap();
    source.store.fence_is_over(acme()).await;
    let held = "SELECT count(*) = 0 FROM pg_locks WHERE relation = 'stored_events'::regclass \
        AND mode = 'RowExclusiveLock'";
    until(&source.app, held).await;
    source.app.batch_execute(&append("other", 1, 1)).await.unwrap();
    // A roll back lets go as well.
    source.store.fence(acme(), Epoch(1), Epoch(2)).await.unwrap();
    let route = Activation { epoch: Epoch(3), base: 1, created: false };
    source.store.activate(acme(), route).await.unwrap();
    until(&source.app, held).await;
    source.app.batch_execute(&append("acme", 1, 2)).await.unwrap();
}

/// A tenant at the beginning of a name is found by an index whose order is that of bytes, and by no other row.
#[tokio::test]
async fn a_tenants_rows_are_found_by_an_index_of_bytes() {
    let names = TenantNames::default();
    let index = "CREATE INDEX by_bytes ON stored_events (originator_id text_pattern_ops)";
    let layout = Layout::built_in("pyeventsourcing").expect("it comes with rehome");
    let place = Place::with("shared", &format!("{STORED_EVENTS} {index}"), layout, &names).await;
    let rows = "INSERT INTO stored_events (originator_id, originator_version, topic) \
        SELECT t || '/' || n, 1, 'Placed' FROM generate_series(1, 2000) AS n, \
        unnest(ARRAY['acme', 'acme2', 'a%', 'a_me', 'a\\me', 'x/acme']) AS t; ANALYZE stored_events";
    place.app.batch_execute(rows).await.unwrap();
    for tenant in ["acme", "a%", "a_me", "a\\me"] {
        let count = format!("SELECT rehome_guard.count_rows('{tenant}')");
        assert_eq!(place.count(&count).await, 2000, "{tenant}");
    }
    assert_eq!(place.count("SELECT rehome_guard.count_rows('x/acme')").await, 0);
    // What a session has read is counted from its beginning.
    let place = Place { app: place.session().await, ..place };
    place.app.batch_execute("BEGIN; SET LOCAL enable_seqscan = off").await.unwrap();
    assert_eq!(place.count("SELECT rehome_guard.count_rows('acme')").await, 2000);
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables WHERE relname = 'stored_events'";
    assert!(place.count(read).await <= 2000, "rows of other tenants were read");
    place.app.batch_execute("COMMIT").await.unwrap();
}

/// Two tenants are switched in opposite directions between two tables. Each cutover holds the table of its source and needs
/// that of its target: the second one waits before its pause, and both succeed.
#[tokio::test]
async fn r16_of_two_cutovers_in_opposite_directions_the_second_waits_before_its_pause() {
    let names = TenantNames::default();
    let (a, b) = (place("shared", &names).await, place("dedicated", &names).await);
    let other = tenant_of("other");
    names.learn(acme(), "acme");
    names.learn(other, "other");
    a.app.batch_execute(&append("acme", 1, 1)).await.unwrap();
    b.app.batch_execute(&append("other", 1, 1)).await.unwrap();
    a.store.activate(acme(), FIRST).await.unwrap();
    b.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();
    b.store.activate(other, FIRST).await.unwrap();
    a.store.adopt(other, Epoch(2), Head::EMPTY).await.unwrap();

    // The first one, from a to b.
    let rooms = [
        b.store.make_room(acme(), End::Target).await.unwrap().expect("a lock"),
        a.store.make_room(acme(), End::Source).await.unwrap().expect("a lock"),
    ];
    // Another from a to b has room beside it.
    drop(b.store.make_room(tenant_of("third"), End::Target).await.unwrap().expect("a lock"));
    drop(a.store.make_room(tenant_of("third"), End::Source).await.unwrap().expect("a lock"));
    let waits = b.store.make_room(other, End::Source).await.map(drop).expect_err("it waits");
    assert!(waits.to_string().contains("cutovers in the opposite direction"), "{waits}");

    a.store.fence(acme(), Epoch(1), Epoch(2)).await.unwrap();
    let events = a.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    b.store.extend(acme(), Epoch(2), Head::EMPTY, &events).await.unwrap();
    a.store.fence_holds(acme()).await.unwrap();
    a.store.fence_is_over(acme()).await;
    drop(rooms);

    // Then the second one.
    let _rooms = [
        b.store.make_room(other, End::Source).await.unwrap().expect("a lock"),
        a.store.make_room(other, End::Target).await.unwrap().expect("a lock"),
    ];
    b.store.fence(other, Epoch(1), Epoch(2)).await.unwrap();
    let events = b.store.read_feed(other, 0, BatchLimit::PAGE).await.unwrap().events;
    a.store.extend(other, Epoch(2), Head::EMPTY, &events).await.unwrap();
}
