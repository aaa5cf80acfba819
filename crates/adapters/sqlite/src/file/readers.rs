//! A few reading connections. Each read is one short transaction, so one snapshot.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

use super::place::Place;
use crate::error::{Failure, FileError};

/// The pool. A read waits if all connections are in use.
pub(crate) struct Readers {
    free: Arc<Semaphore>,
    pool: Arc<Pool>,
}

struct Pool {
    connections: Mutex<Vec<Connection>>,
    place: Place,
}

impl Pool {
    fn take(&self) -> Option<Connection> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, conn: Connection) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
    }
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>, place: Place) -> Self {
        Self {
            free: Arc::new(Semaphore::new(connections.len())),
            pool: Arc::new(Pool { connections: Mutex::new(connections), place }),
        }
    }

    /// Runs `read` in a read transaction on a thread that may block.
    pub(crate) async fn run<T, R>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let lost = || Failure::File(FileError::Lost);
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| lost())?;
        let pool = Arc::clone(&self.pool);
        tokio::task::spawn_blocking(move || {
            pool.place.check()?;
            let mut conn = pool.take().ok_or_else(lost)?;
            let answer = (|| read(&conn.transaction()?))();
            pool.give_back(conn);
            drop(permit);
            answer
        })
        .await
        .unwrap_or_else(|_| Err(lost()))
    }
}
