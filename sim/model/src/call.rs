//! Calls to stores and to the control plane, and their results.
//!
//! A call has everything that its caller knew when it was sent, so a late one is the same call.

use rehome_domain::append::Appended;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::migration::{Fact, Migration, RollBackReason};
use rehome_domain::removal::Turn;
use rehome_domain::route::Route;
use rehome_domain::verification::{Coverage, Finding, Level, Side};

use crate::kept::Kept;
use crate::names::{Site, Write};

/// A piece of a history.
pub type Events = Kept<History>;

/// Events in the order of `seq`. Their digests identify them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub Vec<Event>);

impl std::hash::Hash for History {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_usize(self.0.len());
        for event in &self.0 {
            (event.seq, event.version, event.digest).hash(state);
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// To a store.
    Store(Site, StoreCall),
    /// To the control plane.
    Control(ControlCall),
}

/// A request to a store: the operations of its port that the protocol uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreCall {
    /// One event, under the epoch that it was routed by.
    Append {
        /// The route's epoch.
        epoch: Epoch,
        /// Which event.
        write: Write,
        /// The version that the writer believes in, if any.
        expected: Option<u64>,
    },
    /// The second half of an append that was checked before: only where the fence does not drain.
    Commit {
        /// Which event.
        write: Write,
        /// The version that the writer believes in, if any.
        expected: Option<u64>,
    },
    /// The ledger row.
    Ledger,
    /// The digest stored at a position.
    DigestAt(u64),
    /// All events after a position, with the ledger of the same snapshot.
    Feed(u64),
    /// Continue a replica.
    Extend {
        /// The migration's epoch.
        m: Epoch,
        /// The head that the caller knows.
        previous: Head,
        /// What the source holds after it.
        events: Events,
    },
    /// Accept no more appends.
    Fence {
        /// The epoch that ends.
        from: Epoch,
        /// The epoch of the pause.
        to: Epoch,
    },
    /// Accept appends.
    Activate(Activation),
    /// Become a replica.
    Adopt {
        /// The migration's epoch.
        m: Epoch,
        /// The head that was proven.
        head: Head,
    },
    /// Stop being a replica.
    Drop(Epoch),
    /// Remove the last event.
    Purge(Epoch),
    /// Remove the last event, but none up to a head.
    CutBack {
        /// The migration's epoch before the repair.
        k: Epoch,
        /// The head to keep.
        to: Head,
    },
}

/// A request to the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ControlCall {
    /// The route row.
    Route,
    /// Insert the route of a new tenant, if there is none.
    Create,
    /// The tenant's creation is complete.
    MarkCreated(Epoch),
    /// A turn of the tenant's removal, on exactly this `rev`.
    Remove {
        /// The revision that it was decided under.
        rev: u64,
        /// The turn.
        turn: Turn,
        /// The head of the history that the operator saw.
        seen: Head,
    },
    /// A migration's row.
    Migration(u8),
    /// Record a fact: for those that move the route, on exactly this `rev`.
    Record {
        /// The migration's number.
        id: u8,
        /// The revision that the change was decided under; `None` for notes.
        rev: Option<u64>,
        /// What happened.
        change: Change,
    },
}

/// The facts that processes record, without what the model leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// [`Fact::CopyStarted`].
    CopyStarted,
    /// [`Fact::CopyCompleted`].
    CopyCompleted,
    /// [`Fact::CutoverRequested`].
    CutoverRequested,
    /// [`Fact::CutoverWithdrawn`].
    CutoverWithdrawn,
    /// [`Fact::CutoverStarted`].
    CutoverStarted,
    /// [`Fact::Switched`].
    Switched(Head),
    /// [`Fact::CutoverRolledBack`].
    RolledBack,
    /// [`Fact::TargetActivated`].
    TargetActivated(Epoch),
    /// [`Fact::WindowClosed`].
    WindowClosed,
    /// [`Fact::ReplicaDropped`].
    ReplicaDropped,
    /// [`Fact::Purged`].
    Purged,
    /// [`Fact::Paused`].
    Paused,
    /// [`Fact::Resumed`].
    Resumed,
    /// [`Fact::Failed`].
    Failed,
    /// [`Fact::Acknowledged`].
    Acknowledged,
    /// [`Fact::Violated`]: a check of the copy found a violation. Whether there is one is outside of
    /// the protocol.
    Violated,
    /// [`Fact::RepairRequested`].
    RepairRequested,
    /// [`Fact::CutBack`].
    CutBack(Head),
    /// [`Fact::Verified`], of the whole: the violation that it refutes.
    Verified(u32),
    /// [`Fact::Aborted`].
    Aborted {
        /// Whether to remove the copied events.
        purge: bool,
    },
}

