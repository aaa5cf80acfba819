//! A tenant goes from a table of one layout to a table of another and back, both in files.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::layout::{Layout, TenantPart};
use rehome_domain::ledger::{Activation, Head, Role, follow_chain};
use rehome_ports::{LedgerStore, TenantNames};
use rehome_sqlite::SqliteAdopted;
use uuid::Uuid;

use crate::kit::{ALL, FIRST, Place, TENANT, copy};

/// Columns with other names than the other table's, and in another order, also of their names.
const ORDERS: &str = "\
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL, number TEXT NOT NULL, revision INTEGER NOT NULL,
        what TEXT NOT NULL, body TEXT NOT NULL, note TEXT, proof BLOB, weight REAL, uid TEXT NOT NULL,
        at TEXT NOT NULL, UNIQUE (number, revision))";
const LOG: &str = "\
    CREATE TABLE log (
        a_kind TEXT NOT NULL, b_at TEXT NOT NULL, content TEXT NOT NULL, entry TEXT NOT NULL, n INTEGER NOT NULL,
        note TEXT, owner TEXT NOT NULL, place INTEGER PRIMARY KEY AUTOINCREMENT, proof BLOB, stream TEXT NOT NULL,
        weight REAL, UNIQUE (stream, n))";

fn layout(table: &str, position: &str, of: [&str; 7]) -> Layout {
    let name = |n: usize| of[n].to_owned();
    Layout {
        name: table.to_owned(),
        schema: "public".to_owned(),
        table: table.to_owned(),
        tenant: TenantPart::Column(name(0)),
        stream_type: None,
        stream_id: vec![name(1)],
        version: name(2),
        first_version: 1,
        position: Some(position.to_owned()),
        event_id: Some(name(3)),
        event_type: name(4),
        occurred_at: Some(name(5)),
        recorded_at: None,
        data: name(6),
        metadata: None,
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
    }
}

async fn orders() -> Place {
    let of = ["customer", "number", "revision", "uid", "what", "at", "body"];
    Place::with("orders", ORDERS, layout("orders", "id", of), &TenantNames::default()).await
}

async fn log() -> Place {
    let of = ["owner", "stream", "n", "entry", "a_kind", "b_at", "content"];
    Place::with("log", LOG, layout("log", "place", of), &TenantNames::default()).await
}

/// A row of the tenant; its values are of the classes of the columns, except where `odd`.
fn insert(columns: &str, stream: u32, version: i64, odd: bool) -> String {
    let (note, weight) = if odd { ("x'00ff'", "'heavy'") } else { ("NULL", "0.1") };
    format!(
        "INSERT INTO {columns} VALUES ('{}', 'o-{stream}', {version}, '{}', 'Placed', '2026-01-02T03:04:05.600000+00:00', \
         '{{ \"n\" : {version} }}', {note}, x'0102', {weight})",
        TENANT.uuid(),
        Uuid::new_v4(),
    )
}

fn order(stream: u32, version: i64, odd: bool) -> String {
    let columns = "orders (customer, number, revision, uid, what, at, body, note, proof, weight)";
    insert(columns, stream, version, odd)
}

fn entry(stream: u32, version: i64, odd: bool) -> String {
    let columns = "log (owner, stream, n, entry, a_kind, b_at, content, note, proof, weight)";
    insert(columns, stream, version, odd)
}

