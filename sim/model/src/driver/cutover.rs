//! `steps/cutover.rs`: the seven steps, and the roll back beside them.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, follow_chain};
use rehome_domain::migration::Phase;
use rehome_domain::route::Route;

use super::mirror::continued;
use super::{Next, Step, Task, is_of};
use crate::call::{Answer, Call, Change, Events, StoreCall};
use crate::names::Site;
use crate::rule::Rule;

/// The fields that a driver needs of row *r*, which is in `cutover_paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Paused {
    /// Its revision.
    pub rev: u64,
    /// The epoch that the fence ends.
    pub from: Epoch,
    /// Its epoch.
    pub to: Epoch,
}

/// Where in `cut_over` a driver is; each is the next call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CutOver {
    /// Reads the route.
    Route,
    /// Step 1: activates the source.
    Activate {
        /// The row's revision.
        rev: u64,
        /// The store that it names.
        store: Site,
        /// And under what.
        activation: Activation,
    },
    /// Step 2: records the intent.
    Intent {
        /// The row's revision.
        rev: u64,
    },
    /// Step 3: fences.
    Fence(Paused),
    /// Step 4: opens the replica.
    Open(Paused, Head),
    /// Step 4: reads what the replica lacks.
    Read(Paused, Head, Head),
    /// Step 4: extends it.
    Extend(Paused, Head, Head, Events),
    /// Step 5: reads back what the target has stored, and compares.
    Compare(Paused, Head),
    /// Step 6: records the switch.
    Switch(Paused, Head),
    /// Records the roll back.
    RollBack {
        /// The revision of row *r*.
        rev: u64,
    },
    /// Activates the source again.
    Reactivate {
        /// The store that the row names now.
        store: Site,
        /// And under what.
        activation: Activation,
    },
    /// Step 7: reads the route.
    TargetRoute,
    /// Step 7: activates the target.
    TargetActivate {
        /// The store that the row names.
        store: Site,
        /// And under what.
        activation: Activation,
    },
    /// Step 7: notes it.
    TargetNote(Epoch),
}

impl CutOver {
    pub(super) fn call(&self, task: Task) -> Call {
        match self {
            Self::Route | Self::TargetRoute => Call::route(),
            Self::Activate { store, activation, .. }
            | Self::Reactivate { store, activation }
            | Self::TargetActivate { store, activation } => {
                Call::Store(*store, StoreCall::Activate(*activation))
            }
            Self::Intent { rev } => Call::record(task.id, *rev, Change::CutoverStarted),
            Self::Fence(row) => {
                Call::Store(task.source, StoreCall::Fence { from: row.from, to: row.to })
            }
            Self::Open(..) => Call::Store(task.target, StoreCall::Ledger),
            Self::Read(_, _, head) => Call::Store(task.source, StoreCall::Feed(head.seq)),
            Self::Extend(_, _, head, events) => Call::Store(
                task.target,
                StoreCall::Extend { m: task.m, previous: *head, events: events.clone() },
            ),
            Self::Compare(..) => Call::Store(task.target, StoreCall::Feed(0)),
            Self::Switch(row, head) => Call::record(task.id, row.rev, Change::Switched(*head)),
            Self::RollBack { rev } => Call::record(task.id, *rev, Change::RolledBack),
            Self::TargetNote(epoch) => Call::note(task.id, Change::TargetActivated(*epoch)),
        }
    }

