//! Open violations: what they refuse, what closes them, and their repair.

use proptest::prelude::*;
use rehome_domain::digest::Digest;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Ledger, Refusal as LedgerRefusal, Role};
use rehome_domain::migration::{
    Command, Fact, Migration, Observation, Options, Phase, Refusal, Repair, State, Working, decide,
};
use rehome_domain::verification::{Coverage, Level, Side};

use crate::kit::{
    NOW, PAUSE, ROLL_BACK, Rows, config, finding, head_of, history, ledger, verified, violated,
    with_window,
};

fn mirroring() -> Rows {
    Rows::mirroring(Options::default())
}

fn is_open(rows: &Rows) -> bool {
    rows.migration.violations.open.is_some()
}

fn cut_back(to: u64) -> Fact {
    Fact::CutBack { to: Head { seq: to, digest: Digest::EMPTY }, events: 9 - to }
}

const SWITCHED: Fact = Fact::Switched { head: Head::EMPTY };

fn decided(migration: &Migration) -> Command {
    decide(&Observation {
        migration,
        source_seq: 9,
        target_seq: 9,
        read_back_seq: 9,
        verified: true,
        target_healthy: true,
        retry_due: true,
        now: NOW,
    })
}

#[test]
fn while_a_violation_is_open_no_cutover_is_requested_begun_or_committed() {
    let open = mirroring().after(&[violated(Side::Copy)]);
    for fact in [Fact::CutoverRequested, PAUSE] {
        let refused = open.apply(&fact).unwrap_err();
        assert!(matches!(refused, Refusal::Violated { .. }), "{refused}");
    }
    // Found in the pause: the switch is refused, the roll back is not.
    let paused = mirroring().after(&[PAUSE, violated(Side::Unknown)]);
    assert!(matches!(paused.apply(&SWITCHED), Err(Refusal::Violated { .. })));
    let back = paused.after(&[ROLL_BACK]);
    assert!(is_open(&back) && back.migration.state.phase() == Phase::DualWrite);
}

