//! The removal of a tenant: when it may begin, how it ends, and its next step for each ledger.

use proptest::prelude::*;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Refusal as LedgerRefusal, Role};
use rehome_domain::migration::{Fact, Options, Phase, Refusal};
use rehome_domain::removal::{Removal, Step, Turn, apply, next, reborn};
use rehome_domain::route::Route;

use crate::kit::{
    PAUSE, Rows, SOURCE, TARGET, config, created, head_of, history, ledger, store_id, with_window,
};

const BEGIN: Turn = Turn::Begin { events: 3 };

fn after(route: &Route, turns: &[Turn]) -> Route {
    turns.iter().fold(route.clone(), |route, turn| apply(&route, *turn).unwrap())
}

/// A tenant that has moved, whose window is closed.
fn moved() -> Route {
    let head = head_of(&history(12));
    Rows::mirroring(Options::default()).after(&[PAUSE, Fact::Switched { head }]).route
}

#[test]
fn a_removal_draws_an_epoch_and_keeps_the_one_that_its_fence_ends() {
    let route = created();
    let running = after(&route, &[BEGIN]);
    let k = Epoch(2);
    let removal = Some(Removal::Running { k, events: 3 });
    assert_eq!(running, Route { rev: route.rev + 1, n: k, removal, ..route.clone() });
    assert_eq!((running.removing(), running.is_removed()), (Some(3), false));
    assert_eq!((route.removing(), route.is_removed()), (None, false));
    // The removal activates the store itself where that is still to be done; no router does.
    assert!(route.activation().is_some() && running.activation().is_none());
    assert_eq!(apply(&running, BEGIN), Err(Refusal::BeingRemoved));
}

#[test]
fn a_removal_begins_only_of_a_tenant_that_is_created_and_at_rest() {
    let begin = |route: &Route| apply(route, BEGIN).map(|_| ());
    let unborn = Route { created: false, ..created() };
    assert_eq!(begin(&unborn), Err(Refusal::NotCreated));
    let rows = Rows::mirroring(with_window());
    let failed = rows.after(&[Fact::Failed { error: "x".into() }]);
    for (rows, phase) in [(&rows, Phase::DualWrite), (&failed, Phase::Failed)] {
        let another = Refusal::AnotherMigration { id: rows.migration.id, phase };
        assert_eq!(begin(&rows.route), Err(another));
    }
    assert_eq!(begin(&failed.after(&[Fact::Aborted { purge: false }]).route), Ok(()));
    let migrated = rows.after(&[PAUSE, Fact::Switched { head: Head::EMPTY }]);
    assert_eq!(begin(&migrated.route), Err(Refusal::WindowOpen));
    assert_eq!(begin(&migrated.after(&[Fact::WindowClosed]).route), Ok(()));
    for turn in [Turn::Cancel, Turn::Finish] {
        assert_eq!(apply(&created(), turn), Err(Refusal::NotBeingRemoved));
    }
}

#[test]
fn a_cancelled_removal_leaves_the_tenant_as_it_was_under_a_fresh_epoch() {
    let route = moved();
    let running = after(&route, &[BEGIN]);
    let cancelled = after(&running, &[Turn::Cancel]);
    let fresh = Epoch(running.n.0 + 1);
    let expected = Route { rev: running.rev + 1, epoch: fresh, n: fresh, ..route };
    assert_eq!(cancelled, expected);
    assert!(cancelled.activation().is_some());
}

#[test]
fn of_a_removed_tenant_only_the_counters_stay() {
    let running = after(&moved(), &[BEGIN]);
    let Some(Removal::Running { k, .. }) = running.removal else { panic!("{running:?}") };
    let removed = after(&running, &[Turn::Finish]);
    let expected = Route {
        rev: running.rev + 1,
        epoch: k,
        base: 0,
        created: false,
        migration: None,
        removal: Some(Removal::Done),
        ..running
    };
    assert_eq!(removed, expected);
    assert!(removed.is_removed() && removed.removing().is_none() && removed.activation().is_none());
    assert_eq!(apply(&removed, BEGIN), Err(Refusal::NotCreated));
    for turn in [Turn::Cancel, Turn::Finish] {
        assert_eq!(apply(&removed, turn), Err(Refusal::NotBeingRemoved));
    }
}

