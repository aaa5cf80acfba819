//! Reads: pages, ends, digests, snapshots.

use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ledger::{Head, Ledger, follow_chain};
use rehome_domain::stream::ExpectedVersion::Any;

use crate::BatchLimit;
use crate::contract::kit::{At, Store, head_of, history, stream};

pub async fn an_unknown_tenant_reads_as_absent(store: Store) {
    let at = At::nowhere(&store, 1);
    assert_eq!(at.ledger().await, Ledger::ABSENT);
    let feed = store.read_feed(at.tenant, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!((feed.ledger, feed.events), (Ledger::ABSENT, vec![]));
    let slice = store.read_stream(at.tenant, &stream("a"), 1, BatchLimit::PAGE).await.unwrap();
    assert_eq!((slice.ledger, slice.version, slice.events), (Ledger::ABSENT, 0, vec![]));
    assert_eq!(store.digest_at(at.tenant, 0).await.unwrap(), Some(Digest::EMPTY));
    assert_eq!(store.digest_at(at.tenant, 1).await.unwrap(), None);
    assert_eq!(store.streams(at.tenant, 10, None, 10).await.unwrap(), vec![]);
    assert_eq!(store.tenants(None, 10).await.unwrap(), vec![], "reading makes no tenant");
}

pub async fn a_feed_is_read_in_pages(store: Store) {
    let source = history(23);
    let at = At::replica(&store, 1, 1, &source).await;
    for events in [1, 2, 5, 22, 23, 24, 1_000] {
        let limit = BatchLimit::events(events);
        assert_eq!(at.feed(limit).await, source);
        for after in [0, 1, 17, 22] {
            let feed = store.read_feed(at.tenant, after, limit).await.unwrap();
            let start = usize::try_from(after).unwrap();
            assert!((1..=events).contains(&feed.events.len()), "at least one, at most {events}");
            assert_eq!(feed.events, source[start..start + feed.events.len()]);
            assert_eq!(feed.ledger.head, head_of(&source));
        }
    }
}

pub async fn a_stream_is_read_in_pages(store: Store) {
    let source = history(40);
    let at = At::replica(&store, 1, 1, &source).await;
    for id in ["a", "b", "c"] {
        let name = stream(id);
        let expected: Vec<Event> =
            source.iter().filter(|event| event.stream == name).cloned().collect();
        for events in [1, 3, expected.len(), 1_000] {
            let limit = BatchLimit::events(events);
            assert_eq!(at.stream(&name, limit).await, expected);
            let from = expected.len() as u64 / 2;
            let slice = store.read_stream(at.tenant, &name, from, limit).await.unwrap();
            assert!((1..=events).contains(&slice.events.len()), "at least one, at most {events}");
            assert_eq!(slice.events[0].version, from);
            assert_eq!(slice.version, expected.len() as u64);
            assert_eq!(slice.ledger.head, head_of(&source));
        }
    }
}

pub async fn a_page_is_bounded_by_bytes_and_never_empty(store: Store) {
    let source = history(30);
    let at = At::replica(&store, 1, 1, &source).await;
    for bytes in [0, 1, source[0].bytes() * 2, source[0].bytes() * 7 + 3] {
        let limit = BatchLimit { events: 1_000, bytes };
        assert_eq!(at.feed(limit).await, source);
        assert_eq!(at.stream(&stream("a"), limit).await.len(), in_stream(&source, "a"));
        let feed = store.read_feed(at.tenant, 0, limit).await.unwrap().events;
        let slice = store.read_stream(at.tenant, &stream("a"), 1, limit).await.unwrap().events;
        for page in [feed, slice] {
            let sum: usize = page.iter().map(Event::bytes).sum();
            assert!(page.len() == 1 || sum <= bytes, "{} events, {sum} bytes", page.len());
        }
    }
    let none = BatchLimit { events: 0, bytes: 0 };
    assert_eq!(store.read_feed(at.tenant, 0, none).await.unwrap().events, source[..1]);
}

fn in_stream(events: &[Event], id: &str) -> usize {
    events.iter().filter(|event| event.stream == stream(id)).count()
}

pub async fn the_end_and_what_is_past_it_are_empty_pages(store: Store) {
    let at = At::written(&store, 1, 6).await;
    let ledger = at.ledger().await;
    for after in [6, 7, 1_000] {
        let feed = store.read_feed(at.tenant, after, BatchLimit::PAGE).await.unwrap();
        assert_eq!((feed.ledger, feed.events), (ledger, vec![]));
    }
    for from in [3, 4, 1_000] {
        let read = store.read_stream(at.tenant, &stream("a"), from, BatchLimit::PAGE).await;
        let slice = read.unwrap();
        assert_eq!((slice.ledger, slice.version, slice.events), (ledger, 2, vec![]));
    }
    let read = store.read_stream(at.tenant, &stream("no such"), 1, BatchLimit::PAGE).await;
    let slice = read.unwrap();
    assert_eq!((slice.ledger, slice.version, slice.events), (ledger, 0, vec![]));
}

pub async fn positions_beyond_every_history_are_past_the_end(store: Store) {
    let at = At::written(&store, 1, 3).await;
    let all = BatchLimit { events: usize::MAX, bytes: usize::MAX };
    for far in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1] {
        let feed = store.read_feed(at.tenant, far, all).await.unwrap();
        assert_eq!(feed.events, vec![], "after {far}");
        let slice = store.read_stream(at.tenant, &stream("a"), far, all).await.unwrap();
        assert_eq!(slice.events, vec![], "from {far}");
        assert_eq!(store.digest_at(at.tenant, far).await.unwrap(), None);
        let streams = store.streams(at.tenant, far, None, usize::MAX).await.unwrap();
        assert_eq!(streams.len(), 3, "up to {far}");
    }
    assert_eq!(at.feed(all).await.len(), 3);
    assert_eq!(store.tenants(None, usize::MAX).await.unwrap().len(), 1);
}

