//! The mistakes that the model caught in earlier drafts, each as the schedule that shows it.
//!
//! Two more live higher up: a cached paused route that serves reads after the switch is the
//! router's, and step 6 on a re-read revision is also the control plane's contract.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, Role};
use rehome_domain::migration::{Fact, Options, recovered};

use crate::kit::{
    NEWBORN, PAUSE, ROLL_BACK, Rows, at_epoch, head_of, history, ledger, next_event, with_window,
};

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, rehome_domain::ledger::Refused>,
    why: Refusal,
) {
    assert_eq!(answer.unwrap_err().why, why);
}

#[test]
fn activate_accepts_a_source_that_was_never_fenced() {
    // Step 2, then a roll back before any fence: the source is still active at the old epoch.
    let rows = Rows::mirroring(Options::default()).after(&[PAUSE, ROLL_BACK]);
    let source = ledger(Role::Active, 1, &history(3));
    let active = source.activate(rows.route.activation().unwrap()).unwrap();
    assert_eq!(active, ledger(Role::Active, 4, &history(3)));
    // The fence of that cutover, late, does not stop it.
    assert_refused(active.fence(Epoch(1), Epoch(3)), Refusal::StaleEpoch);
}

#[test]
fn a_second_cutover_right_after_an_unfinished_roll_back_fences_all_the_same() {
    // The roll back was recorded; its `activate` never ran. The source is fenced at the first
    // pause's epoch and the route is already two epochs further.
    let source = ledger(Role::Active, 1, &history(3));
    let first = Rows::mirroring(Options::default()).after(&[PAUSE]);
    let source = source.fence(first.route.prev_epoch, first.route.epoch).unwrap();
    let mirroring = first.after(&[ROLL_BACK]);

    // Without step 1 the second fence finds nothing that it may fence.
    let second = mirroring.after(&[PAUSE]);
    let (from, to) = (second.route.prev_epoch, second.route.epoch);
    assert_refused(source.fence(from, to), Refusal::WrongRole);
    // With it the fence holds, and the first one's retry is refused.
    let source = source.activate(mirroring.route.activation().unwrap()).unwrap();
    let fenced = source.fence(from, to).unwrap();
    assert_eq!(fenced, ledger(Role::Fenced, 5, &history(3)));
    let (from, to) = (first.route.prev_epoch, first.route.epoch);
    assert_refused(fenced.fence(from, to), Refusal::WrongRole);
}

#[test]
fn nobody_helps_during_the_pause() {
    let mirroring = Rows::mirroring(Options::default());
    let paused = mirroring.after(&[PAUSE]);
    assert_eq!(paused.route.activation(), None, "the paused row gives nothing to activate with");
    // A helper that read the row before the pause comes after the fence.
    let source = ledger(Role::Active, 1, &history(3));
    let fenced = source.fence(paused.route.prev_epoch, paused.route.epoch).unwrap();
    let late = fenced.activate(mirroring.route.activation().unwrap());
    assert_refused(late, Refusal::StaleEpoch);
}

#[test]
fn step_6_on_a_reread_revision_would_lose_an_event() {
    let first = Rows::mirroring(Options::default()).after(&[PAUSE]);
    let source = ledger(Role::Active, 1, &history(3));
    // The fence and the comparison ran under this revision, and found three events.
    let compared = (first.route.rev, source.fence(Epoch(1), Epoch(3)).unwrap().head);
    // The driver is stopped. The cutover is rolled back, an event is acknowledged, the next cutover
    // pauses: the state is "still right", and the comparison is outdated.
    let mirroring = first.after(&[ROLL_BACK]);
    let source = ledger(Role::Fenced, 3, &history(3));
    let source = source.activate(mirroring.route.activation().unwrap()).unwrap();
    let acknowledged = next_event(source.head, 4);
    assert_eq!(source.check_append(mirroring.route.epoch), Ok(()));
    let second = mirroring.after(&[PAUSE]);
    assert_eq!(second.route.phase(), first.route.phase());
    let late = second.apply(&Fact::Switched { head: compared.1 }).unwrap();
    assert!(late.route.base < Head::of(&acknowledged).seq, "the event would be lost");
    // Only the revision distinguishes the two pauses.
    assert_ne!(second.route.rev, compared.0);
}

