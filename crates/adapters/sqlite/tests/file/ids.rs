//! Ids that are put off during a copy or an import: found, settled, and unique as if they were not.

use std::path::Path;

use rehome_domain::append::{Append, AppendConflict};
use rehome_domain::digest;
use rehome_domain::event::{Event, Json};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Role};
use rehome_ports::{EVENTS_IN_BULK, FaultKind, LedgerStore};
use rehome_sqlite::SqliteStore;

use crate::kit::{
    M, activate, append, audited, fault, fill, folder, history, open, outsider, store, tenant,
};

/// More than what is inserted in one transaction with the end of what is put off.
const MANY: u64 = 3 * EVENTS_IN_BULK as u64;
const ROUTE: Activation = Activation { epoch: Epoch(3), base: 0, created: true };

/// After which event ids are put off, and how many are settled.
fn ids(path: &Path) -> (Option<u64>, u64) {
    let conn = outsider(path);
    let after = "SELECT (SELECT after_seq FROM ids_put_off)";
    let count = "SELECT count(*) FROM event_ids AS i JOIN events AS e \
                 ON e.position = i.position AND e.event_id = i.event_id";
    let after: Option<i64> = conn.query_row(after, [], |row| row.get(0)).unwrap();
    let count: i64 = conn.query_row(count, [], |row| row.get(0)).unwrap();
    (after.map(i64::cast_unsigned), count.cast_unsigned())
}

/// A replica of events `from..`, extended by as many at a time.
async fn extend(store: &SqliteStore, events: &[Event], at_once: usize) {
    let mut head = store.ledger(tenant(1)).await.unwrap().head;
    for some in events.chunks(at_once) {
        head = store.extend(tenant(1), M, head, some).await.unwrap();
    }
}

async fn replica(path: &Path) -> SqliteStore {
    let store = store(path).await;
    store.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    store
}

/// Appends of single events, as an import sends them.
async fn import(store: &SqliteStore, from: u64, to: u64) {
    let all: Vec<Append> = (from..=to).map(append).collect();
    for some in all.chunks(250) {
        for outcome in store.append_chain(tenant(1), Epoch(1), some).await.unwrap() {
            outcome.unwrap();
        }
    }
}

/// Retries of all answer as the first time, and an id of another event is a conflict.
async fn retries_are_found(store: &SqliteStore, epoch: Epoch, events: u64) {
    let before = store.ledger(tenant(1)).await.unwrap().head;
    let all: Vec<Append> = (1..=events).map(append).collect();
    for (seq, outcome) in (1..).zip(store.append(tenant(1), epoch, &all).await.unwrap()) {
        assert_eq!(outcome.unwrap().first_seq, seq);
    }
    let mut other = append(events);
    other.events[0].data = Json::trusted("7");
    let outcome = store.append(tenant(1), epoch, &[other]).await.unwrap().remove(0);
    assert!(matches!(outcome, Err(AppendConflict::Id { .. })), "{outcome:?}");
    assert_eq!(store.ledger(tenant(1)).await.unwrap().head, before);
}

#[tokio::test]
async fn a_copy_puts_ids_off_until_they_are_settled_and_retries_are_then_found() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let events = history(MANY).await;
    let store = replica(&path).await;
    extend(&store, &events, 1_500).await;
    assert_eq!(ids(&path), (Some(0), 0));
    store.finish_index(tenant(1)).await.unwrap();
    assert_eq!(ids(&path), (None, MANY));
    store.activate(tenant(1), ROUTE).await.unwrap();
    retries_are_found(&store, ROUTE.epoch, MANY).await;
    assert_eq!(audited(&store, tenant(1)).await, events);
}

#[tokio::test]
async fn what_is_still_put_off_is_settled_with_the_activation() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = replica(&path).await;
    extend(&store, &history(MANY).await, 1_500).await;
    store.activate(tenant(1), ROUTE).await.unwrap();
    assert_eq!(ids(&path), (None, MANY));
    retries_are_found(&store, ROUTE.epoch, MANY).await;
}

#[tokio::test]
async fn what_is_mirrored_after_a_copy_first_settles_it_and_then_puts_nothing_off() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let events = history(MANY + 200).await;
    let store = replica(&path).await;
    let (copied, mirrored) = events.split_at(usize::try_from(MANY).unwrap());
    extend(&store, copied, 1_500).await;
    extend(&store, &mirrored[..100], 100).await;
    assert_eq!(ids(&path), (None, MANY + 100));
    extend(&store, &mirrored[100..], 7).await;
    assert_eq!(ids(&path), (None, MANY + 200));
}

#[tokio::test]
async fn ids_that_a_settling_process_had_inserted_before_it_was_killed_are_no_conflict() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = replica(&path).await;
    extend(&store, &history(MANY).await, 1_500).await;
    let half = "INSERT INTO event_ids SELECT tenant_no, event_id, position FROM events \
                WHERE position % 2 = 0";
    assert_eq!(outsider(&path).execute(half, []).unwrap() as u64, MANY / 2);
    store.finish_index(tenant(1)).await.unwrap();
    assert_eq!(ids(&path), (None, MANY));
}

/// The history with the id of event 10 also at `twice`.
async fn with_an_id_twice(events: u64, twice: usize) -> Vec<Event> {
    let mut events = history(events).await;
    events[twice - 1].id = events[9].id;
    let mut previous = Head::EMPTY;
    for event in &mut events {
        event.digest = digest::chain(&previous.digest, event);
        previous = Head::of(event);
    }
    events
}

