//! The writer: one thread that owns the file's only writing connection.
//!
//! Jobs come over a bounded queue and are run one after the other; each is at most one
//! transaction, started with `BEGIN IMMEDIATE`. If a caller is dropped while its job waits or runs,
//! the job still runs, and its result is dropped. [`super::pace`] decides how long a job may hold the
//! lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rehome_ports::FaultKind;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::busy::Contended;
use super::checkpointer::Wal;
use super::pace::{Pace, Turn};
use super::place::Place;
use crate::error::{Failure, FileError};
use crate::schema::{self, Kind};

/// Jobs that may wait; a caller beyond them waits in line.
const QUEUE_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut Writing) + Send>;

/// The handle of the thread. Dropping it waits until the jobs in the queue are done.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on `conn`. `refusal`: why nothing may be written, if so.
    pub(super) fn start(
        conn: Connection,
        kind: Kind,
        contended: Contended,
        place: Place,
        wal: Wal,
        refusal: Option<FaultKind>,
    ) -> Result<Self, FileError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let pace = Pace::new(Arc::clone(&waiting), contended, data_version(&conn)?);
        let mut writing = Writing { conn, kind, place, refusal, wal, pace };
        let queued = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned());
        let thread = thread.spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                queued.fetch_sub(1, Ordering::Relaxed);
                // A panic is a bug in one job: its transaction is rolled back, its caller gets an error
                // about the lost result, and the others continue.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut writing)));
                writing.wal.move_the_rest(&writing.conn);
                writing.pace.let_others_write();
            }
        });
        Ok(Self { jobs: Some(jobs), waiting, thread: Some(thread.map_err(FileError::no_thread)?) })
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
    kind: Kind,
    place: Place,
    refusal: Option<FaultKind>,
    wal: Wal,
    pace: Pace,
}

impl Writing {
    /// Runs `work` under the write lock, in one transaction: committed if it answers, rolled back
    /// if it fails. A transaction that wrote nothing costs no sync.
    pub(crate) fn transaction<T, R>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<R>>,
    ) -> Result<T, Failure<R>> {
        self.may_write()?;
        self.place.check()?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (turn, others_wrote) = self.pace.begin(data_version(&tx)?);
        if turn.is_among_others() {
            self.wal.in_small_rounds();
        }
        if others_wrote {
            // Another process may have been a newer rehome that upgraded the file.
            self.refusal = schema::read_meta(&tx, self.kind)?.forbids_writing();
            if let Some(refusal) = &self.refusal {
                return Err(FileError::Kind(refusal.clone()).into());
            }
        }
        let answer = work(&tx, &turn);
        turn.commits();
        let answer = match answer {
            Ok(answer) => tx.commit().map(|()| answer).map_err(|e| FileError::Commit(e).into()),
            Err(failure) => {
                drop(tx);
                Err(failure)
            }
        };
        self.pace.end(&turn);
        answer
    }

    fn may_write(&self) -> Result<(), FileError> {
        self.refusal.clone().map_or(Ok(()), |refusal| Err(FileError::Kind(refusal)))
    }

    /// The connection, for what needs no transaction.
    pub(crate) fn connection(&self) -> &Connection {
        &self.conn
    }
}

/// Another value than the last one means that another connection has committed in between.
fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
