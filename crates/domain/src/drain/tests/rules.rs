//! What each fact needs and changes, and what the limits of one source and one target decide.

use super::*;

fn count(rows: &[Tenant], state: TenantState) -> usize {
    rows.iter().filter(|row| row.state == state).count()
}

fn with_limits(limits: Limits) -> Settings {
    Settings { limits, ..settings() }
}

#[test]
fn only_so_many_leave_one_source_at_once() {
    let limits = Limits { at_once: 8, per_source: 2, ..Limits::default() };
    let (mut drain, mut rows) = drain(8, with_limits(limits));
    rows[2].source = store("other");
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let begun = |drain: &Drain, rows: &[Tenant]| {
        let begun = starts(&decide(&seen(drain, rows, &targets, &pinned)));
        begun.into_iter().map(|(tenant, _)| tenant).collect::<Vec<_>>()
    };
    assert_eq!(begun(&drain, &rows), [tenant(1), tenant(2), tenant(3)], "the third has another");
    let fact = started(&rows[0]);
    run(&mut drain, &mut rows, [fact]);
    assert_eq!(begun(&drain, &rows), [tenant(2), tenant(3)], "one of two is at work");
    let mut hung = seen(&drain, &rows, &targets, &pinned);
    hung.moves[0].stalled = true;
    assert_eq!(starts(&decide(&hung)).len(), 3, "one that hangs takes no place");
}

#[test]
fn moves_at_work_count_for_their_target() {
    let limits = Limits { at_once: 8, per_target: 2, ..Limits::default() };
    let (mut drain, mut rows) = drain(8, with_limits(limits));
    let (targets, pinned) = (reports(&["b"]), BTreeMap::new());
    let begun = |drain: &Drain, rows: &[Tenant], stalled| {
        let mut seen = seen(drain, rows, &targets, &pinned);
        seen.moves.iter_mut().for_each(|one| one.stalled = stalled);
        starts(&decide(&seen)).len()
    };
    for (at_work, free) in [(0, 2), (1, 1), (2, 0)] {
        assert_eq!(begun(&drain, &rows, false), free, "{at_work} at work");
        assert_eq!(begun(&drain, &rows, true), 2, "{at_work} hang");
        let fact = started(&rows[at_work]);
        run(&mut drain, &mut rows, [fact]);
    }
}

#[test]
fn as_many_may_hang_as_are_at_work() {
    let limits = Limits { at_once: 3, ..Limits::default() };
    let (mut drain, mut rows) = drain(9, with_limits(limits));
    for n in 0..5 {
        let fact = started(&rows[n]);
        run(&mut drain, &mut rows, [fact]);
    }
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let mut hung = seen(&drain, &rows, &targets, &pinned);
    hung.moves.iter_mut().for_each(|one| one.stalled = true);
    assert_eq!(starts(&decide(&hung)).len(), 1);
    let fact = started(&rows[5]);
    run(&mut drain, &mut rows, [fact]);
    let fact = started(&rows[6]);
    let refused = step(&mut drain, &mut rows, &fact, at(1));
    assert_eq!(refused, Err(Refusal::Limit("migrations at once")));
}

#[test]
fn a_process_starts_its_share_of_what_is_free() {
    let limits = Limits { at_once: 5, ..Limits::default() };
    let (mut drain, mut rows) = drain(9, with_limits(limits));
    let facts = [started(&rows[0]), started(&rows[1])];
    run(&mut drain, &mut rows, facts);
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let begun = |hands: [Hands; 2]| {
        let mut seen = seen(&drain, &rows, &targets, &pinned);
        seen.workers = 2;
        for (one, hands) in seen.moves.iter_mut().zip(hands) {
            one.hands = hands;
        }
        starts(&decide(&seen)).len()
    };
    assert_eq!(begun([Hands::Mine; 2]), 1, "its share is three");
    assert_eq!(begun([Hands::Mine, Hands::Another]), 2);
    assert_eq!(begun([Hands::Another; 2]), 3);
}

#[test]
fn one_that_failed_at_its_planned_target_is_placed_anew() {
    let (drain, mut rows) = drain(1, settings());
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    for (tries, target) in [(0, "a"), (1, "b")] {
        rows[0] = Tenant { target: Some(store("a")), tries, ..rows[0].clone() };
        let begun = starts(&decide(&seen(&drain, &rows, &targets, &pinned)));
        assert_eq!(begun, [(tenant(1), store(target))], "{tries}");
    }
}

