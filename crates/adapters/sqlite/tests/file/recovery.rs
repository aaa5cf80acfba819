//! The state after a process ended without a shutdown.

use rehome_domain::ids::{Epoch, MigrationId};
use rehome_domain::migration::{Fact, Options};
use rehome_ports::{Change, ControlPlane as _, LedgerStore};
use uuid::Uuid;

use crate::child::Other;
use crate::kit::{activate, append, audited, fill, folder, open, open_control, store, tenant};

/// How the end of a write-ahead log can be after the power was lost.
#[derive(Clone, Copy, Debug)]
enum Tear {
    /// Nothing comes after this place.
    Cut(usize),
    /// The byte there is another.
    Flipped(usize),
    /// From there on all is zero, as in blocks that were given to the file and never written.
    Zeroed(usize),
}

impl Tear {
    fn place(self) -> usize {
        let (Self::Cut(place) | Self::Flipped(place) | Self::Zeroed(place)) = self;
        place
    }

    fn of(self, mut log: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Cut(place) => log.truncate(place),
            Self::Flipped(place) => log[place] ^= 0x40,
            Self::Zeroed(place) => log[place..].fill(0),
        }
        log
    }
}

/// Commits before the tear are present, those after it are gone as a whole, and the store continues.
#[tokio::test]
async fn a_torn_write_ahead_log_loses_nothing_that_was_committed_before_the_tear() {
    const COMMITS: u64 = 25;
    let folder = folder();
    let (path, log) = (folder.path().join("store.db"), folder.path().join("store.db-wal"));
    let first = store(&path).await;
    activate(&first, tenant(1)).await;
    // Where each commit ends in the log.
    let mut ends = vec![std::fs::read(&log).unwrap().len()];
    for n in 1..=COMMITS {
        fill(&first, tenant(1), n, n).await;
        ends.push(std::fs::read(&log).unwrap().len());
    }
    assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "the log was begun anew: {ends:?}");
    // As a process that is killed leaves it.
    let (database, whole) = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());

    let last = *ends.last().unwrap();
    let places = [ends[0] + 1, ends[5] - 1, ends[12] + 40, last - 4_000, last - 1];
    let tears = places.iter().flat_map(|&at| [Tear::Cut(at), Tear::Flipped(at), Tear::Zeroed(at)]);
    for tear in tears.chain([Tear::Cut(last)]) {
        let torn = folder.path().join("torn");
        std::fs::create_dir(&torn).unwrap();
        let path = torn.join("store.db");
        std::fs::write(&path, &database).unwrap();
        std::fs::write(torn.join("store.db-wal"), tear.of(whole.clone())).unwrap();

        let committed = ends.iter().skip(1).filter(|&&end| end <= tear.place()).count() as u64;
        let store = open(&path, false).await.unwrap();
        let left = audited(&store, tenant(1)).await.len() as u64;
        assert_eq!(left, committed, "{tear:?}");
        fill(&store, tenant(1), left + 1, left + 1).await;
        assert_eq!(audited(&store, tenant(1)).await.len() as u64, left + 1, "{tear:?}");
        store.close().await;
        std::fs::remove_dir_all(&torn).unwrap();
    }
}

/// The same of a control plane: each fact that was recorded before the tear is there with the route that it
/// made, and none that came after it.
#[tokio::test]
async fn a_torn_log_of_a_control_plane_keeps_routes_and_facts_together() {
    const MIGRATION: MigrationId = MigrationId::new(Uuid::from_u128(5));
    let folder = folder();
    let (path, log) = (folder.path().join("control.db"), folder.path().join("control.db-wal"));
    let plane = open_control(&path, true).await.unwrap();
    let route = plane.create_route(tenant(1), &"a".parse().unwrap()).await.unwrap();
    let route = plane.mark_created(tenant(1), route.epoch).await.unwrap();
    let change = |rev, fact| Change {
        tenant: tenant(1),
        migration: MIGRATION,
        rev: Some(rev),
        fact,
        actor: "a test".to_owned(),
    };
    let started = Fact::Started {
        migration: MIGRATION,
        target: "b".parse().unwrap(),
        options: Options::default(),
    };
    let mut rev = plane.record(change(route.rev, started)).await.unwrap().route.rev;
    // Where each fact ends in the log, and the revision that it made.
    let mut ends = vec![(std::fs::read(&log).unwrap().len(), rev)];
    for fact in [Fact::CopyStarted, Fact::Paused, Fact::Resumed, Fact::Paused, Fact::Resumed] {
        rev = plane.record(change(rev, fact)).await.unwrap().route.rev;
        ends.push((std::fs::read(&log).unwrap().len(), rev));
    }
    assert!(ends.windows(2).all(|pair| pair[0].0 < pair[1].0), "the log was begun anew: {ends:?}");
    let (database, whole) = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());

    let places = ends.windows(2).flat_map(|pair| [pair[0].0 + 1, pair[1].0 - 1]);
    for tear in places.flat_map(|at| [Tear::Cut(at), Tear::Flipped(at), Tear::Zeroed(at)]) {
        let torn = folder.path().join("torn");
        std::fs::create_dir(&torn).unwrap();
        let path = torn.join("control.db");
        std::fs::write(&path, &database).unwrap();
        std::fs::write(torn.join("control.db-wal"), tear.of(whole.clone())).unwrap();

        let kept = ends.iter().filter(|(end, _)| *end <= tear.place()).count();
        let plane = open_control(&path, false).await.unwrap();
        let route = plane.route(tenant(1)).await.unwrap().unwrap();
        assert_eq!(route.rev, ends[kept - 1].1, "{tear:?}");
        assert_eq!(plane.log(MIGRATION, 0, 100).await.unwrap().len(), kept, "{tear:?}");
        let migration = plane.migration(MIGRATION).await.unwrap();
        assert_eq!(Some((MIGRATION, migration.state.phase())), route.migration, "{tear:?}");
        // It continues from there.
        let aborted = change(route.rev, Fact::Aborted { purge: false });
        assert_eq!(plane.record(aborted).await.unwrap().route.rev, route.rev + 1);
        plane.close().await;
        std::fs::remove_dir_all(&torn).unwrap();
    }
}

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
    // 3,000 commits of some six pages; restarted at about 4 MiB, with a margin for a slow machine.
    assert!(longest < 40 << 20, "the log grew to {longest} bytes");
}