    pub(super) fn resume(self, task: Task, answer: Answer, without: Option<Rule>) -> Next {
        let next = match (self, answer) {
            (Self::Route, Answer::Row(Some(route))) => begin(task, &route, without)?,
            (Self::Activate { rev, .. }, Answer::Ledger(_)) => Self::Intent { rev },
            (Self::Intent { .. }, Answer::Recorded(row)) => fence(&row),
            (Self::Fence(row), Answer::Ledger(fenced)) => after_fence(row, fenced, without),
            (Self::Open(row, fenced), Answer::Ledger(replica))
                if replica.check_replica(task.m).is_ok() =>
            {
                go_on(row, fenced, replica.head)
            }
            (Self::Read(row, fenced, head), Answer::Feed(_, events)) if !events.0.is_empty() => {
                Self::Extend(row, fenced, head, events)
            }
            (Self::Extend(row, fenced, ..), Answer::Ledger(replica)) => {
                go_on(row, fenced, replica.head)
            }
            (Self::Extend(row, fenced, _, events), Answer::Refused(no))
                if no.why == Refusal::NotAtHead =>
            {
                match continued(&events, no.ledger.head) {
                    Some(rest) => Self::Extend(row, fenced, no.ledger.head, rest),
                    None => go_on(row, fenced, no.ledger.head),
                }
            }
            (Self::Compare(row, fenced), Answer::Feed(ledger, events))
                if ledger.head == fenced && follow_chain(Head::EMPTY, &events.0) == Ok(fenced) =>
            {
                Self::Switch(row, fenced)
            }
            (Self::Switch(..), Answer::Recorded(_)) => Self::TargetRoute,
            // Whatever fails between the intent and the switch, or is not answered.
            (step, _) if step.expired().is_some() => step.expired()?,
            (Self::RollBack { .. }, Answer::Recorded(row) | Answer::Stale(row)) => {
                after_roll_back(&row)?
            }
            (Self::TargetRoute, Answer::Row(Some(route))) => match route.activation() {
                Some(activation) => {
                    Self::TargetActivate { store: Site::of(&route.store), activation }
                }
                None => Self::TargetNote(route.epoch),
            },
            (Self::TargetActivate { activation, .. }, Answer::Ledger(_)) => {
                Self::TargetNote(activation.epoch)
            }
            _ => return None,
        };
        Some(Step::CutOver(next))
    }

    /// Between the intent and the switch: gives the cutover up.
    pub(super) const fn expired(&self) -> Option<Self> {
        match self {
            Self::Fence(row)
            | Self::Open(row, _)
            | Self::Read(row, ..)
            | Self::Extend(row, ..)
            | Self::Compare(row, _)
            | Self::Switch(row, _) => Some(Self::RollBack { rev: row.rev }),
            _ => None,
        }
    }
}

fn begin(task: Task, route: &Route, without: Option<Rule>) -> Option<CutOver> {
    let begins = matches!(route.phase(), Some(Phase::DualWrite | Phase::CutoverPaused));
    if !begins || !is_of(route, task) {
        return None;
    }
    Some(match route.activation() {
        None => fence(route),
        Some(_) if without == Some(Rule::StepOne) => CutOver::Intent { rev: route.rev },
        Some(activation) => {
            CutOver::Activate { rev: route.rev, store: Site::of(&route.store), activation }
        }
    })
}

/// On row *r*, from step 3.
fn fence(row: &Route) -> CutOver {
    CutOver::Fence(Paused { rev: row.rev, from: row.prev_epoch, to: row.epoch })
}

fn after_fence(row: Paused, fenced: Ledger, without: Option<Rule>) -> CutOver {
    if without == Some(Rule::StepFive) {
        CutOver::Switch(row, fenced.head)
    } else {
        CutOver::Open(row, fenced.head)
    }
}

/// Until the replica has reached the fenced head.
fn go_on(row: Paused, fenced: Head, head: Head) -> CutOver {
    if head.seq < fenced.seq {
        CutOver::Read(row, fenced, head)
    } else {
        CutOver::Compare(row, fenced)
    }
}

/// Unless step 6 was first: then the cutover is done.
fn after_roll_back(row: &Route) -> Option<CutOver> {
    if row.phase() == Some(Phase::Migrated) {
        return Some(CutOver::TargetRoute);
    }
    let activation = row.activation()?;
    Some(CutOver::Reactivate { store: Site::of(&row.store), activation })
}
