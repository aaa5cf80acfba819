//! Cutting back: from the tail of a fenced history, in chunks, to a head that it holds.

use rehome_domain::digest::Digest;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Ledger, Refusal, Role};

use crate::contract::kit::{At, Store, at_epoch, head_of, history};

const K: Epoch = Epoch(3);

fn fenced(head: Head) -> Ledger {
    Ledger { role: Role::Fenced, epoch: K, head }
}

/// Cuts back until the head is reached; answers in how many calls.
async fn cut(at: &At, to: Head, chunk: u32) -> usize {
    let mut before = at.ledger().await.head;
    for calls in 1.. {
        let ledger = at.store.cut_back(at.tenant, K, to, chunk).await.unwrap();
        assert_eq!(ledger, at.ledger().await);
        if ledger.head == to {
            return calls;
        }
        assert!(ledger.head.seq < before.seq, "each chunk is some events");
        before = ledger.head;
    }
    unreachable!("there are not so many numbers")
}

pub async fn a_history_is_cut_back_in_chunks_to_a_head_that_it_holds(store: Store) {
    let source = history(25);
    let at = At::dropped(&store, 1, 3, &source).await;
    let first = store.cut_back(at.tenant, K, head_of(&source[..7]), 10).await.unwrap();
    assert_eq!(first, fenced(head_of(&source[..15])));
    assert_eq!(at.audit().await, source[..15], "what is left is an honest prefix");
    let to = head_of(&source[..7]);
    assert_eq!(cut(&at, to, 10).await, 1, "no more than is asked for");
    assert_eq!(at.ledger().await, fenced(to));
    // The audit holds the chain, the streams' versions and every other way of reading to it.
    assert_eq!(at.audit().await, source[..7]);
}

pub async fn a_cut_back_is_repeated(store: Store) {
    let source = history(9);
    let at = At::dropped(&store, 1, 3, &source).await;
    let to = head_of(&source[..4]);
    cut(&at, to, 100).await;
    assert_eq!(store.cut_back(at.tenant, K, to, 100).await.unwrap(), fenced(to));
    // Further down, by one who looked later or is more careful.
    let lower = head_of(&source[..2]);
    cut(&at, lower, 1).await;
    assert_eq!(at.audit().await, source[..2]);
}

pub async fn a_cut_back_to_nothing_leaves_a_fenced_history(store: Store) {
    let at = At::dropped(&store, 1, 3, &history(9)).await;
    cut(&at, Head::EMPTY, 4).await;
    assert_eq!(at.ledger().await, fenced(Head::EMPTY), "which is no tombstone");
    assert_eq!(at.audit().await, vec![]);
    // And can still be purged to one.
    let gone = store.purge(at.tenant, K, 4).await.unwrap();
    assert_eq!(gone.role, Role::Absent);
    assert_eq!(store.cut_back(at.tenant, K, Head::EMPTY, 4).await.unwrap(), gone);
}

pub async fn a_cut_back_to_what_is_not_there_is_refused(store: Store) {
    let source = history(9);
    let at = At::dropped(&store, 1, 3, &source).await;
    let other = Head { seq: 4, digest: Digest::EMPTY };
    let longer = Head { seq: 10, digest: source[8].digest };
    let nothing = Head { seq: 0, digest: source[0].digest };
    for to in [other, longer, nothing] {
        at.refused(store.cut_back(at.tenant, K, to, 100).await, Refusal::NotAtHead).await;
    }
    let shorter = head_of(&source[..4]);
    cut(&at, shorter, 100).await;
    let up = store.cut_back(at.tenant, K, head_of(&source[..6]), 100).await;
    at.refused(up, Refusal::NotAtHead).await;
    assert_eq!(at.audit().await, source[..4]);
}

pub async fn a_cut_back_needs_a_fence_at_its_epoch(store: Store) {
    let source = history(9);
    let to = head_of(&source[..4]);
    let dropped = At::dropped(&store, 1, 3, &source).await;
    for other in [2, 4] {
        let asked = store.cut_back(dropped.tenant, Epoch(other), to, 100).await;
        dropped.refused(asked, Refusal::StaleEpoch).await;
    }
    assert_eq!(dropped.audit().await, source);
    // A replica is still extended by those who do not know better.
    let replica = At::replica(&store, 2, 3, &source).await;
    let asked = store.cut_back(replica.tenant, K, to, 100).await;
    replica.refused(asked, Refusal::WrongRole).await;
    let active = At::written(&store, 3, 9).await;
    let asked = store.cut_back(active.tenant, Epoch(1), Head::EMPTY, 100).await;
    active.refused(asked, Refusal::WrongRole).await;
    assert_eq!(active.audit().await.len(), 9);
    let nowhere = At::nowhere(&store, 4);
    let asked = store.cut_back(nowhere.tenant, K, Head::EMPTY, 100).await;
    nowhere.refused(asked, Refusal::StaleEpoch).await;
}

pub async fn what_was_cut_back_is_adopted_and_copied_again(store: Store) {
    let source = history(20);
    let at = At::dropped(&store, 1, 3, &source).await;
    let to = head_of(&source[..7]);
    cut(&at, to, 6).await;
    // Under its former epoch it has no owner any more.
    at.refused(store.adopt(at.tenant, K, to).await, Refusal::StaleEpoch).await;
    store.adopt(at.tenant, Epoch(4), to).await.unwrap();
    at.extend_all(4, to, &source[7..]).await;
    assert_eq!(at.audit().await, source);

    // Those who slept through it: a cut back, a drop, an extend of the first copy.
    at.refused(store.cut_back(at.tenant, K, to, 100).await, Refusal::StaleEpoch).await;
    at.refused(store.drop_replica(at.tenant, K).await, Refusal::StaleEpoch).await;
    let late = store.extend(at.tenant, K, to, &source[7..]).await;
    at.refused(late, Refusal::StaleEpoch).await;
    store.activate(at.tenant, at_epoch(6)).await.unwrap();
    at.refused(store.cut_back(at.tenant, K, to, 100).await, Refusal::StaleEpoch).await;
    at.refused(store.cut_back(at.tenant, Epoch(6), to, 100).await, Refusal::WrongRole).await;
    assert_eq!(at.audit().await, source);
}
