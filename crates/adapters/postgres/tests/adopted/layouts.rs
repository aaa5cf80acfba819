//! A tenant goes from a table of one layout to a table of another and back: other names, another order of columns.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::layout::{Layout, RowForm, TenantPart};
use rehome_domain::ledger::{Activation, Head, Role, follow_chain};
use rehome_ports::{BatchLimit, LedgerStore, TenantNames};
use rehome_postgres::PgAdopted;
use uuid::Uuid;

use crate::kit::{EVENTS, FIRST, Place, TENANT, adoption, copy, insert, layout};

/// Columns for the same as those of eventsource-py, with other names and in another order, also of their names.
const ENTRIES: &str = "\
    CREATE TABLE entries ( \
        what text NOT NULL, body jsonb NOT NULL, no bigserial PRIMARY KEY, revision bigint NOT NULL, owner uuid, \
        \"Stream\" uuid NOT NULL, topic varchar(300) NOT NULL, happened timestamptz NOT NULL, actor_id varchar(255), \
        entry uuid NOT NULL UNIQUE, noted timestamptz NOT NULL DEFAULT now(), UNIQUE (\"Stream\", topic, revision))";

fn entries() -> Layout {
    let some = |name: &str| Some(name.to_owned());
    Layout {
        name: "entries".to_owned(),
        schema: "public".to_owned(),
        table: "entries".to_owned(),
        tenant: TenantPart::Column("owner".to_owned()),
        stream_type: some("topic"),
        stream_id: vec!["Stream".to_owned()],
        version: "revision".to_owned(),
        first_version: 1,
        position: some("no"),
        event_id: some("entry"),
        event_type: "what".to_owned(),
        occurred_at: some("happened"),
        recorded_at: some("noted"),
        data: "body".to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
    }
}

async fn place_of_entries() -> Place {
    Place::with("entries", ENTRIES, entries(), &TenantNames::default()).await
}

/// A row of the tenant as the writers of the other table insert it.
fn entry(stream: u128, version: i64) -> String {
    format!(
        "INSERT INTO entries (entry, \"Stream\", topic, what, owner, actor_id, revision, happened, body) \
         VALUES ('{}', '{}', 'Order', 'OrderClosed', '{}', 'someone', {version}, \
                 '2026-03-04 05:06:07.000008+02', '{{\"z\": [{version}], \"a\": null}}')",
        Uuid::new_v4(),
        Uuid::from_u128(stream),
        TENANT.uuid(),
    )
}

/// The tenant's rows, part by part.
const OF_EVENTS: &str = "SELECT string_agg(concat_ws('|', event_id, aggregate_type, aggregate_id, version, event_type, \
    coalesce(actor_id, 'NULL'), timestamp, created_at, payload::text), E'\\n' ORDER BY aggregate_id, version) FROM events";
const OF_ENTRIES: &str = "SELECT string_agg(concat_ws('|', entry, topic, \"Stream\", revision, what, \
    coalesce(actor_id, 'NULL'), happened, noted, body::text), E'\\n' ORDER BY \"Stream\", revision) FROM entries";

async fn rows(place: &Place, sql: &str) -> Option<String> {
    place.app.query_one(sql, &[]).await.expect("the rows").get(0)
}

async fn form(store: &PgAdopted) -> RowForm {
    store.row_form().await.expect("the store answers").expect("it is adopted")
}

