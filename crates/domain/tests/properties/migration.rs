//! The state machine: which phases follow which, what moves the revision, who hands out epochs.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Head;
use rehome_domain::migration::{
    Action, Awaited, Cleanup, CutoverPolicy, Fact, OldSource, Options, Phase, Refusal, State,
    Undone, Working, allowed_actions, apply, awaited, fold, transition,
};

use crate::kit::{
    NOW, PAUSE, ROLL_BACK, Rows, SOURCE, TARGET, config, created, head_of, history, migration_id,
    one_of_each, started, store_id, with_window,
};

/// Every state there is.
fn states() -> Vec<State> {
    let working = [
        Working::BulkCopy,
        Working::DualWrite { cutover_requested: false },
        Working::DualWrite { cutover_requested: true },
    ];
    let old_sources = [
        OldSource::Fenced { at: Epoch(3) },
        OldSource::Window { m: Epoch(5) },
        OldSource::Closing { m: Epoch(5) },
        OldSource::Purged,
    ];
    let cleanups = [
        Cleanup::Drop { purge: false },
        Cleanup::Drop { purge: true },
        Cleanup::Purge,
        Cleanup::Done,
    ];
    let mut states = vec![State::Pending, State::CutoverPaused];
    states.extend([false, true].map(|acknowledged| State::Failed { acknowledged }));
    states.extend(working.map(State::Working));
    states.extend(working.map(State::Paused));
    for activated in [false, true] {
        states.extend(old_sources.map(|old_source| State::Migrated { activated, old_source }));
    }
    states.extend(cleanups.map(State::RolledBack));
    states
}

/// The protocol's table, word for word; to `pending` leads a repair. `paused` leads back to where it was paused from, which
/// is asserted on its own.
const PHASES: [(Phase, &[Phase]); 8] = [
    (Phase::Pending, &[Phase::BulkCopy, Phase::Failed, Phase::RolledBack]),
    (
        Phase::BulkCopy,
        &[Phase::DualWrite, Phase::Paused, Phase::Failed, Phase::RolledBack, Phase::Pending],
    ),
    (
        Phase::DualWrite,
        &[Phase::CutoverPaused, Phase::Paused, Phase::Failed, Phase::RolledBack, Phase::Pending],
    ),
    (Phase::Paused, &[Phase::BulkCopy, Phase::DualWrite, Phase::Failed, Phase::RolledBack]),
    (Phase::CutoverPaused, &[Phase::Migrated, Phase::DualWrite]),
    (Phase::Failed, &[Phase::RolledBack, Phase::Pending]),
    (Phase::Migrated, &[]),
    (Phase::RolledBack, &[]),
];

#[test]
fn the_phases_that_follow_are_exactly_the_protocols() {
    let mut found = BTreeSet::new();
    for state in states() {
        // A recovery is not a step of a migration: an operator states the facts, see below.
        for fact in one_of_each().iter().filter(|fact| !matches!(fact, Fact::Recovered { .. })) {
            let next = transition(state, fact).map_or(state.phase(), State::phase);
            if next != state.phase() {
                found.insert((state.phase(), next));
            }
        }
    }
    let table = PHASES.iter().flat_map(|(from, to)| to.iter().map(move |to| (*from, *to)));
    assert_eq!(found, table.collect());
}

#[test]
fn a_pause_leads_back_to_where_it_came_from() {
    for state in states() {
        if let Ok(paused) = transition(state, &Fact::Paused) {
            assert_eq!(paused.phase(), Phase::Paused);
            assert_eq!(transition(paused, &Fact::Resumed), Ok(state));
            assert!(transition(paused, &Fact::Paused).is_err());
        }
    }
}

#[test]
fn what_is_over_stays_over() {
    for state in states().into_iter().filter(|state| state.phase().is_terminal()) {
        for fact in one_of_each() {
            if let Ok(next) = transition(state, &fact) {
                assert_eq!(next.phase(), state.phase(), "{} in {state:?}", fact.name());
            }
        }
    }
}

