//! What a fact leaves in the rows beside the state, and what the log shows of it later.

use rehome_domain::event::Timestamp;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Head;
use rehome_domain::migration::{
    Awaited, Cleanup, CutoverPolicy, Fact, MirrorAck, OldSource, Options, Phase, Refusal,
    RollBackReason, State, Stay, Undone, Working, apply, arrives, awaited, has_leapt, recovered,
    return_until, timeline,
};
use rehome_domain::verification::Side;

use crate::kit::{
    NOW, PAUSE, ROLL_BACK, Rows, SOURCE, TARGET, created, started, store_id, violated, with_window,
};

const SWITCHED: Fact = Fact::Switched { head: Head::EMPTY };

fn failed() -> Fact {
    Fact::Failed { error: "the disk is full".into() }
}

#[test]
fn a_copy_has_begun_when_it_was_begun_first() {
    let rows = Rows::start(&created(), TARGET, Options::default());
    assert_eq!((rows.migration.created_at, rows.migration.started_at), (NOW, None));
    let copying = rows.after(&[Fact::CopyStarted]);
    assert_eq!(copying.migration.started_at, Some(NOW));
    // Once more, after a repair, at a later time.
    let cut_back = Fact::CutBack { to: Head::EMPTY, events: 9 };
    let again = copying.after(&[violated(Side::Copy), Fact::RepairRequested, cut_back]);
    let later = Timestamp::from_micros(NOW.micros() + 1);
    let (_, migration) =
        apply(&again.route, Some(&again.migration), &Fact::CopyStarted, later).unwrap();
    assert_eq!(migration.started_at, Some(NOW));
}

#[test]
fn an_end_has_its_time_and_a_failure_its_cause() {
    let rows = Rows::mirroring(Options::default());
    assert_eq!((rows.migration.completed_at, &rows.migration.error), (None, &None));
    let failed = rows.after(&[failed()]);
    assert_eq!(failed.migration.error.as_deref(), Some("the disk is full"));
    assert_eq!(failed.migration.completed_at, Some(NOW));
    let aborted = rows.after(&[Fact::Aborted { purge: true }]);
    assert_eq!((aborted.migration.completed_at, &aborted.migration.error), (Some(NOW), &None));
    let migrated = rows.after(&[PAUSE, ROLL_BACK, PAUSE, SWITCHED]);
    assert_eq!((migrated.migration.completed_at, &migrated.migration.error), (Some(NOW), &None));
}

#[test]
fn a_cutover_that_was_rolled_back_keeps_its_cause_until_the_switch() {
    let rows = Rows::mirroring(Options::default());
    for (reason, is_timeout, text) in [
        (RollBackReason::TimedOut, true, "the cutover's deadline passed"),
        (RollBackReason::Failed("no route to host".into()), false, "no route to host"),
    ] {
        assert_eq!(reason.is_timeout(), is_timeout);
        let back = rows.after(&[PAUSE, Fact::CutoverRolledBack { reason }]);
        let error = format!("last cutover rolled back: {text}");
        for rows in [&back, &back.after(&[Fact::CutoverRequested])] {
            assert_eq!(rows.migration.error.as_deref(), Some(&*error));
            assert_eq!(rows.migration.undone(), Some(Undone::RolledBack));
        }
    }
}

#[test]
fn options_are_changed_only_by_one_who_has_seen_the_last_change() {
    let rows = Rows::mirroring(Options::default());
    let target = Options { mirror_ack: MirrorAck::Target, ..Options::default() };
    let tune = |was, options| Fact::Tuned { was, options };
    let first = rows.after(&[tune(Some(Options::default()), target)]);
    assert_eq!(first.migration.options, target);
    assert_eq!(first.route, rows.route);
    let late = first.apply(&tune(Some(Options::default()), with_window()));
    assert_eq!(late, Err(Refusal::OptionsChanged));
    for was in [None, Some(target)] {
        assert_eq!(first.after(&[tune(was, with_window())]).migration.options, with_window());
    }
}

#[test]
fn a_recovery_ends_what_is_under_way_with_its_cause() {
    let word = Fact::Recovered { store: store_id(SOURCE), n: Epoch(50), base: 3 };
    let mirroring = Rows::mirroring(with_window());
    let stopped = mirroring.after(std::slice::from_ref(&word));
    let error = stopped.migration.error.as_deref().unwrap_or_default();
    assert!(error.contains("rehome recover"), "{error}");
    assert_eq!(stopped.migration.completed_at, Some(NOW));
    let aborted = mirroring.after(&[Fact::Aborted { purge: false }]);
    assert_eq!(aborted.after(&[word]).migration.error, None, "it had ended already");
}

