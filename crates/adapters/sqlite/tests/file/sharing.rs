//! Several connections and several processes on one file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Head;
use rehome_ports::{FaultKind, LedgerStore};
use rehome_sqlite::FileOptions;

use crate::child::Other;
use crate::kit::{
    M, activate, append, audited, fault, fill, folder, history, open, open_with, outsider, store,
    tenant,
};

#[tokio::test]
async fn processes_that_make_the_same_file_at_once_make_one() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let mut others: Vec<_> = (0..4).map(|_| Other::start("open", &path)).collect();
    for other in &mut others {
        assert_eq!(other.says().as_deref(), Some("ready"));
    }
    others.iter_mut().for_each(Other::go_on);
    let here = store(&path).await.check().await.unwrap().identity;
    for other in &mut others {
        assert_eq!(other.says().as_ref(), Some(&here));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_append_make_one_history() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let here = store(&path).await;
    activate(&here, tenant(1)).await;
    let mut other = Other::start("append", &path);
    let mut acknowledged: Vec<u64> = vec![other.says().unwrap().parse().unwrap()];
    for n in 1..=300 {
        fill(&here, tenant(1), n, n).await;
    }
    while acknowledged.len() < 300 {
        acknowledged.push(other.says().unwrap().parse().unwrap());
    }
    other.kill();
    let events = audited(&here, tenant(1)).await;
    for n in (1..=300).chain(acknowledged) {
        let id = append(n).events[0].id;
        assert_eq!(events.iter().filter(|event| event.id == id).count(), 1, "event {n}");
    }
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_waited_for_and_then_told() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let bound = Duration::from_millis(200);
    let here =
        open_with(&path, FileOptions { locked_after: bound, ..FileOptions::default() }).await;
    activate(&here, tenant(1)).await;
    let mut other = Other::start("hold", &path);
    assert_eq!(other.says().as_deref(), Some("held"));

    let since = Instant::now();
    let fault = fault(here.append(tenant(1), Epoch(1), &[append(1)]).await);
    assert!(since.elapsed() >= bound);
    assert_eq!(fault.kind, FaultKind::Locked);
    assert!(!fault.applied);
    assert_eq!(fault.to_string(), "store \"shared\" is locked by another process");
    // Reads and a check continue.
    assert_eq!(here.ledger(tenant(1)).await.unwrap().epoch, Epoch(1));
    here.check().await.unwrap();
    // It can even be opened.
    open(&path, false).await.unwrap();

    other.go_on();
    assert_eq!(other.says().as_deref(), Some("free"));
    fill(&here, tenant(1), 1, 1).await;
    assert_eq!(audited(&here, tenant(1)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_lets_another_writer_in_again_and_again() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let here = store(&path).await;
    let events = history(20_000).await;
    here.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    let (done, path) = (Arc::new(AtomicBool::new(false)), path.clone());
    let ended = Arc::clone(&done);
    let rival = std::thread::spawn(move || {
        let conn = outsider(&path);
        conn.execute_batch("CREATE TABLE rival (n INTEGER)").unwrap();
        let mut wait_max = Duration::ZERO;
        let mut writes = 0;
        while !ended.load(Ordering::Relaxed) {
            let since = Instant::now();
            // SQLite's own waiting would back off to 100 ms.
            while conn.execute_batch("BEGIN IMMEDIATE").is_err() {}
            wait_max = wait_max.max(since.elapsed());
            conn.execute_batch("INSERT INTO rival VALUES (1); COMMIT").unwrap();
            writes += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        (writes, wait_max)
    });
    // The rival has begun when the file has one more table.
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'rival'";
    let watcher = outsider(&folder.path().join("store.db"));
    while watcher.query_row(tables, [], |row| row.get::<_, i64>(0)).unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let head = here.extend(tenant(1), M, Head::EMPTY, &events).await.unwrap();
    done.store(true, Ordering::Relaxed);
    let (writes, wait_max) = rival.join().unwrap();
    assert_eq!(head, Head::of(&events[events.len() - 1]));
    assert_eq!(audited(&here, tenant(1)).await, events);
    // Far above the target (20 ms), because tests run beside other work.
    assert!(wait_max < Duration::from_secs(2), "the rival waited {wait_max:?}");
    assert!(writes >= 10, "the rival wrote {writes} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_write_does_not_wait_for_the_end_of_a_long_copy() {
    let folder = folder();
    let here = Arc::new(store(&folder.path().join("store.db")).await);
    let events = history(30_000).await;
    here.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    activate(&*here, tenant(2)).await;
    let copying = {
        let (here, events) = (Arc::clone(&here), events.clone());
        tokio::spawn(async move { here.extend(tenant(1), M, Head::EMPTY, &events).await })
    };
    let mut heads = Vec::new();
    while heads.len() < 5 {
        fill(&*here, tenant(2), 1 + heads.len() as u64, 1 + heads.len() as u64).await;
        heads.push(here.ledger(tenant(1)).await.unwrap().head.seq);
    }
    here.fence(tenant(2), Epoch(1), Epoch(2)).await.unwrap();
    let at_the_fence = here.ledger(tenant(1)).await.unwrap().head.seq;
    assert_eq!(copying.await.unwrap().unwrap().seq, 30_000);
    assert!(at_the_fence < 30_000, "the fence came after the copy; heads before it: {heads:?}");
    assert_eq!(audited(&*here, tenant(1)).await, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_an_honest_history() {
    let folder = folder();
    let here = Arc::new(store(&folder.path().join("store.db")).await);
    activate(&*here, tenant(1)).await;
    let calls: Vec<_> = (1..=200)
        .map(|n| {
            let here = Arc::clone(&here);
            let call = tokio::spawn(async move {
                here.append(tenant(1), Epoch(1), &[append(n)]).await.unwrap();
            });
            (n, call)
        })
        .collect();
    for (n, call) in calls {
        if n % 2 == 0 {
            call.abort();
        }
        let _ = call.await;
    }
    // Each is repeated, as after a lost response: stored events return the first result.
    fill(&*here, tenant(1), 1, 200).await;
    assert_eq!(audited(&*here, tenant(1)).await.len(), 200);
}