#[test]
fn only_what_routes_moves_the_phase() {
    for state in states() {
        for fact in one_of_each().iter().filter(|fact| !fact.routes()) {
            if let Ok(next) = transition(state, fact) {
                assert_eq!(next.phase(), state.phase(), "{} in {state:?}", fact.name());
            }
        }
    }
}

#[test]
fn an_acknowledgement_is_of_a_failure_and_changes_nothing_else() {
    for state in states() {
        let acknowledged = transition(state, &Fact::Acknowledged);
        if state == (State::Failed { acknowledged: false }) {
            assert_eq!(acknowledged, Ok(State::Failed { acknowledged: true }));
        } else {
            assert!(acknowledged.is_err(), "{state:?}");
        }
    }
    // What may follow is the same before it and after it.
    for fact in one_of_each().iter().filter(|fact| **fact != Fact::Acknowledged) {
        let after = |acknowledged| transition(State::Failed { acknowledged }, fact);
        let phase = |acknowledged| after(acknowledged).ok().map(State::phase);
        assert_eq!(phase(false), phase(true), "{}", fact.name());
    }
}

#[test]
fn a_recovery_stops_what_is_under_way_and_nothing_else() {
    let recovered = Fact::Recovered { store: store_id(SOURCE), n: Epoch(9), base: 3 };
    for state in states() {
        let expected = match state {
            State::Migrated { activated, old_source: OldSource::Window { m } } => {
                State::Migrated { activated, old_source: OldSource::Closing { m } }
            }
            state if state.phase().is_terminal() => state,
            _ => State::Failed { acknowledged: false },
        };
        assert_eq!(transition(state, &recovered), Ok(expected), "{state:?}");
    }
}

#[test]
fn phases_have_the_values_and_names_of_the_metrics() {
    let names = [
        "pending",
        "bulk_copy",
        "dual_write",
        "cutover_paused",
        "migrated",
        "failed",
        "rolled_back",
        "paused",
    ];
    for (value, (phase, name)) in (0..).zip(Phase::ALL.into_iter().zip(names)) {
        assert_eq!((phase as u8, phase.as_str()), (value, name));
        assert_eq!(Phase::parse(name), Some(phase));
    }
    assert_eq!(Phase::parse("Pending"), None);
}

#[test]
fn step_2_takes_the_epoch_away() {
    let before = Rows::mirroring(Options::default());
    let Rows { route, migration } = before.apply(&PAUSE).unwrap();
    assert_eq!((route.prev_epoch, route.epoch, route.n), (Epoch(1), Epoch(3), Epoch(3)));
    assert_eq!((route.m, route.deadline_ms), (Epoch(2), 5_000));
    assert_eq!((route.store.as_str(), route.base), (SOURCE, 0));
    assert_eq!(migration.cutover_attempts, 1);
    assert!(route.is_cutover_paused() && route.activation().is_none());
}

#[test]
fn step_6_moves_the_authority() {
    let head = head_of(&history(12));
    let paused = Rows::mirroring(Options::default()).after(&[PAUSE]);
    let Rows { route, migration } = paused.apply(&Fact::Switched { head }).unwrap();
    assert_eq!((route.store.as_str(), route.base), (TARGET, 12));
    assert_eq!((route.epoch, route.n, route.m), (Epoch(4), Epoch(4), Epoch(2)));
    assert!(!route.window);
    // The old source was fenced at the epoch of the pause: that is what purges it one day.
    let old_source = OldSource::Fenced { at: Epoch(3) };
    assert_eq!(migration.state, State::Migrated { activated: false, old_source });
    let activation = route.activation().unwrap();
    assert_eq!((activation.epoch, activation.base, activation.created), (Epoch(4), 12, true));
}

