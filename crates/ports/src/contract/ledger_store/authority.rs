//! Authority: who takes appends, from when, and until when.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, Role};
use rehome_domain::stream::ExpectedVersion::Any;
use tokio::sync::mpsc;

use crate::StoreError;
use crate::contract::kit::{
    At, NEWBORN, Store, append_of, appended, at_epoch, event_id, head_of, history,
};

pub async fn a_newborn_is_activated(store: Store) {
    let at = At::nowhere(&store, 1);
    let active = Ledger { role: Role::Active, epoch: Epoch(1), head: Head::EMPTY };
    assert_eq!(store.activate(at.tenant, NEWBORN).await.unwrap(), active);
    assert_eq!(at.ledger().await, active);
    assert_eq!(at.append(1, "a", Any, [1]).await, Ok(appended(1, 1, 1)));
}

pub async fn a_history_that_should_be_there_is_missing(store: Store) {
    let at = At::nowhere(&store, 1);
    for lost in [
        Activation { epoch: Epoch(1), base: 0, created: true },
        Activation { epoch: Epoch(4), base: 7, created: true },
        Activation { epoch: Epoch(4), base: 7, created: false },
    ] {
        at.refused(store.activate(at.tenant, lost).await, Refusal::HistoryMissing).await;
    }
    assert_eq!(at.ledger().await, Ledger::ABSENT);
    assert_eq!(store.tenants(None, 10).await.unwrap(), vec![], "a refusal leaves no trace");
}

pub async fn a_source_that_was_never_fenced_is_activated(store: Store) {
    // A cutover paused the route and was rolled back before the fence: without this the tenant
    // would never be writable again.
    let at = At::written(&store, 1, 4).await;
    let ledger = store.activate(at.tenant, at_epoch(3)).await.unwrap();
    assert_eq!((ledger.role, ledger.epoch, ledger.head.seq), (Role::Active, Epoch(3), 4));
    assert_eq!(at.append(3, "a", Any, [5]).await, Ok(appended(3, 5, 1)));
    let late = store.append(at.tenant, Epoch(1), &[append_of("a", Any, [6])]).await;
    at.refused(late, Refusal::StaleEpoch).await;
    // The fence of that cutover, from a process that slept.
    at.refused(store.fence(at.tenant, Epoch(1), Epoch(2)).await, Refusal::StaleEpoch).await;
    assert_eq!(at.audit().await.len(), 5);
}

pub async fn a_fenced_source_is_activated_after_a_roll_back(store: Store) {
    let at = At::written(&store, 1, 4).await;
    let head = store.fence(at.tenant, Epoch(1), Epoch(2)).await.unwrap();
    let ledger = store.activate(at.tenant, at_epoch(3)).await.unwrap();
    assert_eq!(ledger, Ledger { role: Role::Active, epoch: Epoch(3), head });
    assert_eq!(at.append(3, "b", Any, [5]).await, Ok(appended(2, 5, 1)));
    assert_eq!(at.audit().await.len(), 5);
}

pub async fn a_replica_that_reaches_the_base_is_activated(store: Store) {
    let source = history(9);
    let at = At::replica(&store, 1, 2, &source).await;
    let route = Activation { epoch: Epoch(4), base: 9, created: true };
    let ledger = store.activate(at.tenant, route).await.unwrap();
    assert_eq!(ledger, Ledger { role: Role::Active, epoch: Epoch(4), head: head_of(&source) });
    at.append(4, "a", Any, [100]).await.unwrap();
    assert_eq!(at.audit().await[..9], source);
}

pub async fn a_replica_that_is_behind_the_base_is_not(store: Store) {
    let at = At::replica(&store, 1, 2, &history(8)).await;
    let route = Activation { epoch: Epoch(4), base: 9, created: true };
    at.refused(store.activate(at.tenant, route).await, Refusal::BehindBase).await;
    store.drop_replica(at.tenant, Epoch(2)).await.unwrap();
    at.refused(store.activate(at.tenant, route).await, Refusal::BehindBase).await;
    at.is(Role::Fenced, 2).await;
}

pub async fn an_activation_is_repeated(store: Store) {
    let at = At::written(&store, 1, 3).await;
    let first = store.activate(at.tenant, at_epoch(2)).await.unwrap();
    assert_eq!(store.activate(at.tenant, at_epoch(2)).await.unwrap(), first);
    // Others have appended meanwhile: the answer is the ledger as it is.
    at.append(2, "a", Any, [4]).await.unwrap();
    let again = store.activate(at.tenant, at_epoch(2)).await.unwrap();
    assert_eq!(again, at.is(Role::Active, 2).await);
    assert_eq!(again.head.seq, 4);
}

