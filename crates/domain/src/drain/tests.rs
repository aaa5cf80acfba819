//! The rules of drains, by example and by property.

mod rules;

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::event::Timestamp;
use crate::ids::{DrainId, MigrationId, StoreId, TenantId};

fn store(name: &str) -> StoreId {
    name.parse().unwrap()
}

fn tenant(n: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(n))
}

fn migration(n: u128) -> MigrationId {
    MigrationId::new(Uuid::from_u128(n))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn settings() -> Settings {
    let target = |name, weight| Target { store: store(name), weight };
    Settings::new(vec![store("shared")], vec![target("a", 1), target("b", 3)])
}

/// A drain of so many tenants, each with 10 events, and their rows.
fn drain(tenants: u64, settings: Settings) -> (Drain, Vec<Tenant>) {
    let rows = (1..=tenants).map(|n| Tenant {
        place: n,
        ..Tenant::waiting(tenant(n.into()), store("shared"), 10, at(0))
    });
    let counts = Counts { waiting: tenants, events: 10 * tenants, ..Counts::default() };
    let drain = Drain {
        id: DrainId::new(Uuid::from_u128(7)),
        entries: 1,
        state: State::Running,
        settings,
        counts,
        failures: 0,
        released: (0, 0),
        created_at: at(0),
        created_by: "ada".to_owned(),
        ended_at: None,
        left: None,
    };
    (drain, rows.collect())
}

fn started(row: &Tenant) -> Fact {
    let (tenant, migration) = (row.tenant, migration(row.place.into()));
    Fact::TenantStarted { tenant, migration, target: store("a"), by: "one".into() }
}

fn aside(row: &Tenant) -> Fact {
    Fact::TenantSetAside { tenant: row.tenant, why: "it lags".into() }
}

/// Applies facts that have to follow.
fn run(drain: &mut Drain, rows: &mut [Tenant], facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        step(drain, rows, &fact, at(1)).unwrap();
    }
}

fn step(drain: &mut Drain, rows: &mut [Tenant], fact: &Fact, at: Timestamp) -> Result<(), Refusal> {
    let place = fact.tenant().and_then(|tenant| rows.iter().position(|row| row.tenant == tenant));
    let (new, row) = apply(drain, place.map(|place| &rows[place]), false, fact, at)?;
    *drain = new;
    if let (Some(place), Some(row)) = (place, row) {
        rows[place] = row;
    }
    Ok(())
}

fn reports(closed: &[&str]) -> BTreeMap<StoreId, Report> {
    let report = |name: &str| Report {
        closed: closed.contains(&name).then(|| "it is cordoned".to_owned()),
        ..Report::default()
    };
    ["a", "b"].map(|name| (store(name), report(name))).into()
}

fn seen<'a>(
    drain: &'a Drain,
    rows: &'a [Tenant],
    targets: &'a BTreeMap<StoreId, Report>,
    pinned: &'a BTreeMap<TenantId, String>,
) -> Seen<'a> {
    let moving = rows.iter().filter(|row| row.state == TenantState::Moving);
    let moves = moving.map(|row| Move { row, hands: Hands::Mine, stalled: false, ready: false });
    let window_open = true;
    let next = match rows.iter().position(|row| row.state == TenantState::Waiting) {
        Some(first) => &rows[first..],
        None => rows,
    };
    Seen {
        drain,
        workers: 1,
        moves: moves.collect(),
        next,
        pinned,
        targets,
        window_open,
        now: at(2),
    }
}

fn starts(steps: &[Step]) -> Vec<(TenantId, StoreId)> {
    let started = |step: &Step| match step {
        Step::Start { tenant, target } => Some((*tenant, target.clone())),
        _ => None,
    };
    steps.iter().filter_map(started).collect()
}

#[test]
fn as_many_are_started_as_the_limit_lets_and_by_weight() {
    let limits = Limits { at_once: 8, ..Limits::default() };
    let (drain, rows) = drain(20, Settings { limits, ..settings() });
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let begun = starts(&decide(&seen(&drain, &rows, &targets, &pinned)));
    assert_eq!(begun.len(), 8);
    assert_eq!(begun.iter().filter(|(_, target)| *target == store("b")).count(), 6);
    assert_eq!(begun[0].0, tenant(1), "in their order");
    let per_target = Limits { per_target: 2, ..limits };
    let bounded =
        Drain { settings: Settings { limits: per_target, ..settings() }, ..drain.clone() };
    let begun = starts(&decide(&seen(&bounded, &rows, &targets, &pinned)));
    assert_eq!(begun.len(), 4, "two to each target");
    let mut two = seen(&drain, &rows, &targets, &pinned);
    two.workers = 2;
    assert_eq!(starts(&decide(&two)).len(), 4, "half of it is another process's");
}

