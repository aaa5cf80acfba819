//! Purges: from the tail, in chunks, to a tombstone.

use rehome_domain::digest::Digest;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, Role};
use rehome_domain::stream::ExpectedVersion::Exact;

use crate::BatchLimit;
use crate::contract::kit::{
    At, NEWBORN, Store, append_of, appended, at_epoch, head_of, history, stream,
};

fn tombstone(k: u64) -> Ledger {
    Ledger { role: Role::Absent, epoch: Epoch(k), head: Head::EMPTY }
}

pub async fn a_purge_goes_in_chunks_and_leaves_an_honest_prefix(store: Store) {
    let source = history(25);
    let at = At::dropped(&store, 1, 3, &source).await;
    for left in [15, 5] {
        let ledger = store.purge(at.tenant, Epoch(3), 10).await.unwrap();
        let head = head_of(&source[..left]);
        assert_eq!(ledger, Ledger { role: Role::Fenced, epoch: Epoch(3), head });
        // The audit holds the chain, the streams' versions and every other way of reading to it.
        assert_eq!(at.audit().await, source[..left]);
    }
    assert_eq!(store.purge(at.tenant, Epoch(3), 10).await.unwrap(), tombstone(3));
    assert_eq!(at.audit().await, vec![]);
    assert_eq!(store.digest_at(at.tenant, 1).await.unwrap(), None);
    let slice = store.read_stream(at.tenant, &stream("a"), 1, BatchLimit::PAGE).await.unwrap();
    assert_eq!((slice.ledger, slice.version, slice.events), (tombstone(3), 0, vec![]));
}

pub async fn a_purge_is_repeated_on_its_tombstone(store: Store) {
    let at = At::dropped(&store, 1, 3, &history(4)).await;
    assert_eq!(store.purge(at.tenant, Epoch(3), 4).await.unwrap(), tombstone(3));
    assert_eq!(store.purge(at.tenant, Epoch(3), 4).await.unwrap(), tombstone(3));
    for other in [2, 4] {
        at.refused(store.purge(at.tenant, Epoch(other), 4).await, Refusal::StaleEpoch).await;
    }
}

pub async fn a_history_without_events_is_purged_to_a_tombstone(store: Store) {
    let at = At::dropped(&store, 1, 3, &[]).await;
    at.is(Role::Fenced, 3).await;
    assert_eq!(store.purge(at.tenant, Epoch(3), 10).await.unwrap(), tombstone(3));
    assert_eq!(at.ledger().await, tombstone(3));
}

pub async fn a_tombstone_keeps_its_epoch(store: Store) {
    let at = At::dropped(&store, 1, 3, &history(4)).await;
    store.purge(at.tenant, Epoch(3), 10).await.unwrap();
    assert_eq!(at.ledger().await, tombstone(3));
    let feed = store.read_feed(at.tenant, 0, BatchLimit::PAGE).await.unwrap();
    assert_eq!((feed.ledger, feed.events), (tombstone(3), vec![]));
    at.refused(store.drop_replica(at.tenant, Epoch(3)).await, Refusal::WrongRole).await;
    at.refused(store.fence(at.tenant, Epoch(3), Epoch(4)).await, Refusal::WrongRole).await;
}

pub async fn a_creation_after_a_purge_is_refused(store: Store) {
    // A creation that slept: without the tombstone it would make a second authority.
    let at = At::dropped(&store, 1, 3, &history(4)).await;
    store.purge(at.tenant, Epoch(3), 10).await.unwrap();
    at.refused(store.activate(at.tenant, NEWBORN).await, Refusal::StaleEpoch).await;
    let same = Activation { epoch: Epoch(3), ..NEWBORN };
    at.refused(store.activate(at.tenant, same).await, Refusal::StaleEpoch).await;
    // Nor does the route of a tenant that exists find a history here.
    at.refused(store.activate(at.tenant, at_epoch(4)).await, Refusal::HistoryMissing).await;
    assert_eq!(at.ledger().await, tombstone(3));
}

pub async fn a_tombstone_is_adopted_by_a_later_migration(store: Store) {
    let source = history(12);
    let at = At::dropped(&store, 1, 3, &source).await;
    store.purge(at.tenant, Epoch(3), 100).await.unwrap();
    let late = store.adopt(at.tenant, Epoch(3), Head::EMPTY).await;
    at.refused(late, Refusal::StaleEpoch).await;
    let ledger = store.adopt(at.tenant, Epoch(5), Head::EMPTY).await.unwrap();
    assert_eq!(ledger, Ledger { role: Role::Replica, epoch: Epoch(5), head: Head::EMPTY });
    // Nothing of the first copy is in the way of the second: no id, no version.
    at.extend_all(5, Head::EMPTY, &source).await;
    assert_eq!(at.audit().await, source);
}

