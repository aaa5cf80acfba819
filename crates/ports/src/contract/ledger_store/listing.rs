//! Listings: streams, tenants, the store itself.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Role;
use rehome_domain::stream::ExpectedVersion::Any;
use rehome_domain::stream::StreamName;

use crate::StreamVersion;
use crate::contract::kit::{At, Store, append_of, history, stream, tenant};

pub async fn lengths_are_those_of_the_ledgers_in_the_order_of_the_question(store: Store) {
    let (first, second) = (At::born(&store, 1).await, At::born(&store, 2).await);
    first.append(1, "a", Any, 1..4).await.unwrap();
    let asked = [second.tenant, tenant(99), first.tenant];
    let found = store.lengths(&asked).await.unwrap();
    let mut expected = Vec::new();
    for tenant in asked {
        expected.push(store.ledger(tenant).await.unwrap().head.seq);
    }
    assert_eq!(found, expected);
    assert_eq!(found, [0, 0, 3]);
    assert_eq!(store.lengths(&[]).await.unwrap(), Vec::<u64>::new());
}

pub async fn streams_are_counted_from_the_rows(store: Store) {
    let at = At::born(&store, 1).await;
    let mut next = 1;
    for (id, count) in [("a", 3), ("b", 1), ("c", 5), ("a", 2)] {
        at.append(1, id, Any, next..next + count).await.unwrap();
        next += count;
    }
    let expected = [("a", 5), ("b", 1), ("c", 5)].map(|(id, n)| StreamVersion {
        stream: stream(id),
        version: n,
        events: n,
        last: n,
    });
    assert_eq!(store.streams(at.tenant, 11, None, 10).await.unwrap(), expected);
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|last: &StreamVersion| last.stream.clone());
        let page = store.streams(at.tenant, 11, after.as_ref(), 1).await.unwrap();
        assert!(page.len() <= 1);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
        assert!(paged.len() <= 3, "{paged:?}");
    }
    assert_eq!(paged, expected);
    let between = store.streams(at.tenant, 11, Some(&stream("aa")), 10).await.unwrap();
    assert_eq!(between, expected[1..]);
}

pub async fn streams_are_counted_up_to_a_position(store: Store) {
    let source = history(30);
    let at = At::replica(&store, 1, 1, &source).await;
    for max_seq in [0, 1, 2, 13, 29, 30, 99] {
        let listed = store.streams(at.tenant, max_seq, None, 10).await.unwrap();
        for id in ["a", "b", "c"] {
            let name = stream(id);
            let rows: Vec<_> =
                source.iter().filter(|e| e.stream == name && e.seq <= max_seq).collect();
            let found = listed.iter().find(|listed| listed.stream == name);
            match rows.last() {
                None => assert_eq!(found, None, "{id} begins after {max_seq}"),
                Some(last) => {
                    let found = found.unwrap();
                    assert_eq!((found.events, found.last), (rows.len() as u64, last.version));
                    assert!(found.version >= found.last);
                }
            }
        }
    }
}

pub async fn streams_are_listed_in_bytewise_order(store: Store) {
    let at = At::born(&store, 1).await;
    let mut names: Vec<StreamName> = [
        ("a", "b"),
        ("a", "B"),
        ("A", "z"),
        ("a", "\u{e9}"),
        ("a", "e\u{301}"),
        ("ab", "a"),
        ("a", "10"),
        ("a", "9"),
        ("a", " "),
        ("a", "\u{fffd}"),
        ("a", "\u{1f600}"),
        ("a-b", "a"),
        ("a_b", "a"),
    ]
    .into_iter()
    .map(|(kind, id)| StreamName::new(kind, id).unwrap())
    .collect();
    for (n, name) in (1..).zip(&names) {
        let mut append = append_of("replaced", Any, [n]);
        append.stream = name.clone();
        at.send(1, append).await.unwrap();
    }
    names.sort();
    let mut listed: Vec<StreamName> = Vec::new();
    loop {
        let page = store.streams(at.tenant, 100, listed.last(), 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|listed| listed.stream));
        assert!(listed.len() <= names.len(), "{listed:?}");
    }
    assert_eq!(listed, names);
    at.audit().await;
}

pub async fn tenants_are_listed_in_pages(store: Store) {
    let mut expected = Vec::new();
    for n in [1, 2, 3, 4, 5] {
        let at = match n {
            1 => At::born(&store, n).await,
            2 => At::written(&store, n, 2).await,
            3 => At::replica(&store, n, 3, &history(3)).await,
            _ => At::dropped(&store, n, 3, &history(2)).await,
        };
        expected.push((at.tenant, at.ledger().await));
    }
    // A tombstone is listed: its epoch is what a recovery has to go past.
    let purged = store.purge(tenant(5), Epoch(3), 10).await.unwrap();
    assert_eq!(purged.role, Role::Absent);
    expected[4].1 = purged;
    for limit in [1, 2, 5, 9] {
        let mut listed = Vec::new();
        loop {
            let after = listed.last().map(|(tenant, _)| *tenant);
            let page = store.tenants(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|listed| (listed.tenant, listed.ledger)));
            assert!(listed.len() <= expected.len(), "{listed:?}");
        }
        assert_eq!(listed, expected);
    }
}

pub async fn the_store_tells_about_itself(store: Store) {
    let report = store.check().await.unwrap();
    assert!(!store.id().as_str().is_empty());
    assert!(!report.engine.is_empty() && !report.durability.is_empty());
    assert!(!report.deployment.is_empty() && !report.identity.is_empty());
    assert!(report.format >= 1);
    assert_eq!(store.check().await.unwrap().identity, report.identity);
}
