//! What a process that works on a drain does next: a function from what it sees to steps.

use std::collections::BTreeMap;

use super::{Drain, Report, State, Stay, Tenant, TenantState, place};
use crate::event::Timestamp;
use crate::ids::{StoreId, TenantId};

/// Who works on a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// This process.
    Mine,
    /// Another one.
    Another,
    /// No process: the one that worked on it is gone.
    Nobody,
}

/// A move that is at work.
#[derive(Clone, Debug)]
pub struct Move<'a> {
    /// Its row.
    pub row: &'a Tenant,
    /// Who works on it.
    pub hands: Hands,
    /// It has made no progress for a while: its place may be given to another.
    pub stalled: bool,
    /// All is done that comes before the cutover.
    pub ready: bool,
}

/// What a process sees of a drain.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its row.
    pub drain: &'a Drain,
    /// Processes that work on it, this one among them.
    pub workers: u32,
    /// All that is at work.
    pub moves: Vec<Move<'a>>,
    /// Tenants that come next, in their order.
    pub next: &'a [Tenant],
    /// Those of them that operators have pinned, and why.
    pub pinned: &'a BTreeMap<TenantId, String>,
    /// The reports of the targets.
    pub targets: &'a BTreeMap<StoreId, Report>,
    /// The window is open.
    pub window_open: bool,
    /// The control plane's clock.
    pub now: Timestamp,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Continue with a tenant whose process is gone.
    Take {
        /// The tenant.
        tenant: TenantId,
    },
    /// Move a tenant.
    Start {
        /// The tenant.
        tenant: TenantId,
        /// To where.
        target: StoreId,
    },
    /// Leave a tenant where it is.
    Leave {
        /// The tenant.
        tenant: TenantId,
        /// Which kind of reason.
        stay: Stay,
        /// The reason in words.
        why: String,
    },
    /// Let a tenant's cutover begin.
    Release {
        /// The tenant.
        tenant: TenantId,
    },
    /// Record that the drain has finished.
    Finish,
}

/// What to do next, in this order.
pub fn decide(seen: &Seen<'_>) -> Vec<Step> {
    let drain = seen.drain;
    let mut steps = Vec::new();
    if drain.state.is_over() {
        return steps;
    }
    let orphans = seen.moves.iter().filter(|one| one.hands == Hands::Nobody);
    steps.extend(orphans.map(|one| Step::Take { tenant: one.row.tenant }));
    if drain.state == State::Running {
        release(seen, &mut steps);
        start(seen, &mut steps);
    }
    let is_over = match drain.state {
        State::Cancelling => drain.counts.moving == 0,
        State::Running => drain.counts.left() == 0,
        _ => false,
    };
    if is_over {
        steps.push(Step::Finish);
    }
    steps
}

/// Cutovers of what this process works on.
fn release(seen: &Seen<'_>, steps: &mut Vec<Step>) {
    if !seen.drain.settings.bounds_cutovers() || !seen.window_open {
        return;
    }
    let left = seen.drain.releases_left(seen.now) as usize;
    let due =
        seen.moves.iter().filter(|one| one.hands == Hands::Mine && one.ready && !one.row.released);
    steps.extend(due.take(left).map(|one| Step::Release { tenant: one.row.tenant }));
}

/// New moves: this process's share of the free slots.
fn start(seen: &Seen<'_>, steps: &mut Vec<Step>) {
    let (drain, limits) = (seen.drain, seen.drain.settings.limits);
    let lively = |one: &&Move<'_>| !one.stalled;
    let at_work = seen.moves.iter().filter(lively).count();
    let mine = seen.moves.iter().filter(|one| one.hands == Hands::Mine).filter(lively).count();
    let at_once = limits.at_once as usize;
    let share = at_once.div_ceil(seen.workers.max(1) as usize);
    let bound = 2 * at_once;
    let mut free = at_once
        .saturating_sub(at_work)
        .min(share.saturating_sub(mine))
        .min(bound.saturating_sub(seen.moves.len()));
    let mut targets = seen.targets.clone();
    let mut sources: BTreeMap<&StoreId, u32> = BTreeMap::new();
    for one in &seen.moves {
        if !one.stalled {
            *sources.entry(&one.row.source).or_default() += 1;
            if let Some(report) = one.row.target.as_ref().and_then(|store| targets.get_mut(store)) {
                report.moving += 1;
            }
        }
    }
    for row in seen.next {
        if free == 0 {
            return;
        }
        if let Some(why) = seen.pinned.get(&row.tenant) {
            let (tenant, why) = (row.tenant, why.clone());
            steps.push(Step::Leave { tenant, stay: Stay::Pinned, why });
            continue;
        }
        let may_start = match row.state {
            TenantState::Waiting => true,
            TenantState::Again => is_due(drain, row, seen.now),
            _ => false,
        };
        if !may_start {
            continue;
        }
        let from = sources.entry(&row.source).or_default();
        if *from >= limits.from_one() {
            continue;
        }
        // One that failed at its planned target is placed anew.
        let planned = row.target.as_ref().filter(|_| row.tries == 0);
        let Ok(Some(target)) = place(&drain.settings, &targets, row.events, planned) else {
            continue;
        };
        if let Some(report) = targets.get_mut(&target) {
            report.moving += 1;
            report.events += row.events;
            report.tenants += 1;
        }
        *from += 1;
        free -= 1;
        steps.push(Step::Start { tenant: row.tenant, target });
    }
}

/// Whether a tenant that was set aside may be tried again.
fn is_due(drain: &Drain, row: &Tenant, now: Timestamp) -> bool {
    let wait = i64::try_from(drain.settings.retry_after_ms).unwrap_or(i64::MAX);
    now.micros() >= row.since.micros().saturating_add(wait.saturating_mul(1_000))
}

/// The share of one move in a rate that all of them have together: in events or bytes per second, 0 for no
/// bound. It is the same for all, and changes only when the number at work falls to half or doubles.
pub fn share(drain: &Drain, all: u32) -> u32 {
    if all == 0 {
        return 0;
    }
    let counts = &drain.counts;
    let at_once = u64::from(drain.settings.limits.at_once.max(1));
    let left = counts.left().clamp(1, at_once);
    let parts = left.next_power_of_two().min(at_once);
    (all / u32::try_from(parts).unwrap_or(u32::MAX)).max(1)
}
