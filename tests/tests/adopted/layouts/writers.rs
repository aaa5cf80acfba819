//! Writers in plain SQL, which do not use rehome.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use rehome_tests::process::wait_for;
use rusqlite::Connection;
use tokio_postgres::NoTls;

use super::{NAMES, On, Pair};

pub(super) fn filled(statement: &str, stream: u32, event: u32) -> String {
    statement.replace("$1", &stream.to_string()).replace("$2", &event.to_string())
}

/// A writer's rest between two events.
const REST: Duration = Duration::from_millis(5);

/// Writers that append to their own streams, at the store that accepts them, and record the acknowledged events.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<Result<u32>>>,
}

const STREAMS: std::ops::Range<u32> = 10..13;

impl Writers {
    pub(super) fn start(pair: &Pair) -> Result<Self> {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let threads = STREAMS.map(|stream| {
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            let stores = [Address::of(pair, 0), Address::of(pair, 1)];
            thread::spawn(move || writes(stream, &stores, &stop, &written))
        });
        let writers = Self { threads: threads.collect(), stop, written };
        writers.write(20)?;
        Ok(writers)
    }

    /// Waits until they have written so much more.
    pub(super) fn write(&self, more: u32) -> Result<()> {
        let goal = self.written.load(Ordering::Relaxed) + more;
        wait_for("the writers", || {
            let ended = self.threads.iter().any(thread::JoinHandle::is_finished);
            ensure!(!ended, "a writer ended");
            Ok((self.written.load(Ordering::Relaxed) >= goal).then_some(()))
        })
    }

    /// The acknowledged events: stream, its type, version.
    pub(super) fn end(self) -> Result<BTreeSet<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for (stream, thread) in STREAMS.zip(self.threads) {
            let written = thread.join().map_err(|_| anyhow!("a writer panicked"))??;
            all.extend((1..=written).map(|event| format!("o-{stream}|Order|{event}")));
        }
        Ok(all)
    }
}

/// How a writer reaches a store, and what it sends.
pub(super) struct Address {
    url: Result<String, PathBuf>,
    insert: String,
}

impl Address {
    fn of(pair: &Pair, store: usize) -> Self {
        Self::at(&pair.on[store], pair.path(&format!("{}.db", NAMES[store])))
    }

    /// `file`: where the table is if it is in a file.
    pub(super) fn at(on: &On, file: PathBuf) -> Self {
        let url = match on {
            On::Server(_, database) => Ok(database.url()),
            On::File(_) => Err(file),
        };
        Self { url, insert: on.table().insert.clone() }
    }
}

/// A session of a writer.
enum Session {
    Server(tokio_postgres::Client),
    File(Connection),
}

impl Session {
    async fn open(address: &Address) -> Result<Self> {
        match &address.url {
            Ok(url) => {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
                tokio::spawn(connection);
                Ok(Self::Server(client))
            }
            Err(path) => Self::of_file(path),
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let file = Connection::open(path)?;
        file.busy_timeout(Duration::from_secs(10))?;
        Ok(Self::File(file))
    }

    /// Whether the row is in; if not, whether the tenant is elsewhere.
    async fn send(&self, statement: &str) -> Result<Result<(), bool>> {
        let refused = match self {
            Self::Server(client) => match client.batch_execute(statement).await {
                Ok(()) => return Ok(Ok(())),
                Err(error) => {
                    let code = error.code().map_or("", |code| code.code()).to_owned();
                    ensure!(["RH001", "40001"].contains(&&*code), "{code} {error:?}");
                    code == "RH001"
                }
            },
            Self::File(file) => match file.execute_batch(statement) {
                Ok(()) => return Ok(Ok(())),
                Err(error) => {
                    ensure!(error.to_string().contains("rehome"), "{error:?}");
                    true
                }
            },
        };
        Ok(Err(refused))
    }
}

/// A writer that appends to its own stream until its row is refused because the tenant is elsewhere. Answers how many rows it
/// wrote.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn until_refused(stream: u32, at: &Address, written: &AtomicU32) -> Result<u32> {
    let session = Session::open(at).await?;
    let mut event = 1;
    loop {
        tokio::time::sleep(REST).await;
        match session.send(&filled(&at.insert, stream, event)).await? {
            Ok(()) => {
                written.fetch_add(1, Ordering::Relaxed);
                event += 1;
            }
            Err(true) => return Ok(event - 1),
            Err(false) => {}
        }
    }
}

/// One writer, with one stream: it sends each event until a store accepts it. Answers how many.
#[tokio::main(flavor = "current_thread")]
async fn writes(
    stream: u32,
    stores: &[Address; 2],
    stop: &AtomicBool,
    written: &AtomicU32,
) -> Result<u32> {
    let sessions = [Session::open(&stores[0]).await?, Session::open(&stores[1]).await?];
    let (mut at, mut event) = (0, 1);
    while !stop.load(Ordering::Relaxed) {
        // No faster than a move can follow on a busy machine.
        tokio::time::sleep(REST).await;
        match sessions[at].send(&filled(&stores[at].insert, stream, event)).await? {
            Ok(()) => {
                written.fetch_add(1, Ordering::Relaxed);
                event += 1;
            }
            // The tenant is elsewhere: this writer's routing is to try the other store.
            Err(elsewhere) => at = if elsewhere { 1 - at } else { at },
        }
    }
    Ok(event - 1)
}
