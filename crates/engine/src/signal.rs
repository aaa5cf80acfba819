//! What the machinery tells whoever watches it: metrics, logs, spans, health. One enum is the whole
//! vocabulary, so an operator's view can be found, and held against the protocol, in one place.
//!
//! Signals are told after the fact and change nothing: a process without observers does the same. Each
//! is told by the process in which it happened. The appends of applications are not among them; they
//! are counted by the router itself (see [`crate::appends`]).

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Migration};
use rehome_domain::verification::Violation;
use rehome_ports::LogEntry;

use crate::heads::Heads;
use crate::verifier::Report;

/// Something happened. A `took` ends when the signal is told.
#[derive(Clone, Copy, Debug)]
pub enum Signal<'a> {
    /// This process took the migration's lease: it drives from here on. `log` is all that was recorded
    /// of the migration until then.
    Taken {
        /// As it was found.
        migration: &'a Migration,
        /// Its log.
        log: &'a [LogEntry],
        /// The lease was another's before.
        taken_over: bool,
    },
    /// This process, which drives, has read the row. Told at each look, changed or not.
    Seen {
        /// As it is.
        migration: &'a Migration,
    },
    /// A process that serves has read a row that nobody drives: it waits for an operator, is over, or
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
        /// When.
        at: Timestamp,
    },
    /// A driver could not go on and tries again.
    Retrying {
        /// Whose.
        migration: MigrationId,
        /// Why.
        error: &'a str,
    },
    /// This process came to a fault with which it cannot work on the migration; it looks again later.
    Stopped {
        /// As it was when the work began.
        migration: &'a Migration,
        /// Why.
        error: &'a str,
    },
    /// A process that serves has seen that another drives the migration.
    Elsewhere {
        /// As it is.
        migration: &'a Migration,
    },
    /// How far the replica and its source are, in events.
    Progress {
        /// Whose.
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
    /// The authority's head was read, as it is every second, whatever the work on the migration waits
    /// for; or what was known of both heads before this process took the migration.
    Head {
        /// Whose.
        migration: &'a Migration,
        /// What is known.
        heads: Heads,
    },
    /// A batch of the history was copied.
    Copied {
        /// Whose.
        migration: &'a Migration,
        /// In the batch.
        events: u64,
        /// In the batch: the sizes of the events' texts.
        bytes: u64,
        /// Position of the batch's last event.
        upto: u64,
        /// The write to the target.
        took: Duration,
        /// Waited before it, to keep the rate that was asked for.
        waited: Duration,
    },
    /// The mirror committed what the source had more.
    Mirrored {
        /// Whose.
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
    /// The mirror's write failed and is tried again; or it has had no answer for so long that it counts as
    /// failed, and goes on.
    MirrorFailed {
        /// Whose.
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
        /// Whose.
        migration: &'a Migration,
        /// Which part.
        part: CutoverPart,
        /// How long the part took.
        took: Duration,
        /// Why it failed, if it did.
        error: Option<&'a str>,
    },
    /// A verification came to its end.
    Verified {
        /// Whose.
        migration: &'a Migration,
        /// What it found.
        report: &'a Report,
        /// How long it took.
        took: Duration,
    },
    /// The read-back, or the comparison of a cutover, found what is not the source's history.
    Violated {
        /// Whose.
        migration: &'a Migration,
        /// What.
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
    /// What writers can see: from the intent until a store takes writes again.
    Pause,
}

/// Hears signals. Called on the path of what it is told about: returns at once, and takes no lock that
/// an append could wait for.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn hear(&self, signal: &Signal<'_>);
}

/// Who is told. Cheap to clone.
#[derive(Clone, Default)]
pub struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// These, each told in this order.
    pub fn new(observers: impl IntoIterator<Item = Arc<dyn Observer>>) -> Self {
        Self(observers.into_iter().collect())
    }

    /// These, and before them another one.
    pub(crate) fn and(self, first: Arc<dyn Observer>) -> Self {
        Self::new([first].into_iter().chain(self.0.iter().cloned()))
    }

    /// Tells everyone.
    pub(crate) fn tell(&self, signal: &Signal<'_>) {
        for observer in self.0.iter() {
            observer.hear(signal);
        }
    }
}
