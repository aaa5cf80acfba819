//! `mirror/work.rs`, `replica.rs` and `steps/window.rs`: a replica is continued by `extend`.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Refusal, Role};

use super::{Next, Step, Task};
use crate::call::{Answer, Call, Events, History, StoreCall};
use crate::kept::Kept;
use crate::names::Site;

/// One round of mirroring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    authority: Site,
    replica: Site,
    m: Epoch,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum At {
    /// `Replica::open`.
    Open,
    /// Reads what the authority holds after the replica's head.
    Read(Head),
    /// Extends.
    Extend(Head, Events),
}

impl Mirror {
    pub(super) const fn open(authority: Site, replica: Site, m: Epoch) -> Self {
        Self { authority, replica, m, at: At::Open }
    }

    pub(super) fn call(&self) -> Call {
        match &self.at {
            At::Open => Call::Store(self.replica, StoreCall::Ledger),
            At::Read(head) => Call::Store(self.authority, StoreCall::Feed(head.seq)),
            At::Extend(head, events) => Call::Store(
                self.replica,
                StoreCall::Extend { m: self.m, previous: *head, events: events.clone() },
            ),
        }
    }

    pub(super) fn resume(self, task: Task, answer: Answer) -> Next {
        let at = match (self.at, answer) {
            // Level, and searched from the beginning.
            (At::Read(_), Answer::Feed(_, events)) if events.0.is_empty() => {
                return task.refutes.map(Step::Verify);
            }
            (At::Open, Answer::Ledger(ledger)) if ledger.check_replica(self.m).is_ok() => {
                At::Read(ledger.head)
            }
            (At::Read(head), Answer::Feed(_, events)) => At::Extend(head, events),
            (At::Extend(_, events), Answer::Refused(no)) if no.why == Refusal::NotAtHead => {
                let rest = continued(&events, no.ledger.head)?;
                At::Extend(no.ledger.head, rest)
            }
            _ => return None,
        };
        Some(Step::Mirror(Self { at, ..self }))
    }
}

/// `Replica::extend`: another extended first; those of `events` that come after `head`, if they
/// continue it.
pub(super) fn continued(events: &Events, head: Head) -> Option<Events> {
    let from = events.0.partition_point(|event| event.seq <= head.seq);
    let rest = &events.0[from..];
    let first = rest.first()?;
    (first.seq == head.seq + 1).then(|| Kept::new(History(rest.to_vec())))
}

/// `Window::start`: the old source becomes a replica of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Reads the old source's ledger.
    Look {
        /// The window's epoch.
        m: Epoch,
    },
    /// Searches for its head in the new authority.
    Prove {
        /// The window's epoch.
        m: Epoch,
        /// The old source's head.
        head: Head,
    },
    /// Adopts.
    Adopt {
        /// The window's epoch.
        m: Epoch,
        /// The head that was proven.
        head: Head,
    },
}

impl Window {
    pub(super) const fn call(self, task: Task) -> Call {
        match self {
            Self::Look { .. } => Call::Store(task.source, StoreCall::Ledger),
            Self::Prove { head, .. } => Call::Store(task.target, StoreCall::DigestAt(head.seq)),
            Self::Adopt { m, head } => Call::Store(task.source, StoreCall::Adopt { m, head }),
        }
    }

    pub(super) fn resume(self, task: Task, answer: Answer) -> Next {
        let mirror = |m| Step::Mirror(Mirror::open(task.target, task.source, m));
        Some(match (self, answer) {
            (Self::Look { m }, Answer::Ledger(ledger)) => {
                let head = ledger.head;
                if ledger.role == Role::Replica && ledger.epoch == m {
                    mirror(m)
                } else if head.seq == 0 {
                    Step::Window(Self::Adopt { m, head })
                } else {
                    Step::Window(Self::Prove { m, head })
                }
            }
            (Self::Prove { m, head }, Answer::Digest(Some(digest))) if digest == head.digest => {
                Step::Window(Self::Adopt { m, head })
            }
            (Self::Adopt { m, .. }, Answer::Ledger(_)) => mirror(m),
            _ => return None,
        })
    }
}