#[test]
fn what_a_target_is_to_have_decides_and_not_what_it_has() {
    let mut targets = reports(&[]);
    let place = |targets: &BTreeMap<StoreId, Report>, placement, events| {
        place(&Settings { placement, ..settings() }, targets, events, None).unwrap().unwrap()
    };
    // With the tenant: 30 events for a weight of 1, or 80 for one of 3; then 21 or 71.
    targets.get_mut(&store("a")).unwrap().events = 20;
    targets.get_mut(&store("b")).unwrap().events = 70;
    assert_eq!(place(&targets, Placement::Weights, 10), store("b"));
    assert_eq!(place(&targets, Placement::Weights, 1), store("a"));
    // One tenant for a weight of 1, or two for one of 3; then four.
    targets.get_mut(&store("b")).unwrap().tenants = 1;
    assert_eq!(place(&targets, Placement::LeastLoaded, 1), store("b"));
    targets.get_mut(&store("b")).unwrap().tenants = 3;
    assert_eq!(place(&targets, Placement::LeastLoaded, 1), store("a"));
    // A target that reports no free space comes last.
    targets.get_mut(&store("a")).unwrap().free_bytes = Some(1);
    assert_eq!(place(&targets, Placement::FreeSpace, 1), store("a"));
    targets.get_mut(&store("b")).unwrap().free_bytes = Some(u64::MAX);
    assert_eq!(place(&targets, Placement::FreeSpace, 1), store("b"));
}

#[test]
fn those_that_are_begun_together_are_spread_by_tenants_and_events() {
    let limits = Limits { at_once: 8, ..Limits::default() };
    let targets = reports(&[]);
    let to_b = |placement, events: &[u64]| {
        let settings = Settings { placement, ..with_limits(limits) };
        let (drain, mut rows) = drain(events.len() as u64, settings);
        for (row, events) in rows.iter_mut().zip(events) {
            row.events = *events;
        }
        let pinned = BTreeMap::new();
        let begun = starts(&decide(&seen(&drain, &rows, &targets, &pinned)));
        begun.iter().filter(|(_, target)| *target == store("b")).count()
    };
    assert_eq!(to_b(Placement::LeastLoaded, &[0; 8]), 6, "by tenants");
    assert_eq!(to_b(Placement::Weights, &[90, 30, 90, 90]), 3, "by events");
}

#[test]
fn a_drain_without_a_tenant_to_move_is_to_be_finished() {
    let (mut drain, mut rows) = drain(1, settings());
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let finished = Fact::Finished { left: 0 };
    assert!(step(&mut drain, &mut rows, &finished, at(1)).is_err(), "one is waiting");
    let fact = started(&rows[0]);
    run(&mut drain, &mut rows, [fact]);
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), []);
    assert!(step(&mut drain, &mut rows, &finished, at(1)).is_err(), "one is moving");
    run(&mut drain, &mut rows, [Fact::TenantMoved { tenant: tenant(1) }]);
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), [Step::Finish]);
    run(&mut drain, &mut rows, [finished]);
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), []);
}

#[test]
fn a_paused_drain_begins_and_finishes_nothing() {
    let (mut drain, mut rows) = drain(2, settings());
    let facts = [started(&rows[0]), Fact::Paused];
    run(&mut drain, &mut rows, facts);
    assert_eq!(drain.state, State::Paused(Halt::Operator));
    assert_eq!(drain.entries, 3, "each fact is an entry of the log");
    run(&mut drain, &mut rows, [Fact::TenantMoved { tenant: tenant(1) }]);
    let stays =
        Fact::TenantStays { tenant: tenant(2), stay: Stay::NoTarget, why: "it is full".into() };
    run(&mut drain, &mut rows, [stays]);
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), []);
    for fact in [Fact::Paused, Fact::Finished { left: 1 }] {
        let refused = Refusal::Drain { state: drain.state, fact: fact.name() };
        assert_eq!(step(&mut drain, &mut rows, &fact, at(1)), Err(refused));
    }
    run(&mut drain, &mut rows, [Fact::Resumed, Fact::Finished { left: 1 }]);
    assert_eq!(drain.state, State::Finished);
}