#[test]
fn nobody_goes_to_a_closed_store_and_the_plan_is_kept_while_it_can_be() {
    let (drain, mut rows) = drain(2, settings());
    rows[0].target = Some(store("a"));
    let (open, a_closed, all_closed) = (reports(&[]), reports(&["a"]), reports(&["a", "b"]));
    let pinned = BTreeMap::new();
    let first = |targets| starts(&decide(&seen(&drain, &rows, targets, &pinned)));
    assert_eq!(first(&open)[0].1, store("a"), "as it was planned");
    assert!(first(&a_closed).iter().all(|(_, target)| *target == store("b")));
    assert_eq!(first(&all_closed), []);
    let why = place(&drain.settings, &all_closed, 1, None).unwrap_err().to_string();
    assert!(why.contains("a: it is cordoned; b: it is cordoned"), "{why}");
    let unknown = BTreeMap::from([(store("b"), Report::default())]);
    assert_eq!(place(&drain.settings, &unknown, 1, None), Ok(Some(store("b"))));
}

#[test]
fn free_space_and_load_decide_where_they_are_to() {
    let mut targets = reports(&[]);
    targets.get_mut(&store("a")).unwrap().free_bytes = Some(10);
    targets.get_mut(&store("b")).unwrap().free_bytes = Some(9);
    targets.get_mut(&store("a")).unwrap().tenants = 5;
    let with = |placement| {
        place(&Settings { placement, ..settings() }, &targets, 1, None).unwrap().unwrap()
    };
    assert_eq!(with(Placement::FreeSpace), store("a"));
    assert_eq!(with(Placement::LeastLoaded), store("b"));
    assert_eq!(with(Placement::Weights), store("b"));
}

#[test]
fn a_pinned_tenant_stays_and_is_refused_also_where_the_pin_came_later() {
    let (drain, rows) = drain(2, settings());
    let pinned = BTreeMap::from([(tenant(1), "a contract".to_owned())]);
    let targets = reports(&[]);
    let steps = decide(&seen(&drain, &rows, &targets, &pinned));
    let why = "a contract".to_owned();
    assert_eq!(steps[0], Step::Leave { tenant: tenant(1), stay: Stay::Pinned, why });
    assert_eq!(starts(&steps)[0].0, tenant(2));
    let refused = apply(&drain, Some(&rows[0]), true, &started(&rows[0]), at(1));
    assert_eq!(refused, Err(Refusal::Pinned(tenant(1))));
}

#[test]
fn a_stalled_move_gives_its_place_to_another_up_to_twice_the_limit() {
    let limits = Limits { at_once: 2, ..Limits::default() };
    let (mut drain, mut rows) = drain(9, Settings { limits, ..settings() });
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    for (begun, free) in [(2, 2), (4, 0)] {
        for n in 0..begun {
            if rows[n].state == TenantState::Waiting {
                let fact = started(&rows[n]);
                run(&mut drain, &mut rows, [fact]);
            }
        }
        let mut hung = seen(&drain, &rows, &targets, &pinned);
        hung.moves.iter_mut().for_each(|one| one.stalled = true);
        assert_eq!(starts(&decide(&hung)).len(), free, "{begun} hang");
    }
    let fact = started(&rows[5]);
    let refused = step(&mut drain, &mut rows, &fact, at(1));
    assert_eq!(refused, Err(Refusal::Limit("migrations at once")));
}

#[test]
fn a_tenant_is_set_aside_tried_at_the_end_and_left_when_its_tries_are_spent() {
    let (mut drain, mut rows) = drain(2, Settings { tries_max: 2, ..settings() });
    let facts = [started(&rows[0]), aside(&rows[0])];
    run(&mut drain, &mut rows, facts);
    assert_eq!((rows[0].state, drain.counts.again), (TenantState::Again, 1));
    assert_eq!(rows[0].why.as_deref(), Some("it lags"));
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let only = |rows: &[Tenant], now| {
        let mut seen = seen(&drain, rows, &targets, &pinned);
        (seen.next, seen.now) = (&rows[..1], now);
        starts(&decide(&seen)).len()
    };
    assert_eq!(only(&rows, at(30)), 0, "not before its time");
    assert_eq!(only(&rows, at(31)), 1);
    let facts = [started(&rows[0]), aside(&rows[0])];
    run(&mut drain, &mut rows, facts);
    assert_eq!((rows[0].state, drain.counts.set_aside), (TenantState::SetAside, 1));
    let facts =
        [started(&rows[1]), Fact::TenantMoved { tenant: tenant(2) }, Fact::Finished { left: 1 }];
    run(&mut drain, &mut rows, facts);
    assert_eq!((drain.state, drain.left, drain.ended_at), (State::Finished, Some(1), Some(at(1))));
    run(&mut drain, &mut rows, [Fact::TenantRetried { tenant: tenant(1) }]);
    assert_eq!((drain.state, drain.ended_at, rows[0].tries), (State::Running, None, 0));
}