pub async fn a_late_activation_is_refused(store: Store) {
    let at = At::written(&store, 1, 3).await;
    store.activate(at.tenant, at_epoch(5)).await.unwrap();
    at.refused(store.activate(at.tenant, at_epoch(4)).await, Refusal::StaleEpoch).await;
    at.refused(store.activate(at.tenant, NEWBORN).await, Refusal::StaleEpoch).await;
    store.fence(at.tenant, Epoch(5), Epoch(6)).await.unwrap();
    // A helper that read the route before the pause.
    for late in [5, 6] {
        at.refused(store.activate(at.tenant, at_epoch(late)).await, Refusal::StaleEpoch).await;
    }
    at.is(Role::Fenced, 6).await;
}

pub async fn a_fence_is_final_and_is_repeated(store: Store) {
    let at = At::written(&store, 1, 5).await;
    let head = store.fence(at.tenant, Epoch(1), Epoch(2)).await.unwrap();
    assert_eq!(head, head_of(&at.audit().await));
    for epoch in [1, 2, 3] {
        let late = store.append(at.tenant, Epoch(epoch), &[append_of("a", Any, [6])]).await;
        at.refused(late, Refusal::Fenced).await;
    }
    assert_eq!(store.fence(at.tenant, Epoch(1), Epoch(2)).await.unwrap(), head);
    assert_eq!(at.is(Role::Fenced, 2).await.head, head);
}

pub async fn a_late_fence_is_refused(store: Store) {
    let at = At::written(&store, 1, 5).await;
    store.fence(at.tenant, Epoch(1), Epoch(2)).await.unwrap();
    store.activate(at.tenant, at_epoch(3)).await.unwrap();
    at.refused(store.fence(at.tenant, Epoch(1), Epoch(2)).await, Refusal::StaleEpoch).await;
    at.refused(store.fence(at.tenant, Epoch(2), Epoch(4)).await, Refusal::StaleEpoch).await;
    // The next cutover's fence is another one.
    store.fence(at.tenant, Epoch(3), Epoch(4)).await.unwrap();
    at.refused(store.fence(at.tenant, Epoch(1), Epoch(2)).await, Refusal::WrongRole).await;
    at.refused(store.fence(at.tenant, Epoch(3), Epoch(5)).await, Refusal::WrongRole).await;
    at.is(Role::Fenced, 4).await;
}

pub async fn every_append_acknowledged_before_a_fence_is_in_its_head(store: Store) {
    const WRITERS: u64 = 6;
    let at = At::born(&store, 1).await;
    let (warm, mut warmed) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (at, warm) = (at.clone(), warm.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for i in 0..20_000 {
                    let n = writer * 1_000_000 + i;
                    let append =
                        append_of(["a", "b", "c"][usize::try_from(n % 3).unwrap()], Any, [n]);
                    match at.store.append(at.tenant, Epoch(1), &[append]).await {
                        Ok(outcomes) => acknowledged.push((n, *outcomes[0].as_ref().unwrap())),
                        Err(StoreError::Refused(refused)) => {
                            assert_eq!(refused.why, Refusal::Fenced);
                            return (acknowledged, refused.ledger.head);
                        }
                        Err(fault) => panic!("{fault}"),
                    }
                    if i == 2 {
                        warm.send(()).unwrap();
                    }
                    tokio::task::yield_now().await;
                }
                panic!("the fence ends it")
            })
        })
        .collect();
    drop(warm);
    for _ in 0..WRITERS {
        warmed.recv().await.expect("every writer is acknowledged before the fence");
    }
    let head = store.fence(at.tenant, Epoch(1), Epoch(2)).await.unwrap();

    let mut acknowledged = Vec::new();
    for writer in writers {
        let (its, told) = writer.await.unwrap();
        assert_eq!(told, head, "the refusal tells the final head");
        acknowledged.extend(its);
    }
    let events = at.audit().await;
    assert_eq!(head_of(&events), head, "nothing came after the fence");
    assert_eq!(events.len(), acknowledged.len(), "what is there was acknowledged");
    for (n, answer) in acknowledged {
        assert_eq!(events[usize::try_from(answer.first_seq).unwrap() - 1].id, event_id(n));
    }
}

pub async fn a_stale_epoch_appends_nothing(store: Store) {
    let at = At::written(&store, 1, 2).await;
    store.activate(at.tenant, at_epoch(4)).await.unwrap();
    for epoch in [0, 1, 3, 5] {
        // An error is an error of all appends of the group.
        let group = [append_of("a", Any, [10]), append_of("b", Any, [11])];
        let answer = store.append(at.tenant, Epoch(epoch), &group).await;
        at.refused(answer, Refusal::StaleEpoch).await;
    }
    assert_eq!(at.audit().await.len(), 2);
}
