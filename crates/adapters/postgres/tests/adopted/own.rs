//! A tenant goes from a table of another library into rehome's own tables, and on from there, with its rows.

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_domain::append::Append;
use rehome_domain::event::{Event, EventType, Json, NewEvent};
use rehome_domain::ids::{Epoch, EventId};
use rehome_domain::ledger::{Activation, Head, follow_chain};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::clock::SystemClock;
use rehome_ports::{BatchLimit, LedgerStore};
use rehome_postgres::{PgStore, PgStoreOptions};
use uuid::Uuid;

use crate::kit::{FIRST, Place, TENANT, insert};

const ALL: BatchLimit = BatchLimit { events: usize::MAX, bytes: usize::MAX };

/// In a database of its own.
async fn own(name: &str) -> (PgStore, Database) {
    let database = rehome_cluster::shared().database().expect("a database");
    let options = PgStoreOptions {
        id: name.parse().expect("a name"),
        url: database.url().parse().expect("a URL"),
        deployment: "adopted".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    };
    (PgStore::open(options).await.expect("a store"), database)
}

fn sql(database: &Database, sql: &str) -> String {
    rehome_cluster::shared().sql(database.name(), sql).expect("an answer")
}

/// Copies all that the target lacks; answers its head.
async fn copy(source: &dyn LedgerStore, target: &dyn LedgerStore, m: u64) -> Head {
    let mut head = target.ledger(TENANT).await.expect("a ledger").head;
    loop {
        let feed =
            source.read_feed(TENANT, head.seq, BatchLimit::events(100)).await.expect("a page");
        if feed.events.is_empty() {
            return head;
        }
        head = target.extend(TENANT, Epoch(m), head, &feed.events).await.expect("a head");
    }
}

async fn all(store: &dyn LedgerStore) -> Vec<Event> {
    store.read_feed(TENANT, 0, ALL).await.expect("a page").events
}

#[tokio::test]
async fn a_tenant_moves_into_own_tables_and_on_with_its_rows() {
    let source = Place::new("shared").await;
    let ((target, of_target), (next, _of_next)) = (own("target").await, own("next").await);
    for version in 1..=150 {
        source.app.batch_execute(&insert(1, version)).await.unwrap();
    }
    let some = "UPDATE events SET actor_id = 'someone, (else)' WHERE version % 2 = 0";
    source.app.batch_execute(some).await.unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    copy(&*source.store, &target, 2).await;
    source.app.batch_execute(&insert(2, 1)).await.unwrap();
    let head = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(copy(&*source.store, &target, 2).await, head, "digests are the same");
    let (ours, theirs) = (all(&*source.store).await, all(&target).await);
    assert_eq!(ours, theirs);
    let form = |events: &[Event]| events[0].row.as_ref().unwrap().form().unwrap().clone();
    assert_eq!(form(&ours), form(&theirs), "with the names of its columns");
    // As the server itself writes them.
    let kept = "SELECT convert_from(record, 'UTF8') FROM rehome.event_rows ORDER BY position";
    let rows = "SET timezone = 'UTC'; SELECT ROW(actor_id, aggregate_id, aggregate_type, created_at, event_id, event_type, payload, \
        tenant_id, timestamp, version)::text FROM events ORDER BY global_position";
    let rows = sql(&source.database, rows);
    assert_eq!(sql(&of_target, kept), rows.strip_prefix("SET\n").unwrap_or(&rows));

    // What is appended there has no row, and goes on in the streams.
    let route = Activation { epoch: Epoch(4), base: head.seq, created: true };
    target.activate(TENANT, route).await.unwrap();
    let append = Append {
        stream: ours[0].stream.clone(),
        expected: ExpectedVersion::Exact(150),
        events: vec![NewEvent {
            id: EventId::new(Uuid::new_v4()),
            event_type: EventType::new("OrderClosed").unwrap(),
            occurred_at: None,
            recorded_at: None,
            data: Json::trusted("{}"),
            metadata: Json::trusted("{}"),
        }],
    };
    target.append(TENANT, Epoch(4), &[append]).await.unwrap()[0].as_ref().unwrap();
    let theirs = all(&target).await;
    assert!(theirs[151].row.is_none() && theirs[..151] == ours);
    let head = target.ledger(TENANT).await.unwrap().head;
    assert_eq!(follow_chain(Head::EMPTY, &theirs), Ok(head));

    next.adopt(TENANT, Epoch(5), Head::EMPTY).await.unwrap();
    assert_eq!(copy(&target, &next, 5).await, head);
    assert_eq!(all(&next).await, theirs);
    // There is no way back into the table.
    source.store.adopt(TENANT, Epoch(6), ours.last().map(Head::of).unwrap()).await.unwrap();
    let back = source.store.extend(TENANT, Epoch(6), Head::of(&ours[150]), &theirs[151..]).await;
    let refused = back.unwrap_err().to_string();
    assert!(
        refused.contains("event 152 does not come from a table of another library"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_was_changed_in_own_tables_does_not_give_its_digest() {
    let source = Place::new("shared").await;
    let (target, database) = own("target").await;
    for version in 1..=9 {
        source.app.batch_execute(&insert(1, version)).await.unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&*source.store, &target, 2).await;
    let of_5 = "position & 1099511627775 = 5";
    let changes = [
        "UPDATE rehome.event_rows SET record = overlay(record PLACING 'x' FROM 30)",
        "UPDATE rehome.event_rows SET record = record || '\\xff'",
        "UPDATE rehome.event_rows SET contents = sha256(contents)",
        "UPDATE rehome.events SET data = '{}'",
        "UPDATE rehome.events SET event_type = 'OrderPlaced'",
        "UPDATE rehome.events SET recorded_at = recorded_at + 1",
        "UPDATE rehome.events SET digest = sha256(digest)",
        "DELETE FROM rehome.event_rows",
    ];
    for (m, change) in (2..).zip(changes) {
        sql(&database, &format!("{change} WHERE {of_5}"));
        let events = all(&target).await;
        assert_eq!(events.len(), 9, "{change}");
        let good = (0..9).find(|end| follow_chain(Head::EMPTY, &events[..=*end]).is_err());
        assert_eq!(good, Some(4), "{change}");
        assert_eq!(Head::of(&events[8]), head, "{change}");
        // Cut back and copied again, it is as it was.
        target.drop_replica(TENANT, Epoch(m)).await.unwrap();
        let to = Head::of(&events[3]);
        while target.cut_back(TENANT, Epoch(m), to, 100).await.unwrap().head != to {}
        target.adopt(TENANT, Epoch(m + 1), to).await.unwrap();
        assert_eq!(copy(&*source.store, &target, m + 1).await, head, "{change}");
        assert_eq!(all(&target).await, all(&*source.store).await, "{change}");
    }
}