#[test]
fn a_recovered_route_leaps_over_every_epoch_that_was_perhaps_lost() {
    let route = Rows::mirroring(with_window()).after(&[PAUSE, SWITCHED]).route;
    // The counter is behind the stores, or before them.
    for (n, leap) in [(Epoch(50), 1_050), (Epoch(1), 1_000 + route.n.0)] {
        let after = recovered(route.clone(), &store_id(SOURCE), n, 3);
        assert_eq!((after.n, after.epoch), (Epoch(leap + 1), Epoch(leap + 1)));
        assert_eq!((after.store.as_str(), after.base), (SOURCE, 3));
        assert!(after.created && !after.window && after.removal.is_none());
    }
    // Without events there may be a tombstone, which only a creation passes.
    assert!(!recovered(route.clone(), &store_id(SOURCE), Epoch(50), 0).created);
    let at = |epoch| rehome_domain::route::Route { epoch: Epoch(epoch), ..route.clone() };
    assert!(!has_leapt(&at(1_007), Epoch(7)) && has_leapt(&at(1_008), Epoch(7)));
}

#[test]
fn a_tenant_arrives_unless_it_returns_to_where_it_was_found() {
    let mirroring = Rows::mirroring(Options::default());
    let migrated = mirroring.after(&[PAUSE, SWITCHED]);
    let (source, target) = (store_id(SOURCE), store_id(TARGET));
    assert!(arrives(&source, None));
    assert!(arrives(&source, Some(&mirroring.migration)), "it has never left");
    assert!(!arrives(&source, Some(&migrated.migration)));
    assert!(arrives(&target, Some(&migrated.migration)));
    assert!(arrives(&store_id("third"), Some(&migrated.migration)));
}

#[test]
fn a_tenant_can_return_until_its_window_ends() {
    let migrated = Rows::mirroring(with_window()).after(&[PAUSE, SWITCHED]);
    let end = Timestamp::from_micros(NOW.micros() + 60_000_000);
    assert_eq!(return_until(&migrated.migration), Some(end));
    assert_eq!(return_until(&migrated.after(&[Fact::WindowClosed]).migration), None);
    let without = Rows::mirroring(Options::default()).after(&[PAUSE, SWITCHED]);
    assert_eq!(return_until(&without.migration), None);
    assert_eq!(return_until(&Rows::mirroring(with_window()).migration), None);
}

#[test]
fn what_is_left_to_do_follows_from_the_state() {
    let migrated = |activated, old_source| State::Migrated { activated, old_source };
    let (fenced, window) = (OldSource::Fenced { at: Epoch(3) }, OldSource::Window { m: Epoch(5) });
    let closing = OldSource::Closing { m: Epoch(5) };
    // The state, whether a process has work now, and whether none ever has.
    for (state, has_work, is_settled) in [
        (State::Pending, true, false),
        (State::Working(Working::BulkCopy), true, false),
        (State::Working(Working::DualWrite { cutover_requested: false }), true, false),
        (State::CutoverPaused, true, false),
        (State::Paused(Working::BulkCopy), false, false),
        (State::Failed { acknowledged: false }, false, false),
        (State::Failed { acknowledged: true }, false, false),
        (State::RolledBack(Cleanup::Drop { purge: false }), true, false),
        (State::RolledBack(Cleanup::Drop { purge: true }), true, false),
        (State::RolledBack(Cleanup::Purge), true, false),
        (State::RolledBack(Cleanup::Done), false, true),
        (migrated(false, fenced), true, false),
        (migrated(false, window), true, false),
        (migrated(false, OldSource::Purged), true, false),
        (migrated(true, window), false, false),
        (migrated(true, closing), true, false),
        (migrated(true, fenced), false, true),
        (migrated(true, OldSource::Purged), false, true),
    ] {
        assert_eq!((state.has_work(), state.is_settled()), (has_work, is_settled), "{state:?}");
        let mut migration = Rows::mirroring(Options::default()).migration;
        migration.state = state;
        assert_eq!(migration.is_at_work(), !is_settled, "{state:?}");
    }
    let ended: Vec<_> = Phase::ALL.into_iter().filter(|phase| phase.has_ended()).collect();
    assert_eq!(ended, [Phase::Migrated, Phase::Failed, Phase::RolledBack]);
}

#[test]
fn a_failure_says_how_to_find_the_damaged_store() {
    let rows = Rows::mirroring(Options::default()).after(&[failed()]);
    assert_eq!(awaited(&rows.migration, true), [Awaited::Failure]);
    let advice = Awaited::Failure.advice(&rows.migration);
    for store in [SOURCE, TARGET] {
        assert!(advice.contains(&format!("`rehome store verify {store}`")), "{advice}");
    }
    assert!(advice.contains("`rehome migration abort "), "{advice}");
}

