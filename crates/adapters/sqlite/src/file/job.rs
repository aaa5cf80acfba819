//! Jobs of the writer that change the file: what is done under the write lock, and the answer after the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::pace::Turn;
use crate::error::{Failure, FileError};

/// What became of a job's work in its transaction.
pub(super) enum Worked {
    /// Its changes are to be committed.
    Kept,
    /// It answers no, or failed: its changes are to be undone. With the file's error, if that is why.
    Undone(Option<FileError>),
}

/// A job, whatever it answers.
pub(super) trait Job: Send {
    /// Does the work, once.
    fn work(&mut self, tx: &Transaction<'_>, turn: &Turn) -> Worked;

    /// Answers the caller, once the transaction has ended. `ended`: why nothing of it is committed, if so; then the
    /// answer was made from changes that are gone.
    fn answer(self: Box<Self>, ended: Result<(), FileError>);
}

/// A job that has not been done.
pub(super) struct Task<W, T, R> {
    work: Option<W>,
    answer: Result<T, Failure<R>>,
    reply: oneshot::Sender<Result<T, Failure<R>>>,
}

impl<W, T, R> Task<W, T, R> {
    pub(super) fn new(work: W, reply: oneshot::Sender<Result<T, Failure<R>>>) -> Self {
        // The answer if the work panics, which is a bug in it.
        Self { work: Some(work), answer: Err(Failure::File(FileError::Lost)), reply }
    }
}

impl<W, T, R> Job for Task<W, T, R>
where
    W: FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<R>> + Send,
    T: Send,
    R: Send,
{
    fn work(&mut self, tx: &Transaction<'_>, turn: &Turn) -> Worked {
        let Some(work) = self.work.take() else { return Worked::Undone(None) };
        if let Ok(answer) = catch_unwind(AssertUnwindSafe(|| work(tx, turn))) {
            self.answer = answer;
        }
        match &self.answer {
            Ok(_) => Worked::Kept,
            Err(Failure::Rule(_)) => Worked::Undone(None),
            Err(Failure::File(error)) => Worked::Undone(Some(error.again())),
        }
    }

    fn answer(self: Box<Self>, ended: Result<(), FileError>) {
        // If that fails, no caller waits for it any more.
        let _ = self.reply.send(ended.map_err(Failure::File).and(self.answer));
    }
}
