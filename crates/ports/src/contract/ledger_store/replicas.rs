//! Replicas: adopt, extend, drop.

use rehome_domain::digest::Digest;
use rehome_domain::event::Json;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Ledger, Refusal, Role};
use rehome_domain::stream::ExpectedVersion::Any;

use crate::StoreError;
use crate::contract::kit::{At, Store, at_epoch, head_of, history};

pub async fn an_absent_tenant_is_adopted(store: Store) {
    let at = At::nowhere(&store, 1);
    let replica = Ledger { role: Role::Replica, epoch: Epoch(2), head: Head::EMPTY };
    assert_eq!(store.adopt(at.tenant, Epoch(2), Head::EMPTY).await.unwrap(), replica);
    assert_eq!(at.ledger().await, replica);
    at.refused(store.adopt(at.tenant, Epoch(1), Head::EMPTY).await, Refusal::StaleEpoch).await;
}

pub async fn a_fenced_history_is_adopted_at_the_proven_head(store: Store) {
    // The old source of a cutover becomes the replica of the rollback window.
    let at = At::written(&store, 1, 4).await;
    let head = store.fence(at.tenant, Epoch(1), Epoch(3)).await.unwrap();
    let ledger = store.adopt(at.tenant, Epoch(5), head).await.unwrap();
    assert_eq!(ledger, Ledger { role: Role::Replica, epoch: Epoch(5), head });
    assert_eq!(at.audit().await.len(), 4);
    // A later migration takes the replica of an earlier one.
    let ledger = store.adopt(at.tenant, Epoch(6), head).await.unwrap();
    assert_eq!(ledger, Ledger { role: Role::Replica, epoch: Epoch(6), head });
}

pub async fn a_wrong_head_is_not_adopted(store: Store) {
    let source = history(6);
    let at = At::dropped(&store, 1, 2, &source).await;
    let wrong = [
        Head::EMPTY,
        head_of(&source[..5]),
        Head { seq: 6, digest: Digest::EMPTY },
        Head { seq: 7, ..head_of(&source) },
    ];
    for head in wrong {
        at.refused(store.adopt(at.tenant, Epoch(3), head).await, Refusal::NotAtHead).await;
    }
    let nowhere = At::nowhere(&store, 2);
    let answer = store.adopt(nowhere.tenant, Epoch(3), head_of(&source)).await;
    nowhere.refused(answer, Refusal::NotAtHead).await;
    assert_eq!(at.audit().await, source);
}

pub async fn an_active_tenant_is_not_adopted(store: Store) {
    let at = At::written(&store, 1, 3).await;
    let head = at.ledger().await.head;
    for m in [1, 2, 99] {
        at.refused(store.adopt(at.tenant, Epoch(m), head).await, Refusal::WrongRole).await;
    }
    at.is(Role::Active, 1).await;
}

pub async fn a_sleepers_adopt_is_refused_after_the_drop(store: Store) {
    let source = history(5);
    let at = At::dropped(&store, 1, 4, &source).await;
    for m in [3, 4] {
        let late = store.adopt(at.tenant, Epoch(m), head_of(&source)).await;
        at.refused(late, Refusal::StaleEpoch).await;
    }
    store.purge(at.tenant, Epoch(4), 100).await.unwrap();
    let late = store.adopt(at.tenant, Epoch(4), Head::EMPTY).await;
    at.refused(late, Refusal::StaleEpoch).await;
    at.is(Role::Absent, 4).await;
}

pub async fn an_adopt_is_repeated_after_extends(store: Store) {
    let source = history(5);
    let at = At::nowhere(&store, 1);
    store.adopt(at.tenant, Epoch(2), Head::EMPTY).await.unwrap();
    at.extend_all(2, Head::EMPTY, &source).await;
    // The retry of a reply that was lost: the head has moved since and the answer is the ledger.
    let again = store.adopt(at.tenant, Epoch(2), Head::EMPTY).await.unwrap();
    assert_eq!(again, at.is(Role::Replica, 2).await);
    assert_eq!(again.head, head_of(&source));
}

