//! Which fact may follow, and its effect.

use super::state::minute_of;
use super::{Counts, Drain, Fact, Halt, State, Stay, Tenant, TenantState};
use crate::event::Timestamp;
use crate::ids::TenantId;

/// Why a fact cannot follow. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in this state of the drain.
    #[error("{} is not possible while the drain is {}{}", action(fact), state.in_words(), hint(*state, fact))]
    Drain {
        /// The drain's state.
        state: State,
        /// The fact.
        fact: &'static str,
    },
    /// Not in this state of the tenant: another process was first, or there is nothing to do.
    #[error("{} is not possible while tenant {tenant} is {} in the drain", action(fact), state.as_str().replace('_', " "))]
    Tenant {
        /// The tenant.
        tenant: TenantId,
        /// The tenant's state.
        state: TenantState,
        /// The fact.
        fact: &'static str,
    },
    /// The drain has no such tenant.
    #[error("tenant {0} is not part of the drain")]
    NotOfTheDrain(TenantId),
    /// As much as may be is at work.
    #[error("the drain has reached its limit of {0}")]
    Limit(&'static str),
    /// An operator pinned the tenant.
    #[error("tenant {0} is pinned; `rehome tenant unpin` unpins it")]
    Pinned(TenantId),
    /// Its sources cannot be changed, nor a drain be changed into another one.
    #[error("the stores that a drain empties cannot be changed; start another drain")]
    Sources,
}

/// What an operator or a process wanted, in words, of the fact that would have recorded it.
fn action(fact: &str) -> String {
    match fact {
        "paused" => "a pause".to_owned(),
        "resumed" => "resuming".to_owned(),
        "tuned" => "a change of settings".to_owned(),
        "cancelled" => "cancelling".to_owned(),
        "finished" => "finishing".to_owned(),
        "tenant_started" => "a start of its migration".to_owned(),
        "tenant_retried" => "another try".to_owned(),
        other => format!("the entry \"{}\"", other.replace('_', " ")),
    }
}

fn hint(state: State, fact: &str) -> &'static str {
    match (state, fact) {
        (State::Finished | State::Cancelled, "paused" | "resumed" | "cancelled" | "tuned") => {
            "; to move what is left, start another: `rehome drain start`"
        }
        (State::Cancelling, "paused" | "resumed" | "tuned" | "tenant_retried") => {
            "; it ends when its migrations at work are over"
        }
        (State::Paused(_), "tenant_started") => "; resume it first: `rehome drain resume ID`",
        _ => "",
    }
}

/// The state after the fact. `row` is the row of the fact's tenant, if the drain has it, and `pinned`
/// whether an operator has pinned that tenant.
pub fn apply(
    drain: &Drain,
    row: Option<&Tenant>,
    pinned: bool,
    fact: &Fact,
    at: Timestamp,
) -> Result<(Drain, Option<Tenant>), Refusal> {
    let mut drain = Drain { entries: drain.entries + 1, ..drain.clone() };
    let Some(tenant) = fact.tenant() else {
        whole(&mut drain, fact, at)?;
        return Ok((drain, None));
    };
    let mut row = row.ok_or(Refusal::NotOfTheDrain(tenant))?.clone();
    let before = row.state;
    one(&mut drain, &mut row, pinned, fact, at)?;
    *count(&mut drain.counts, before) -= 1;
    *count(&mut drain.counts, row.state) += 1;
    match (before, row.state) {
        (_, TenantState::Moved) => drain.counts.events_moved += row.events,
        (_, TenantState::Stays(_)) => drain.counts.events -= row.events,
        _ => {}
    }
    if before != row.state {
        row.since = at;
    }
    Ok((drain, Some(row)))
}

/// A fact about the drain.
fn whole(drain: &mut Drain, fact: &Fact, at: Timestamp) -> Result<(), Refusal> {
    drain.state = match (fact, drain.state) {
        (Fact::Paused, State::Running) => State::Paused(Halt::Operator),
        (Fact::Resumed, State::Paused(_)) => {
            drain.failures = 0;
            State::Running
        }
        (Fact::Tuned { settings }, state) if !state.is_over() => {
            if settings.sources != drain.settings.sources {
                return Err(Refusal::Sources);
            }
            drain.settings = settings.clone();
            state
        }
        (Fact::Cancelled, State::Running | State::Paused(_)) => State::Cancelling,
        (Fact::Finished { left }, state) if drain.counts.moving == 0 => {
            let nobody = drain.counts.left() == 0;
            let to = match state {
                State::Cancelling => State::Cancelled,
                State::Running if nobody => State::Finished,
                _ => return Err(Refusal::Drain { state, fact: fact.name() }),
            };
            (drain.ended_at, drain.left) = (Some(at), Some(*left));
            to
        }
        (_, state) => return Err(Refusal::Drain { state, fact: fact.name() }),
    };
    Ok(())
}

