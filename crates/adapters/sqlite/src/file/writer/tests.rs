//! Jobs that share a transaction: one commit, each job's own outcome, and no answer before the commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rehome_ports::FaultKind;
use rehome_ports::clock::SystemClock;
use tokio::task::JoinHandle;

use super::super::{File, FileOptions, Request};
use super::*;

/// A refusal of a job.
#[derive(Debug, PartialEq)]
struct No;

type Outcome = Result<i64, Failure<No>>;

struct Place {
    folder: tempfile::TempDir,
    file: Arc<File>,
}

impl Place {
    async fn new(bytes_max: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let request = Request {
            what: "control plane".to_owned(),
            kind: Kind::ControlPlane,
            path: folder.path().join("control.db"),
            create: true,
            deployment: None,
            clock: Arc::new(SystemClock),
            options: FileOptions { bytes_max, ..FileOptions::default() },
        };
        let file = Arc::new(File::open(request).await.unwrap());
        let place = Self { folder, file };
        place
            .hand_in(|tx| {
                tx.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")?;
                Ok(0)
            })
            .await
            .unwrap()
            .unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control.db")
    }

    fn hand_in(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Outcome + Send + 'static,
    ) -> JoinHandle<Outcome> {
        let file = Arc::clone(&self.file);
        tokio::spawn(async move { file.write(move |tx, _| work(tx)).await })
    }

    /// Keeps the thread busy until something is sent: what is handed in meanwhile waits together.
    async fn hold(&self) -> Sender<()> {
        let (begun, has_begun) = channel();
        let (go, gone) = channel::<()>();
        let file = Arc::clone(&self.file);
        tokio::spawn(async move {
            let wait = move |_: &Transaction<'_>, _: &Turn| -> Outcome {
                begun.send(()).unwrap();
                gone.recv().unwrap();
                Ok(0)
            };
            file.write_long(wait).await
        });
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        go
    }

    /// Once so many jobs wait, lets them be done.
    async fn release(&self, go: &Sender<()>, jobs: usize) {
        while self.file.writer.waiting.load(Ordering::Relaxed) < jobs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        go.send(()).unwrap();
    }

    /// What is committed, as another program reads it.
    fn rows(&self) -> Vec<i64> {
        let conn = Connection::open(self.path()).unwrap();
        let mut rows = conn.prepare("SELECT n FROM t ORDER BY n").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

fn insert(tx: &Transaction<'_>, n: i64) -> Outcome {
    tx.execute("INSERT INTO t VALUES (?1, 'x')", [n])?;
    Ok(n)
}

/// The commits in the log: frames that have the size of the file (SQLite's file format, chapter 4.1).
fn commits(path: &Path) -> usize {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let log = std::fs::read(name).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let salt = &log[16..24];
    let frames = log[32..].chunks_exact(24 + page).take_while(|frame| &frame[8..16] == salt);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let place = Place::new(None).await;
    let go = place.hold().await;
    let jobs: Vec<_> = (1..=5).map(|n| place.hand_in(move |tx| insert(tx, n))).collect();
    let before = commits(&place.path());
    place.release(&go, 5).await;
    let mut answers = Vec::new();
    for job in jobs {
        answers.push(job.await.unwrap().unwrap());
    }
    assert_eq!((answers, place.rows()), (vec![1, 2, 3, 4, 5], vec![1, 2, 3, 4, 5]));
    // On a machine that is busy the first may use up the time in which others may join.
    let made = commits(&place.path()) - before;
    assert!((1..=4).contains(&made), "{made} commits for 5 jobs");
}

#[tokio::test]
async fn a_job_that_fails_undoes_what_it_did_and_nothing_else() {
    let place = Place::new(None).await;
    let go = place.hold().await;
    let kept = place.hand_in(|tx| insert(tx, 1));
    let refused = place.hand_in(|tx| insert(tx, 2).and(Err(Failure::Rule(No))));
    let twice = place.hand_in(|tx| insert(tx, 3).and(insert(tx, 3)));
    let panics = place.hand_in(|tx| {
        insert(tx, 4)?;
        panic!("a bug in a job");
    });
    let last = place.hand_in(|tx| insert(tx, 5));
    place.release(&go, 5).await;
    assert_eq!(kept.await.unwrap().unwrap(), 1);
    assert!(matches!(refused.await.unwrap(), Err(Failure::Rule(No))));
    assert!(matches!(twice.await.unwrap(), Err(Failure::File(FileError::Sql(_)))));
    assert!(matches!(panics.await.unwrap(), Err(Failure::File(FileError::Lost))));
    assert_eq!(last.await.unwrap().unwrap(), 5);
    assert_eq!(place.rows(), [1, 5]);
}

/// A refusal may come from what a neighbour changed: if that is not committed, it is no answer.
#[tokio::test]
async fn nobody_gets_an_answer_from_a_transaction_that_was_not_committed() {
    let place = Place::new(None).await;
    let refuse_commits = |conn: &mut Connection| conn.commit_hook(Some(|| true));
    place.file.writer.look::<_, No>(refuse_commits).await.unwrap();
    let go = place.hold().await;
    let first = place.hand_in(|tx| insert(tx, 1));
    let kept = place.hand_in(|tx| insert(tx, 2));
    let refused = place.hand_in(|_| Err(Failure::Rule(No)));
    place.release(&go, 3).await;
    for job in [first, kept, refused] {
        let answer = job.await.unwrap();
        assert!(matches!(answer, Err(Failure::File(FileError::Commit(_)))), "{answer:?}");
    }
    assert!(place.rows().is_empty());
}

/// SQLite undoes a whole transaction when the file is full: no job of it may be answered as if it were stored.
#[tokio::test]
async fn what_is_answered_is_stored_when_a_neighbour_fills_the_file() {
    let place = Place::new(Some(2 << 20)).await;
    let go = place.hold().await;
    let first = place.hand_in(|tx| insert(tx, 1));
    let fills = place.hand_in(|tx| {
        tx.execute("INSERT INTO t VALUES (2, zeroblob(3000000))", [])?;
        Ok(2)
    });
    let last = place.hand_in(|tx| insert(tx, 3));
    place.release(&go, 3).await;
    let full = fills.await.unwrap();
    let Err(Failure::File(error)) = full else { panic!("{full:?}") };
    assert_eq!(error.fault("it").kind, FaultKind::Full);
    let stored: Vec<i64> =
        [first.await.unwrap(), last.await.unwrap()].into_iter().flatten().collect();
    assert_eq!(place.rows(), stored);
}

#[tokio::test]
async fn a_long_job_joins_nobody_and_keeps_its_place() {
    let place = Place::new(None).await;
    let go = place.hold().await;
    let first = place.hand_in(|tx| insert(tx, 1));
    while place.file.writer.waiting.load(Ordering::Relaxed) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let path = place.path();
    let file = Arc::clone(&place.file);
    let long = tokio::spawn(async move {
        let look = move |tx: &Transaction<'_>, _: &Turn| -> Outcome {
            let committed = Connection::open(&path)?;
            let sql = "SELECT count(*) FROM t";
            let (seen, own): (i64, i64) = (
                committed.query_row(sql, [], |row| row.get(0))?,
                tx.query_row(sql, [], |row| row.get(0))?,
            );
            assert_eq!(seen, own, "what came before is committed");
            Ok(seen)
        };
        file.write_long(look).await
    });
    while place.file.writer.waiting.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let last = place.hand_in(|tx| insert(tx, 3));
    place.release(&go, 3).await;
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(long.await.unwrap().unwrap(), 1);
    assert_eq!(last.await.unwrap().unwrap(), 3);
}
