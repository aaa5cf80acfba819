//! The ledger's rules, under random operations with random epochs.

use proptest::prelude::*;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::follow_chain;
use rehome_domain::ledger::{Activation, ChainBreak, Head, Ledger, Refusal, Refused, Role};

use crate::kit::{config, head_of, history, ledger, next_event};

/// One operation by a process that may have been stopped.
#[derive(Clone, Copy, Debug)]
enum Op {
    Append(u64),
    Extend(u64),
    Fence(u64, u64),
    Activate(u64, u64, bool),
    Adopt(u64, bool),
    Drop(u64),
    Purge(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let epoch = || 0..12_u64;
    prop_oneof![
        epoch().prop_map(Op::Append),
        epoch().prop_map(Op::Extend),
        (epoch(), epoch()).prop_map(|(from, to)| Op::Fence(from, to)),
        (epoch(), 0..4_u64, any::<bool>()).prop_map(|(e, base, new)| Op::Activate(e, base, new)),
        (epoch(), any::<bool>()).prop_map(|(m, proven)| Op::Adopt(m, proven)),
        epoch().prop_map(Op::Drop),
        epoch().prop_map(Op::Purge),
    ]
}

/// The operation as it is repeated: with the parameters of the first time.
fn run(op: Op, now: Ledger, first: Ledger) -> Result<Ledger, Refused> {
    match op {
        Op::Append(epoch) => {
            now.check_append(Epoch(epoch))?;
            let event = next_event(now.head, 1_000 + now.head.seq);
            Ok(Ledger { head: Head::of(&event), ..now })
        }
        Op::Extend(m) => {
            let event = next_event(first.head, 1_000 + first.head.seq);
            now.extend(Epoch(m), first.head, &[event])
        }
        Op::Fence(from, to) => now.fence(Epoch(from), Epoch(to)),
        Op::Activate(epoch, base, created) => {
            now.activate(Activation { epoch: Epoch(epoch), base, created })
        }
        Op::Adopt(m, proven) => {
            let other = Head { seq: first.head.seq + 1, ..first.head };
            now.adopt(Epoch(m), if proven { first.head } else { other })
        }
        Op::Drop(m) => now.drop_replica(Epoch(m)),
        Op::Purge(k) => {
            now.check_purge(Epoch(k))?;
            Ok(now.purged_to(Head::EMPTY))
        }
    }
}

/// The arrows of the diagram in `ledger`'s module documentation, and staying where one is.
fn is_drawn(op: Op, from: Role, to: Role) -> bool {
    use Role::{Absent, Active, Fenced, Replica};
    match op {
        Op::Append(_) => (from, to) == (Active, Active),
        Op::Extend(_) => (from, to) == (Replica, Replica),
        Op::Fence(..) => matches!(from, Active | Fenced) && to == Fenced,
        Op::Activate(..) => to == Active,
        Op::Adopt(..) => from != Active && to == Replica,
        Op::Drop(_) => matches!(from, Replica | Fenced) && to == Fenced,
        Op::Purge(_) => matches!(from, Fenced | Absent) && to == Absent,
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn random_operations_keep_what_a_ledger_promises(ops in prop::collection::vec(op(), 1..60)) {
        let mut ledger = Ledger::ABSENT;
        for op in ops {
            let after = match run(op, ledger, ledger) {
                Ok(after) => after,
                Err(refused) => {
                    prop_assert_eq!(refused.ledger, ledger, "a refusal tells the ledger");
                    continue;
                }
            };
            prop_assert!(after.epoch >= ledger.epoch, "{op:?}: the epoch never decreases");
            prop_assert!(is_drawn(op, ledger.role, after.role), "{op:?}: {ledger:?} {after:?}");
            if !matches!(op, Op::Purge(_)) {
                prop_assert!(after.head.seq >= ledger.head.seq, "{op:?}: only a purge shortens");
            }
            if !matches!(op, Op::Append(_) | Op::Extend(_) | Op::Purge(_)) {
                prop_assert_eq!(after.head, ledger.head, "{:?}: the history stays", op);
            }
            if after.role == Role::Absent {
                prop_assert_eq!(after.head, Head::EMPTY);
            }
            // Authority only advances: to an epoch that this ledger never had.
            if after.role == Role::Active && ledger.role != Role::Active {
                prop_assert!(after.epoch > ledger.epoch, "{op:?}: active under a new epoch only");
            }
            ledger = after;
        }
    }

    #[test]
    fn an_operation_twice_is_the_operation_once(
        ops in prop::collection::vec(op(), 0..40), last in op(),
    ) {
        let start = ops.into_iter().fold(Ledger::ABSENT, |ledger, op| {
            run(op, ledger, ledger).unwrap_or(ledger)
        });
        let Ok(once) = run(last, start, start) else { return Ok(()) };
        let twice = run(last, once, start);
        match last {
            // The event ids show that an append is a retry; see the tests of `append`.
            Op::Append(_) => prop_assert!(twice.is_ok()),
            // The head shows that an extend is a retry, and the refusal has the position to continue at.
            Op::Extend(_) => {
                let expected = Refused { why: Refusal::NotAtHead, ledger: once };
                prop_assert_eq!(twice, Err(expected));
            }
            _ => prop_assert_eq!(twice, Ok(once)),
        }
    }

    #[test]
    fn whoever_is_behind_is_refused(
        ops in prop::collection::vec(op(), 0..40), late in op(),
    ) {
        let ledger = ops.into_iter().fold(Ledger::ABSENT, |ledger, op| {
            run(op, ledger, ledger).unwrap_or(ledger)
        });
        // The epoch that the operation leaves behind, if it is allowed.
        let carries = match late {
            Op::Append(e) | Op::Extend(e) | Op::Drop(e) | Op::Purge(e) => e,
            Op::Fence(_, e) | Op::Activate(e, ..) | Op::Adopt(e, _) => e,
        };
        if Epoch(carries) < ledger.epoch {
            prop_assert!(run(late, ledger, ledger).is_err(), "{late:?} on {ledger:?}");
        }
    }

    #[test]
    fn a_chain_is_followed_from_every_place_in_it(n in 1..20_u64, at in 0..20_u64) {
        let events = history(n);
        let at = usize::try_from(at.min(n)).unwrap();
        let (before, after) = events.split_at(at);
        prop_assert_eq!(follow_chain(head_of(before), after), Ok(head_of(&events)));
        if at > 0 && !after.is_empty() {
            let gap = ChainBreak::Gap { expected: 1, found: after[0].seq };
            prop_assert_eq!(follow_chain(Head::EMPTY, after), Err(gap));
        }
    }
}

#[test]
fn a_fence_never_lowers_or_keeps_the_epoch() {
    let events = history(2);
    for role in [Role::Active, Role::Fenced] {
        let ledger = ledger(role, 5, &events);
        for (from, to) in [(5, 5), (5, 4), (6, 5)] {
            let expected = Err(Refused { why: Refusal::StaleEpoch, ledger });
            assert_eq!(ledger.fence(Epoch(from), Epoch(to)), expected);
        }
    }
}

#[test]
fn a_purge_keeps_the_role_until_nothing_is_left() {
    let events = history(5);
    let fenced = ledger(Role::Fenced, 3, &events);
    let half = fenced.purged_to(head_of(&events[..2]));
    assert_eq!(half, ledger(Role::Fenced, 3, &events[..2]));
    assert_eq!(half.purged_to(Head::EMPTY), ledger(Role::Absent, 3, &[]));
}

#[test]
fn a_refusal_says_the_rule_and_the_ledger() {
    let refused = ledger(Role::Fenced, 3, &history(5)).check_append(Epoch(2)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the tenant is fenced in this store; the store accepts no appends of the tenant and has 5 events (epoch 3)"
    );
    let (first, other) = (history(1), history(3));
    let broken = ledger(Role::Replica, 2, &first).extend(Epoch(2), head_of(&first), &other[2..]);
    assert_eq!(
        broken.unwrap_err().to_string(),
        "the events do not follow the last event of the copy: one of the two stores was changed; \
         the store has a copy of 1 event (epoch 2)"
    );
    let absent = Ledger::ABSENT.check_append(Epoch(1)).unwrap_err().to_string();
    assert!(absent.ends_with("; the store has no history of the tenant (epoch 0)"), "{absent}");
}

#[test]
fn roles_are_read_as_they_are_written() {
    for role in [Role::Active, Role::Replica, Role::Fenced, Role::Absent] {
        assert_eq!(Role::parse(role.as_str()), Some(role));
    }
    assert_eq!(Role::parse("Active"), None);
}

#[test]
fn only_the_authority_drops_the_ledger_of_a_table() {
    let events = history(2);
    let refused = |ledger: Ledger| ledger.check_unguard(Epoch(5)).map_err(|refused| refused.why);
    assert_eq!(refused(ledger(Role::Active, 5, &events)), Ok(()));
    assert_eq!(refused(Ledger::ABSENT), Ok(()), "it was dropped already");
    for role in [Role::Replica, Role::Fenced, Role::Absent] {
        for behind in [4, 5] {
            let found = refused(ledger(role, behind, &events));
            assert_eq!(found, Err(Refusal::WrongRole), "{role:?}@{behind}");
        }
        assert_eq!(refused(ledger(role, 6, &events)), Err(Refusal::StaleEpoch), "{role:?}@6");
    }
    assert_eq!(refused(ledger(Role::Active, 4, &events)), Err(Refusal::WrongRole));
    assert_eq!(refused(ledger(Role::Active, 6, &events)), Err(Refusal::StaleEpoch));
    assert_eq!(refused(ledger(Role::Absent, 3, &[])), Err(Refusal::WrongRole), "a tombstone");
}

#[test]
fn the_authority_of_a_table_has_at_least_the_rows_of_the_last_switch() {
    let of = |base, created, rows| {
        let route = Activation { epoch: Epoch(7), base, created };
        Ledger::of_table(route, rows).map_err(|refused| refused.why)
    };
    let active = Ok(ledger(Role::Active, 7, &[]));
    assert_eq!(of(0, true, 1), active);
    assert_eq!(of(3, true, 3), active);
    assert_eq!(of(3, true, 4), active);
    assert_eq!(of(3, true, 2), Err(Refusal::HistoryMissing), "rows are missing");
    assert_eq!(of(0, true, 0), Err(Refusal::HistoryMissing), "all rows are missing");
    assert_eq!(of(0, false, 0), active, "a new tenant has none");
    assert_eq!(
        of(3, false, 4),
        Err(Refusal::HistoryMissing),
        "it is not created yet and has a past"
    );
}
