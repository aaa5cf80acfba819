//! How long the write lock is held, and when it is left free.
//!
//! SQLite's lock has no queue: a connection that asks again at once gets it again, and cannot see who
//! waits. So a writer with more work checks for signs of others. Of other processes:
//! the file's `data_version` changed, or the lock was not free. Of this process: a job waits. While
//! there are such signs a turn is short, commit included, and after it the lock is left free for
//! longer than others sleep between two attempts. Alone, a turn is long: each transaction writes every
//! page that it changed, and events with random ids change pages all over the index.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::busy::Contended;

/// How long after a sign of another process it is reckoned with.
const OTHERS_REMEMBERED: Duration = Duration::from_secs(5);
/// The same for other jobs of this process.
const COLLEAGUES_REMEMBERED: Duration = Duration::from_secs(1);
/// For how long the lock may be held, commit and all, while others write.
const HELD_AMONG_OTHERS: Duration = Duration::from_millis(5);
/// How long a job may run otherwise, before its commit.
const TURN_ALONE: Duration = Duration::from_millis(100);
/// Minimum turn: a job that took only one step between others would make little progress.
const TURN_MIN: Duration = Duration::from_millis(1);
/// While another process writes: how long the lock may be taken in a row.
const IN_A_ROW_MAX: Duration = Duration::from_millis(3);
/// How long it is then left free: longer than the pause between two tries of [`super::busy`].
const LEFT_FREE: Duration = Duration::from_micros(1_200);

/// The signs of other writers.
pub(super) struct Pace {
    /// Jobs in the queue.
    waiting: Arc<AtomicUsize>,
    contended: Contended,
    /// As of our last transaction; another value means that another connection has committed.
    data_version: i64,
    others_until: Option<Instant>,
    colleagues_until: Option<Instant>,
    /// The recent fraction of a short turn that its commit takes.
    commit_share: f64,
    /// How long the lock was taken since others last had a chance.
    in_a_row: Duration,
}

impl Pace {
    pub(super) fn new(waiting: Arc<AtomicUsize>, contended: Contended, data_version: i64) -> Self {
        Self {
            waiting,
            contended,
            data_version,
            others_until: None,
            colleagues_until: None,
            commit_share: 0.5,
            in_a_row: Duration::ZERO,
        }
    }

    /// The lock is held. Returns the turn, and whether another connection has committed since the
    /// last one.
    pub(super) fn begin(&mut self, data_version: i64) -> (Turn, bool) {
        let begun = Instant::now();
        let others_wrote = std::mem::replace(&mut self.data_version, data_version) != data_version;
        if self.contended.swap(false, Ordering::Relaxed) || others_wrote {
            self.others_until = Some(begun + OTHERS_REMEMBERED);
        }
        let soon = |until: Option<Instant>| until.is_some_and(|until| begun < until);
        let among_others = soon(self.others_until);
        let length = if among_others || soon(self.colleagues_until) {
            HELD_AMONG_OTHERS.mul_f64(1.0 - self.commit_share).max(TURN_MIN)
        } else {
            TURN_ALONE
        };
        let turn = Turn {
            begun,
            worked: Cell::new(None),
            length,
            among_others,
            waiting: Arc::clone(&self.waiting),
            cut: Cell::new(false),
        };
        (turn, others_wrote)
    }

    /// The lock was given back.
    pub(super) fn end(&mut self, turn: &Turn) {
        let held = turn.begun.elapsed();
        self.in_a_row = if turn.among_others { self.in_a_row + held } else { Duration::ZERO };
        if turn.cut.get() {
            self.colleagues_until = Some(turn.begun + held + COLLEAGUES_REMEMBERED);
        }
        let used_up = |worked: &Duration| *worked >= turn.length;
        if turn.length < TURN_ALONE
            && let Some(worked) = turn.worked.get().filter(used_up)
        {
            // The longest commits count: fast to believe in a slow one, slow to forget it.
            let share = 1.0 - worked.as_secs_f64() / held.as_secs_f64();
            self.commit_share = share.max(0.9 * self.commit_share + 0.1 * share).min(0.9);
        }
    }

    /// Leaves the lock free for a moment if that is due.
    pub(super) fn let_others_write(&mut self) {
        if self.in_a_row >= IN_A_ROW_MAX {
            std::thread::sleep(LEFT_FREE);
            self.in_a_row = Duration::ZERO;
        }
    }
}

/// One transaction's time under the lock.
pub(crate) struct Turn {
    begun: Instant,
    /// When the job was done and its commit began.
    worked: Cell<Option<Duration>>,
    length: Duration,
    among_others: bool,
    waiting: Arc<AtomicUsize>,
    /// Ended before its time because another job waits.
    cut: Cell<bool>,
}

impl Turn {
    /// Whether a job that can stop early should commit now what it has.
    pub(crate) fn is_over(&self) -> bool {
        let held = self.begun.elapsed();
        let cut = held >= TURN_MIN && self.waiting.load(Ordering::Relaxed) > 0;
        self.cut.set(cut);
        cut || held >= self.length
    }

    /// Whether another short job may join the transaction.
    pub(super) fn has_room(&self) -> bool {
        self.begun.elapsed() < TURN_MIN
    }

    /// Whether another process writes to the file too.
    pub(super) fn is_among_others(&self) -> bool {
        self.among_others
    }

    /// The job is done, its commit begins.
    pub(super) fn commits(&self) {
        self.worked.set(Some(self.begun.elapsed()));
    }
}
