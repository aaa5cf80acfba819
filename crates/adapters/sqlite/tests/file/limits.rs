//! No room, and rows that make no sense.

use rehome_domain::digest;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Head;
use rehome_ports::{FaultKind, LedgerStore, StoreError};
use rehome_sqlite::FileOptions;

use crate::kit::{
    ALL, M, activate, append, audited, fault, fill, folder, history, open_with, outsider, store,
    tenant,
};

fn small() -> FileOptions {
    FileOptions { bytes_max: Some(200 << 10), ..FileOptions::default() }
}

#[tokio::test]
async fn a_full_store_says_so_loses_nothing_and_goes_on_once_there_is_room() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = open_with(&path, small()).await;
    activate(&store, tenant(1)).await;
    let mut taken = 0;
    let full = loop {
        match store.append(tenant(1), Epoch(1), &[append(taken + 1)]).await {
            Ok(outcomes) => taken += outcomes[0].clone().map(|_| 1).unwrap(),
            Err(StoreError::Fault(fault)) => break fault,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(full.kind, FaultKind::Full);
    assert!(!full.applied);
    assert!(taken > 50);
    assert_eq!(audited(&store, tenant(1)).await.len() as u64, taken);
    store.close().await;

    let store = open_with(&path, FileOptions::default()).await;
    fill(&store, tenant(1), 1, taken + 10).await;
    assert_eq!(audited(&store, tenant(1)).await.len() as u64, taken + 10);
}

#[tokio::test]
async fn a_copy_into_a_full_store_keeps_an_honest_prefix() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = open_with(&path, small()).await;
    let events = history(2_000).await;
    store.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    let mut head = Head::EMPTY;
    let full = loop {
        let next = usize::try_from(head.seq).unwrap();
        match store.extend(tenant(1), M, head, &events[next..next + 50]).await {
            Ok(reached) => head = reached,
            Err(StoreError::Fault(fault)) => break fault,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(full.kind, FaultKind::Full);
    let kept = audited(&store, tenant(1)).await;
    assert_eq!(kept.len() as u64, head.seq);
    assert_eq!(kept, events[..kept.len()]);
}

#[tokio::test]
async fn what_a_row_cannot_be_is_told_after_what_is_sound() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    activate(&store, tenant(1)).await;
    fill(&store, tenant(1), 1, 20).await;
    let conn = outsider(&path);
    let at = "position = (1 << 40) + ?1";
    conn.execute(&format!("UPDATE events SET data = NULL WHERE {at}"), [5]).unwrap();
    conn.execute(&format!("DELETE FROM events WHERE {at}"), [11]).unwrap();

    let feed = store.read_feed(tenant(1), 0, ALL).await.unwrap();
    assert_eq!(feed.events.len(), 4);
    let erased = fault(store.read_feed(tenant(1), 4, ALL).await);
    assert_eq!(erased.kind, FaultKind::Corrupt("event 5 without its data".to_owned()));
    assert_eq!(store.read_feed(tenant(1), 5, ALL).await.unwrap().events.len(), 5);
    let missing = fault(store.read_feed(tenant(1), 10, ALL).await);
    let told = "the event at seq 11 is missing".to_owned();
    assert_eq!(missing.kind, FaultKind::Corrupt(told));
    assert_eq!(store.read_feed(tenant(1), 11, ALL).await.unwrap().events.len(), 9);

    // Event 5 is the first of its stream, event 11 the second of its own.
    let stream = |n| append(n).stream;
    let erased = store.read_stream(tenant(1), &stream(5), 1, ALL).await;
    assert!(matches!(fault(erased).kind, FaultKind::Corrupt(_)));
    assert_eq!(store.read_stream(tenant(1), &stream(11), 1, ALL).await.unwrap().events.len(), 1);
    let missing = store.read_stream(tenant(1), &stream(11), 2, ALL).await;
    assert!(matches!(fault(missing).kind, FaultKind::Corrupt(_)));
    // A retry of an erased event cannot be compared: it does not count as a new event.
    let retry = store.append(tenant(1), Epoch(1), &[append(5)]).await;
    assert!(matches!(fault(retry).kind, FaultKind::Corrupt(_)));
}

#[tokio::test]
async fn versions_that_do_not_continue_a_stream_are_not_copied() {
    let folder = folder();
    let store = store(&folder.path().join("store.db")).await;
    store.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    // A chain that is sound, over an event whose version skips one.
    let mut events = history(20).await;
    events[12].version += 1;
    let mut previous = events[11].digest;
    for event in &mut events[12..] {
        event.digest = digest::chain(&previous, event);
        previous = event.digest;
    }
    let refused = fault(store.extend(tenant(1), M, Head::EMPTY, &events).await);
    assert!(matches!(refused.kind, FaultKind::Corrupt(_)));
    assert_eq!(store.ledger(tenant(1)).await.unwrap().head, Head::EMPTY);
    let head = store.extend(tenant(1), M, Head::EMPTY, &events[..12]).await.unwrap();
    assert_eq!(head, Head::of(&events[11]));
}

#[tokio::test]
async fn an_id_that_is_there_twice_is_not_copied() {
    let folder = folder();
    let store = store(&folder.path().join("store.db")).await;
    store.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    let mut events = history(2).await;
    events[1].id = events[0].id;
    events[1].digest = digest::chain(&events[0].digest, &events[1]);
    let refused = fault(store.extend(tenant(1), M, Head::EMPTY, &events).await);
    assert!(matches!(refused.kind, FaultKind::Corrupt(_)));
    assert_eq!(store.ledger(tenant(1)).await.unwrap().head, Head::EMPTY);
}