#[test]
fn a_tenant_that_is_created_again_continues_the_counter_of_its_epochs() {
    let target = store_id(TARGET);
    let running = after(&created(), &[BEGIN]);
    assert_eq!(reborn(&created(), &target), None);
    assert_eq!(reborn(&running, &target), None);
    let removed = Route { prev_epoch: Epoch(1), ..after(&running, &[Turn::Finish]) };
    let new = reborn(&removed, &target).unwrap();
    let epoch = Epoch(3);
    let expected = Route {
        rev: removed.rev + 1,
        store: target,
        epoch,
        prev_epoch: Epoch::ZERO,
        n: epoch,
        removal: None,
        ..removed
    };
    assert_eq!(new, expected);
    assert_eq!(new.activation(), Some(Activation { epoch, base: 0, created: false }));
    // The tombstone accepts the new life, and no process of the old one.
    let tombstone = ledger(Role::Absent, 2, &[]);
    assert!(tombstone.activate(new.activation().unwrap()).is_ok());
    let late = tombstone.activate(created().activation().unwrap());
    assert_eq!(late.map_err(|refused| refused.why), Err(LedgerRefusal::StaleEpoch));
}

#[test]
fn the_next_step_follows_from_the_ledger() {
    let route = after(&created(), &[BEGIN]);
    let activation = Activation { epoch: Epoch(1), base: 0, created: true };
    let activate = Step::Activate(activation);
    for (role, epoch, events, step) in [
        (Role::Active, 0, 3, activate),
        (Role::Active, 1, 3, Step::Fence { from: Epoch(1), to: Epoch(2) }),
        (Role::Active, 2, 3, Step::Contradiction),
        (Role::Replica, 0, 3, activate),
        (Role::Replica, 1, 3, Step::Contradiction),
        (Role::Fenced, 0, 3, activate),
        (Role::Fenced, 1, 3, Step::Contradiction),
        // Some of it is purged already, all that was there at the request, and one event more.
        (Role::Fenced, 2, 2, Step::Purge(Epoch(2))),
        (Role::Fenced, 2, 3, Step::Purge(Epoch(2))),
        (Role::Fenced, 2, 4, Step::Record(Turn::Cancel)),
        (Role::Fenced, 3, 3, Step::Contradiction),
        (Role::Absent, 0, 0, Step::Record(Turn::Finish)),
        (Role::Absent, 2, 0, Step::Record(Turn::Finish)),
        (Role::Absent, 3, 0, Step::Contradiction),
    ] {
        let found = next(&route, &ledger(role, epoch, &history(events)));
        assert_eq!(found, Some(step), "{role}@{epoch} with {events} events");
    }
    for route in [created(), after(&route, &[Turn::Finish]), after(&route, &[Turn::Cancel])] {
        assert_eq!(next(&route, &ledger(Role::Active, 1, &history(3))), None);
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// A removal is of what the operator has seen: one event more, and nothing is removed.
    #[test]
    fn a_removal_ends_with_all_of_it_gone_or_with_nothing_lost(
        seen in 0..6_u64, later in 0..3_u64, behind in any::<bool>(),
    ) {
        let route = Route { epoch: Epoch(2), n: Epoch(2), ..created() };
        let all = head_of(&history(seen + later));
        let mut store = ledger(Role::Active, if behind { 1 } else { 2 }, &history(seen + later));
        let mut route = apply(&route, Turn::Begin { events: seen }).unwrap();
        let mut steps = 0;
        while let Some(step) = next(&route, &store) {
            match step {
                Step::Activate(activation) => store = store.activate(activation).unwrap(),
                Step::Fence { from, to } => store = store.fence(from, to).unwrap(),
                Step::Purge(k) => {
                    store.check_purge(k).unwrap();
                    store = store.purged_to(Head::EMPTY);
                }
                Step::Record(turn) => route = apply(&route, turn).unwrap(),
                Step::Contradiction => prop_assert!(false, "{store:?}"),
            }
            steps += 1;
            prop_assert!(steps < 6, "{route:?} {store:?}");
        }
        if later > 0 {
            let active = store.activate(route.activation().unwrap()).unwrap();
            prop_assert_eq!((active.role, active.head), (Role::Active, all));
            prop_assert_eq!(route.store.as_str(), SOURCE);
        } else {
            prop_assert!(route.is_removed());
            prop_assert_eq!(store, ledger(Role::Absent, 3, &[]));
        }
    }
}
