//! What is left after a process ended without saying so.

use rehome_domain::ids::Epoch;
use rehome_ports::LedgerStore;

use crate::child::Other;
use crate::kit::{activate, append, audited, fill, folder, open, store, tenant};

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut other = Other::start("append", &path);
        for _ in 0..50 {
            acknowledged.push(other.says().unwrap().parse::<u64>().unwrap());
        }
        other.kill();
        while let Some(said) = other.says() {
            acknowledged.push(said.parse().unwrap());
        }
        let store = open(&path, false).await.unwrap();
        let events = audited(&store, tenant(1)).await;
        for n in &acknowledged {
            let id = append(*n).events[0].id;
            assert_eq!(events.iter().filter(|event| event.id == id).count(), 1, "event {n}");
        }
    }
}

#[tokio::test]
async fn a_store_that_was_dropped_is_opened_again() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let first = store(&path).await;
    activate(&first, tenant(1)).await;
    fill(&first, tenant(1), 1, 1_000).await;
    drop(first);
    // The last one that closes the file leaves nothing beside it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let second = open(&path, false).await.unwrap();
    assert_eq!(audited(&second, tenant(1)).await.len(), 1_000);
    fill(&second, tenant(1), 1, 1_001).await;
    assert_eq!(second.ledger(tenant(1)).await.unwrap().head.seq, 1_001);
    assert_eq!(second.ledger(tenant(1)).await.unwrap().epoch, Epoch(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_does_not_grow_for_ever() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    activate(&store, tenant(1)).await;
    let mut longest = 0;
    for n in 1..=3_000 {
        fill(&store, tenant(1), n, n).await;
        let wal = std::fs::metadata(folder.path().join("store.db-wal")).unwrap().len();
        longest = wal.max(longest);
    }
    // 3,000 commits of some six pages; begun anew at about 4 MiB, with room for a slow machine.
    assert!(longest < 40 << 20, "the log grew to {longest} bytes");
}