/// The tenant's rows, part by part, with the class of each value.
fn rows(place: &Place, table: &str, columns: &str) -> Vec<String> {
    let columns: Vec<String> = columns.split(' ').map(|it| format!("quote({it})")).collect();
    let sql = format!("SELECT {} AS r FROM {table} ORDER BY r", columns.join(" || ' ' || "));
    let mut statement = place.app.prepare(&sql).unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

fn of_orders(place: &Place) -> Vec<String> {
    rows(place, "orders", "customer number revision uid what at body note proof weight")
}

fn of_log(place: &Place) -> Vec<String> {
    rows(place, "log", "owner stream n entry a_kind b_at content note proof weight")
}

async fn copied(source: &SqliteAdopted, target: &SqliteAdopted, m: u64) -> Head {
    copy(source, target, Epoch(m)).await
}

#[tokio::test]
async fn a_tenant_moves_to_a_table_of_another_layout_and_returns() {
    let (source, target) = (orders().await, log().await);
    for version in 1..=40 {
        source.app.execute_batch(&order(1, version, version % 5 == 0)).unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    copied(&source.store, &target.store, 2).await;
    let head = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(copied(&source.store, &target.store, 2).await, head);
    assert_eq!(of_orders(&source), of_log(&target));
    let ours = source.store.read_feed(TENANT, 0, ALL).await.unwrap().events;
    assert_eq!(ours, target.store.read_feed(TENANT, 0, ALL).await.unwrap().events);

    let route = Activation { epoch: Epoch(4), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    for version in 1..=6 {
        target.app.execute_batch(&entry(2, version, version % 2 == 0)).unwrap();
    }
    let head = target.head().await;
    let feed = target.store.read_feed(TENANT, 0, ALL).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), head);
    let stream = &feed.events[45].stream;
    let slice = target.store.read_stream(TENANT, stream, 1, ALL).await.unwrap();
    assert_eq!(slice.events, feed.events[40..]);

    let old = source.head().await;
    source.store.adopt(TENANT, Epoch(5), old).await.unwrap();
    assert_eq!(copied(&target.store, &source.store, 5).await, head);
    assert_eq!(of_orders(&source), of_log(&target));
    target.store.fence(TENANT, Epoch(4), Epoch(6)).await.unwrap();
    let route = Activation { epoch: Epoch(7), base: head.seq, created: true };
    source.store.activate(TENANT, route).await.unwrap();
    source.app.execute_batch(&order(2, 7, false)).unwrap();
    assert_eq!(source.head().await.seq, 47);

    let mut ledger = target.store.ledger(TENANT).await.unwrap();
    while ledger.role != Role::Absent {
        ledger = target.store.purge(TENANT, Epoch(6), 30).await.unwrap();
    }
    assert!(of_log(&target).is_empty());
    target.store.adopt(TENANT, Epoch(8), Head::EMPTY).await.unwrap();
    assert_eq!(copied(&source.store, &target.store, 8).await, source.head().await);
    assert_eq!(of_orders(&source), of_log(&target));
}

/// Whatever a plan said.
#[tokio::test]
async fn a_row_is_never_written_into_the_columns_of_other_parts() {
    let source = orders().await;
    source.app.execute_batch(&order(1, 1, false)).unwrap();
    source.app.execute_batch(&order(1, 2, false)).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    let events = source.store.read_feed(TENANT, 0, ALL).await.unwrap().events;
    let of = ["owner", "stream", "n", "entry", "a_kind", "b_at", "content"];
    let renamed = LOG.replace("proof", "prova");
    let other =
        Place::with("other", &renamed, layout("log", "place", of), &TenantNames::default()).await;
    other.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let refused = other.store.extend(TENANT, Epoch(2), Head::EMPTY, &events).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("column \"proof\" would be lost"), "{refused}");
    assert_eq!(other.count("SELECT count(*) FROM log"), 0);

    let target = log().await;
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    // Of rows of two forms in one batch those of the first are taken: the others may need another order.
    let mut mixed = events.clone();
    let row = mixed[1].row.clone().unwrap();
    let mut form = (**row.form().unwrap()).clone();
    form.columns.reverse();
    mixed[1].row = Some(Arc::new((*row).clone().with_form(&Arc::new(form))));
    let head = target.store.extend(TENANT, Epoch(2), Head::EMPTY, &mixed).await.unwrap();
    assert_eq!(head.seq, 1);
    target.app.execute_batch("UPDATE rehome_guard_tenants SET row_order = NULL").unwrap();
    let refused = target.store.extend(TENANT, Epoch(2), head, &events[1..]).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("was begun from a store of another layout"), "{refused}");
    assert_eq!(target.count("SELECT count(*) FROM log"), 1);
}