#[test]
fn all_but_the_sources_can_be_tuned_until_it_is_over() {
    let (mut drain, mut rows) = drain(1, settings());
    let tuned = Settings { tries_max: 7, ..settings() };
    let fact = Fact::Tuned { settings: tuned.clone() };
    run(&mut drain, &mut rows, [fact.clone()]);
    assert_eq!((&drain.settings, drain.state), (&tuned, State::Running));
    let others = Settings { sources: vec![store("other")], ..settings() };
    let refused = step(&mut drain, &mut rows, &Fact::Tuned { settings: others }, at(1));
    assert_eq!(refused, Err(Refusal::Sources));
    run(&mut drain, &mut rows, [Fact::Cancelled, fact.clone(), Fact::Finished { left: 1 }]);
    let refused = Refusal::Drain { state: State::Cancelled, fact: "tuned" };
    assert_eq!(step(&mut drain, &mut rows, &fact, at(1)), Err(refused));
}

#[test]
fn a_tenant_is_put_back_only_by_a_cancelled_drain_and_has_its_try_again() {
    let (mut drain, mut rows) = drain(1, settings());
    let facts = [started(&rows[0]), aside(&rows[0]), started(&rows[0])];
    run(&mut drain, &mut rows, facts);
    let back = Fact::TenantPutBack { tenant: tenant(1) };
    assert!(step(&mut drain, &mut rows, &back, at(1)).is_err(), "it runs");
    run(&mut drain, &mut rows, [Fact::Cancelled, back]);
    assert_eq!((rows[0].state, rows[0].tries), (TenantState::Waiting, 1));
}

#[test]
fn a_tenant_that_moves_stays_only_where_it_is_known_to_be() {
    let (mut drain, mut rows) = drain(3, settings());
    let stays = |n, stay| Fact::TenantStays { tenant: tenant(n), stay, why: "so".into() };
    let facts: Vec<_> = rows[..2].iter().map(started).collect();
    run(&mut drain, &mut rows, facts);
    for stay in [Stay::Pinned, Stay::Excluded, Stay::NoTarget] {
        assert!(step(&mut drain, &mut rows, &stays(1, stay), at(1)).is_err(), "{stay:?}");
    }
    run(&mut drain, &mut rows, [stays(1, Stay::Gone), stays(2, Stay::OtherDrain)]);
    run(&mut drain, &mut rows, [stays(3, Stay::Pinned)]);
    assert_eq!(drain.counts.stays, 3);
    assert_eq!(rows[2].why.as_deref(), Some("so"));
    let excluded = rows[0].clone().staying(Stay::Excluded, "a contract");
    let state = TenantState::Stays(Stay::Excluded);
    assert_eq!((excluded.state, excluded.why.as_deref()), (state, Some("a contract")));
}

#[test]
fn tenants_that_are_to_be_moved_are_those_of_all_states_but_one() {
    let counts = Counts {
        waiting: 1,
        again: 2,
        moving: 4,
        moved: 8,
        set_aside: 16,
        stays: 32,
        ..Counts::default()
    };
    assert_eq!((counts.to_move(), counts.left()), (31, 7));
}

#[test]
fn a_budget_is_of_a_running_drain_and_none_is_never_spent() {
    for failures_max in [0, 1] {
        let (mut drain, mut rows) = drain(2, Settings { failures_max, ..settings() });
        let facts = [started(&rows[0]), started(&rows[1]), aside(&rows[0])];
        run(&mut drain, &mut rows, facts);
        let spent = failures_max > 0;
        let state = if spent { State::Paused(Halt::Budget) } else { State::Running };
        assert_eq!((drain.state, drain.failures), (state, 1));
        // An operator's word is not overruled by a failure.
        run(&mut drain, &mut rows, [Fact::Cancelled]);
        let fact = aside(&rows[1]);
        run(&mut drain, &mut rows, [fact]);
        assert_eq!((drain.state, drain.failures), (State::Cancelling, 2));
        assert_eq!(count(&rows, TenantState::Again), 2);
    }
}

#[test]
fn a_retry_is_of_a_tenant_whose_tries_are_spent_and_not_of_a_cancelled_drain() {
    let settings = || Settings { tries_max: 1, ..settings() };
    let retried = Fact::TenantRetried { tenant: tenant(1) };
    let spent = || {
        let (mut drain, mut rows) = drain(2, settings());
        assert!(step(&mut drain, &mut rows, &retried, at(1)).is_err(), "it is waiting");
        let facts = [started(&rows[0]), aside(&rows[0])];
        run(&mut drain, &mut rows, facts);
        (drain, rows)
    };
    for halted in [vec![], vec![Fact::Paused]] {
        let (mut drain, mut rows) = spent();
        run(&mut drain, &mut rows, halted);
        let before = drain.state;
        run(&mut drain, &mut rows, [retried.clone()]);
        assert_eq!((rows[0].state, rows[0].tries), (TenantState::Waiting, 0));
        assert_eq!((drain.state, drain.failures), (before, 1), "the budget is as it was");
    }
    let (mut drain, mut rows) = spent();
    run(&mut drain, &mut rows, [Fact::Cancelled]);
    assert!(step(&mut drain, &mut rows, &retried, at(1)).is_err());
}

