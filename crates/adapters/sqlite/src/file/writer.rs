//! The writer: one thread that owns the file's only writing connection.
//!
//! Jobs come over a bounded queue and are done one after the other; each is at most one
//! transaction, begun with `BEGIN IMMEDIATE`. A caller that goes away while its job waits or runs
//! changes nothing: the job is done, its answer is dropped.
//!
//! Two rules keep one writer from starving another, in this process and outside of it:
//! * a job that can stop early asks [`Turn::is_over`], which says yes as soon as another job waits
//!   or the lock was held long enough;
//! * between transactions the thread sleeps for a moment while another process writes too, because
//!   SQLite's lock has no queue and whoever asks again at once gets it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rehome_ports::FaultKind;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::busy::Contended;
use super::checkpointer::Wal;
use super::place::Place;
use crate::error::{Failure, FileError};
use crate::schema;

/// Jobs that may wait; a caller beyond them waits in line.
const QUEUE_MAX: usize = 256;
/// How long after a sign of another writing process it is reckoned with.
const OTHERS_REMEMBERED: Duration = Duration::from_secs(2);
/// Longest turn while another process writes.
const TURN_AMONG_OTHERS: Duration = Duration::from_millis(8);
/// Longest turn otherwise.
const TURN_ALONE: Duration = Duration::from_millis(100);
/// Shortest turn before a waiting job of this process ends it: a job that could only ever take one
/// step between two others would hardly get on.
const TURN_MIN: Duration = Duration::from_millis(2);
/// While another process writes: how long the lock may be taken in a row before it is left free.
const IN_A_ROW_MAX: Duration = Duration::from_millis(3);
/// How long it is then left free: longer than the pause between two tries of [`super::busy`].
const LEFT_FREE: Duration = Duration::from_micros(1_200);

type Job = Box<dyn FnOnce(&mut Writing) + Send>;

/// The handle of the thread. Dropping it waits until the jobs in the queue are done.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on `conn`.
    pub(super) fn start(
        conn: Connection,
        place: Place,
        contended: Contended,
        wal: Wal,
        refusal: Option<FaultKind>,
    ) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut writing = Writing {
            conn,
            place,
            refusal,
            waiting: Arc::clone(&waiting),
            contended,
            wal,
            data_version: None,
            others_seen: None,
            held: Duration::ZERO,
        };
        let thread =
            std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    writing.waiting.fetch_sub(1, Ordering::Relaxed);
                    // A panic is a bug in one job; its transaction is rolled back, its caller is told
                    // that the answer is lost, and the others go on.
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&mut writing)));
                    writing.wal.move_the_rest(&writing.conn);
                    writing.let_others_write();
                }
            })?;
        Ok(Self { jobs: Some(jobs), waiting, thread: Some(thread) })
    }

    /// Has `job` done, and answers what it answers.
    pub(crate) async fn run<T, R>(
        &self,
        job: impl FnOnce(&mut Writing) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let lost = || Failure::File(FileError::Lost);
        let jobs = self.jobs.as_ref().ok_or_else(lost)?;
        let place = jobs.reserve().await.map_err(|_| lost())?;
        let (reply, answer) = oneshot::channel();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        place.send(Box::new(move |writing| {
            let _ = reply.send(job(writing));
        }));
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a job works with: the writing connection.
pub(crate) struct Writing {
    conn: Connection,
    place: Place,
    /// Why nothing may be written at all, if so.
    refusal: Option<FaultKind>,
    waiting: Arc<AtomicUsize>,
    contended: Contended,
    wal: Wal,
    /// As of our last transaction; another value means that another connection has committed.
    data_version: Option<i64>,
    others_seen: Option<Instant>,
    /// How long the lock was taken since others were last let in.
    held: Duration,
}

impl Writing {
    /// Runs `work` under the write lock, in one transaction: committed if it answers, rolled back
    /// if it fails. A transaction that wrote nothing costs no sync.
    pub(crate) fn transaction<T, R>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<R>>,
    ) -> Result<T, Failure<R>> {
        if let Some(refusal) = &self.refusal {
            return Err(FileError::Kind(refusal.clone()).into());
        }
        self.place.check()?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let begun = Instant::now();
        let data_version: i64 =
            tx.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.data_version.is_some_and(|seen| seen != data_version) {
            self.others_seen = Some(begun);
            // Whoever wrote may have been a newer rehome that upgraded the file.
            self.refusal = schema::read_meta(&tx)?.forbids_writing();
            if let Some(refusal) = &self.refusal {
                return Err(FileError::Kind(refusal.clone()).into());
            }
        }
        self.data_version = Some(data_version);
        if self.contended.swap(false, Ordering::Relaxed) {
            self.others_seen = Some(begun);
        }
        let among_others =
            self.others_seen.is_some_and(|at| begun.duration_since(at) < OTHERS_REMEMBERED);
        let turn = Turn { begun, among_others, waiting: Arc::clone(&self.waiting) };

        let answer = work(&tx, &turn);
        let answer = match answer {
            Ok(answer) => tx.commit().map(|()| answer).map_err(|e| FileError::Commit(e).into()),
            Err(failure) => {
                drop(tx);
                Err(failure)
            }
        };
        self.held += begun.elapsed();
        if !among_others {
            self.held = Duration::ZERO;
        }
        answer
    }

    /// The connection, for what needs no transaction.
    pub(crate) fn connection(&self) -> &Connection {
        &self.conn
    }

    fn let_others_write(&mut self) {
        if self.held >= IN_A_ROW_MAX {
            std::thread::sleep(LEFT_FREE);
            self.held = Duration::ZERO;
        }
    }
}

/// How long a transaction may still go on.
pub(crate) struct Turn {
    begun: Instant,
    among_others: bool,
    waiting: Arc<AtomicUsize>,
}

impl Turn {
    /// Whether a job that can stop early should commit now what it has.
    pub(crate) fn is_over(&self) -> bool {
        let held = self.begun.elapsed();
        let somebody_waits = self.waiting.load(Ordering::Relaxed) > 0;
        held >= if self.among_others { TURN_AMONG_OTHERS } else { TURN_ALONE }
            || somebody_waits && held >= TURN_MIN
    }
}
