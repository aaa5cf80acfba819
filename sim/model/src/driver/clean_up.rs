//! `steps/clean_up.rs`: after an abort, drop the replica, then purge it; after a window, drop it.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Refusal, Role};

use super::{Next, Step, Task};
use crate::call::{Answer, Call, Change, StoreCall};
use crate::names::Site;

/// Where in `retire` a driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retire {
    store: Site,
    authority: Site,
    m: Epoch,
    /// Continues with the purge and records nothing: only where the clean-up comes before the abort.
    early: bool,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Look,
    Prove(Head),
    Adopt(Head),
    Drop,
    Note,
}

impl Retire {
    /// The target of an aborted migration.
    pub(super) const fn of_target(task: Task, early: bool) -> Self {
        Self { store: task.target, authority: task.source, m: task.m, early, at: At::Look }
    }

    /// The old source, after its window was closed.
    pub(super) const fn of_source(task: Task, m: Epoch) -> Self {
        Self { store: task.source, authority: task.target, m, early: false, at: At::Look }
    }

    pub(super) const fn call(self, task: Task) -> Call {
        match self.at {
            At::Look => Call::Store(self.store, StoreCall::Ledger),
            At::Prove(head) => Call::Store(self.authority, StoreCall::DigestAt(head.seq)),
            At::Adopt(head) => Call::Store(self.store, StoreCall::Adopt { m: self.m, head }),
            At::Drop => Call::Store(self.store, StoreCall::Drop(self.m)),
            At::Note => Call::note(task.id, Change::ReplicaDropped),
        }
    }

    pub(super) fn resume(self, answer: Answer) -> Next {
        let at = match (self.at, answer) {
            (At::Look, Answer::Ledger(ledger)) if ledger.epoch >= self.m => At::Drop,
            (At::Look, Answer::Ledger(ledger)) if ledger.head.seq == 0 => At::Adopt(ledger.head),
            (At::Look, Answer::Ledger(ledger)) => At::Prove(ledger.head),
            (At::Prove(head), Answer::Digest(Some(digest))) if digest == head.digest => {
                At::Adopt(head)
            }
            (At::Prove(_), Answer::Digest(_)) => At::Drop,
            // A ledger that has changed does not belong to this migration.
            (At::Adopt(_), Answer::Refused(no)) if no.why == Refusal::NotAtHead => return None,
            (At::Adopt(_), Answer::Ledger(_) | Answer::Refused(_)) => At::Drop,
            (At::Drop, Answer::Ledger(_)) if self.early => {
                return Some(Step::Purge(Purge { store: self.store, k: self.m, over: false }));
            }
            (At::Drop, Answer::Ledger(_) | Answer::Refused(_)) if !self.early => At::Note,
            _ => return None,
        };
        Some(Step::Retire(Self { at, ..self }))
    }
}

/// The purge of an aborted migration's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purge {
    store: Site,
    k: Epoch,
    over: bool,
}

impl Purge {
    pub(super) const fn begin(task: Task) -> Self {
        Self { store: task.target, k: task.m, over: false }
    }

    pub(super) const fn call(self, task: Task) -> Call {
        if self.over {
            Call::note(task.id, Change::Purged)
        } else {
            Call::Store(self.store, StoreCall::Purge(self.k))
        }
    }

    pub(super) fn resume(self, answer: &Answer) -> Next {
        match answer {
            Answer::Ledger(ledger) if ledger.role != Role::Absent => Some(Step::Purge(self)),
            Answer::Ledger(_) | Answer::Refused(_) if !self.over => {
                Some(Step::Purge(Self { over: true, ..self }))
            }
            _ => None,
        }
    }
}