#[test]
fn a_drain_decides_on_cutovers_where_it_bounds_them() {
    let window = Window::parse("daily 01:00-05:00 UTC").unwrap();
    let at_night = Settings { window: Some(window), ..settings() };
    let one_a_minute = with_limits(Limits { cutovers_per_minute: 1, ..Limits::default() });
    for (settings, bounds, releases) in
        [(settings(), false, 0), (at_night, true, 3), (one_a_minute, true, 1)]
    {
        assert_eq!(settings.bounds_cutovers(), bounds);
        let (mut drain, mut rows) = drain(4, settings);
        let facts: Vec<_> = rows.iter().map(started).collect();
        run(&mut drain, &mut rows, facts);
        let (targets, pinned) = (reports(&[]), BTreeMap::new());
        let mut seen = seen(&drain, &rows, &targets, &pinned);
        // Three are ready, and a fourth is another process's.
        seen.moves.iter_mut().for_each(|one| one.ready = true);
        seen.moves[1].hands = Hands::Another;
        assert_eq!(decide(&seen).len(), releases);
    }
}

#[test]
fn facts_have_the_names_of_the_log_and_their_tenant() {
    let (tenant, why) = (tenant(1), Box::<str>::from("x"));
    let settings = settings();
    let whole = [
        (Fact::Started { settings: settings.clone(), tenants: 1, events: 1, stays: 0 }, "started"),
        (Fact::Paused, "paused"),
        (Fact::Resumed, "resumed"),
        (Fact::Tuned { settings }, "tuned"),
        (Fact::Cancelled, "cancelled"),
        (Fact::Finished { left: 0 }, "finished"),
    ];
    let of_one = [
        (started(&Tenant::waiting(tenant, store("shared"), 1, at(0))), "tenant_started"),
        (Fact::TenantTaken { tenant, by: "two".into() }, "tenant_taken"),
        (Fact::TenantReleased { tenant }, "tenant_released"),
        (Fact::TenantMoved { tenant }, "tenant_moved"),
        (Fact::TenantSetAside { tenant, why: why.clone() }, "tenant_set_aside"),
        (Fact::TenantPutBack { tenant }, "tenant_put_back"),
        (Fact::TenantStays { tenant, stay: Stay::Gone, why }, "tenant_stays"),
        (Fact::TenantRetried { tenant }, "tenant_retried"),
    ];
    for (fact, name) in whole {
        assert_eq!((fact.name(), fact.tenant()), (name, None));
    }
    for (fact, name) in of_one {
        assert_eq!((fact.name(), fact.tenant()), (name, Some(tenant)));
    }
}

#[test]
fn no_tenant_goes_to_a_target_that_was_not_read_yet() {
    let read = BTreeMap::from([(store("a"), Report::default())]);
    for planned in [None, Some(&store("b"))] {
        assert_eq!(place(&settings(), &read, 1, planned), Ok(Some(store("a"))));
    }
    let why = place(&settings(), &BTreeMap::new(), 1, None).unwrap_err().to_string();
    assert!(why.contains("a: it has not been read yet; b: it has not been read yet"), "{why}");
}

/// A refusal is about states and actions, and says how to continue; never about entries of a log.
#[test]
fn a_refusal_of_a_drain_names_the_state_the_action_and_the_way_on() {
    let of_drain = |state, fact| Refusal::Drain { state, fact }.to_string();
    assert_eq!(
        of_drain(State::Finished, "paused"),
        "a pause is not possible while the drain is finished; to move what is left, start another: `rehome drain start`"
    );
    assert_eq!(
        of_drain(State::Paused(Halt::Budget), "tenant_started"),
        "a start of its migration is not possible while the drain is paused, because too many tenants failed; \
         resume it first: `rehome drain resume ID`"
    );
    assert_eq!(
        of_drain(State::Cancelling, "resumed"),
        "resuming is not possible while the drain is being cancelled; it ends when its migrations at work are over"
    );
    let of_tenant =
        Refusal::Tenant { tenant: tenant(1), state: TenantState::SetAside, fact: "tenant_retried" };
    let words = of_tenant.to_string();
    assert!(words.starts_with("another try is not possible while tenant 00000000-"), "{words}");
    assert!(words.ends_with(" is set aside in the drain"), "{words}");
}
