//! The writer: one thread that owns the file's only writing connection.
//!
//! Jobs come over a bounded queue and are run one after the other, in transactions that start with `BEGIN IMMEDIATE`. Short
//! jobs that wait join the transaction that runs, each in a savepoint of its own: one sync serves all, and
//! no caller is answered before it. If a caller is dropped while its job waits or runs, the job still runs, and its
//! result is dropped. [`super::pace`] decides how long a transaction may hold the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rehome_ports::FaultKind;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::busy::Contended;
use super::checkpointer::Wal;
use super::job::{Job, Task, Worked};
use super::pace::{Pace, Turn};
use super::place::Place;
use crate::error::{Failure, FileError};
use crate::schema::{self, Kind};

/// Jobs that may wait; a caller beyond them waits in line.
const QUEUE_MAX: usize = 256;

/// Whether a job may join a transaction that others began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joins {
    /// It takes a fraction of a millisecond.
    Yes,
    /// It may take long, and decides by its [`Turn`] how long.
    No,
}

enum Order {
    /// Asks the connection, in no transaction.
    Look(Box<dyn FnOnce(&mut Connection) + Send>),
    Write(Joins, Box<dyn Job>),
}

/// The orders that wait, and one that was taken from them and may not join.
struct Queue {
    orders: mpsc::Receiver<Order>,
    waiting: Arc<AtomicUsize>,
    next: Option<Order>,
}

impl Queue {
    /// Waits for an order; `None`: there will be none.
    fn wait(&mut self) -> Option<Order> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        let order = self.orders.blocking_recv()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(order)
    }

    /// The next one, if it waits already and may join.
    fn joining(&mut self) -> Option<Box<dyn Job>> {
        if self.next.is_some() {
            return None;
        }
        let order = self.orders.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match order {
            Order::Write(Joins::Yes, job) => Some(job),
            other => {
                self.next = Some(other);
                None
            }
        }
    }
}

/// The handle of the thread. Dropping it waits until the jobs in the queue are done.
pub(crate) struct Writer {
    orders: Option<mpsc::Sender<Order>>,
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
        let (orders, queue) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let pace = Pace::new(Arc::clone(&waiting), contended, data_version(&conn)?);
        let mut writing = Writing { conn, kind, place, refusal, wal, pace };
        let mut queue = Queue { orders: queue, waiting: Arc::clone(&waiting), next: None };
        let thread = std::thread::Builder::new().name("sqlite-writer".to_owned());
        let thread = thread.spawn(move || {
            while let Some(order) = queue.wait() {
                match order {
                    Order::Look(look) => look(&mut writing.conn),
                    Order::Write(_, job) => writing.transaction(job, &mut queue),
                }
                writing.wal.move_the_rest(&writing.conn);
                writing.pace.let_others_write();
            }
        });
        Ok(Self {
            orders: Some(orders),
            waiting,
            thread: Some(thread.map_err(FileError::no_thread)?),
        })
    }

    /// Has `work` done under the write lock, and answers what it answers once that is committed.
    pub(super) async fn write<T, R>(
        &self,
        joins: Joins,
        work: impl FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.order(|reply| Order::Write(joins, Box::new(Task::new(work, reply)))).await
    }

    /// Asks the writing connection.
    pub(super) async fn look<T, R>(
        &self,
        look: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let order = |reply: oneshot::Sender<Result<T, Failure<R>>>| {
            Order::Look(Box::new(move |conn| {
                let _ = reply.send(look(conn).map_err(Failure::from));
            }))
        };
        self.order(order).await
    }

    async fn order<T, R>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Failure<R>>>) -> Order,
    ) -> Result<T, Failure<R>> {
        let lost = || Failure::File(FileError::Lost);
        let orders = self.orders.as_ref().ok_or_else(lost)?;
        let place = orders.reserve().await.map_err(|_| lost())?;
        let (reply, answer) = oneshot::channel();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        place.send(order(reply));
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Writing {
    conn: Connection,
    kind: Kind,
    place: Place,
    refusal: Option<FaultKind>,
    wal: Wal,
    pace: Pace,
}

impl Writing {
    /// Does `first` under the write lock, and with it the jobs that may join; then answers all. What a job changed is committed if
    /// it answers, undone if it fails. A transaction that wrote nothing costs no sync.
    fn transaction(&mut self, first: Box<dyn Job>, queue: &mut Queue) {
        let mut jobs = vec![first];
        let ended = self.done(&mut jobs, queue);
        for job in jobs {
            job.answer(match &ended {
                Ok(()) => Ok(()),
                Err(error) => Err(error.again()),
            });
        }
    }

    /// The same without the answers: how the transaction ended. An error: nothing in it is committed, or perhaps all.
    fn done(&mut self, jobs: &mut Vec<Box<dyn Job>>, queue: &mut Queue) -> Result<(), FileError> {
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
                return Err(FileError::Kind(refusal.clone()));
            }
        }
        let first =
            jobs.iter_mut().map(|job| job.work(&tx, &turn)).all(|it| matches!(it, Worked::Kept));
        let worked = if first { together(&tx, &turn, jobs, queue) } else { Ok(()) };
        turn.commits();
        let ended = match worked {
            Ok(()) if first => tx.commit().map_err(FileError::Commit),
            // Undone: it is answered by itself.
            Ok(()) => tx.rollback().or(Ok(())),
            Err(error) => {
                drop(tx);
                Err(error)
            }
        };
        self.pace.end(&turn);
        ended
    }

    fn may_write(&self) -> Result<(), FileError> {
        self.refusal.clone().map_or(Ok(()), |refusal| Err(FileError::Kind(refusal)))
    }
}

/// Does the jobs that wait and may join, while the transaction is short. An error: the whole transaction is undone.
fn together(
    tx: &Transaction<'_>,
    turn: &Turn,
    jobs: &mut Vec<Box<dyn Job>>,
    queue: &mut Queue,
) -> Result<(), FileError> {
    while turn.has_room() {
        let Some(mut job) = queue.joining() else { break };
        let run = |sql: &str| tx.prepare_cached(sql)?.execute([]);
        if let Err(error) = run("SAVEPOINT job") {
            jobs.push(job);
            return Err(error.into());
        }
        let worked = job.work(tx, turn);
        jobs.push(job);
        let Worked::Undone(failed) = worked else {
            run("RELEASE job")?;
            continue;
        };
        // SQLite undoes the whole transaction by itself after some errors, such as a full disk.
        if tx.is_autocommit() {
            return Err(failed.unwrap_or(FileError::Lost));
        }
        run("ROLLBACK TO job")?;
        run("RELEASE job")?;
    }
    Ok(())
}

/// Another value than the last one means that another connection has committed in between.
fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests;
