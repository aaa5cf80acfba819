//! `steps/prepare.rs`: the target becomes the migration's replica.

use rehome_domain::ledger::{Head, Role};

use super::{Next, Step, Task};
use crate::call::{Answer, Call, Change, StoreCall};
use crate::rule::Rule;

/// Where in `prepare` a driver is; each is the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prepare {
    /// Reads the route.
    Route,
    /// Reads the target's ledger.
    Look {
        /// The route's revision.
        rev: u64,
    },
    /// Searches for the target's head in the source.
    Prove {
        /// The route's revision.
        rev: u64,
        /// The target's head.
        head: Head,
    },
    /// Adopts.
    Adopt {
        /// The route's revision.
        rev: u64,
        /// The head that was proven.
        head: Head,
    },
    /// Records that copying begins.
    Record {
        /// The route's revision.
        rev: u64,
    },
}

impl Prepare {
    pub(super) const fn call(self, task: Task) -> Call {
        match self {
            Self::Route => Call::route(),
            Self::Look { .. } => Call::Store(task.target, StoreCall::Ledger),
            Self::Prove { head, .. } => Call::Store(task.source, StoreCall::DigestAt(head.seq)),
            Self::Adopt { head, .. } => {
                Call::Store(task.target, StoreCall::Adopt { m: task.m, head })
            }
            Self::Record { rev } => Call::record(task.id, rev, Change::CopyStarted),
        }
    }

    pub(super) fn resume(self, task: Task, answer: Answer, without: Option<Rule>) -> Next {
        Some(Step::Prepare(match (self, answer) {
            (Self::Route, Answer::Row(Some(route))) => Self::Look { rev: route.rev },
            (Self::Look { rev }, Answer::Ledger(ledger)) => {
                let ours = ledger.role == Role::Replica && ledger.epoch == task.m;
                let head = ledger.head;
                if ours && without != Some(Rule::AdoptIsRetriable) {
                    Self::Record { rev }
                } else if head.seq == 0 || without == Some(Rule::AdoptWhatIsProven) {
                    Self::Adopt { rev, head }
                } else {
                    Self::Prove { rev, head }
                }
            }
            (Self::Prove { rev, head }, Answer::Digest(Some(digest))) if digest == head.digest => {
                Self::Adopt { rev, head }
            }
            (Self::Adopt { rev, .. }, Answer::Ledger(_)) => Self::Record { rev },
            _ => return None,
        }))
    }
}