/// A fact about one tenant.
fn one(
    drain: &mut Drain,
    row: &mut Tenant,
    pinned: bool,
    fact: &Fact,
    at: Timestamp,
) -> Result<(), Refusal> {
    let (state, tenant) = (row.state, row.tenant);
    let limits = drain.settings.limits;
    match (fact, state) {
        (
            Fact::TenantStarted { migration, target, by, .. },
            TenantState::Waiting | TenantState::Again,
        ) => {
            running(drain, fact)?;
            if pinned {
                return Err(Refusal::Pinned(tenant));
            }
            if drain.counts.moving >= 2 * u64::from(limits.at_once) {
                return Err(Refusal::Limit("migrations at once"));
            }
            row.state = TenantState::Moving;
            row.tries += 1;
            row.released = false;
            row.migration = Some(*migration);
            row.target = Some(target.clone());
            row.by = Some(by.clone());
        }
        (Fact::TenantTaken { by, .. }, TenantState::Moving) => row.by = Some(by.clone()),
        (Fact::TenantReleased { .. }, TenantState::Moving) => {
            running(drain, fact)?;
            if drain.releases_left(at) == 0 {
                return Err(Refusal::Limit("cutovers per minute"));
            }
            let minute = minute_of(at);
            let before = if drain.released.0 == minute { drain.released.1 } else { 0 };
            drain.released = (minute, before + 1);
            row.released = true;
        }
        (Fact::TenantMoved { .. }, TenantState::Moving) => {
            row.state = TenantState::Moved;
            row.why = None;
        }
        (Fact::TenantSetAside { why, .. }, TenantState::Moving) => {
            let over = row.tries >= drain.settings.tries_max;
            row.state = if over { TenantState::SetAside } else { TenantState::Again };
            row.why = Some(why.clone());
            drain.failures += 1;
            let budget = drain.settings.failures_max;
            if budget > 0 && drain.failures >= budget && drain.state == State::Running {
                drain.state = State::Paused(Halt::Budget);
            }
        }
        (Fact::TenantPutBack { .. }, TenantState::Moving) if drain.state == State::Cancelling => {
            row.state = TenantState::Waiting;
            row.tries -= 1;
        }
        (
            Fact::TenantStays { stay, why, .. },
            TenantState::Waiting | TenantState::Again | TenantState::Moving,
        ) => {
            // Of a migration that is at work it is not known where the tenant ends up.
            let gone = matches!(stay, Stay::Gone | Stay::OtherDrain);
            if state == TenantState::Moving && !gone {
                return Err(Refusal::Tenant { tenant, state, fact: fact.name() });
            }
            row.state = TenantState::Stays(*stay);
            row.why = Some(why.clone());
        }
        (Fact::TenantRetried { .. }, TenantState::SetAside) => {
            match drain.state {
                State::Finished => {
                    drain.state = State::Running;
                    drain.failures = 0;
                    (drain.ended_at, drain.left) = (None, None);
                }
                State::Running | State::Paused(_) => {}
                State::Cancelling | State::Cancelled => running(drain, fact)?,
            }
            row.state = TenantState::Waiting;
            row.tries = 0;
        }
        _ => return Err(Refusal::Tenant { tenant, state, fact: fact.name() }),
    }
    if row.state != TenantState::Moving {
        (row.by, row.released) = (None, false);
    }
    Ok(())
}

fn running(drain: &Drain, fact: &Fact) -> Result<(), Refusal> {
    match drain.state {
        State::Running => Ok(()),
        state => Err(Refusal::Drain { state, fact: fact.name() }),
    }
}

fn count(counts: &mut Counts, state: TenantState) -> &mut u64 {
    match state {
        TenantState::Waiting => &mut counts.waiting,
        TenantState::Again => &mut counts.again,
        TenantState::Moving => &mut counts.moving,
        TenantState::Moved => &mut counts.moved,
        TenantState::SetAside => &mut counts.set_aside,
        TenantState::Stays(_) => &mut counts.stays,
    }
}