pub async fn a_half_purged_history_is_adopted_where_it_ends(store: Store) {
    let source = history(20);
    let at = At::dropped(&store, 1, 3, &source).await;
    let ledger = store.purge(at.tenant, Epoch(3), 7).await.unwrap();
    assert_eq!(ledger.head, head_of(&source[..13]));
    let whole = store.adopt(at.tenant, Epoch(4), head_of(&source)).await;
    at.refused(whole, Refusal::NotAtHead).await;
    store.adopt(at.tenant, Epoch(4), ledger.head).await.unwrap();
    // The sleeping rest of the purge.
    at.refused(store.purge(at.tenant, Epoch(3), 7).await, Refusal::StaleEpoch).await;
    at.extend_all(4, ledger.head, &source[13..]).await;
    assert_eq!(at.audit().await, source);
    store.activate(at.tenant, at_epoch(6)).await.unwrap();
    let last = source.iter().filter(|event| event.stream == stream("a")).count() as u64;
    assert_eq!(at.append(6, "a", Exact(last), [99]).await, Ok(appended(last + 1, 21, 1)));
}

pub async fn what_was_purged_can_be_written_anew(store: Store) {
    // Neither an id nor a stream of what is gone is remembered.
    let source = history(9);
    let at = At::dropped(&store, 1, 3, &source).await;
    let left = store.purge(at.tenant, Epoch(3), 5).await.unwrap().head;
    store.adopt(at.tenant, Epoch(4), left).await.unwrap();
    store.activate(at.tenant, at_epoch(6)).await.unwrap();
    let gone = history(9).split_off(4);
    for (event, seq) in gone.iter().zip(5..) {
        let held = at.stream(&event.stream, BatchLimit::PAGE).await.len() as u64;
        let mut append = append_of("a", Exact(held), [seq]);
        append.stream = event.stream.clone();
        assert_eq!(at.send(6, append).await, Ok(appended(held + 1, seq, 1)));
    }
    assert_eq!(at.audit().await[..4], source[..4]);
}

pub async fn a_late_purge_of_the_authority_is_refused(store: Store) {
    // The tenant moved away and came back; the purge of the old source was requested in between.
    let at = At::written(&store, 1, 6).await;
    let head = store.fence(at.tenant, Epoch(1), Epoch(3)).await.unwrap();
    store.adopt(at.tenant, Epoch(5), head).await.unwrap();
    at.refused(store.purge(at.tenant, Epoch(3), 10).await, Refusal::StaleEpoch).await;
    store.activate(at.tenant, at_epoch(7)).await.unwrap();
    for late in [3, 5] {
        at.refused(store.purge(at.tenant, Epoch(late), 10).await, Refusal::StaleEpoch).await;
    }
    at.refused(store.purge(at.tenant, Epoch(7), 10).await, Refusal::WrongRole).await;
    assert_eq!(at.audit().await.len(), 6);
}

pub async fn a_purge_needs_a_fence(store: Store) {
    let source = history(5);
    let replica = At::replica(&store, 1, 3, &source).await;
    replica.refused(store.purge(replica.tenant, Epoch(3), 10).await, Refusal::WrongRole).await;
    assert_eq!(replica.audit().await, source);
    let active = At::written(&store, 2, 5).await;
    active.refused(store.purge(active.tenant, Epoch(1), 10).await, Refusal::WrongRole).await;
    assert_eq!(active.audit().await.len(), 5);
    let nowhere = At::nowhere(&store, 3);
    nowhere.refused(store.purge(nowhere.tenant, Epoch(3), 10).await, Refusal::StaleEpoch).await;
}

pub async fn readers_during_a_purge_see_honest_prefixes(store: Store) {
    let source = history(200);
    let at = At::dropped(&store, 1, 3, &source).await;
    let reader = {
        let (at, source) = (at.clone(), source.clone());
        tokio::spawn(async move {
            loop {
                let feed = at.store.read_feed(at.tenant, 0, BatchLimit::PAGE).await.unwrap();
                assert_eq!(head_of(&feed.events), feed.ledger.head);
                assert_eq!(feed.events, source[..feed.events.len()]);
                let digest = at.store.digest_at(at.tenant, 200).await.unwrap();
                assert!(digest.is_none_or(|digest| digest == source[199].digest));
                if feed.ledger.role == Role::Absent {
                    return;
                }
            }
        })
    };
    let mut left = 200;
    while left > 0 {
        let ledger = store.purge(at.tenant, Epoch(3), 9).await.unwrap();
        assert!(ledger.head.seq < left, "each chunk is some events");
        left = ledger.head.seq;
    }
    reader.await.unwrap();
    assert_eq!(store.digest_at(at.tenant, 0).await.unwrap(), Some(Digest::EMPTY));
}