pub async fn digests_are_those_of_the_chain(store: Store) {
    let source = history(12);
    let at = At::replica(&store, 1, 1, &source).await;
    assert_eq!(store.digest_at(at.tenant, 0).await.unwrap(), Some(Digest::EMPTY));
    for event in &source {
        assert_eq!(store.digest_at(at.tenant, event.seq).await.unwrap(), Some(event.digest));
    }
    assert_eq!(store.digest_at(at.tenant, 13).await.unwrap(), None);
    let written = At::written(&store, 2, 12).await;
    assert_eq!(follow_chain(Head::EMPTY, &written.audit().await), Ok(written.ledger().await.head));
}

/// Runs `read` again and again while another task appends.
async fn while_appending<F: Future<Output = ()>>(at: &At, read: impl Fn() -> F) {
    let writer = {
        let at = at.clone();
        tokio::spawn(async move {
            for i in 0..60 {
                at.append(1, "a", Any, [i * 2 + 1, i * 2 + 2]).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        read().await;
    }
    writer.await.unwrap();
    read().await;
}

pub async fn a_feed_and_its_ledger_are_of_one_snapshot(store: Store) {
    let at = At::born(&store, 1).await;
    while_appending(&at, || async {
        let feed = at.store.read_feed(at.tenant, 0, BatchLimit::PAGE).await.unwrap();
        assert_eq!(head_of(&feed.events), feed.ledger.head);
        assert_eq!(feed.ledger.head.seq % 2, 0, "an append is there whole or not at all");
    })
    .await;
    assert_eq!(at.audit().await.len(), 120);
}

pub async fn a_stream_and_its_version_are_of_one_snapshot(store: Store) {
    let at = At::born(&store, 1).await;
    while_appending(&at, || async {
        let read = at.store.read_stream(at.tenant, &stream("a"), 1, BatchLimit::PAGE).await;
        let slice = read.unwrap();
        assert_eq!(slice.events.last().map_or(0, |event| event.version), slice.version);
        assert_eq!(head_of(&slice.events), slice.ledger.head);
    })
    .await;
    assert_eq!(at.audit().await.len(), 120);
}