#[test]
fn step_6_with_a_window_draws_a_new_m() {
    let paused = Rows::mirroring(with_window()).after(&[PAUSE]);
    let Rows { route, migration } = paused.apply(&Fact::Switched { head: Head::EMPTY }).unwrap();
    assert_eq!((route.epoch, route.n, route.m), (Epoch(4), Epoch(5), Epoch(5)));
    assert!(route.window);
    let old_source = OldSource::Window { m: Epoch(5) };
    assert_eq!(migration.state, State::Migrated { activated: false, old_source });
    // Closed, dropped and purged under that m.
    let rows = Rows { route, migration }.after(&[Fact::WindowClosed, Fact::ReplicaDropped]);
    let old_source = OldSource::Fenced { at: Epoch(5) };
    assert_eq!(rows.migration.state, State::Migrated { activated: false, old_source });
    assert!(!rows.route.window);
}

#[test]
fn a_roll_back_draws_an_epoch_for_the_source() {
    let before = Rows::mirroring(Options::default()).after(&[PAUSE]);
    let Rows { route, migration } = before.apply(&ROLL_BACK).unwrap();
    assert_eq!((route.epoch, route.n, route.m), (Epoch(4), Epoch(4), Epoch(2)));
    assert_eq!(route.store.as_str(), SOURCE);
    assert_eq!(migration.state.phase(), Phase::DualWrite);
    assert_eq!(route.activation().unwrap().epoch, Epoch(4));
}

#[test]
fn a_roll_back_forgets_that_a_cutover_was_asked_for() {
    let rows =
        Rows::mirroring(Options::default()).after(&[Fact::CutoverRequested, PAUSE, ROLL_BACK]);
    let working = Working::DualWrite { cutover_requested: false };
    assert_eq!(rows.migration.state, State::Working(working));
}

#[test]
fn a_cutover_that_was_withdrawn_begins_only_when_it_is_asked_for_again() {
    let manual = Options { cutover: CutoverPolicy::Manual, ..Options::default() };
    for options in [Options::default(), manual] {
        for requested in [true, false] {
            let before = Rows::mirroring(options);
            let before = if requested { before.after(&[Fact::CutoverRequested]) } else { before };
            let withdrawn = before.apply(&Fact::CutoverWithdrawn);
            if !requested && options == manual {
                assert_eq!(withdrawn, Err(Refusal::NothingToWithdraw));
                continue;
            }
            let withdrawn = withdrawn.unwrap();
            assert_eq!(withdrawn.route, before.route);
            assert_eq!(withdrawn.migration.undone(), Some(Undone::Withdrawn));
            assert_eq!(withdrawn.apply(&PAUSE), Err(Refusal::NotWanted));
            assert_eq!(withdrawn.apply(&Fact::CutoverWithdrawn), Err(Refusal::NothingToWithdraw));
            let again = withdrawn.after(&[Fact::CutoverRequested]);
            assert_eq!(again.migration.undone(), None);
            let begun = again.after(&[PAUSE]);
            // After its beginning it is too late.
            let late = begun.apply(&Fact::CutoverWithdrawn);
            assert!(matches!(late, Err(Refusal::NotInThisState { .. })), "{late:?}");
        }
    }
    // Also of a paused migration.
    let paused = Rows::mirroring(manual).after(&[Fact::CutoverRequested, Fact::Paused]);
    let resumed = paused.after(&[Fact::CutoverWithdrawn, Fact::Resumed]);
    assert_eq!(resumed.apply(&PAUSE), Err(Refusal::NotWanted));
}