#[test]
fn a_spent_budget_pauses_until_somebody_resumes() {
    let (mut drain, mut rows) = drain(3, Settings { failures_max: 2, ..settings() });
    for n in 0..2 {
        let facts = [started(&rows[n]), aside(&rows[n])];
        run(&mut drain, &mut rows, facts);
    }
    assert_eq!(drain.state, State::Paused(Halt::Budget));
    let fact = started(&rows[2]);
    assert!(matches!(step(&mut drain, &mut rows, &fact, at(1)), Err(Refusal::Drain { .. })));
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), []);
    run(&mut drain, &mut rows, [Fact::Resumed, fact]);
    assert_eq!((drain.state, drain.failures), (State::Running, 0));
}

#[test]
fn cutovers_wait_for_the_window_and_for_their_minute() {
    let limits = Limits { cutovers_per_minute: 2, ..Limits::default() };
    let (mut drain, mut rows) = drain(4, Settings { limits, ..settings() });
    let facts: Vec<_> = rows.iter().map(started).collect();
    run(&mut drain, &mut rows, facts);
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let ready = |drain: &Drain, rows: &[Tenant], open| {
        let mut seen = seen(drain, rows, &targets, &pinned);
        seen.moves.iter_mut().for_each(|one| one.ready = true);
        seen.window_open = open;
        decide(&seen)
    };
    assert_eq!(ready(&drain, &rows, false), []);
    let release = |n| Step::Release { tenant: tenant(n) };
    assert_eq!(ready(&drain, &rows, true), [release(1), release(2)]);
    let released = |n| Fact::TenantReleased { tenant: tenant(n) };
    run(&mut drain, &mut rows, [released(1), released(2)]);
    let third = step(&mut drain, &mut rows, &released(3), at(59));
    assert_eq!(third, Err(Refusal::Limit("cutovers per minute")));
    assert_eq!(ready(&drain, &rows, true), []);
    assert_eq!(step(&mut drain, &mut rows, &released(3), at(60)), Ok(()), "the next minute");
}

#[test]
fn a_cancelled_drain_starts_nothing_and_ends_when_nothing_is_at_work() {
    let (mut drain, mut rows) = drain(2, settings());
    let facts = [started(&rows[0]), Fact::Cancelled];
    run(&mut drain, &mut rows, facts);
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), []);
    assert!(step(&mut drain, &mut rows, &Fact::Finished { left: 2 }, at(1)).is_err());
    run(&mut drain, &mut rows, [Fact::TenantPutBack { tenant: tenant(1) }]);
    assert_eq!(decide(&seen(&drain, &rows, &targets, &pinned)), [Step::Finish]);
    run(&mut drain, &mut rows, [Fact::Finished { left: 2 }]);
    assert_eq!((drain.state, rows[0].state), (State::Cancelled, TenantState::Waiting));
    assert!(step(&mut drain, &mut rows, &Fact::Resumed, at(1)).is_err());
}

#[test]
fn what_is_left_by_a_process_is_taken_by_another() {
    let (mut drain, mut rows) = drain(1, settings());
    let fact = started(&rows[0]);
    run(&mut drain, &mut rows, [fact]);
    let (targets, pinned) = (reports(&[]), BTreeMap::new());
    let mut orphaned = seen(&drain, &rows, &targets, &pinned);
    orphaned.moves[0].hands = Hands::Nobody;
    assert_eq!(decide(&orphaned), [Step::Take { tenant: tenant(1) }]);
    run(&mut drain, &mut rows, [Fact::TenantTaken { tenant: tenant(1), by: "two".into() }]);
    assert_eq!((rows[0].by.as_deref(), drain.counts.moving), (Some("two"), 1));
}

