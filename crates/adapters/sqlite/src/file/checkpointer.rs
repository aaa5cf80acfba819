//! The checkpointer: moves committed pages from the write-ahead log into the file.
//!
//! SQLite would do this inside the commit that makes the log long, and that one writer would wait
//! for all of it. Here a thread with its own connection does it beside the writers, in passive
//! mode, which blocks no other connection. Only a write that finds the whole log moved restarts the log,
//! and under steady writes a little is always left; so the writer itself moves that little
//! between two jobs. A continuous writer, such as a long copy, waits in [`Wal::caught_up`] before
//! the log is too long. What a copy or an import leaves in the log is moved as soon as it pauses or ends,
//! and not under the next writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};
use tokio::sync::watch;

use crate::error::FileError;

/// From so many pages on, the log is worth moving: small rounds disturb the appends least.
const PAGES_WORTH_IT: u32 = 500;
/// The same during a copy: its transactions write the same pages of the indexes again and again,
/// and a longer log holds more of these and moves each once. 64 MiB.
const PAGES_WORTH_IT_IN_BULK: u32 = 16_384;
/// Up to so many pages the writer moves itself.
const PAGES_LITTLE: i32 = 256;
/// From so many pages on, who can wait should: 128 MiB.
const PAGES_TOO_MANY: u32 = 32_768;
/// A copy or an import that has written nothing for so long has paused or ended.
const PAUSED: Duration = Duration::from_millis(250);
/// How long to wait at most: a reader elsewhere may hold the log for as long as it likes.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// The log, as the writer sees it.
#[derive(Clone)]
pub(crate) struct Wal {
    shared: Arc<Shared>,
    ping: SyncSender<()>,
}

struct Shared {
    pages: AtomicU32,
    /// A copy or an import is running; set by each of its steps, cleared by each check.
    bulk: AtomicBool,
    /// Transactions of copies and imports so far.
    bulk_commits: AtomicU64,
    little_left: AtomicBool,
    /// Much was left after a round: a copy should let the next one finish.
    much_left: AtomicBool,
    /// How often all there was has been moved.
    clean: watch::Sender<u64>,
}

impl Wal {
    /// Before each step of a copy: waits, within a bound, while the log is too long.
    pub(crate) async fn caught_up(&self) {
        self.in_bulk();
        let too_long = self.shared.pages.load(Ordering::Relaxed) >= PAGES_TOO_MANY;
        if !too_long && !self.shared.much_left.load(Ordering::Relaxed) {
            return;
        }
        let mut clean = self.shared.clean.subscribe();
        let _ = self.ping.try_send(());
        let _ = tokio::time::timeout(WAIT_MAX, clean.changed()).await;
    }

    /// The next transaction is one of many large ones.
    pub(crate) fn in_bulk(&self) {
        self.shared.bulk.store(true, Ordering::Relaxed);
    }

    /// A transaction among those of others: the log is moved in small rounds, whose writes to the
    /// file delay a commit's sync the least.
    pub(super) fn in_small_rounds(&self) {
        self.shared.bulk.store(false, Ordering::Relaxed);
    }

    /// Moves the little that the checkpointer left, on the writer's own thread.
    pub(super) fn move_the_rest(&self, writer: &Connection) {
        if self.shared.little_left.swap(false, Ordering::Relaxed) {
            self.shared.checkpoint(writer);
        }
    }
}

impl Shared {
    /// Moves what can be moved without waiting. Answers the pages moved and left, if it could.
    fn checkpoint(&self, conn: &Connection) -> Option<(i32, i32)> {
        // A failure (another process checkpoints, the disk is full) is not the writers' concern:
        // the log holds what they committed, and the next round tries again.
        let (pages, moved) = conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE).ok()?;
        if pages == moved {
            self.clean.send_modify(|n| *n += 1);
        }
        Some((moved, pages - moved))
    }

    /// Whether a copy or an import may make the log longer before it is moved.
    fn may_grow(&self) -> bool {
        self.pages.load(Ordering::Relaxed) < PAGES_WORTH_IT_IN_BULK
            && self.clean.receiver_count() == 0
    }

    /// Moves all pages, or nearly all, unless a reader blocks it.
    fn round(&self, conn: &Connection) {
        let mut moved_before = -1;
        while let Some((moved, left)) = self.checkpoint(conn) {
            let somebody_waits = self.clean.receiver_count() > 0;
            if left <= PAGES_LITTLE && !(left > 0 && somebody_waits) {
                self.little_left.store(left > 0, Ordering::Relaxed);
                break;
            }
            if moved <= moved_before {
                break;
            }
            moved_before = moved;
            self.much_left.store(true, Ordering::Relaxed);
        }
        self.much_left.store(false, Ordering::Relaxed);
    }
}

/// The handle of the thread. Dropping it waits for the thread, which ends with the last [`Wal`].
pub(super) struct Checkpointer {
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread on `conn`; `writer` reports the length of the log to it.
    pub(super) fn start(
        conn: Connection,
        writer: &mut Connection,
    ) -> Result<(Self, Wal), FileError> {
        let (ping, pings) = sync_channel(1);
        let shared = Arc::new(Shared {
            pages: AtomicU32::new(0),
            bulk: AtomicBool::new(false),
            bulk_commits: AtomicU64::new(0),
            little_left: AtomicBool::new(false),
            much_left: AtomicBool::new(false),
            clean: watch::Sender::new(0),
        });
        let wal = Wal { shared: Arc::clone(&shared), ping };
        let log = wal.clone();
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            let pages = pages.unsigned_abs();
            log.shared.pages.store(pages, Ordering::Relaxed);
            if log.shared.bulk.swap(false, Ordering::Relaxed) {
                log.shared.bulk_commits.fetch_add(1, Ordering::Relaxed);
                let _ = log.ping.try_send(());
            } else if pages >= PAGES_WORTH_IT {
                let _ = log.ping.try_send(());
            }
            Ok(())
        }))?;
        let thread = std::thread::Builder::new()
            .name("sqlite-checkpointer".to_owned())
            .spawn(move || run(&conn, &pings, &shared))
            .map_err(FileError::no_thread)?;
        Ok((Self { thread: Some(thread) }, wal))
    }
}

fn run(conn: &Connection, pings: &Receiver<()>, shared: &Shared) {
    // Bulk commits: that were there when the log was last moved, that were last seen, and since when.
    let (mut moved, mut seen, mut since) = (0, 0, Instant::now());
    loop {
        let asked = if seen == moved {
            pings.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            pings.recv_timeout(PAUSED)
        };
        let over = asked == Err(RecvTimeoutError::Disconnected);
        let now = shared.bulk_commits.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        let grows = seen != moved && since.elapsed() < PAUSED && !over;
        if !(grows && shared.may_grow() || over && seen == moved) {
            shared.round(conn);
            moved = seen;
        }
        if over {
            return;
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