#[test]
fn an_open_violation_is_awaited_until_its_repair_is_requested() {
    let manual = Options { cutover: CutoverPolicy::Manual, ..Options::default() };
    let open = Rows::mirroring(manual).after(&[violated(Side::Copy)]);
    assert_eq!(awaited(&open.migration, true), [Awaited::Violation], "and no cutover");
    let advice = Awaited::Violation.advice(&open.migration);
    assert!(advice.contains("rehome migration repair"), "{advice}");
    let paused = open.after(&[Fact::Paused]);
    assert_eq!(awaited(&paused.migration, true), [Awaited::Resume, Awaited::Violation]);
    let asked = open.after(&[Fact::RepairRequested]);
    assert_eq!(awaited(&asked.migration, true), []);
    let is_cut_back = |rows: &Rows| rows.migration.violations.open.as_ref().unwrap().is_cut_back();
    let cut = asked.after(&[Fact::CutBack { to: Head::EMPTY, events: 9 }]);
    assert!(!is_cut_back(&open) && !is_cut_back(&asked) && is_cut_back(&cut));
    assert_eq!(awaited(&cut.migration, true), []);
}

/// Each refusal that has a way out names it.
#[test]
fn a_refusal_says_how_to_continue() {
    let mirroring = Rows::mirroring(with_window());
    let requested = mirroring.after(&[Fact::CutoverRequested]);
    let paused = mirroring.after(&[Fact::Paused]);
    let cutting = mirroring.after(&[PAUSE]);
    let migrated = cutting.after(&[SWITCHED]);
    let damaged = migrated.after(&[violated(Side::Copy)]);
    let failed = mirroring.after(&[failed()]);
    let seen = failed.after(&[Fact::Acknowledged]);
    let aborted = mirroring.after(&[Fact::Aborted { purge: false }]);
    let open = mirroring.after(&[violated(Side::Copy)]);
    let (abort, repair) = (Fact::Aborted { purge: false }, Fact::RepairRequested);
    for (rows, fact, hint) in [
        (&cutting, &Fact::Paused, "; its cutover finishes or rolls back within its deadline"),
        (&requested, &Fact::CutoverRequested, "; a cutover was already requested"),
        (&seen, &Fact::Acknowledged, "; it was already acknowledged"),
        (&mirroring, &Fact::Acknowledged, "; only a failure, or open violations"),
        (&migrated, &Fact::CutoverRequested, "rehome migration return ID"),
        (&migrated, &abort, "rehome migration return ID"),
        (&aborted, &Fact::Paused, "rehome migration start"),
        (&paused, &Fact::CutoverRequested, "; resume it first: `rehome migration resume ID`"),
        (&failed, &Fact::Resumed, "rehome migration abort ID"),
        (
            &open.after(std::slice::from_ref(&repair)),
            &repair,
            "; its copy is already being repaired",
        ),
        (&open.after(&[Fact::Paused]), &repair, "; resume it first"),
        (&damaged, &repair, "; only a copy before the switch can be repaired"),
    ] {
        let refused = rows.apply(fact).unwrap_err();
        let Refusal::NotInThisState { phase, .. } = &refused else { panic!("{refused:?}") };
        let text = refused.to_string();
        let said = format!(" is not possible while the migration is {phase}");
        assert!(text.contains(&said) && text.contains(hint), "{text}");
    }
    // Where nothing helps, nothing is said.
    let refused = mirroring.apply(&Fact::CopyStarted).unwrap_err().to_string();
    assert_eq!(refused, "copy started is not possible while the migration is dual_write");
}

#[test]
fn a_timeline_has_each_stay_in_each_phase() {
    let log = [
        started(1, TARGET, Options::default()),
        Fact::LeaseTaken { holder: "one".into() },
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 0 },
        Fact::ReadBack { seq: 9 },
        PAUSE,
        ROLL_BACK,
        // It cannot follow, and is passed over.
        Fact::Resumed,
        PAUSE,
        SWITCHED,
        Fact::TargetActivated { epoch: Epoch(5) },
    ];
    let at = Timestamp::from_micros;
    let stays = timeline((0..).map(at).zip(&log));
    let stay =
        |phase, from, until: Option<i64>| Stay { phase, from: at(from), until: until.map(at) };
    let expected = [
        stay(Phase::Pending, 0, Some(2)),
        stay(Phase::BulkCopy, 2, Some(3)),
        stay(Phase::DualWrite, 3, Some(5)),
        stay(Phase::CutoverPaused, 5, Some(6)),
        stay(Phase::DualWrite, 6, Some(8)),
        stay(Phase::CutoverPaused, 8, Some(9)),
        stay(Phase::Migrated, 9, None),
    ];
    assert_eq!(stays, expected);
    // What comes before the beginning is no part of it.
    assert_eq!(timeline((0..).map(at).zip(&log[1..])), []);
}