pub async fn a_replica_is_extended_to_the_sources_history(store: Store) {
    // Written in one tenant, copied to another: the second is the first, to the last byte.
    let source = At::written(&store, 1, 40).await;
    let events = source.audit().await;
    let target = At::nowhere(&store, 2);
    store.adopt(target.tenant, Epoch(2), Head::EMPTY).await.unwrap();
    let mut head = Head::EMPTY;
    for batch in events.chunks(11) {
        head = target.extend_all(2, head, batch).await;
    }
    assert_eq!(head, source.ledger().await.head);
    assert_eq!(target.audit().await, events);
    let ledger = target.is(Role::Replica, 2).await;
    assert_eq!(ledger.head, head);
}

pub async fn an_extend_by_nothing_answers_the_head(store: Store) {
    let source = history(3);
    let at = At::replica(&store, 1, 2, &source).await;
    let head = head_of(&source);
    assert_eq!(store.extend(at.tenant, Epoch(2), head, &[]).await.unwrap(), head);
    let other = store.extend(at.tenant, Epoch(2), Head::EMPTY, &[]).await;
    at.refused(other, Refusal::NotAtHead).await;
    assert_eq!(at.audit().await, source);
}

pub async fn an_extend_from_another_head_is_refused(store: Store) {
    let source = history(10);
    let at = At::replica(&store, 1, 2, &source[..6]).await;
    let attempts = [
        (Head::EMPTY, &source[..]),
        (head_of(&source[..5]), &source[5..]),
        (head_of(&source[..7]), &source[7..]),
        (Head { seq: 6, digest: Digest::EMPTY }, &source[6..]),
    ];
    for (previous, events) in attempts {
        let answer = store.extend(at.tenant, Epoch(2), previous, events).await;
        at.refused(answer, Refusal::NotAtHead).await;
    }
    // The retry of an extend with a lost response gets the head.
    at.extend_all(2, head_of(&source[..6]), &source[6..]).await;
    let retry = store.extend(at.tenant, Epoch(2), head_of(&source[..6]), &source[6..]).await;
    let Err(StoreError::Refused(refused)) = retry else { panic!("{retry:?}") };
    assert_eq!((refused.why, refused.ledger.head), (Refusal::NotAtHead, head_of(&source)));
    assert_eq!(at.audit().await, source);
}

pub async fn an_extend_that_breaks_the_chain_is_refused(store: Store) {
    let source = history(4);
    let at = At::replica(&store, 1, 2, &source[..2]).await;
    let head = head_of(&source[..2]);
    let mut tampered = source[2..].to_vec();
    tampered[0].data = Json::trusted("{\"n\":0}");
    let answer = store.extend(at.tenant, Epoch(2), head, &tampered).await;
    at.refused(answer, Refusal::BrokenChain).await;
    let mut relabelled = source[2..].to_vec();
    relabelled[0].version += 1;
    let answer = store.extend(at.tenant, Epoch(2), head, &relabelled).await;
    at.refused(answer, Refusal::BrokenChain).await;
    let mut redigested = source[2..].to_vec();
    redigested[0].digest = Digest::new([7; 32]);
    let answer = store.extend(at.tenant, Epoch(2), head, &redigested).await;
    at.refused(answer, Refusal::BrokenChain).await;
    assert_eq!(at.audit().await, source[..2]);
}

pub async fn an_extend_that_breaks_the_chain_later_leaves_an_honest_prefix(store: Store) {
    let source = history(20);
    let at = At::replica(&store, 1, 2, &source[..2]).await;
    let mut tampered = source.clone();
    tampered[15].metadata = Json::trusted("{\"x\":1}");
    let mut head = head_of(&source[..2]);
    let refused = loop {
        let rest = &tampered[usize::try_from(head.seq).unwrap()..];
        match store.extend(at.tenant, Epoch(2), head, rest).await {
            Ok(reached) => head = reached,
            Err(StoreError::Refused(refused)) => break refused,
            Err(fault) => panic!("{fault}"),
        }
    };
    assert_eq!(refused.why, Refusal::BrokenChain);
    assert!(head.seq <= 15);
    assert_eq!(at.audit().await, source[..usize::try_from(head.seq).unwrap()]);
    at.extend_all(2, head, &source[usize::try_from(head.seq).unwrap()..]).await;
    assert_eq!(at.audit().await, source);
}

