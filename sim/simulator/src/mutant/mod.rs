//! Stores and control planes that are deliberately broken, each in one way, and that the checker has to
//! find. Each lacks one rule of the protocol, or one guarantee of a port.
//!
//! The error shows only where a process sleeps, dies or loses a reply at the right step. So a
//! mutant names the steps that a run disturbs more often than others
//! ([`Mutant::favourite`]); the seed determines when and how.

mod control;
mod store;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rehome_domain::ids::{Epoch, StoreId};
use rehome_domain::route::Route;
use tokio::time::Instant;

/// One way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A store accepts an append under any epoch, fenced or not.
    EpochForgotten,
    /// A store now and then acknowledges an append and then does not have it.
    AcknowledgedBeforeCommit,
    /// A store does not check the version that a writer expects.
    VersionUnchecked,
    /// A store writes a retry as if it were new.
    RetryWrittenAgain,
    /// A store acknowledges a fence and continues to accept appends.
    FenceIgnored,
    /// A store fences while appends that it has checked are still to be written.
    FenceWithoutDrain,
    /// A store becomes active at any epoch.
    ActivatedAtAnyEpoch,
    /// A store becomes a replica, whatever it is.
    AdoptedAtAnyEpoch,
    /// A store drops whatever it is.
    DroppedAtAnyEpoch,
    /// A store purges whatever it is.
    PurgedAtAnyEpoch,
    /// A store writes an `extend` to the end of its history, wherever it was meant to go.
    HeadUnchecked,
    /// A store accepts events that were changed in transit, and computes its own chain for them.
    ChainUnchecked,
    /// A store writes the last event of an `extend` twice.
    ExtendedTwice,
    /// A store answers a stream without its newest event.
    StaleReads,
    /// A store reports its reads as active, although it no longer is.
    ReadsClaimActive,
    /// A control plane records a fact on whatever row there is.
    RevisionIgnored,
    /// A control plane begins a cutover without drawing an epoch.
    IntentWithoutEpoch,
    /// A control plane answers a route that it has remembered for a while.
    RouteRemembered,
    /// A control plane stores a checkpoint one too far.
    CheckpointAhead,
    /// A control plane grants a lease to every process. Safety does not depend on leases.
    LeaseForAll,
}

impl Mutant {
    /// All that break a promise.
    pub const ALL: [Self; 19] = [
        Self::EpochForgotten,
        Self::AcknowledgedBeforeCommit,
        Self::VersionUnchecked,
        Self::RetryWrittenAgain,
        Self::FenceIgnored,
        Self::FenceWithoutDrain,
        Self::ActivatedAtAnyEpoch,
        Self::AdoptedAtAnyEpoch,
        Self::DroppedAtAnyEpoch,
        Self::PurgedAtAnyEpoch,
        Self::HeadUnchecked,
        Self::ChainUnchecked,
        Self::ExtendedTwice,
        Self::StaleReads,
        Self::ReadsClaimActive,
        Self::RevisionIgnored,
        Self::IntentWithoutEpoch,
        Self::RouteRemembered,
        Self::CheckpointAhead,
    ];

    /// The steps at which the error shows; `None`: at any.
    pub const fn favourite(self) -> Option<[&'static str; 2]> {
        match self {
            Self::ActivatedAtAnyEpoch => Some(["activate", "mark_created"]),
            Self::DroppedAtAnyEpoch => Some(["drop_replica", "replica_dropped"]),
            Self::PurgedAtAnyEpoch => Some(["purge", "purged"]),
            Self::HeadUnchecked => Some(["extend", "copy_completed"]),
            _ => None,
        }
    }
}

/// The ports' way through a mutant, and what mutants remember.
#[derive(Default)]
pub(crate) struct Broken {
    mutant: Option<Mutant>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// By process: the route that it was answered, and when.
    routes: BTreeMap<usize, (Instant, Option<Route>)>,
    /// The epoch at which a store was last active.
    active: BTreeMap<StoreId, Epoch>,
}

impl Broken {
    pub(crate) fn new(mutant: Option<Mutant>) -> Self {
        Self { mutant, memory: Mutex::default() }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
