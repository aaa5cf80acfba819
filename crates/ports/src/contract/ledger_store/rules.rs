//! Every operation in every ledger, against the rules themselves.

use std::fmt::Debug;

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refused, Role};
use rehome_domain::stream::ExpectedVersion::Any;

use crate::StoreError;
use crate::contract::kit::{At, Store, append_of, at_epoch, head_of, history};

/// The epoch of every ledger of the table; the operations come with epochs around it.
const AT: u64 = 5;
const EVENTS: u64 = 4;

#[derive(Clone, Copy, Debug)]
enum Op {
    Append(u64),
    Extend(u64),
    Fence(u64, u64),
    Activate(Activation),
    Adopt(u64, bool),
    Drop(u64),
    Purge(u64),
}

fn operations() -> Vec<Op> {
    let mut all = Vec::new();
    for epoch in [AT - 1, AT, AT + 1] {
        all.extend([Op::Append(epoch), Op::Extend(epoch), Op::Drop(epoch), Op::Purge(epoch)]);
        all.extend([Op::Adopt(epoch, true), Op::Adopt(epoch, false)]);
        let fences = [(epoch, epoch + 1), (epoch - 1, epoch), (epoch, epoch), (epoch + 1, epoch)];
        all.extend(fences.map(|(from, to)| Op::Fence(from, to)));
        for base in [0, EVENTS, EVENTS + 1] {
            for created in [false, true] {
                all.push(Op::Activate(Activation { epoch: Epoch(epoch), base, created }));
            }
        }
    }
    all
}

/// The ledgers of the table, each with a history of its own where the role has one.
#[derive(Clone, Copy, Debug)]
enum Start {
    Unknown,
    Active,
    Replica,
    Fenced,
    Tombstone,
}

const STARTS: [Start; 5] =
    [Start::Unknown, Start::Active, Start::Replica, Start::Fenced, Start::Tombstone];

async fn prepare(store: &Store, n: u64, start: Start) -> At {
    let source = history(EVENTS);
    match start {
        Start::Unknown => At::nowhere(store, n),
        Start::Replica => At::replica(store, n, AT, &source).await,
        Start::Fenced => At::dropped(store, n, AT, &source).await,
        Start::Active => {
            let at = At::replica(store, n, AT - 1, &source).await;
            store.activate(at.tenant, at_epoch(AT)).await.unwrap();
            at
        }
        Start::Tombstone => {
            let at = At::dropped(store, n, AT, &source).await;
            store.purge(at.tenant, Epoch(AT), 100).await.unwrap();
            at
        }
    }
}

/// What the rules make of `op`. The table's history is `history(EVENTS + 2)`, cut to the ledger's
/// length, so that `extend` continues it; an append adds one event, whose digest is the store's.
fn by_the_rules(op: Op, ledger: Ledger) -> Result<Ledger, Refused> {
    let more = history(EVENTS + 2);
    match op {
        Op::Append(epoch) => ledger.check_append(Epoch(epoch)).map(|()| ledger),
        Op::Extend(m) => {
            let from = usize::try_from(ledger.head.seq).unwrap();
            ledger.extend(Epoch(m), ledger.head, &more[from..])
        }
        Op::Fence(from, to) => ledger.fence(Epoch(from), Epoch(to)),
        Op::Activate(route) => ledger.activate(route),
        Op::Adopt(m, proven) => ledger.adopt(Epoch(m), adopt_head(ledger, proven)),
        Op::Drop(m) => ledger.drop_replica(Epoch(m)),
        Op::Purge(k) => ledger.check_purge(Epoch(k)).map(|()| {
            let left = usize::try_from(ledger.head.seq.saturating_sub(3)).unwrap();
            ledger.purged_to(head_of(&more[..left]))
        }),
    }
}

fn adopt_head(ledger: Ledger, proven: bool) -> Head {
    if proven { ledger.head } else { Head { seq: ledger.head.seq + 1, ..ledger.head } }
}

/// Runs the operation in the store; returns the store's ledger after it.
async fn in_the_store(at: &At, op: Op, ledger: Ledger) -> Result<Ledger, StoreError> {
    let (store, tenant) = (&at.store, at.tenant);
    match op {
        Op::Append(epoch) => {
            let append = append_of("a", Any, [1_000]);
            store.append(tenant, Epoch(epoch), &[append]).await?;
        }
        Op::Extend(m) => {
            let more = history(EVENTS + 2);
            let mut head = ledger.head;
            while head.seq < EVENTS + 2 {
                let rest = &more[usize::try_from(head.seq).unwrap()..];
                head = store.extend(tenant, Epoch(m), head, rest).await?;
            }
        }
        Op::Fence(from, to) => {
            let head = store.fence(tenant, Epoch(from), Epoch(to)).await?;
            assert_eq!(head, at.ledger().await.head);
        }
        Op::Activate(route) => told(at, store.activate(tenant, route).await?).await,
        Op::Adopt(m, proven) => {
            told(at, store.adopt(tenant, Epoch(m), adopt_head(ledger, proven)).await?).await;
        }
        Op::Drop(m) => told(at, store.drop_replica(tenant, Epoch(m)).await?).await,
        Op::Purge(k) => told(at, store.purge(tenant, Epoch(k), 3).await?).await,
    }
    Ok(at.ledger().await)
}

async fn told(at: &At, answer: Ledger) {
    assert_eq!(answer, at.ledger().await, "the answer is the ledger");
}

fn assert_same(
    context: &impl Debug,
    op: Op,
    found: Result<Ledger, StoreError>,
    expected: Result<Ledger, Refused>,
) {
    match (found, expected) {
        // If the rules leave the digest to the store, the length is compared.
        (Ok(found), Ok(expected)) if matches!(op, Op::Append(_)) => {
            assert_eq!((found.role, found.epoch), (expected.role, expected.epoch), "{context:?}");
        }
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{context:?}"),
        (Err(StoreError::Refused(found)), Err(expected)) => {
            assert_eq!(found, expected, "{context:?}");
        }
        (found, expected) => panic!("{context:?}: {found:?} instead of {expected:?}"),
    }
}

pub async fn every_operation_answers_by_the_rules_in_every_ledger(store: Store) {
    let mut n = 0;
    for start in STARTS {
        for op in operations() {
            n += 1;
            let at = prepare(&store, n, start).await;
            let ledger = at.ledger().await;
            let expected = by_the_rules(op, ledger);
            let found = in_the_store(&at, op, ledger).await;
            let refused = found.is_err();
            assert_same(&(start, op), op, found, expected);
            if refused {
                assert_eq!(
                    at.ledger().await,
                    ledger,
                    "{start:?} {op:?}: a refusal changes nothing"
                );
            }
            if ledger.role != Role::Absent {
                at.audit().await;
            }
        }
    }
}

pub async fn every_operation_repeats_by_the_rules(store: Store) {
    let mut n = 0;
    for start in STARTS {
        for op in operations() {
            // A repeated extend gets `NotAtHead`, a repeated purge continues: each has separate cases.
            if matches!(op, Op::Extend(_) | Op::Purge(_)) {
                continue;
            }
            let (at, ledger) = {
                n += 1;
                let at = prepare(&store, n, start).await;
                let ledger = at.ledger().await;
                (at, ledger)
            };
            if let Ok(after) = in_the_store(&at, op, ledger).await {
                let again = in_the_store(&at, op, ledger).await;
                assert_eq!(again.unwrap(), after, "{start:?} {op:?} twice is {op:?} once");
            }
        }
    }
}