#[tokio::test]
async fn a_tenant_moves_to_a_table_of_another_layout_and_returns() {
    let (source, target) = (Place::new("shared").await, place_of_entries().await);
    let (there, back) = (form(&source.store).await, form(&target.store).await);
    assert!(there.order_at(&back).unwrap().is_some(), "the orders differ");
    for n in 1..=40_u16 {
        let row = insert(u128::from(n % 3 + 1), i32::from((n - 1) / 3 + 1));
        source.app.batch_execute(&row).await.unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    copy(&source.store, &target.store, Epoch(2)).await;
    let head = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(copy(&source.store, &target.store, Epoch(2)).await, head);
    assert_eq!(rows(&source, OF_EVENTS).await, rows(&target, OF_ENTRIES).await);
    // The events are the same in all their parts, and in the order in which they are compared.
    let ours = source.store.read_feed(TENANT, 0, BatchLimit::PAGE).await.unwrap().events;
    let theirs = target.store.read_feed(TENANT, 0, BatchLimit::PAGE).await.unwrap().events;
    assert_eq!(ours, theirs);

    // What is written there is numbered in the same order of columns, by the server.
    let route = Activation { epoch: Epoch(4), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    for version in 1..=5 {
        target.app.batch_execute(&entry(9, version)).await.unwrap();
    }
    let head = target.head().await;
    let feed = target.store.read_feed(TENANT, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), head);
    let stream = &feed.events[44].stream;
    let slice = target.store.read_stream(TENANT, stream, 1, BatchLimit::PAGE).await.unwrap();
    assert_eq!(slice.events, feed.events[40..]);

    // Back, where the old rows are a prefix.
    let old = source.head().await;
    source.store.adopt(TENANT, Epoch(5), old).await.unwrap();
    assert_eq!(copy(&target.store, &source.store, Epoch(5)).await, head);
    assert_eq!(rows(&source, OF_EVENTS).await, rows(&target, OF_ENTRIES).await);
    target.store.fence(TENANT, Epoch(4), Epoch(6)).await.unwrap();
    let route = Activation { epoch: Epoch(7), base: head.seq, created: true };
    source.store.activate(TENANT, route).await.unwrap();
    source.app.batch_execute(&insert(9, 6)).await.unwrap();
    assert_eq!(source.head().await.seq, 46);

    // Purged, the other table has nothing left, and takes another copy.
    let mut ledger = target.store.ledger(TENANT).await.unwrap();
    while ledger.role != Role::Absent {
        ledger = target.store.purge(TENANT, Epoch(6), 30).await.unwrap();
    }
    assert_eq!(rows(&target, OF_ENTRIES).await, None);
    target.store.adopt(TENANT, Epoch(8), Head::EMPTY).await.unwrap();
    assert_eq!(copy(&source.store, &target.store, Epoch(8)).await, source.head().await);
    assert_eq!(rows(&source, OF_EVENTS).await, rows(&target, OF_ENTRIES).await);
}

/// A tenant that comes from a table of another layout moves on to a third table. There the type of the event is in the column
/// that has the type of the stream in the second, and the other way round.
#[tokio::test]
async fn a_tenant_moves_on_to_a_table_whose_columns_have_each_others_parts() {
    let (first, second) = (Place::new("shared").await, place_of_entries().await);
    let key = |column| format!("UNIQUE (\"Stream\", {column}, revision)");
    let third = Place::with(
        "third",
        &ENTRIES.replace("owner", "\"Owner\"").replace(&key("topic"), &key("what")),
        Layout {
            tenant: TenantPart::Column("Owner".to_owned()),
            stream_type: Some("what".to_owned()),
            event_type: "topic".to_owned(),
            ..entries()
        },
        &TenantNames::default(),
    )
    .await;
    first.app.batch_execute(&insert(1, 1)).await.unwrap();
    first.store.activate(TENANT, FIRST).await.unwrap();
    second.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&first.store, &second.store, Epoch(2)).await;
    first.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    let route = Activation { epoch: Epoch(4), base: 1, created: true };
    second.store.activate(TENANT, route).await.unwrap();
    second.app.batch_execute(&entry(2, 1)).await.unwrap();
    third.store.adopt(TENANT, Epoch(5), Head::EMPTY).await.unwrap();
    let moved = copy(&second.store, &third.store, Epoch(5)).await;
    assert_eq!((moved, moved.seq), (second.head().await, 2));
    assert_ne!(moved, head);
    let of_third = OF_ENTRIES.replace("topic", "t").replace("what", "topic").replace("t,", "what,");
    assert_eq!(rows(&second, OF_ENTRIES).await, rows(&third, &of_third).await);
}

