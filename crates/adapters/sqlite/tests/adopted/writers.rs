//! Writers with plain SQL, in other threads and in another process, while the tenant moves there and back. They do
//! not use rehome: when a file refuses them, they try the other one. Their acknowledgements are compared at the end.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Role, follow_chain};
use rehome_ports::LedgerStore;
use rehome_sqlite::SqliteAdopted;
use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use crate::kit::{ALL, FIRST, Place, TENANT, copy, rows, session};

/// A writer's acknowledgement: the event's id, with its stream and version.
type Acked = HashMap<String, (String, i64)>;

const SWITCHED: [&str; 2] = ["RH001", "RH003"];

/// Appends to its own stream until it is stopped; two events in one transaction.
struct Writer {
    files: [Connection; 2],
    at: usize,
    stream: Uuid,
    version: i64,
    acked: Acked,
    slowest: Duration,
}

impl Writer {
    fn new(paths: &[PathBuf; 2], stream: u128) -> Self {
        let files = [session(&paths[0]), session(&paths[1])];
        let stream = Uuid::from_u128(stream);
        Self { files, at: 0, stream, version: 0, acked: Acked::new(), slowest: Duration::ZERO }
    }

    /// One append, to the file that accepts it.
    fn append(&mut self) {
        let events = [self.version + 1, self.version + 2]
            .map(|version| (Uuid::new_v4().to_string(), version));
        let began = Instant::now();
        while let Err(error) = self.try_append(&events) {
            let said = error.to_string();
            assert!(SWITCHED.iter().any(|code| said.starts_with(code)), "{said}");
            self.at = 1 - self.at;
            assert!(began.elapsed() < Duration::from_secs(20), "nobody takes it: {said}");
            std::thread::yield_now();
        }
        self.slowest = self.slowest.max(began.elapsed());
        self.version += 2;
        let stream = self.stream.to_string();
        self.acked.extend(events.map(|(id, version)| (id, (stream.clone(), version))));
    }

    fn try_append(&mut self, events: &[(String, i64)]) -> rusqlite::Result<()> {
        let tx = self.files[self.at].transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, version) in events {
            tx.prepare_cached(
                "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, timestamp, \
                 payload) VALUES (?1, ?2, 'Order', 'Changed', ?3, ?4, datetime('now'), '{}')",
            )?
            .execute((id, self.stream.to_string(), TENANT.uuid().to_string(), version))?;
        }
        tx.commit()
    }
}

/// A separate process: this test program again, until it is stopped. Its acknowledgements are its output.
struct Process {
    child: Child,
    told: JoinHandle<Acked>,
}

const FILES: &str = "REHOME_TEST_WRITER_FILES";

impl Process {
    fn start(paths: &[PathBuf; 2], count: &Arc<AtomicU64>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writers::role", "--nocapture", "--test-threads=1"])
            .env(FILES, std::env::join_paths(paths).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let count = Arc::clone(count);
        let told = std::thread::spawn(move || {
            let mut acked = Acked::new();
            for line in lines.map_while(Result::ok) {
                let Some((_, said)) = line.split_once("> ") else { continue };
                let words: Vec<&str> = said.split(' ').collect();
                acked.insert(words[0].to_owned(), (words[1].to_owned(), words[2].parse().unwrap()));
                count.fetch_add(1, Ordering::Relaxed);
            }
            acked
        });
        Self { child, told }
    }

    fn stop(mut self) -> Acked {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        self.told.join().unwrap()
    }
}

/// Not a test of its own: what the other tests start in a process of its own, by the environment.
#[test]
fn role() {
    let Some(files) = std::env::var_os(FILES) else { return };
    let files: Vec<PathBuf> = std::env::split_paths(&files).collect();
    let mut writer = Writer::new(&files.try_into().unwrap(), 100);
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    std::thread::spawn(move || {
        std::io::stdin().read_line(&mut String::new()).unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    while !stopped.load(Ordering::Relaxed) {
        writer.append();
        let mut out = std::io::stdout().lock();
        for (id, (stream, version)) in writer.acked.drain() {
            writeln!(out, "> {id} {stream} {version}").unwrap();
        }
        out.flush().unwrap();
    }
}

/// Moves the tenant while it is written; the old store keeps its rows, refused.
async fn switch(from: &SqliteAdopted, to: &SqliteAdopted, epoch: u64) {
    let m = Epoch(epoch + 1);
    let there = to.ledger(TENANT).await.unwrap();
    to.adopt(TENANT, m, there.head).await.unwrap();
    copy(from, to, m).await;
    let head = from.fence(TENANT, Epoch(epoch), Epoch(epoch + 2)).await.unwrap();
    assert_eq!(copy(from, to, m).await, head);
    let route = Activation { epoch: Epoch(epoch + 3), base: head.seq, created: true };
    to.activate(TENANT, route).await.unwrap();
    from.settle(TENANT, Epoch(epoch + 2), to.id()).await.unwrap();
}

/// Waits until some more events were acknowledged.
async fn until_more(count: &AtomicU64, more: u64) {
    let wanted = count.load(Ordering::Relaxed) + more;
    let waited = async {
        while count.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("the writers go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_a_writer_was_told_is_lost_while_the_tenant_moves_there_and_back() {
    let (shared, dedicated) = (Place::new("shared").await, Place::new("dedicated").await);
    let paths = [shared.path.clone(), dedicated.path.clone()];
    let count = Arc::new(AtomicU64::new(0));
    let stopped = Arc::new(AtomicBool::new(false));
    let process = Process::start(&paths, &count);
    let threads: Vec<_> = (1..=2)
        .map(|stream| {
            let (paths, count, stopped) = (paths.clone(), Arc::clone(&count), Arc::clone(&stopped));
            std::thread::spawn(move || {
                let mut writer = Writer::new(&paths, stream);
                while !stopped.load(Ordering::Relaxed) {
                    writer.append();
                    count.fetch_add(2, Ordering::Relaxed);
                }
                writer
            })
        })
        .collect();
    until_more(&count, 200).await;
    shared.store.activate(TENANT, FIRST).await.unwrap();
    let mut epoch = 1;
    for (from, to) in [(&shared, &dedicated), (&dedicated, &shared), (&shared, &dedicated)] {
        until_more(&count, 200).await;
        switch(&from.store, &to.store, epoch).await;
        epoch += 3;
    }
    until_more(&count, 200).await;
    stopped.store(true, Ordering::Relaxed);
    let mut acked = process.stop();
    for thread in threads {
        let writer = thread.join().unwrap();
        eprintln!("the slowest of {} appends took {:?}", writer.version / 2, writer.slowest);
        acked.extend(writer.acked);
    }

    // Every event once, at its acknowledged place, and no others.
    let feed = dedicated.store.read_feed(TENANT, 0, ALL).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), feed.ledger.head);
    assert_eq!(feed.events.len(), acked.len());
    let mut versions: HashMap<String, u64> = HashMap::new();
    for event in &feed.events {
        let stream = event.stream.stream_id().to_owned();
        let version = versions.entry(stream.clone()).or_default();
        *version += 1;
        assert_eq!(event.version, *version, "in order");
        let told = acked.remove(&event.id.to_string());
        assert_eq!(told, Some((stream, i64::try_from(event.version).unwrap())));
    }
    // The old file has the rows from before the move, and accepts no more.
    let left = shared.store.ledger(TENANT).await.unwrap();
    assert_eq!(left.role, Role::Fenced);
    assert!(rows(&dedicated).starts_with(&rows(&shared)));
    assert!(crate::kit::refusal(&shared.app, &crate::kit::insert(70, 1)).starts_with("RH001"));
}