impl Change {
    /// The domain's fact.
    pub fn fact(self) -> Fact {
        match self {
            Self::CopyStarted => Fact::CopyStarted,
            Self::Acknowledged => Fact::Acknowledged,
            Self::Violated => Fact::Violated { finding: found() },
            Self::RepairRequested => Fact::RepairRequested,
            Self::CutBack(to) => Fact::CutBack { to, events: 0 },
            Self::Verified(refutes) => Fact::Verified {
                level: Level::Hash,
                after: 0,
                seq: u64::MAX,
                whole: true,
                violations: 0,
                refutes: Some(refutes),
            },
            Self::CopyCompleted => Fact::CopyCompleted { events: 0 },
            Self::CutoverRequested => Fact::CutoverRequested,
            Self::CutoverWithdrawn => Fact::CutoverWithdrawn,
            Self::CutoverStarted => Fact::CutoverStarted { deadline_ms: 0 },
            Self::Switched(head) => Fact::Switched { head },
            Self::RolledBack => Fact::CutoverRolledBack { reason: RollBackReason::TimedOut },
            Self::TargetActivated(epoch) => Fact::TargetActivated { epoch },
            Self::WindowClosed => Fact::WindowClosed,
            Self::ReplicaDropped => Fact::ReplicaDropped,
            Self::Purged => Fact::Purged { events: 0 },
            Self::Paused => Fact::Paused,
            Self::Resumed => Fact::Resumed,
            Self::Failed => Fact::Failed { error: Box::from("") },
            Self::Aborted { purge } => Fact::Aborted { purge },
        }
    }
}

fn found() -> Finding {
    let coverage = Coverage { level: Level::Hash, after: 0, upto: 0, whole: true };
    Finding { coverage, violations: 1, seq: None, side: Side::Copy, first: Box::from("") }
}

/// One answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An append was stored, now or before.
    Appended(Appended),
    /// An append was checked and not yet committed: only where the fence does not drain.
    Checked,
    /// An append's expected version is not the stream's.
    Conflict {
        /// The version in the store.
        actual: u64,
    },
    /// The ledger, as it was read or as it is now.
    Ledger(Ledger),
    /// A digest.
    Digest(Option<Digest>),
    /// A piece of history.
    Feed(Ledger, Events),
    /// The ledger's rules refused it.
    Refused(Refused),
    /// The route row.
    Row(Option<Kept<Route>>),
    /// A migration's row.
    Migration(Kept<Migration>),
    /// A fact was recorded; the route after it.
    Recorded(Kept<Route>),
    /// Another process changed the route first; the current one.
    Stale(Kept<Route>),
    /// The fact cannot follow.
    Impossible,
    /// No answer came. The call may be applied, now or later, or never.
    Lost,
}

impl Call {
    /// Whether the call can change anything. Only then does it matter when, or whether, it arrives.
    pub fn has_effect(&self) -> bool {
        match self {
            Self::Store(_, StoreCall::Ledger | StoreCall::DigestAt(_) | StoreCall::Feed(_))
            | Self::Control(ControlCall::Route | ControlCall::Migration(_)) => false,
            Self::Store(..) | Self::Control(_) => true,
        }
    }

    /// A call that records `change` on exactly the row of revision `rev`.
    pub(crate) const fn record(id: u8, rev: u64, change: Change) -> Self {
        Self::Control(ControlCall::Record { id, rev: Some(rev), change })
    }

    /// A call that notes what moves no route.
    pub(crate) const fn note(id: u8, change: Change) -> Self {
        Self::Control(ControlCall::Record { id, rev: None, change })
    }

    /// A call that reads the route row.
    pub(crate) const fn route() -> Self {
        Self::Control(ControlCall::Route)
    }
}
