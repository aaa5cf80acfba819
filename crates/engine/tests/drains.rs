//! Drains: stores are emptied whatever happens to one tenant, one store or one process.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "a kit")]
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet::{Deployment, drain_id, is_finished, settings, store, tenant};
use rehome_domain::drain::{
    Fact, Limits, Notice, Settings, State, Stay, Target, TenantState, Window,
};
use rehome_domain::event::Timestamp;
use rehome_domain::migration::Phase;
use rehome_engine::drain::{DrainError, DrainRequest};
use rehome_ports::fault::{Op, StoreOp};
use rehome_ports::{
    AppendError, Condition, ControlPlane as _, EventStore as _, Fleet as _, LedgerStore as _,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const HOURS: Duration = Duration::from_secs(36_000);

#[tokio::test(start_paused = true)]
async fn a_store_is_emptied_to_two_and_the_end_says_so() {
    let world = Deployment::new();
    world.fill(40).await;
    let process = world.process("one");
    let _work = process.work();
    let begun = process.start(drain_id(1), settings(8)).await;
    assert_eq!(begun.counts.waiting, 40);
    let over = world.over(drain_id(1)).await;
    assert_eq!((over.state, over.left), (State::Finished, Some(0)));
    assert_eq!((over.counts.moved, over.counts.events_moved), (40, over.counts.events));
    world.check(drain_id(1), 40).await;
    let mut at = BTreeMap::new();
    for n in 1..=40 {
        *at.entry(world.store_of(tenant(n)).await).or_insert(0) += 1;
    }
    assert_eq!(at.keys().cloned().collect::<Vec<_>>(), [store("x"), store("y")]);
    assert!(at.values().all(|tenants| *tenants > 10), "{at:?}");
    // The smallest ones came first.
    let rows = world.rows(drain_id(1)).await;
    assert!(rows.is_sorted_by_key(|row| row.events));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_befalls_one_tenant_is_noticed_by_another() {
    const TENANTS: u64 = 300;
    let world = Deployment::new();
    world.fill(TENANTS).await;
    // One is poisoned: both targets hold other events of it.
    for target in &world.stores[1..] {
        let poisoned = rehome_domain::ledger::Activation {
            epoch: rehome_domain::ids::Epoch(1),
            base: 0,
            created: false,
        };
        target.activate(tenant(7), poisoned).await.unwrap();
    }
    let process = world.process("one");
    process.control.slow(Op::Any, Duration::from_micros(50));
    let begun = Instant::now();
    let _work = process.work();
    let plan = process.plan(settings(8)).await;
    // One is stuck in its cutover: the call that fences it does not return.
    let stuck = process.stores[0].gate_before(StoreOp::Fence);
    process.drains.start(drain_id(1), plan).await.unwrap();
    // A target hangs, from a while after the beginning on.
    world.until(drain_id(1), |drain| drain.counts.moved > 50).await;
    process.stores[2].slow(Op::Any, HOURS);
    let most = world.until(drain_id(1), |drain| drain.counts.moved >= TENANTS - 1 - 8 - 1).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}: {most:?}", begun.elapsed());
    process.stores[2].heal();
    // A stuck migration is aborted, and retried.
    let over = world.over(drain_id(1)).await;
    drop(stuck);
    assert_eq!((over.counts.moved, over.counts.set_aside), (TENANTS - 1, 1), "{over:?}");
    assert_eq!((over.state, over.left), (State::Finished, Some(1)));
    let row = world.control.drain_tenant(drain_id(1), tenant(7)).await.unwrap().unwrap();
    assert_eq!((row.state, row.tries), (TenantState::SetAside, 3));
    assert!(row.why.as_deref().unwrap().contains("other events"), "{:?}", row.why);
    assert_eq!(world.store_of(tenant(7)).await, store("shared"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_at_any_step_loses_none_of_it() {
    for step in (1..400).step_by(9) {
        let world = Deployment::new();
        world.fill(5).await;
        let (one, two) = (world.process("one"), world.process("two"));
        let plan = two.plan(settings(2)).await;
        let work = one.work();
        two.drains.start(drain_id(1), plan).await.unwrap();
        let killed = one.control.called(Op::Any, step);
        let ends = world.over(drain_id(1));
        tokio::select! {
            biased;
            () = killed => {}
            _ = ends => {}
        }
        drop(work);
        let _work = two.work();
        let over = world.over(drain_id(1)).await;
        assert_eq!((over.counts.moved, over.left), (5, Some(0)), "killed at step {step}");
        world.check(drain_id(1), 5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_lost_changes_nothing() {
    for lost in [1, 2, 3, 5, 8] {
        let world = Deployment::new();
        world.fill(6).await;
        let one = world.process("one");
        let plan = one.plan(settings(2)).await;
        one.drains.start(drain_id(1), plan).await.unwrap();
        one.control.lose_reply(rehome_ports::fault::ControlOp::RecordDrain, lost);
        one.control.lose_reply(rehome_ports::fault::ControlOp::Record, lost);
        let _work = one.work();
        let over = world.over(drain_id(1)).await;
        assert_eq!(over.counts.moved, 6, "{lost} were lost");
        world.check(drain_id(1), 6).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_process_shares_the_work() {
    let world = Deployment::new();
    world.fill(60).await;
    let (one, two) = (world.process("one"), world.process("two"));
    for process in [&one, &two] {
        process.control.slow(Op::Any, Duration::from_millis(2));
    }
    let work = one.work();
    one.start(drain_id(1), settings(4)).await;
    world.until(drain_id(1), |drain| drain.counts.moved >= 10).await;
    let _work = two.work();
    world.until(drain_id(1), |drain| drain.counts.moved >= 30).await;
    // And one that stops leaves its part to the other.
    work.stop.cancel();
    let over = world.over(drain_id(1)).await;
    assert_eq!(over.counts.moved, 60);
    world.check(drain_id(1), 60).await;
    let mut by: BTreeMap<Box<str>, u32> = BTreeMap::new();
    for entry in world.control.drain_log(drain_id(1), 0, usize::MAX).await.unwrap() {
        if let Fact::TenantStarted { by: process, .. } = entry.fact {
            *by.entry(process).or_default() += 1;
        }
    }
    assert!(by.len() == 2 && by.values().all(|tenants| *tenants >= 10), "{by:?}");
}

#[tokio::test(start_paused = true)]
async fn two_drains_that_want_one_tenant_move_it_once() {
    let world = Deployment::new();
    world.fill(10).await;
    let process = world.process("one");
    let plan = process.plan(settings(2)).await;
    process.drains.start(drain_id(1), plan.clone()).await.unwrap();
    // The plan was made before, and a new one leaves them to the first drain.
    let refused = process.drains.start(drain_id(2), plan.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("the plan is outdated: drain"), "{refused}");
    let again = process.plan(settings(2)).await;
    let others = TenantState::Stays(Stay::OtherDrain);
    assert!(again.tenants.iter().all(|row| row.state == others));
    let refused = process.drains.start(drain_id(2), again).await.unwrap_err();
    assert!(matches!(refused, DrainError::Nothing(_)), "{refused}");
    // Both at the same moment: the control plane has no rule against it, and needs none.
    let new = rehome_ports::NewDrain {
        id: drain_id(3),
        settings: plan.settings.clone(),
        tenants: plan.tenants.clone(),
        actor: "another".to_owned(),
    };
    world.control.start_drain(&new).await.unwrap();
    let _work = process.work();
    let (first, third) = (world.over(drain_id(1)).await, world.over(drain_id(3)).await);
    let counts = (first.counts, third.counts);
    assert_eq!(counts.0.moved + counts.1.moved, 10, "{counts:?}");
    assert_eq!(counts.0.stays + counts.1.stays, 10, "{counts:?}");
    for n in 1..=10 {
        assert_ne!(world.store_of(tenant(n)).await, store("shared"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_cancelled_in_the_middle_of_cutovers_ends_whole() {
    for passes in [true, false] {
        let world = Deployment::new();
        world.fill(20).await;
        let process = world.process("one");
        let _work = process.work();
        let plan = process.plan(settings(4)).await;
        let gates = [(); 3].map(|()| process.stores[0].gate_before(StoreOp::Fence));
        process.drains.start(drain_id(1), plan).await.unwrap();
        for gate in &gates {
            gate.reached().await;
        }
        let cancelled = process.drains.cancel(drain_id(1)).await.unwrap();
        assert_eq!(cancelled.state, State::Cancelling);
        if passes {
            for gate in gates {
                gate.open();
            }
            world.over(drain_id(1)).await;
        } else {
            // The calls never return: their cutovers are rolled back when their deadlines pass.
            world.over(drain_id(1)).await;
            drop(gates);
        }
        let over = world.over(drain_id(1)).await;
        assert_eq!((over.state, over.counts.moving, over.failures), (State::Cancelled, 0, 0));
        assert_eq!(over.left, Some(20 - over.counts.moved));
        world.check(drain_id(1), 20).await;
        sleep(Duration::from_secs(5)).await;
        for n in 1..=20 {
            let phase = world.control.route(tenant(n)).await.unwrap().unwrap().phase();
            assert!(phase.is_none_or(Phase::is_terminal), "tenant {n} is {phase:?}");
        }
    }
}

/// The switch is recorded, and the first call that activates the target does not return while the drain is cancelled:
/// the tenant has moved, and another call activates its target.
#[tokio::test(start_paused = true)]
async fn a_tenant_past_its_switch_has_moved_although_the_drain_is_cancelled() {
    let world = Deployment::new();
    world.fill(1).await;
    let process = world.process("one");
    let _work = process.work();
    let plan = process.plan(settings(1)).await;
    let gates = [1, 2].map(|target| process.stores[target].gate_before(StoreOp::Activate));
    process.drains.start(drain_id(1), plan).await.unwrap();
    while world.store_of(tenant(1)).await == store("shared") {
        sleep(Duration::from_millis(10)).await;
    }
    process.drains.cancel(drain_id(1)).await.unwrap();
    let over = world.over(drain_id(1)).await;
    assert_eq!((over.state, over.counts.moved), (State::Cancelled, 1));
    drop(gates);
    world.check(drain_id(1), 1).await;
}

#[tokio::test(start_paused = true)]
async fn cutovers_come_in_the_window_and_so_many_a_minute() {
    let world = Deployment::new();
    world.fill(12).await;
    let process = world.process("one");
    let _work = process.work();
    let limits = Limits { at_once: 12, cutovers_per_minute: 4, ..Limits::default() };
    // It is 01:00 in Berlin when the test begins.
    let window = Some(Window::parse("Mon-Fri 03:00-05:00 Europe/Berlin").unwrap());
    let plan = process.plan(Settings { limits, window, ..settings(12) }).await;
    assert_eq!(plan.opens, Some(Timestamp::from_micros(1_767_571_200_000_000 + 7_200_000_000)));
    process.drains.start(drain_id(1), plan).await.unwrap();
    let begun = Instant::now();
    sleep(Duration::from_secs(7_190)).await;
    let waits = world.control.drain(drain_id(1)).await.unwrap();
    assert_eq!((waits.counts.moving, waits.counts.moved), (12, 0), "copied, and not cut over");
    let over = world.over(drain_id(1)).await;
    assert_eq!(over.counts.moved, 12);
    let minutes = begun.elapsed().as_secs() / 60;
    assert!((122..125).contains(&minutes), "three minutes of four cutovers: {minutes}");
    world.check(drain_id(1), 12).await;
}

#[tokio::test(start_paused = true)]
async fn pins_and_cordons_that_come_later_are_kept() {
    let world = Deployment::new();
    world.fill(30).await;
    let process = world.process("one");
    let plan = process.plan(settings(2)).await;
    process.drains.start(drain_id(1), plan).await.unwrap();
    let row = world.rows(drain_id(1)).await.pop().unwrap();
    process.drains.pin(row.tenant, Some("a contract")).await.unwrap();
    process.drains.cordon(&store("x"), Some("it is slow")).await.unwrap();
    let _work = process.work();
    let over = world.over(drain_id(1)).await;
    assert_eq!((over.counts.moved, over.counts.stays, over.left), (29, 1, Some(1)));
    for row in world.rows(drain_id(1)).await {
        match row.state {
            TenantState::Stays(stay) => {
                assert_eq!((stay, row.why.as_deref()), (Stay::Pinned, Some("pinned: a contract")));
            }
            _ => assert_eq!(row.target, Some(store("y")), "nobody went to the cordoned store"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_pauses_and_an_operator_goes_on() {
    let world = Deployment::new();
    world.fill(12).await;
    let process = world.process("one");
    let plan = process.plan(Settings { failures_max: 4, tries_max: 1, ..settings(2) }).await;
    // Both targets refuse what every copy begins with.
    for script in &process.stores[1..] {
        script.fail_with(StoreOp::Adopt, rehome_ports::FaultKind::Corrupt("a bad page".to_owned()));
    }
    process.drains.start(drain_id(1), plan).await.unwrap();
    let _work = process.work();
    let spent = world.until(drain_id(1), |drain| drain.state.as_str() == "budget_spent").await;
    assert!(spent.failures >= 4 && spent.counts.set_aside <= 6, "{spent:?}");
    sleep(Duration::from_secs(60)).await;
    let paused = world.until(drain_id(1), |drain| drain.counts.moving == 0).await;
    assert_eq!(paused.counts.moved, 0);
    for script in &process.stores[1..] {
        script.heal();
    }
    process.drains.resume(drain_id(1)).await.unwrap();
    let over = world.until(drain_id(1), is_finished).await;
    assert_eq!(over.counts.moved + over.counts.set_aside, 12);
    let set_aside = over.counts.set_aside;
    assert_eq!(process.drains.retry(drain_id(1), &[]).await.unwrap(), set_aside);
    let over = world.until(drain_id(1), is_finished).await;
    assert_eq!((over.counts.moved, over.left), (12, Some(0)));
    world.check(drain_id(1), 12).await;
}

#[tokio::test(start_paused = true)]
async fn bad_plans_are_refused_with_a_reason() {
    let world = Deployment::new();
    world.fill(3).await;
    let process = world.process("one");
    let plan = |settings: Settings| {
        let (only, exclude) = (BTreeSet::new(), BTreeSet::new());
        process.drains.plan(DrainRequest { settings, only, exclude })
    };
    let with =
        |window: &str| Settings { window: Some(Window::parse(window).unwrap()), ..settings(2) };
    let refused = plan(with("daily 01:00-02:00 Europe/Atlantis")).await.unwrap_err();
    assert!(refused.to_string().contains("unknown time zone \"Europe/Atlantis\""), "{refused}");
    let refused = plan(with("2020-01-01 01:00-02:00 UTC")).await.unwrap_err();
    assert!(refused.to_string().contains("never opens again"), "{refused}");
    process.drains.cordon(&store("y"), Some("")).await.unwrap();
    let refused = plan(settings(2)).await.unwrap_err();
    assert_eq!(refused.to_string(), "store y cannot be a target: it is cordoned");
    process.drains.cordon(&store("y"), None).await.unwrap();
    let mut other = plan(settings(2)).await.unwrap();
    other.deployment = "another".to_owned();
    let refused = process.drains.start(drain_id(1), other).await.unwrap_err();
    assert!(refused.to_string().contains("it was made for deployment another"), "{refused}");
    // A tenant moves on its own between the plan and the start.
    let old = plan(settings(2)).await.unwrap();
    let _work = process.work();
    let operations = rehome_engine::migration::Operations::new(&process.engine, "ada");
    operations.start(tenant(2), &store("x"), settings(2).options).await.unwrap();
    while world.store_of(tenant(2)).await != store("x") {
        sleep(Duration::from_millis(10)).await;
    }
    let refused = process.drains.start(drain_id(1), old).await.unwrap_err();
    assert!(refused.to_string().contains("is not where the plan has it"), "{refused}");
}

/// An operator moves a tenant out of the source after the drain began: the drain leaves it where the operator put it.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_somebody_else_moved_meanwhile_stays_where_it_is() {
    let world = Deployment::new();
    world.fill(3).await;
    let process = world.process("one");
    let targets = vec![Target { store: store("x"), weight: 1 }];
    let to_x = Settings { targets, ..settings(1) };
    let begun = process.start(drain_id(1), to_x).await;
    assert_eq!(begun.counts.waiting, 3);
    let (supervisor, stop) = (process.supervisor.clone(), CancellationToken::new());
    let ends = stop.clone();
    let migrations = tokio::spawn(async move { supervisor.run_all(&ends).await });
    let operations = rehome_engine::migration::Operations::new(&process.engine, "ada");
    operations.start(tenant(2), &store("y"), settings(1).options).await.unwrap();
    while world.store_of(tenant(2)).await != store("y") {
        sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    migrations.await.unwrap();
    let _work = process.work();
    let over = world.over(drain_id(1)).await;
    assert_eq!((over.counts.moved, over.counts.stays), (2, 1));
    let row =
        world.rows(drain_id(1)).await.into_iter().find(|row| row.tenant == tenant(2)).unwrap();
    assert_eq!(row.state, TenantState::Stays(Stay::Gone));
    assert_eq!(world.store_of(tenant(2)).await, store("y"));
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_store_takes_no_arrivals_and_no_new_tenants() {
    let world = Deployment::new();
    world.fill(1).await;
    let process = world.process("one");
    let notice =
        Notice { at: Timestamp::from_micros(1), by: "ada".to_owned(), why: "old".to_owned() };
    world.control.set_cordon(&store("x"), Some(&notice)).await.unwrap();
    let operations = rehome_engine::migration::Operations::new(&process.engine, "ada");
    let refused = operations.start(tenant(1), &store("x"), settings(1).options).await.unwrap_err();
    assert!(refused.to_string().contains("store x was cordoned by ada: old"), "{refused}");
    world.control.set_cordon(&store("shared"), Some(&notice)).await.unwrap();
    let append = fleet::one_event(1);
    let refused = process.engine.router().append(tenant(2), append).await.unwrap_err();
    assert!(refused.to_string().contains("is cordoned and accepts no new tenants"), "{refused}");
    assert!(
        matches!(refused, AppendError::NotWritten { .. }),
        "waiting does not help: {refused:?}"
    );
    process.append(tenant(1), 50).await;
}

#[tokio::test(start_paused = true)]
async fn an_append_to_an_unknown_tenant_is_refused_where_that_is_wanted() {
    let world = Deployment::new();
    world.fill(1).await;
    let process = world.process_that_makes_no_tenants();
    let append = process.engine.router().append(tenant(2), fleet::one_event(1));
    let refused = append.await.unwrap_err();
    assert!(matches!(refused, AppendError::NotWritten { .. }), "{refused:?}");
    assert!(refused.to_string().contains("refuse_unknown_tenants"), "{refused}");
    assert_eq!(world.control.route(tenant(2)).await.unwrap(), None);
    process.append(tenant(1), 50).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_target_gets_no_tenant_until_it_has_room() {
    let world = Deployment::new();
    world.fill(20).await;
    let process = world.process("one");
    let free = |bytes: Option<u64>| Condition { free_bytes: bytes, ..Condition::default() };
    world.stores[1].report(free(Some(1 << 20)));
    world.stores[2].report(free(Some(1 << 40)));
    let asked = DrainRequest {
        settings: Settings {
            targets: vec![Target { store: store("x"), weight: 1 }],
            ..settings(4)
        },
        only: BTreeSet::new(),
        exclude: BTreeSet::new(),
    };
    let refused = process.drains.plan(asked).await.unwrap_err();
    assert!(refused.to_string().contains("it is full: 1048576 bytes are left"), "{refused}");
    let request = rehome_engine::migration::PlanRequest { tenant: tenant(1), target: store("x") };
    let plan = process.engine.plan(&request).await.unwrap();
    let full = plan.findings.iter().find(|finding| finding.check == "target has room").unwrap();
    assert!(!full.ok && full.detail.contains("it is full"), "{full:?}");

    // It becomes full between the plan and the work.
    world.stores[1].report(free(None));
    let plan = process.plan(settings(4)).await;
    process.drains.start(drain_id(1), plan).await.unwrap();
    world.stores[1].report(free(Some(1 << 20)));
    let _work = process.work();
    sleep(Duration::from_secs(120)).await;
    for row in world.rows(drain_id(1)).await {
        assert_ne!((row.state, row.target), (TenantState::Moved, Some(store("x"))));
    }
    world.stores[1].report(free(Some(1 << 40)));
    let over = world.over(drain_id(1)).await;
    assert_eq!((over.counts.moved, over.left), (20, Some(0)));
    world.check(drain_id(1), 20).await;
}