#[test]
fn a_veto_ends_a_request_and_leaves_the_policy() {
    let veto = Fact::CutoverVetoed { hook: "calendar".into(), why: "a freeze".into() };
    let vetoed = Rows::mirroring(Options::default()).after(&[Fact::CutoverRequested, veto.clone()]);
    let working = Working::DualWrite { cutover_requested: false };
    assert_eq!(vetoed.migration.state, State::Working(working));
    assert_eq!(vetoed.migration.undone(), Some(Undone::Vetoed));
    let error = vetoed.migration.error.as_deref();
    assert_eq!(error, Some("last cutover vetoed by hook calendar: a freeze"));
    assert_eq!(vetoed.migration.options.cutover, CutoverPolicy::Auto);
    let rolled_back = vetoed.after(&[PAUSE, ROLL_BACK]);
    assert_eq!(rolled_back.migration.undone(), Some(Undone::RolledBack));
    let manual = Options { cutover: CutoverPolicy::Manual, ..Options::default() };
    let vetoed = Rows::mirroring(manual).after(&[Fact::CutoverRequested, veto]);
    assert_eq!(vetoed.apply(&PAUSE), Err(Refusal::NotWanted));
}

#[test]
fn a_log_from_before_withdrawals_is_still_read() {
    // The policy was changed while the cutover began: that was possible once.
    let manual = Options { cutover: CutoverPolicy::Manual, ..Options::default() };
    let facts = [
        started(0, TARGET, Options::default()),
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 0 },
        Fact::Tuned { was: None, options: manual },
        PAUSE,
    ];
    let folded = fold(&created(), facts.iter().map(|fact| (NOW, fact))).unwrap().unwrap();
    assert_eq!(folded.1.state.phase(), Phase::CutoverPaused);
}

#[test]
fn a_start_needs_a_tenant_that_is_created_at_rest_and_elsewhere() {
    let start = |rows: &rehome_domain::route::Route, target| {
        apply(rows, None, &started(50, target, Options::default()), NOW).map(|_| ())
    };
    let route = created();
    assert_eq!(start(&route, TARGET), Ok(()));
    assert_eq!(start(&route, SOURCE), Err(Refusal::AlreadyThere));
    let unborn = rehome_domain::route::Route { created: false, ..route };
    assert_eq!(start(&unborn, TARGET), Err(Refusal::NotCreated));

    let another =
        |rows: &Rows, phase| Err(Refusal::AnotherMigration { id: rows.migration.id, phase });
    let rows = Rows::mirroring(with_window());
    assert_eq!(start(&rows.route, TARGET), another(&rows, Phase::DualWrite));
    let failed = rows.after(&[Fact::Failed { error: "x".into() }]);
    assert_eq!(start(&failed.route, TARGET), another(&failed, Phase::Failed));
    let aborted = failed.after(&[Fact::Aborted { purge: false }]);
    assert_eq!(start(&aborted.route, TARGET), Ok(()));

    let migrated = rows.after(&[PAUSE, Fact::Switched { head: Head::EMPTY }]);
    assert_eq!(start(&migrated.route, SOURCE), Err(Refusal::WindowOpen));
    let closed = migrated.after(&[Fact::WindowClosed]);
    assert_eq!(start(&closed.route, SOURCE), Ok(()));
    // The beginning of a migration that exists is not its beginning.
    let again = closed.apply(&started(1, SOURCE, Options::default()));
    assert!(matches!(again, Err(Refusal::NotInThisState { .. })), "{again:?}");
}

#[test]
fn a_late_fact_of_an_earlier_migration_never_moves_the_route() {
    let first =
        Rows::mirroring(with_window()).after(&[PAUSE, Fact::Switched { head: Head::EMPTY }]);
    // An operator's recovery closes the window; then the tenant moves on.
    let recovered = Fact::Recovered { store: store_id(TARGET), n: Epoch(9), base: 1 };
    let first = first.after(&[recovered]);
    let second = Rows::start(&first.route, SOURCE, Options::default());
    let late = Rows { route: second.route.clone(), migration: first.migration };
    for fact in one_of_each().into_iter().filter(Fact::routes) {
        assert!(late.apply(&fact).is_err(), "{}", fact.name());
    }
    // Its notes are still accepted, and do not change the route.
    assert_eq!(late.apply(&Fact::ReplicaDropped).unwrap().route, second.route);
}