/// Whatever a plan said: a row whose columns have no counterparts is not written, and one in an order that a copy was not
/// begun in is not either.
#[tokio::test]
async fn a_row_is_never_written_into_the_columns_of_other_parts() {
    let source = Place::new("shared").await;
    source.app.batch_execute(&insert(1, 1)).await.unwrap();
    source.app.batch_execute(&insert(1, 2)).await.unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    let events = source.store.read_feed(TENANT, 0, BatchLimit::PAGE).await.unwrap().events;
    // As many columns of the same types, and one of them is for something else.
    let renamed = ENTRIES.replace("actor_id", "author");
    let other = Place::with("other", &renamed, entries(), &TenantNames::default()).await;
    other.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let refused = other.store.extend(TENANT, Epoch(2), Head::EMPTY, &events).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("column \"actor_id\" would be lost"), "{refused}");
    assert!(refused.contains("the target has a column \"author\""), "{refused}");
    assert_eq!(other.count("SELECT count(*) FROM entries").await, 0);

    let target = place_of_entries().await;
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    // Of rows of two forms in one batch those of the first are taken: the others may need another order.
    let mut mixed = events.clone();
    let row = mixed[1].row.clone().unwrap();
    let mut form = (**row.form().unwrap()).clone();
    form.columns.reverse();
    mixed[1].row = Some(Arc::new((*row).clone().with_form(&Arc::new(form))));
    let head = target.store.extend(TENANT, Epoch(2), Head::EMPTY, &mixed).await.unwrap();
    assert_eq!(head.seq, 1);
    target.app.batch_execute("UPDATE rehome_guard.heads SET row_order = NULL").await.unwrap();
    let refused = target.store.extend(TENANT, Epoch(2), head, &events[1..]).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("was begun from a store of another layout"), "{refused}");
    assert_eq!(target.count("SELECT count(*) FROM entries").await, 1);
}

/// What a guard of format 3 is, with its functions under the names that older processes call.
const FORMAT_3: &str = "\
    ALTER TABLE rehome_guard.heads DROP COLUMN row_order; \
    DROP FUNCTION rehome_guard.rows_of_feed, rehome_guard.rows_of_stream, rehome_guard.begin_extend; \
    CREATE FUNCTION rehome_guard.feed(uuid, bigint, bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; \
    CREATE FUNCTION rehome_guard.begin_extend(uuid, integer, bigint, bigint, bytea, integer) RETURNS bigint \
        LANGUAGE sql AS 'SELECT 1::bigint'; \
    UPDATE rehome_guard.meta SET format = 3, oldest_reader = 1, oldest_writer = 1 WHERE kind = 'guard';";

/// A migration that was under way when rehome was upgraded continues, and a column that came since is in no digest. A process
/// of the earlier version finds none of the functions with which it would copy.
#[tokio::test]
async fn guards_of_format_3_continue_in_the_middle_of_a_copy() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    for version in 1..=20 {
        source.app.batch_execute(&insert(1, version)).await.unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let page = source.store.read_feed(TENANT, 0, BatchLimit::events(9)).await.unwrap();
    let half = target.store.extend(TENANT, Epoch(2), Head::EMPTY, &page.events).await.unwrap();
    let head = source.head().await;
    let reopen = async |place: &Place| {
        let more = "ALTER TABLE events ADD COLUMN more text DEFAULT 'x';";
        place.app.batch_execute(&format!("{FORMAT_3} {more}")).await.unwrap();
        let adoption = adoption(&place.database, "again", layout(), &TenantNames::default());
        PgAdopted::open(adoption).await.expect("upgraded")
    };
    let (one, other) = (reopen(&source).await, reopen(&target).await);
    assert_eq!(one.ledger(TENANT).await.unwrap().head, head);
    assert_eq!(other.ledger(TENANT).await.unwrap().head, half);
    source.app.batch_execute(&insert(1, 21)).await.unwrap();
    assert_eq!(copy(&one, &other, Epoch(2)).await.seq, 21);
    let report = one.check().await.unwrap();
    assert_eq!((report.format, report.problems.len()), (4, 1), "{:?}", report.problems);
    assert!(report.problems[0].contains("has changed columns"), "{:?}", report.problems);
    let left = "SELECT count(*) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
        WHERE n.nspname = 'rehome_guard' AND p.proname IN ('feed', 'stream')";
    assert_eq!(source.count(left).await, 0);
    let copies =
        "SELECT max(pronargs)::bigint + count(*) FROM pg_proc WHERE proname = 'begin_extend'";
    assert_eq!(source.count(copies).await, 8, "one, of seven arguments");
    let oldest = "SELECT min(oldest_reader)::bigint FROM rehome_guard.meta";
    assert_eq!(source.count(oldest).await, 4);
}

#[tokio::test]
async fn the_tables_of_both_layouts_are_compared_before_a_move() {
    let (source, target) = (
        Place::with("a", EVENTS, layout(), &TenantNames::default()).await,
        place_of_entries().await,
    );
    let (ours, theirs) = (form(&source.store).await, form(&target.store).await);
    assert_eq!(
        rehome_domain::layout::losses((&layout(), &ours), (&entries(), &theirs)),
        Vec::<String>::new()
    );
    assert_eq!(
        rehome_domain::layout::losses((&entries(), &theirs), (&layout(), &ours)),
        Vec::<String>::new()
    );
}