#[test]
fn a_late_drop_or_purge_of_an_abort_spares_a_live_target() {
    let events = history(4);
    let aborted = ledger(Role::Replica, 2, &events).drop_replica(Epoch(2)).unwrap();
    // The next migration continues the copy, and switches to it.
    let adopted = aborted.adopt(Epoch(3), head_of(&events)).unwrap();
    let live = adopted.activate(at_epoch(5)).unwrap();
    for target in [adopted, live] {
        assert_refused(target.drop_replica(Epoch(2)), Refusal::StaleEpoch);
        assert_refused(target.check_purge(Epoch(2)), Refusal::StaleEpoch);
    }
}

#[test]
fn a_purge_before_the_aborts_compare_and_set_is_refused() {
    // Abort, drop, purge, in this order: a replica that was not dropped is not purged.
    assert_refused(ledger(Role::Replica, 2, &history(4)).check_purge(Epoch(2)), Refusal::WrongRole);
    // And a target that has gone live meanwhile is not the abort's any more.
    let live = ledger(Role::Replica, 2, &history(4)).activate(at_epoch(4)).unwrap();
    assert_refused(live.drop_replica(Epoch(2)), Refusal::StaleEpoch);
    assert_refused(live.check_purge(Epoch(2)), Refusal::StaleEpoch);
}

#[test]
fn a_late_purge_of_an_old_source_that_is_the_authority_again_is_refused() {
    // There: fenced at 3, kept as the window's replica at 5. And back: active at 8.
    let there = Rows::mirroring(with_window()).after(&[PAUSE]);
    let old = ledger(Role::Active, 1, &history(4));
    let old = old.fence(there.route.prev_epoch, there.route.epoch).unwrap();
    let there = there.after(&[Fact::Switched { head: old.head }]);
    let old = old.adopt(there.route.m, old.head).unwrap();
    let closed = there.after(&[Fact::WindowClosed]);
    let back = Rows::start(&closed.route, "source", Options::default());
    let old = old.adopt(back.route.m, old.head).unwrap();
    let facts = [Fact::CopyStarted, Fact::CopyCompleted { events: 4 }, PAUSE];
    let back = back.after(&facts).after(&[Fact::Switched { head: old.head }]);
    let authority = old.activate(back.route.activation().unwrap()).unwrap();
    assert_eq!((authority.role, authority.epoch), (Role::Active, Epoch(8)));
    for slept in [3, 5, 6] {
        assert_refused(authority.check_purge(Epoch(slept)), Refusal::StaleEpoch);
        assert_refused(authority.drop_replica(Epoch(slept)), Refusal::StaleEpoch);
    }
    assert_refused(authority.check_purge(authority.epoch), Refusal::WrongRole);
}

#[test]
fn a_creation_after_a_purge_is_refused_by_the_tombstone() {
    // A creation that slept through a whole migration and the purge of what it was to create.
    let purged = ledger(Role::Fenced, 3, &history(2)).purged_to(Head::EMPTY);
    assert_eq!(purged, Ledger { role: Role::Absent, epoch: Epoch(3), head: Head::EMPTY });
    assert_refused(purged.activate(NEWBORN), Refusal::StaleEpoch);
    // Without the tombstone it would be a second authority.
    assert!(Ledger::ABSENT.activate(NEWBORN).is_ok());
}