/// A choice among the facts, and whether to start anew once a migration is over.
fn choices() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 1..120)
}

/// The facts that can follow, weighed so that a life is not all pauses and notes.
fn possible(rows: &Rows) -> Vec<Fact> {
    let mut facts = Vec::new();
    for fact in one_of_each() {
        if rows.apply(&fact).is_ok() {
            let weight = match fact {
                Fact::CopyStarted | Fact::CopyCompleted { .. } | Fact::Switched { .. } => 12,
                Fact::CutoverStarted { .. } => 12,
                Fact::CutoverRolledBack { .. } | Fact::WindowClosed => 4,
                _ => 1,
            };
            facts.extend(std::iter::repeat_n(fact, weight));
        }
    }
    facts
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn whole_lives_keep_what_the_route_promises(choices in choices(), window in any::<bool>()) {
        let options = if window { with_window() } else { Options::default() };
        let mut begun_with = created();
        let mut rows = Rows::start(&begun_with, TARGET, options);
        let mut log = vec![started(1, TARGET, options)];
        // Every epoch ever handed out, for whatever: the tenant's first, and the migration's own.
        let mut handed_out = BTreeSet::from([Epoch(1), rows.route.m]);
        prop_assert_eq!(handed_out.len(), 2);

        for choice in choices {
            let anew = rows.route.phase().is_some_and(Phase::is_terminal) && !rows.route.window;
            let (fact, next) = if anew && choice.index(3) == 0 {
                begun_with = rows.route.clone();
                let target = if begun_with.store.as_str() == SOURCE { TARGET } else { SOURCE };
                let next = Rows::start(&begun_with, target, options);
                log.clear();
                (started(begun_with.rev, target, options), next)
            } else {
                let facts = possible(&rows);
                let fact = choice.get(&facts).clone();
                let next = rows.apply(&fact).unwrap();
                (fact, next)
            };
            let (before, after) = (&rows.route, &next.route);
            log.push(fact.clone());

            prop_assert_eq!(after.rev, before.rev + u64::from(fact.routes()), "{}", fact.name());
            if !fact.routes() {
                prop_assert_eq!(after, before);
            }
            prop_assert!(after.n >= before.n, "n never decreases");
            for (was, is) in [(before.epoch, after.epoch), (before.m, after.m)] {
                prop_assert!(is >= was, "{}: {was} {is}", fact.name());
                if is != was {
                    prop_assert!(handed_out.insert(is), "{}: {is} is not fresh", fact.name());
                    prop_assert!(is > before.n && is <= after.n);
                }
            }
            // Authority changes only at step 6, or by an operator's word.
            if after.store != before.store {
                let may = matches!(fact, Fact::Switched { .. } | Fact::Recovered { .. });
                prop_assert!(may, "{}", fact.name());
            }
            prop_assert_eq!(after.phase(), Some(next.migration.state.phase()));
            prop_assert_eq!(after.activation().is_none(), after.is_cutover_paused());
            if after.is_cutover_paused() {
                prop_assert!(after.prev_epoch < after.epoch);
            }
            let open = matches!(
                next.migration.state,
                State::Migrated { old_source: OldSource::Window { .. }, .. }
            );
            prop_assert_eq!(after.window, open, "{}", fact.name());

            // An open violation prevents the cutover, and only few facts close it.
            let (was, is) = (&rows.migration.violations, &next.migration.violations);
            if was.open.is_some() {
                let cuts_over = matches!(
                    fact,
                    Fact::CutoverRequested | Fact::CutoverStarted { .. } | Fact::Switched { .. }
                );
                prop_assert!(!cuts_over, "{} with {:?}", fact.name(), was.open);
            }
            if was.open.is_some() && is.open.is_none() {
                let closes = matches!(
                    fact,
                    Fact::Verified { violations: 0, .. }
                        | Fact::Aborted { .. }
                        | Fact::Purged { .. }
                        | Fact::Acknowledged
                        | Fact::Started { .. }
                );
                prop_assert!(closes, "{}", fact.name());
            }
            // A process that was stopped during a repair has another epoch than the rows copied after it.
            if is.repairs > was.repairs {
                prop_assert!(next.migration.m > rows.migration.m);
            }
            prop_assert!(next.migration.state.phase().is_terminal() || after.m == next.migration.m);

            // The rows are the fold of the log.
            let facts = log.iter().map(|fact| (NOW, fact));
            let (route, migration) = fold(&begun_with, facts).unwrap().unwrap();
            prop_assert_eq!(&Rows { route, migration }, &next);
            rows = next;
        }
    }
}