pub async fn an_extend_with_a_gap_is_refused(store: Store) {
    let source = history(8);
    let at = At::replica(&store, 1, 2, &source[..2]).await;
    let head = head_of(&source[..2]);
    let mut out_of_order = source[2..].to_vec();
    out_of_order.swap(0, 1);
    for events in [&source[3..], &source[1..], &source[..], &out_of_order] {
        let answer = store.extend(at.tenant, Epoch(2), head, events).await;
        at.refused(answer, Refusal::BrokenChain).await;
    }
    assert_eq!(at.audit().await, source[..2]);
}

pub async fn two_extends_at_once_make_one_history(store: Store) {
    let source = history(120);
    let at = At::replica(&store, 1, 2, &[]).await;
    // Two copiers with different batches; the one that loses continues at the returned head.
    let copiers: Vec<_> = [7, 11]
        .map(|batch| {
            let (at, source) = (at.clone(), source.clone());
            tokio::spawn(async move {
                let mut head = Head::EMPTY;
                while head != head_of(&source) {
                    let from = usize::try_from(head.seq).unwrap();
                    let events = &source[from..source.len().min(from + batch)];
                    head = match at.store.extend(at.tenant, Epoch(2), head, events).await {
                        Ok(reached) => reached,
                        Err(StoreError::Refused(refused)) => {
                            assert_eq!(refused.why, Refusal::NotAtHead);
                            refused.ledger.head
                        }
                        Err(fault) => panic!("{fault}"),
                    };
                    assert_eq!(head, head_of(&source[..usize::try_from(head.seq).unwrap()]));
                }
            })
        })
        .into_iter()
        .collect();
    for copier in copiers {
        copier.await.unwrap();
    }
    assert_eq!(at.audit().await, source);
}

pub async fn a_late_extend_is_refused_after_drop_and_activate(store: Store) {
    let source = history(10);
    let head = head_of(&source[..6]);
    let dropped = At::dropped(&store, 1, 2, &source[..6]).await;
    let late = store.extend(dropped.tenant, Epoch(2), head, &source[6..]).await;
    dropped.refused(late, Refusal::WrongRole).await;

    let active = At::replica(&store, 2, 2, &source[..6]).await;
    store.activate(active.tenant, at_epoch(4)).await.unwrap();
    let late = store.extend(active.tenant, Epoch(2), head, &source[6..]).await;
    active.refused(late, Refusal::StaleEpoch).await;
    let late = store.extend(active.tenant, Epoch(4), head, &source[6..]).await;
    active.refused(late, Refusal::WrongRole).await;

    let adopted = At::replica(&store, 3, 2, &source[..6]).await;
    store.adopt(adopted.tenant, Epoch(5), head).await.unwrap();
    let late = store.extend(adopted.tenant, Epoch(2), head, &source[6..]).await;
    adopted.refused(late, Refusal::StaleEpoch).await;

    for at in [&dropped, &active, &adopted] {
        assert_eq!(at.audit().await, source[..6]);
    }
    active.append(4, "a", Any, [100]).await.unwrap();
}

pub async fn a_drop_is_repeated_and_a_late_one_refused(store: Store) {
    let source = history(4);
    let at = At::replica(&store, 1, 3, &source).await;
    for other in [2, 4] {
        at.refused(store.drop_replica(at.tenant, Epoch(other)).await, Refusal::StaleEpoch).await;
    }
    let fenced = Ledger { role: Role::Fenced, epoch: Epoch(3), head: head_of(&source) };
    assert_eq!(store.drop_replica(at.tenant, Epoch(3)).await.unwrap(), fenced);
    assert_eq!(store.drop_replica(at.tenant, Epoch(3)).await.unwrap(), fenced);
    // The next migration took it, and switched to it.
    store.adopt(at.tenant, Epoch(5), head_of(&source)).await.unwrap();
    at.refused(store.drop_replica(at.tenant, Epoch(3)).await, Refusal::StaleEpoch).await;
    store.activate(at.tenant, at_epoch(7)).await.unwrap();
    for late in [3, 5] {
        at.refused(store.drop_replica(at.tenant, Epoch(late)).await, Refusal::StaleEpoch).await;
    }
    at.is(Role::Active, 7).await;
    assert_eq!(at.audit().await, source);
}
