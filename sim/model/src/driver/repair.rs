//! `steps/repair.rs`: the copy is cut back to before the damage. The model assumes the damage
//! at the last event. The scan is one read, because what it reads can only grow meanwhile.

use rehome_domain::ledger::Head;

use super::{Next, Step, Task, is_of};
use crate::call::{Answer, Call, Change, StoreCall};

/// Where in `repair` a driver is; each is the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// Reads the copy, to find what it is to be cut back to.
    Scan,
    /// Ends the replica.
    Drop(Head),
    /// Cuts it back.
    Cut(Head),
    /// Reads the route.
    Route(Head),
    /// Records that it was cut back.
    Record {
        /// The route's revision.
        rev: u64,
        /// Where the copy ends.
        to: Head,
    },
}

impl Repair {
    pub(super) const fn call(self, task: Task) -> Call {
        match self {
            Self::Scan => Call::Store(task.target, StoreCall::Feed(0)),
            Self::Drop(_) => Call::Store(task.target, StoreCall::Drop(task.m)),
            Self::Cut(to) => Call::Store(task.target, StoreCall::CutBack { k: task.m, to }),
            Self::Route(_) => Call::route(),
            Self::Record { rev, to } => Call::record(task.id, rev, Change::CutBack(to)),
        }
    }

    pub(super) fn resume(self, task: Task, answer: Answer) -> Next {
        Some(Step::Repair(match (self, answer) {
            (Self::Scan, Answer::Feed(_, events)) => {
                let good = events.0.len().saturating_sub(1);
                Self::Drop(events.0[..good].last().map_or(Head::EMPTY, Head::of))
            }
            (Self::Drop(to), Answer::Ledger(_)) => Self::Cut(to),
            (Self::Cut(to), Answer::Ledger(ledger)) if ledger.head == to => Self::Route(to),
            (Self::Cut(to), Answer::Ledger(_)) => Self::Cut(to),
            (Self::Route(to), Answer::Row(Some(route))) if is_of(&route, task) => {
                Self::Record { rev: route.rev, to }
            }
            _ => return None,
        }))
    }
}