#[test]
fn a_fold_without_its_beginning_is_refused() {
    let facts = [Fact::CopyStarted];
    let folded = fold(&created(), facts.iter().map(|fact| (NOW, fact)));
    assert!(matches!(folded, Err(Refusal::NotInThisState { .. })), "{folded:?}");
    assert_eq!(fold(&created(), []), Ok(None));
    assert_ne!(migration_id(1), migration_id(2));
}

/// The requests that each state allows: a changed rule changes this list.
#[test]
fn what_an_operator_may_ask_is_what_the_control_plane_would_take() {
    let words = |rows: &Rows, is_last| {
        let actions = allowed_actions(&rows.migration, is_last);
        actions.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(" ")
    };
    let mirroring = Rows::mirroring(with_window());
    let paused = mirroring.after(&[Fact::Paused]);
    let requested = mirroring.after(&[Fact::CutoverRequested]);
    let withdrawn = requested.after(&[Fact::CutoverWithdrawn]);
    let cutting = mirroring.after(&[PAUSE]);
    let migrated = cutting.after(&[Fact::Switched { head: Head::EMPTY }]);
    let closed = migrated.after(&[Fact::WindowClosed]);
    let failed = mirroring.after(&[Fact::Failed { error: "x".into() }]);
    let seen = failed.after(&[Fact::Acknowledged]);
    let aborted = mirroring.after(&[Fact::Aborted { purge: false }]);
    for (rows, is_last, expected) in [
        (&mirroring, true, "cutover withdraw pause verify tune abort"),
        (&requested, true, "withdraw pause verify tune abort"),
        (&withdrawn, true, "cutover pause verify tune abort"),
        (&paused, true, "withdraw resume verify tune abort"),
        (&cutting, true, "tune abort"),
        (&migrated, true, "verify return"),
        (&migrated, false, "verify"),
        (&closed, true, "verify"),
        (&failed, true, "acknowledge tune abort"),
        (&seen, true, "tune abort"),
        (&aborted, true, ""),
    ] {
        assert_eq!(words(rows, is_last), expected, "{:?}", rows.migration.state);
    }
    let manual = |rows: &Rows| {
        let mut migration = rows.migration.clone();
        migration.options.cutover = CutoverPolicy::Manual;
        migration
    };
    // What only an operator decides, each with the command that is allowed then.
    for (migration, caught_up, expected) in [
        (manual(&mirroring), true, &[Awaited::Cutover][..]),
        (manual(&mirroring), false, &[]),
        (manual(&requested), true, &[]),
        (mirroring.migration.clone(), true, &[]),
        (paused.migration.clone(), true, &[Awaited::Resume]),
        (failed.migration.clone(), true, &[Awaited::Failure]),
        (seen.migration.clone(), true, &[]),
        (migrated.migration.clone(), true, &[]),
    ] {
        let found = awaited(&migration, caught_up);
        assert_eq!(found, expected, "{:?}", migration.state);
        for one in found {
            let advice = one.advice(&migration);
            let allowed = allowed_actions(&migration, true);
            let named = |action: &Action| advice.contains(&format!("rehome migration {action} "));
            assert!(allowed.iter().any(named), "{advice}");
        }
    }
    for action in Action::ALL {
        assert_eq!(Action::parse(action.as_str()), Some(action));
    }
}