#[test]
fn a_creation_is_not_a_way_to_lose_a_history() {
    // The store was lost and replaced by an empty one: an empty history is not the tenant's.
    for route in [at_epoch(4), Activation { epoch: Epoch(4), base: 9, created: true }] {
        assert_refused(Ledger::ABSENT.activate(route), Refusal::HistoryMissing);
    }
    let behind = Activation { epoch: Epoch(4), base: 9, created: true };
    let older = ledger(Role::Replica, 2, &history(8));
    assert_refused(older.activate(behind), Refusal::BehindBase);
}

#[test]
fn an_adopt_can_be_retried() {
    let events = history(4);
    let fenced = ledger(Role::Fenced, 3, &events);
    let adopted = fenced.adopt(Epoch(5), head_of(&events)).unwrap();
    assert_eq!(adopted.adopt(Epoch(5), head_of(&events)), Ok(adopted));
    // Also when another has extended it since.
    let extended = adopted.extend(Epoch(5), adopted.head, &[next_event(adopted.head, 5)]).unwrap();
    assert_eq!(extended.adopt(Epoch(5), head_of(&events)), Ok(extended));
}

#[test]
fn a_sleepers_adopt_is_refused_after_the_drop() {
    let events = history(4);
    let dropped = ledger(Role::Replica, 5, &events).drop_replica(Epoch(5)).unwrap();
    assert_refused(dropped.adopt(Epoch(5), head_of(&events)), Refusal::StaleEpoch);
    let purged = dropped.purged_to(Head::EMPTY);
    assert_refused(purged.adopt(Epoch(5), Head::EMPTY), Refusal::StaleEpoch);
    // Nor does it fence a live store.
    let live = ledger(Role::Active, 9, &events);
    assert_refused(live.adopt(Epoch(5), head_of(&events)), Refusal::WrongRole);
    assert_refused(live.adopt(Epoch(99), head_of(&events)), Refusal::WrongRole);
}

#[test]
fn an_adopt_takes_only_what_was_proven() {
    let events = history(4);
    let fenced = ledger(Role::Fenced, 3, &events);
    for head in [Head::EMPTY, head_of(&events[..3]), Head { seq: 4, ..head_of(&events[..3]) }] {
        assert_refused(fenced.adopt(Epoch(5), head), Refusal::NotAtHead);
    }
}

#[test]
fn an_extend_that_slept_touches_nothing() {
    let events = history(6);
    let (prefix, rest) = events.split_at(4);
    let late = |ledger: Ledger| ledger.extend(Epoch(2), head_of(prefix), rest);
    let replica = ledger(Role::Replica, 2, prefix);
    assert_eq!(late(replica), Ok(ledger(Role::Replica, 2, &events)));
    assert_refused(late(replica.drop_replica(Epoch(2)).unwrap()), Refusal::WrongRole);
    assert_refused(late(replica.activate(at_epoch(4)).unwrap()), Refusal::StaleEpoch);
    assert_refused(late(replica.adopt(Epoch(3), replica.head).unwrap()), Refusal::StaleEpoch);
    assert_refused(late(late(replica).unwrap()), Refusal::NotAtHead);
}

#[test]
fn what_was_handed_out_in_lost_time_is_refused_after_a_recovery() {
    // The control plane's backup is from before the cutover. In the lost time the cutover
    // began and was rolled back twice, and no store has seen the last of those epochs yet.
    let backup = Rows::mirroring(Options::default());
    let lost = backup.after(&[PAUSE, ROLL_BACK, PAUSE, ROLL_BACK]);
    let source = ledger(Role::Active, 1, &history(3));
    let recovered = recovered(backup.route, &lost.route.store, source.epoch, 3);
    let source = source.activate(recovered.activation().unwrap()).unwrap();
    // A process with a row of the lost time changes nothing of the recovered one.
    assert!(lost.route.epoch < recovered.epoch);
    assert_refused(source.activate(lost.route.activation().unwrap()), Refusal::StaleEpoch);
    assert_refused(source.check_append(lost.route.epoch), Refusal::StaleEpoch);
}