#[test]
fn shares_of_a_rate_add_up_to_no_more_than_it() {
    let limits = Limits { at_once: 8, ..Limits::default() };
    let (mut drain, _) = drain(100, Settings { limits, ..settings() });
    assert_eq!(share(&drain, 8_000), 1_000);
    assert_eq!(share(&drain, 0), 0, "no bound stays none");
    (drain.counts.waiting, drain.counts.moving) = (0, 3);
    assert_eq!(share(&drain, 8_000), 2_000, "the last ones have more");
    assert_eq!(share(&drain, 1), 1, "a bound never becomes none");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let target = |name: &&str| Target { store: store(name), weight: 1 };
    let with = |sources: &[&str], targets: &[&str]| {
        let sources = sources.iter().map(|name| store(name)).collect();
        Settings::new(sources, targets.iter().map(target).collect()).check()
    };
    assert_eq!(with(&[], &["a"]), Err(InvalidSettings::NoSource));
    assert_eq!(with(&["s"], &[]), Err(InvalidSettings::NoTarget));
    assert_eq!(with(&["s"], &["a", "s"]), Err(InvalidSettings::SourceIsTarget(store("s"))));
    assert_eq!(with(&["s"], &["a", "a"]), Err(InvalidSettings::TargetTwice(store("a"))));
    let limits = Limits { at_once: 0, ..Limits::default() };
    assert!(Settings { limits, ..settings() }.check().is_err());
    assert!(settings().check().is_ok());
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let tenant = (1..5_u128).prop_map(tenant);
    (tenant, 0..13_u8).prop_map(|(tenant, kind)| match kind {
        0 => Fact::Paused,
        1 => Fact::Resumed,
        2 => Fact::Cancelled,
        3 => Fact::Finished { left: 0 },
        4 => Fact::TenantTaken { tenant, by: "two".into() },
        5 => Fact::TenantMoved { tenant },
        6 => Fact::TenantSetAside { tenant, why: "x".into() },
        7 => Fact::TenantPutBack { tenant },
        8 => Fact::TenantStays { tenant, stay: Stay::Gone, why: "x".into() },
        9 => Fact::TenantRetried { tenant },
        10 => Fact::TenantReleased { tenant },
        _ => {
            let (migration, target) = (migration(1), store("a"));
            Fact::TenantStarted { tenant, migration, target, by: "one".into() }
        }
    })
}

proptest! {
    #[test]
    fn whatever_follows_the_counts_are_those_of_the_rows(facts in prop::collection::vec(any_fact(), 0..80)) {
        let (mut drain, mut rows) = drain(4, settings());
        for fact in facts {
            let before = (drain.clone(), rows.clone());
            if step(&mut drain, &mut rows, &fact, at(1)).is_err() {
                prop_assert_eq!(&before, &(drain.clone(), rows.clone()));
            }
            let count = |wanted: fn(TenantState) -> bool| {
                rows.iter().filter(|row| wanted(row.state)).count() as u64
            };
            let counts = drain.counts;
            prop_assert_eq!(counts.waiting, count(|state| state == TenantState::Waiting));
            prop_assert_eq!(counts.again, count(|state| state == TenantState::Again));
            prop_assert_eq!(counts.moving, count(|state| state == TenantState::Moving));
            prop_assert_eq!(counts.moved, count(|state| state == TenantState::Moved));
            prop_assert_eq!(counts.set_aside, count(|state| state == TenantState::SetAside));
            prop_assert_eq!(counts.stays, count(|state| matches!(state, TenantState::Stays(_))));
            prop_assert_eq!(counts.events, 10 * (4 - counts.stays));
            prop_assert_eq!(counts.events_moved, 10 * counts.moved);
            if drain.state.is_over() {
                prop_assert_eq!(counts.moving, 0, "nothing is at work in a drain that is over");
            }
        }
    }

    #[test]
    fn what_is_decided_may_follow(begun in 0..4_usize, moved in 0..4_usize) {
        let (mut drain, mut rows) = drain(4, settings());
        for n in 0..begun {
            let fact = started(&rows[n]);
            run(&mut drain, &mut rows, [fact]);
            if n < moved {
                run(&mut drain, &mut rows, [Fact::TenantMoved { tenant: tenant(n as u128 + 1) }]);
            }
        }
        let (targets, pinned) = (reports(&[]), BTreeMap::new());
        let steps = decide(&seen(&drain, &rows, &targets, &pinned));
        for (tenant, target) in starts(&steps) {
            let fact = Fact::TenantStarted { tenant, migration: migration(9), target, by: "one".into() };
            prop_assert!(step(&mut drain, &mut rows, &fact, at(1)).is_ok());
        }
        prop_assert!(drain.counts.moving <= u64::from(drain.settings.limits.at_once));
    }
}
