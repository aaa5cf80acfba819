//! A tenant goes from a table of another library into rehome's own tables, and on from there, with its rows.

use std::path::Path;
use std::sync::Arc;

use rehome_domain::append::Append;
use rehome_domain::event::{Event, EventType, Json, NewEvent};
use rehome_domain::ids::{Epoch, EventId};
use rehome_domain::ledger::{Activation, Head, follow_chain};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::clock::SystemClock;
use rehome_ports::{BatchLimit, LedgerStore};
use rehome_sqlite::{SqliteStore, SqliteStoreOptions};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::kit::{ALL, FIRST, Place, TENANT, insert, session};

async fn own(folder: &TempDir, name: &str) -> SqliteStore {
    let options = SqliteStoreOptions {
        id: name.parse().unwrap(),
        path: folder.path().join(name),
        deployment: "adopted".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    };
    SqliteStore::open(options).await.unwrap()
}

/// Copies all that the target lacks; answers its head.
async fn copy(source: &dyn LedgerStore, target: &dyn LedgerStore, m: u64) -> Head {
    let mut head = target.ledger(TENANT).await.unwrap().head;
    loop {
        let feed = source.read_feed(TENANT, head.seq, BatchLimit::events(100)).await.unwrap();
        if feed.events.is_empty() {
            return head;
        }
        head = target.extend(TENANT, Epoch(m), head, &feed.events).await.unwrap();
    }
}

async fn all(store: &dyn LedgerStore) -> Vec<Event> {
    store.read_feed(TENANT, 0, ALL).await.unwrap().events
}

fn texts(file: &Path, sql: &str) -> Vec<String> {
    let file = Connection::open(file).unwrap();
    let mut statement = file.prepare(sql).unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_tenant_moves_into_own_tables_and_on_with_its_rows() {
    let source = Place::new("shared").await;
    let folder = tempfile::tempdir().unwrap();
    let (target, next) = (own(&folder, "target").await, own(&folder, "next").await);
    for version in 1..=150 {
        source.app.execute_batch(&insert(1, version)).unwrap();
    }
    source
        .app
        .execute_batch("UPDATE events SET actor_id = 'someone, (else)' WHERE version % 2")
        .unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    copy(&*source.store, &target, 2).await;
    source.app.execute_batch(&insert(2, 1)).unwrap();
    let head = source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    assert_eq!(copy(&*source.store, &target, 2).await, head, "digests are the same");
    let (ours, theirs) = (all(&*source.store).await, all(&target).await);
    assert_eq!(ours, theirs);
    let form = |events: &[Event]| events[0].row.as_ref().unwrap().form().unwrap().clone();
    assert_eq!(form(&ours), form(&theirs), "with the names of its columns");
    let kept = "SELECT record FROM event_rows ORDER BY position";
    let kept = texts(&folder.path().join("target"), kept);
    let records = ours.iter().map(|event| event.row.as_ref().unwrap().as_str());
    assert!(kept.iter().map(String::as_str).eq(records));

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
    let folder = tempfile::tempdir().unwrap();
    let target = own(&folder, "target").await;
    for version in 1..=9 {
        source.app.execute_batch(&insert(1, version)).unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&*source.store, &target, 2).await;
    let file = session(&folder.path().join("target"));
    let of_5 = "position & 1099511627775 = 5";
    let changes = [
        "UPDATE event_rows SET record = replace(record, 'OrderChanged', 'OrderPlaced')",
        "UPDATE event_rows SET record = record || ' '",
        "UPDATE event_rows SET contents = zeroblob(32)",
        "UPDATE events SET data = '{}'",
        "UPDATE events SET event_type = 'OrderPlaced'",
        "UPDATE events SET recorded_at = recorded_at + 1",
        "UPDATE events SET digest = zeroblob(32)",
        "DELETE FROM event_rows",
    ];
    for (m, change) in (2..).zip(changes) {
        assert_eq!(file.execute(&format!("{change} WHERE {of_5}"), []).unwrap(), 1);
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