#[test]
fn the_refusal_names_the_violation_and_the_next_steps() {
    let open = mirroring().after(&[violated(Side::Copy)]);
    let id = open.migration.id;
    let text = open.apply(&Fact::CutoverRequested).unwrap_err().to_string();
    for part in [
        "missing at seq 7".to_owned(),
        format!("rehome migration repair {id}"),
        format!("rehome migration verify {id} --level hash"),
        format!("rehome migration abort {id}"),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    let open = mirroring().after(&[violated(Side::Authority)]);
    let text = open.apply(&Fact::CutoverRequested).unwrap_err().to_string();
    assert!(text.contains("authority's own rows") && !text.contains("migration repair"), "{text}");
}

#[test]
fn nobody_decides_on_a_cutover_while_a_violation_is_open() {
    for rows in [mirroring(), mirroring().after(&[Fact::CutoverRequested])] {
        assert_eq!(decided(&rows.migration), Command::CutOver);
        assert_eq!(decided(&rows.after(&[violated(Side::Copy)]).migration), Command::Follow);
    }
}

#[test]
fn a_violation_withdraws_the_request_for_the_cutover() {
    let asked = State::Working(Working::DualWrite { cutover_requested: false });
    let rows = mirroring().after(&[Fact::CutoverRequested, violated(Side::Copy)]);
    assert_eq!(rows.migration.state, asked);
    let rows = mirroring().after(&[Fact::CutoverRequested, Fact::Paused, violated(Side::Copy)]);
    assert_eq!(rows.after(&[Fact::Resumed]).migration.state, asked);
}

#[test]
fn a_verification_closes_what_was_open_when_it_began_if_it_looked_at_as_much() {
    let open =
        mirroring().after(&[Fact::Violated { finding: finding(Level::Hash, 2, 9, Side::Copy) }]);
    for (fact, closes) in [
        (verified(Level::Hash, 2, 9, Some(1)), true),
        (verified(Level::Full, 0, 20, Some(1)), true),
        // Began before it was found.
        (verified(Level::Full, 0, 20, None), false),
        // Not as deep, not as far, not from where it was found on, not all of it.
        (verified(Level::Count, 0, 20, Some(1)), false),
        (verified(Level::Hash, 2, 8, Some(1)), false),
        (verified(Level::Hash, 3, 9, Some(1)), false),
        (
            Fact::Verified {
                level: Level::Full,
                after: 0,
                seq: 20,
                whole: false,
                violations: 0,
                refutes: Some(1),
            },
            false,
        ),
        // Not clean.
        (
            Fact::Verified {
                level: Level::Full,
                after: 0,
                seq: 20,
                whole: true,
                violations: 1,
                refutes: Some(1),
            },
            false,
        ),
    ] {
        let after = open.after(std::slice::from_ref(&fact));
        assert_eq!(!is_open(&after), closes, "{fact:?}");
        assert_eq!(after.apply(&PAUSE).is_ok(), closes, "{fact:?}");
    }
}

/// A verification that began when the first was open reads the later damage before it was done.
#[test]
fn a_verification_does_not_close_what_was_found_after_it_began() {
    let rows = mirroring().after(&[violated(Side::Copy), violated(Side::Copy)]);
    assert!(is_open(&rows.after(&[verified(Level::Full, 0, 20, Some(1))])));
    assert!(!is_open(&rows.after(&[verified(Level::Full, 0, 20, Some(2))])));
    // Nor after the first was closed in between: the numbers continue.
    let rows = mirroring().after(&[
        violated(Side::Copy),
        verified(Level::Full, 0, 20, Some(1)),
        violated(Side::Copy),
    ]);
    assert!(is_open(&rows.after(&[verified(Level::Full, 0, 20, Some(1))])));
}

#[test]
fn a_repair_leads_back_to_pending_under_another_epoch() {
    let failed = [Fact::Failed { error: "x".into() }];
    let copying = Rows::start(&crate::kit::created(), crate::kit::TARGET, Options::default())
        .after(&[Fact::CopyStarted]);
    for rows in [copying, mirroring()] {
        for way in [&[][..], &failed[..]] {
            let open = rows.after(&[violated(Side::Copy)]).after(way);
            let asked = open.after(&[Fact::RepairRequested]);
            assert_eq!(asked.migration.state, State::Pending);
            assert_eq!((asked.migration.completed_at, &asked.migration.error), (None, &None));
            assert_eq!(decided(&asked.migration), Command::Repair);
            // Until it is truncated it is not a replica, and nothing refutes the open violation.
            assert!(asked.apply(&Fact::CopyStarted).is_err());
            assert!(is_open(&asked.after(&[verified(Level::Full, 0, 20, Some(1))])));

            let cut = asked.after(&[cut_back(6)]);
            assert!(cut.migration.m > asked.migration.m && cut.route.m == cut.migration.m);
            assert_eq!(cut.route.epoch, asked.route.epoch, "the source's authority stays");
            assert_eq!(decided(&cut.migration), Command::Prepare);
            let again = cut.after(&[Fact::CopyStarted, Fact::CopyCompleted { events: 9 }]);
            assert!(matches!(again.apply(&PAUSE), Err(Refusal::Violated { .. })));
            let closed = again.after(&[verified(Level::Hash, 0, 9, Some(1))]);
            assert_eq!(closed.after(&[PAUSE, SWITCHED]).migration.state.phase(), Phase::Migrated);
        }
    }
}

#[test]
fn a_repair_is_of_an_open_violation_of_a_copy_that_is_still_to_be_switched_to() {
    let request = |rows: &Rows| rows.apply(&Fact::RepairRequested).map(|_| ());
    assert_eq!(request(&mirroring()), Err(Refusal::NothingToRepair));
    let source = mirroring().after(&[violated(Side::Authority)]);
    assert!(matches!(request(&source), Err(Refusal::NotRepairable { .. })));
    for way in [vec![Fact::Paused], vec![PAUSE], vec![Fact::Aborted { purge: false }]] {
        let rows = mirroring().after(&way).after(&[violated(Side::Copy)]);
        assert!(matches!(request(&rows), Err(Refusal::NotInThisState { .. })), "{way:?}");
    }
    let migrated = mirroring().after(&[PAUSE, SWITCHED, violated(Side::Copy)]);
    assert!(matches!(request(&migrated), Err(Refusal::NotInThisState { .. })));
    // Once more, while it continues.
    let asked = mirroring().after(&[violated(Side::Copy), Fact::RepairRequested]);
    assert!(matches!(request(&asked), Err(Refusal::NotInThisState { .. })));
}

#[test]
fn a_repair_that_is_refused_says_that_the_source_is_damaged_and_the_copy_goes_on() {
    let why = "the source has no row at seq 7";
    let refused = mirroring().after(&[
        violated(Side::Copy),
        Fact::RepairRequested,
        Fact::RepairRefused { why: why.into() },
    ]);
    let open = refused.migration.violations.open.as_ref().unwrap();
    assert_eq!((open.repair, open.finding.side), (Repair::NotRequested, Side::Authority));
    assert!(open.advice(refused.migration.id).contains(why));
    assert_eq!(decided(&refused.migration), Command::Prepare);
    // A repair that was not requested is neither refused nor done.
    for fact in [Fact::RepairRefused { why: why.into() }, cut_back(6)] {
        assert!(mirroring().after(&[violated(Side::Copy)]).apply(&fact).is_err());
        // Nor in the state in which a repair is done, which is also that of a start.
        let begun = Rows::start(&crate::kit::created(), crate::kit::TARGET, Options::default());
        for rows in [&begun, &begun.after(&[violated(Side::Copy)])] {
            let refused = Refusal::NotInThisState { fact: fact.name(), phase: Phase::Pending };
            assert_eq!(rows.apply(&fact), Err(refused));
        }
    }
}

#[test]
fn what_is_found_again_after_a_repair_needs_another_one() {
    let again = mirroring().after(&[
        violated(Side::Copy),
        Fact::RepairRequested,
        cut_back(6),
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 9 },
        violated(Side::Copy),
    ]);
    let open = again.migration.violations.open.as_ref().unwrap();
    assert_eq!((open.number, open.repair), (2, Repair::NotRequested));
    let twice = again.after(&[Fact::RepairRequested, cut_back(3)]);
    assert_eq!(twice.migration.violations.repairs, 2);
}

