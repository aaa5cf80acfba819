//! Signals to the observers of the engine: metrics, logs, spans, health. One enum is the whole
//! vocabulary, so the operator's view can be compared with the protocol in one place.
//!
//! Signals are emitted after the fact and change nothing: a process without observers behaves the same. The process
//! in which something happened emits its signal. The appends of applications are not signals; the router
//! counts them itself (see [`crate::appends`]).

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Migration};
use rehome_domain::verification::Violation;
use rehome_ports::LogEntry;

use crate::brake::Braked;
use crate::heads::Heads;
use crate::verifier::Report;

/// Something happened. A `took` ends when the signal is emitted.
#[derive(Clone, Copy, Debug)]
pub enum Signal<'a> {
    /// This process took the migration's lease: it drives from here on. `log` is the migration's log
    /// until then.
    Taken {
        /// As it was found.
        migration: &'a Migration,
        /// Its log.
        log: &'a [LogEntry],
        /// The lease was another's before.
        taken_over: bool,
    },
    /// This process, which drives, has read the row. Emitted at each read, changed or not.
    Seen {
        /// As it is.
        migration: &'a Migration,
    },
    /// A server has read a row without a driver: it waits for an operator, has ended, or
    /// was left.
    Unattended {
        /// As it is.
        migration: &'a Migration,
    },
    /// A process that serves has read which migrations there are, and who drives each.
    Looked,
    /// The whole log of a migration was read: by the process that drives it, or by one that serves and
    /// has found its row changed.
    Logged {
        /// As it is.
        migration: &'a Migration,
        /// All that was recorded of it.
        log: &'a [LogEntry],
    },
    /// This process drives the migration no more.
    Left {
        /// As it was last seen.
        migration: &'a Migration,
        /// Who has the lease, if it was lost to another.
        lost_to: Option<&'a str>,
    },
    /// A fact was recorded by this process.
    Recorded {
        /// After the fact.
        migration: &'a Migration,
        /// The fact.
        fact: &'a Fact,
        /// Who recorded it.
        actor: &'a str,
        /// The time.
        at: Timestamp,
    },
    /// A driver met a fault and retries.
    Retrying {
        /// The migration.
        migration: MigrationId,
        /// The reason.
        error: &'a str,
    },
    /// This process met a fault with which it cannot work on the migration; it retries later.
    Stopped {
        /// As it was when the work began.
        migration: &'a Migration,
        /// The reason.
        error: &'a str,
    },
    /// A process that serves has seen that another drives the migration.
    Elsewhere {
        /// As it is.
        migration: &'a Migration,
    },
    /// How far the replica and its source are, in events.
    Progress {
        /// The migration.
        migration: &'a Migration,
        /// Which of the two stores is the replica.
        way: Way,
        /// Length of the authority's history.
        source_seq: u64,
        /// Length of the replica's.
        target_seq: u64,
        /// All that comes before was read back from the target; `None` where that is not done.
        read_back_seq: Option<u64>,
    },
    /// The authority's head was read, as it is every second, whatever the driver waits
    /// for; or the lengths of both heads from before this process took the migration.
    Head {
        /// The migration.
        migration: &'a Migration,
        /// The lengths.
        heads: Heads,
    },
    /// A batch of the history was copied.
    Copied {
        /// The migration.
        migration: &'a Migration,
        /// In the batch.
        events: u64,
        /// In the batch: the sizes of the events' texts.
        bytes: u64,
        /// Position of the batch's last event.
        upto: u64,
        /// The write to the target.
        took: Duration,
        /// The wait before it, because of the rate limit.
        waited: Duration,
    },
    /// A window of the brake is over, in which the migration worked.
    Braked {
        /// The migration.
        migration: &'a Migration,
        /// How hard it works from now on, and what slows it.
        braked: Braked,
        /// The length of the window.
        took: Duration,
    },
    /// The mirror committed what the source had more.
    Mirrored {
        /// The migration.
        migration: &'a Migration,
        /// Where to.
        way: Way,
        /// How many.
        events: u64,
        /// How many of them were written since mirroring began; the rest is history caught up on.
        written: u64,
        /// Position of the last.
        upto: u64,
        /// From when the mirror had them to when the replica had committed them.
        took: Duration,
    },
    /// The mirror's write failed and is retried; or it has had no response for so long that it counts as
    /// failed, and continues.
    MirrorFailed {
        /// The migration.
        migration: &'a Migration,
        /// Where to.
        way: Way,
        /// How many were to be written.
        events: u64,
        /// How many of them were written since mirroring began; at least 1: no write gets by meanwhile.
        written: u64,
        /// Why it failed.
        error: &'a str,
        /// Until it failed.
        took: Duration,
    },
    /// A part of the cutover is over.
    Cutover {
        /// The migration.
        migration: &'a Migration,
        /// Which part.
        part: CutoverPart,
        /// The duration of the part.
        took: Duration,
        /// Why it failed, if it did.
        error: Option<&'a str>,
    },
    /// A verification came to its end.
    Verified {
        /// The migration.
        migration: &'a Migration,
        /// What it found.
        report: &'a Report,
        /// Its duration.
        took: Duration,
    },
    /// The read-back, or the comparison of a cutover, found a difference from the source's history.
    Violated {
        /// The migration.
        migration: &'a Migration,
        /// The violation.
        violation: &'a Violation,
    },
}

/// Where a mirror writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the target: the dual write.
    There,
    /// To the old source, in the rollback window.
    Back,
}

/// The parts of a cutover that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverPart {
    /// Refused before anything was changed: the lag is over its bound.
    Refused,
    /// Steps 4 and 5: caught up, read back, compared.
    Verify,
    /// Step 6.
    Switch,
    /// The pause that writers see: from the intent until a store accepts writes again.
    Pause,
}

/// Receives signals. Called on the path of the event: it must return at once, and take no lock that
/// an append could wait for.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn hear(&self, signal: &Signal<'_>);
}

/// The observers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// These observers, notified in this order.
    pub fn new(observers: impl IntoIterator<Item = Arc<dyn Observer>>) -> Self {
        Self(observers.into_iter().collect())
    }

    /// These, and before them another one.
    pub(crate) fn and(self, first: Arc<dyn Observer>) -> Self {
        Self::new([first].into_iter().chain(self.0.iter().cloned()))
    }

    /// Notifies all observers.
    pub(crate) fn tell(&self, signal: &Signal<'_>) {
        for observer in self.0.iter() {
            observer.hear(signal);
        }
    }
}
