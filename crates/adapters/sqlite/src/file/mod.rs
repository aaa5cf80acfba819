//! One SQLite file: opened, checked, and written by one thread of this process.
//!
//! ```text
//! async callers ──▶ Writer: queue ──▶ one thread, BEGIN IMMEDIATE ──▶ commit ──▶ -wal
//!               ──▶ Readers: a few connections, one snapshot per read              │
//!                                        Checkpointer: another thread ◀── -wal ────┘──▶ file
//! ```
//!
//! Durability: write-ahead log, `synchronous = FULL`: a commit is on the disk when it is answered.

mod busy;
mod checkpointer;
mod job;
mod open;
mod pace;
mod place;
mod readers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rehome_ports::Condition;
use rehome_ports::clock::Clock;
use rehome_ports::private;

use crate::error::{Failure, FileError};
use crate::schema::{Kind, Meta};
use checkpointer::{Checkpointer, Wal};
pub(crate) use pace::Turn;
use readers::Readers;
use writer::{Joins, Writer};

/// How a file is used, whatever is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// How long to wait for another process's lock before the answer is
    /// [`FaultKind::Locked`](rehome_ports::FaultKind::Locked).
    pub locked_after: Duration,
    /// How many reads may run at once.
    pub readers: usize,
    /// How large the file may grow through this process, in bytes, before the answer is
    /// [`FaultKind::Full`](rehome_ports::FaultKind::Full). `None`: as far as the disk goes.
    pub bytes_max: Option<u64>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { locked_after: Duration::from_secs(5), readers: 4, bytes_max: None }
    }
}

/// All files of a database: its file, its log and the log's index.
pub fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|more| {
        let mut name = path.as_os_str().to_owned();
        name.push(more);
        name.into()
    })
}

/// What to open.
pub(crate) struct Request {
    /// What messages call it.
    pub(crate) what: String,
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    /// Whether to make it if there is nothing.
    pub(crate) create: bool,
    /// The expected deployment; `None`: any, and a new one if the file is created.
    pub(crate) deployment: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: FileOptions,
}

fn condition(path: &Path) -> Condition {
    let sizes = files(path).map(|file| std::fs::metadata(file).map_or(0, |one| one.len()));
    let condition = Condition { used_bytes: Some(sizes.iter().sum()), ..Condition::default() };
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(path) {
        let bytes = |blocks: u64| Some(blocks.saturating_mul(disk.f_frsize));
        let (free_bytes, size_bytes) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
        return Condition { free_bytes, size_bytes, ..condition };
    }
    condition
}

/// An open file. Dropping it waits for the jobs in its queue and closes it.
pub(crate) struct File {
    // In the order in which they have to go.
    readers: Readers,
    writer: Writer,
    wal: Wal,
    _checkpointer: Checkpointer,
    what: String,
    path: PathBuf,
    meta: Meta,
}

impl File {
    /// What its file system reports about the disk, and the size of its files. A file system may hang: a reader's thread
    /// waits for it.
    pub(crate) async fn condition<R: Send + 'static>(&self) -> Result<Condition, Failure<R>> {
        let path = self.path.clone();
        self.read(move |_| Ok(condition(&path))).await
    }

    /// A sentence for each of its files that others than their owner may read or write.
    pub(crate) fn wider(&self) -> Vec<String> {
        files(&self.path).iter().filter_map(|file| private::wider(file)).collect()
    }

    /// What messages call it.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The file's metadata when it was opened.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The write-ahead log.
    pub(crate) fn wal(&self) -> &Wal {
        &self.wal
    }

    /// Runs `read` in a read transaction.
    pub(crate) async fn read<T, R>(
        &self,
        read: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.readers.run(read).await
    }

    /// Runs `work` under the write lock, in one transaction: committed if it answers. It takes a fraction of a
    /// millisecond; others may be in the same transaction.
    pub(crate) async fn write<T, R>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>, &Turn) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.writer.write(Joins::Yes, work).await
    }

    /// The same of work that may take long: no caller that came before waits for it.
    pub(crate) async fn write_long<T, R>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>, &Turn) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.writer.write(Joins::No, work).await
    }

    /// The durability of the writing connection, as a text and as a flag.
    pub(crate) async fn durability<R: Send + 'static>(&self) -> Result<(String, bool), Failure<R>> {
        self.writer.look(|conn| open::durability(conn)).await
    }

    /// A connection to another program's file, for a single operation. Blocks.
    pub(crate) fn connect_once(request: &Request) -> Result<rusqlite::Connection, FileError> {
        open::once(request)
    }

    /// Opens on a thread that may block.
    pub(crate) async fn open(request: Request) -> Result<Self, rehome_ports::Fault> {
        let what = request.what.clone();
        tokio::task::spawn_blocking(move || open::open(request))
            .await
            .unwrap_or(Err(FileError::Lost))
            .map_err(|error| error.fault(&what))
    }
}