#[test]
fn what_is_thrown_away_is_open_no_more_unless_the_authority_is_damaged() {
    for (side, stays) in [(Side::Copy, false), (Side::Unknown, false), (Side::Authority, true)] {
        let aborted = mirroring().after(&[violated(side), Fact::Aborted { purge: false }]);
        assert_eq!(is_open(&aborted), stays, "{side}");
        let purged =
            mirroring().after(&[PAUSE, SWITCHED, violated(side), Fact::Purged { events: 9 }]);
        assert_eq!(is_open(&purged), stays, "{side}");
        // Only an operator's decision is left there.
        if stays {
            assert!(!is_open(&purged.after(&[Fact::Acknowledged])));
        }
    }
    // In a running migration, an acknowledgement closes nothing.
    assert!(mirroring().after(&[violated(Side::Copy)]).apply(&Fact::Acknowledged).is_err());
    let window = Rows::mirroring(with_window()).after(&[PAUSE, SWITCHED, violated(Side::Copy)]);
    assert!(!is_open(&window.after(&[verified(Level::Hash, 0, 9, Some(1))])));
}

#[test]
fn findings_add_up_until_one_has_looked_at_all_of_it() {
    let first = finding(Level::Full, 4, 9, Side::Copy);
    let narrow = finding(Level::Hash, 0, 5, Side::Unknown);
    let both = first.and(&narrow);
    let coverage = Coverage { level: Level::Full, after: 0, upto: 9, whole: true };
    assert_eq!((both.coverage, both.side), (coverage, Side::Copy));
    let wide = finding(Level::Full, 0, 12, Side::Authority);
    assert_eq!(both.and(&wide), wide);
}

#[test]
fn a_history_is_cut_back_only_where_it_is_fenced_and_to_a_head_that_it_holds() {
    let events = history(9);
    let to = head_of(&events[..6]);
    let there = Some(to.digest);
    let fenced = ledger(Role::Fenced, 3, &events);
    assert_eq!(fenced.check_cut_back(Epoch(3), to, there), Ok(()));
    let cut = fenced.cut_to(to);
    assert_eq!((cut.role, cut.epoch, cut.head), (Role::Fenced, Epoch(3), to));
    // Again, as after a lost reply; and down to nothing, which is no tombstone.
    assert_eq!(cut.check_cut_back(Epoch(3), to, there), Ok(()));
    assert_eq!(fenced.check_cut_back(Epoch(3), Head::EMPTY, None), Ok(()));
    assert_eq!(fenced.cut_to(Head::EMPTY).role, Role::Fenced);

    let why =
        |ledger: Ledger, k, to, there| ledger.check_cut_back(Epoch(k), to, there).unwrap_err().why;
    for k in [2, 4] {
        assert_eq!(why(fenced, k, to, there), LedgerRefusal::StaleEpoch);
    }
    for role in [Role::Active, Role::Replica] {
        assert_eq!(why(ledger(role, 3, &events), 3, to, there), LedgerRefusal::WrongRole);
    }
    // Never up, and never to missing events.
    assert_eq!(why(cut, 3, head_of(&events), there), LedgerRefusal::NotAtHead);
    assert_eq!(why(fenced, 3, to, Some(Digest::EMPTY)), LedgerRefusal::NotAtHead);
    assert_eq!(why(fenced, 3, to, None), LedgerRefusal::NotAtHead);
}

proptest! {
    #![proptest_config(config(256))]

    /// A verification refutes a finding only if it would have found it: the finding may be in
    /// any part that the second verification left out.
    #[test]
    fn a_look_includes_another_only_if_it_left_nothing_of_it_out(
        levels in (0..3_usize, 0..3_usize), ranges in any::<[(u8, u8); 2]>(), whole in any::<bool>(),
    ) {
        let level = |at| [Level::Count, Level::Hash, Level::Full][at];
        let look = |level, (after, upto): (u8, u8), whole| Coverage {
            level, after: after.into(), upto: upto.into(), whole,
        };
        let found = look(level(levels.0), ranges[0], true);
        let later = look(level(levels.1), ranges[1], whole);
        let left_out = |seq: u64| seq <= later.after || seq > later.upto;
        if later.includes(found) {
            prop_assert!(whole && later.level >= found.level);
            prop_assert!(!(found.after + 1..=found.upto).any(left_out));
        }
        prop_assert!(found.includes(found));
    }
}