#[tokio::test]
async fn an_id_that_is_there_twice_is_found_before_the_copy_is_active() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let events = with_an_id_twice(MANY, 2_500).await;
    let store = replica(&path).await;
    extend(&store, &events, 1_500).await;
    let found = fault(store.finish_index(tenant(1)).await);
    assert!(matches!(&found.kind, FaultKind::Corrupt(why) if why.contains("the id of event")));
    let found = fault(store.activate(tenant(1), ROUTE).await);
    assert!(matches!(found.kind, FaultKind::Corrupt(_)), "{found:?}");
    assert_eq!(store.ledger(tenant(1)).await.unwrap().role, Role::Replica);
}

#[tokio::test]
async fn an_id_that_is_there_twice_is_refused_where_nothing_is_put_off() {
    let folder = folder();
    let events = with_an_id_twice(20, 15).await;
    let store = replica(&folder.path().join("store.db")).await;
    let head = store.extend(tenant(1), M, Head::EMPTY, &events[..14]).await.unwrap();
    let found = fault(store.extend(tenant(1), M, head, &events[14..]).await);
    assert!(matches!(found.kind, FaultKind::Corrupt(_)), "{found:?}");
}

#[tokio::test]
async fn an_import_puts_ids_off_and_every_process_finds_them() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let here = store(&path).await;
    activate(&here, tenant(1)).await;
    let other = open(&path, false).await.unwrap();
    import(&here, 1, 1_000).await;
    retries_are_found(&here, Epoch(1), 1_000).await;
    retries_are_found(&other, Epoch(1), 1_000).await;
    // Each finds what the other has appended since.
    fill(&other, tenant(1), 1_001, 1_010).await;
    retries_are_found(&here, Epoch(1), 1_010).await;
    import(&here, 1_011, 1_500).await;
    retries_are_found(&other, Epoch(1), 1_500).await;
    other.finish_index(tenant(1)).await.unwrap();
    assert_eq!(ids(&path), (None, 1_500));
    retries_are_found(&here, Epoch(1), 1_500).await;
    fill(&here, tenant(1), 1_501, 1_510).await;
    assert_eq!(ids(&path), (None, 1_510));
}

#[tokio::test]
async fn an_append_that_was_rolled_back_leaves_no_id() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    activate(&store, tenant(1)).await;
    import(&store, 1, 400).await;
    // The second of two appends meets a damaged row, and both are rolled back.
    let damage = "UPDATE streams SET stream_type = '' WHERE stream_no = (SELECT stream_no FROM events \
                  WHERE position % 1099511627776 = 300)";
    outsider(&path).execute(damage, []).unwrap();
    fault(store.append(tenant(1), Epoch(1), &[append(401), append(300)]).await);
    let repair = "UPDATE streams SET stream_type = 'order' WHERE stream_type = ''";
    outsider(&path).execute(repair, []).unwrap();
    fill(&store, tenant(1), 402, 402).await;
    fill(&store, tenant(1), 401, 401).await;
    assert_eq!(audited(&store, tenant(1)).await.len(), 402);
    store.finish_index(tenant(1)).await.unwrap();
    assert_eq!(ids(&path), (None, 402));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_beside_a_settling_are_found_and_settled_too() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let here = store(&path).await;
    activate(&here, tenant(1)).await;
    import(&here, 1, 5_000).await;
    let other = open(&path, false).await.unwrap();
    let appended = async {
        for n in 5_001..=5_060 {
            fill(&other, tenant(1), n, n).await;
        }
    };
    let (settled, ()) = tokio::join!(here.finish_index(tenant(1)), appended);
    settled.unwrap();
    here.finish_index(tenant(1)).await.unwrap();
    assert_eq!(ids(&path), (None, 5_060));
    retries_are_found(&here, Epoch(1), 5_060).await;
}

#[tokio::test]
async fn a_purge_and_a_cut_leave_no_ids_of_removed_events() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let events = history(MANY).await;
    let store = replica(&path).await;
    extend(&store, &events[..2_000], 1_500).await;
    store.finish_index(tenant(1)).await.unwrap();
    extend(&store, &events[2_000..], 1_500).await;
    assert_eq!(ids(&path), (Some(2_000), 2_000));
    store.drop_replica(tenant(1), M).await.unwrap();
    let to = Head::of(&events[1_499]);
    while store.cut_back(tenant(1), M, to, 700).await.unwrap().head != to {}
    assert_eq!(ids(&path), (None, 1_500));
    store.adopt(tenant(1), Epoch(4), to).await.unwrap();
    let head = store.extend(tenant(1), Epoch(4), to, &events[1_500..]).await.unwrap();
    assert_eq!(ids(&path), (Some(1_500), 1_500));
    assert_eq!(head, Head::of(&events[events.len() - 1]));
    store.drop_replica(tenant(1), Epoch(4)).await.unwrap();
    while store.purge(tenant(1), Epoch(4), 700).await.unwrap().role != Role::Absent {}
    let left = "SELECT (SELECT count(*) FROM event_ids) + (SELECT count(*) FROM ids_put_off)";
    assert_eq!(outsider(&path).query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn a_row_that_was_deleted_by_hand_does_not_keep_its_id_from_coming_back() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let events = history(50).await;
    let store = replica(&path).await;
    extend(&store, &events, 50).await;
    outsider(&path).execute("DELETE FROM events WHERE position % 1099511627776 > 40", []).unwrap();
    store.drop_replica(tenant(1), M).await.unwrap();
    let to = Head::of(&events[29]);
    while store.cut_back(tenant(1), M, to, 700).await.unwrap().head != to {}
    store.adopt(tenant(1), Epoch(4), to).await.unwrap();
    store.extend(tenant(1), Epoch(4), to, &events[30..]).await.unwrap();
    assert_eq!(ids(&path), (None, 50));
}
