//! Property 7, as a property of every state: a single process finishes from here.
//!
//! A search for cycles without an end is unsound in most model checkers, this one
//! included. So a finisher runs from each state: deterministic, without faults, with every other process
//! dead. That is stronger, and it is checked like any other property.

use rehome_domain::migration::{Command, Phase, Repair, State};
use rehome_domain::removal::Removal;

use crate::call::{Call, Change, ControlCall};
use crate::driver::{Driver, command};
use crate::remover::Remover;
use crate::router::{At, Outcome, Router};
use crate::rule::Rule;
use crate::world::Durable;

/// More steps than any finisher takes; one that needs more is in a cycle.
const STEPS_MAX: usize = 120;

/// A router alone, in the state it is in, gets its append acknowledged. The deadline of a cutover
/// that it meets passes at once.
pub(crate) fn router(durable: &Durable, router: &Router, without: Option<Rule>) -> bool {
    let (mut durable, mut router) = (durable.clone(), router.clone());
    for _ in 0..STEPS_MAX {
        if router.may_expire(without) {
            router.at = At::RollBack;
        }
        let Some(call) = router.call() else { return true };
        let answer = durable.perform(&call, without);
        if let Outcome::Acknowledged(_) = router.resume(answer, without) {
            return true;
        }
    }
    false
}

/// Whether the tenant is being removed: its writers wait for an operator then.
pub(crate) fn is_being_removed(durable: &Durable) -> bool {
    let route = durable.control.route.as_ref();
    route.is_some_and(|route| matches!(route.removal, Some(Removal::Running { .. })))
}

/// An operator alone ends the removal that is under way; what is there then.
pub(crate) fn remover(durable: &Durable, without: Option<Rule>) -> Option<Durable> {
    let mut durable = durable.clone();
    let mut remover = Remover::begin();
    for _ in 0..STEPS_MAX {
        let answer = durable.perform(&remover.call(), without);
        match remover.resume(answer, without) {
            Some(next) => remover = next,
            None => break,
        }
    }
    (!is_being_removed(&durable)).then_some(durable)
}

/// A single coordinator, in its present state, brings the migrations to their end: running ones
/// to `migrated`, ended ones to where there is nothing left to do. It rolls no cutover back,
/// unless it had decided to before.
pub(crate) fn driver(durable: &Durable, driver: &Driver, without: Option<Rule>) -> bool {
    let (mut durable, mut driver) = (durable.clone(), driver.clone());
    let mut excused = driver.is_rolling_back();
    for _ in 0..STEPS_MAX {
        let Some(call) = driver.call() else {
            // An open violation waits for an operator, who requests the repair.
            let asked = durable.control.decide(Change::RepairRequested, without);
            if let Some(control) = asked.filter(|_| is_open(&durable)) {
                durable.control = control;
            }
            // A withdrawn cutover is requested again.
            let asked = durable.control.decide(Change::CutoverRequested, without);
            if let Some(control) = asked.filter(|_| is_withdrawn(&durable)) {
                durable.control = control;
            }
            match next(&durable) {
                None => return is_over(&durable),
                Some(next) => driver = next,
            }
            continue;
        };
        if is_roll_back(&call) && !std::mem::take(&mut excused) {
            // A roll back on an outdated row has no effect, and leads to a new observation.
            let stands = durable.control.route.as_ref().is_some_and(|now| is_on(&call, now.rev));
            // An open violation blocks the switch, so there is nothing else to do.
            if stands && !is_open(&durable) {
                return false;
            }
        }
        let answer = durable.perform(&call, without);
        driver.resume(answer, without);
    }
    false
}

/// The newest migration that something is left to do for.
fn next(durable: &Durable) -> Option<Driver> {
    let rows = durable.control.migrations.iter().enumerate().rev();
    rows.filter(|(_, row)| !matches!(command(row, true), Command::Done | Command::Wait))
        .find_map(|(id, row)| Some(Driver::observe(u8::try_from(id).ok()?, row, true, false)))
}

/// There is nothing left to do, and the last migration has not been aborted on the way.
fn is_over(durable: &Durable) -> bool {
    durable.control.last().is_none_or(|last| match last.state {
        State::Migrated { activated, .. } => activated,
        state => matches!(state.phase(), Phase::RolledBack | Phase::Failed | Phase::Paused),
    })
}

/// A violation is open and no repair was requested.
fn is_open(durable: &Durable) -> bool {
    let open = durable.control.last().and_then(|last| last.violations.open.as_ref());
    open.is_some_and(|open| open.repair == Repair::NotRequested)
}

fn is_withdrawn(durable: &Durable) -> bool {
    durable.control.last().is_some_and(|last| !last.wants_cutover())
}

fn is_roll_back(call: &Call) -> bool {
    matches!(call, Call::Control(ControlCall::Record { change: Change::RolledBack, .. }))
}

fn is_on(call: &Call, now: u64) -> bool {
    matches!(call, Call::Control(ControlCall::Record { rev: Some(rev), .. }) if *rev == now)
}
