//! Which files are opened, which are created, and which are left unchanged.

use std::path::Path;

use rehome_domain::ids::Epoch;
use rehome_ports::{ControlPlane as _, FaultKind, LedgerStore};

use crate::child::{Other, command};
use crate::kit::{
    activate, append, audited, contents, fault, fill, folder, open, open_control, options,
    outsider, refused, store, tenant,
};

#[tokio::test]
async fn a_missing_file_is_not_made_unless_asked_for() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let FaultKind::Missing(place) = refused(open(&path, false).await) else { panic!() };
    assert_eq!(Path::new(&place), path);
    assert!(matches!(refused(open_control(&path, false).await), FaultKind::Missing(_)));
    assert!(contents(folder.path()).is_empty());

    let nowhere = folder.path().join("no/such/folder/store.db");
    assert!(matches!(refused(open(&nowhere, true).await), FaultKind::Missing(_)));
}

#[tokio::test]
async fn a_file_is_made_once_and_keeps_its_identity() {
    let folder = folder();
    for (name, empty) in [("absent.db", false), ("empty.db", true)] {
        let path = folder.path().join(name);
        if empty {
            std::fs::write(&path, "").unwrap();
        }
        let made = store(&path).await.check().await.unwrap();
        let again = open(&path, false).await.unwrap().check().await.unwrap();
        assert_eq!(made, again);
        assert!(made.durable);
        assert_eq!(made.durability, "WAL, synchronous=FULL");
        assert!(made.engine.starts_with("SQLite 3."));
        assert_eq!(uuid::Uuid::parse_str(&made.identity).unwrap().get_version_num(), 4);
    }
}

#[tokio::test]
async fn a_control_plane_makes_its_deployment() {
    let folder = folder();
    let (one, two) = (folder.path().join("one.db"), folder.path().join("two.db"));
    let made = open_control(&one, true).await.unwrap().deployment().to_owned();
    assert_eq!(open_control(&one, false).await.unwrap().deployment(), made);
    assert_ne!(open_control(&two, true).await.unwrap().deployment(), made);
}

#[tokio::test]
async fn what_is_not_ours_is_not_touched() {
    let folder = folder();
    let in_folder = |name: &str| folder.path().join(name);
    std::fs::write(in_folder("short"), "hello").unwrap();
    std::fs::write(in_folder("text"), "not a database, ".repeat(1_000)).unwrap();
    std::fs::create_dir(in_folder("folder")).unwrap();
    for (name, mode) in [("rollback", "DELETE"), ("wal", "WAL")] {
        let conn = outsider(&in_folder(name));
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; CREATE TABLE theirs (n INTEGER);"
        ))
        .unwrap();
    }
    outsider(&in_folder("marked")).execute_batch("PRAGMA application_id = 7").unwrap();
    // One that is in use, all of it still in its log.
    let in_use = outsider(&in_folder("in-use"));
    in_use.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE theirs (n INTEGER);").unwrap();
    let left = || {
        let mut left = contents(folder.path());
        // Readers leave their marks in the memory that all share.
        left.retain(|(name, ..)| name != "in-use-shm");
        left
    };
    let before = left();
    for name in ["short", "text", "folder", "rollback", "wal", "marked", "in-use"] {
        for create in [false, true] {
            let kind = refused(open(&in_folder(name), create).await);
            assert!(matches!(kind, FaultKind::Foreign(_)), "{name}: {kind:?}");
            let kind = refused(open_control(&in_folder(name), create).await);
            assert!(matches!(kind, FaultKind::Foreign(_)), "{name}: {kind:?}");
        }
    }
    assert_eq!(left(), before);
}

#[tokio::test]
async fn an_empty_file_is_not_taken_unless_asked_for() {
    let folder = folder();
    let path = folder.path().join("empty.db");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(refused(open(&path, false).await), FaultKind::Foreign(_)));
    let left = contents(folder.path());
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].0.as_str(), left[0].1), ("empty.db", 0));
}

#[tokio::test]
async fn a_store_is_no_control_plane_and_the_reverse() {
    let folder = folder();
    let (a_store, a_control) = (folder.path().join("store.db"), folder.path().join("control.db"));
    store(&a_store).await.close().await;
    open_control(&a_control, true).await.unwrap().close().await;
    let before = contents(folder.path());
    assert_eq!(
        refused(open(&a_control, true).await),
        FaultKind::Foreign("it is a control plane, not a store".to_owned())
    );
    assert_eq!(
        refused(open_control(&a_store, true).await),
        FaultKind::Foreign("it is a store, not a control plane".to_owned())
    );
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test]
async fn another_deployments_store_is_not_touched() {
    let folder = folder();
    let path = folder.path().join("store.db");
    store(&path).await.close().await;
    let before = contents(folder.path());
    let mut theirs = options(&path, true);
    theirs.deployment = "theirs".to_owned();
    let kind = refused(rehome_sqlite::SqliteStore::open(theirs).await);
    let (found, expected) = ("test".to_owned(), "theirs".to_owned());
    assert_eq!(kind, FaultKind::OtherDeployment { found, expected });
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = folder();
    let path = folder.path().join("store.db");
    store(&path).await.close().await;
    outsider(&path)
        .execute("UPDATE meta SET format = 9, oldest_reader = 7, oldest_writer = 8", [])
        .unwrap();
    assert_eq!(refused(open(&path, true).await), FaultKind::NewerFormat { found: 7, known: 4 });
}

#[tokio::test]
async fn a_format_that_only_newer_ones_may_write_is_read() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    activate(&store, tenant(1)).await;
    fill(&store, tenant(1), 1, 3).await;

    // As when a newer rehome upgrades the file while this one is using it.
    outsider(&path).execute("UPDATE meta SET format = 9, oldest_writer = 8", []).unwrap();
    let newer = FaultKind::NewerFormat { found: 8, known: 4 };
    assert_eq!(fault(store.append(tenant(1), Epoch(1), &[append(4)]).await).kind, newer);
    store.close().await;

    let store = open(&path, true).await.unwrap();
    assert_eq!(fault(store.append(tenant(1), Epoch(1), &[append(4)]).await).kind, newer);
    assert_eq!(audited(&store, tenant(1)).await.len(), 3);
    assert_eq!(store.check().await.unwrap().format, 9);
}

#[tokio::test]
async fn a_path_is_only_a_path() {
    let folder = folder();
    let names = ["a b.db", "file:x?mode=memory", "q?cache=shared#frag%20", ":memory:", "é\n'\".db"];
    for name in names {
        let path = folder.path().join(name);
        let first = store(&path).await;
        activate(&first, tenant(1)).await;
        first.close().await;
        assert!(path.is_file(), "{name}");
        let ledger = open(&path, false).await.unwrap().ledger(tenant(1)).await.unwrap();
        assert_eq!(ledger.epoch, Epoch(1), "{name}");
    }
    assert_eq!(contents(folder.path()).len(), names.len());
}

#[tokio::test]
async fn a_file_that_is_gone_or_replaced_is_noticed() {
    let folder = folder();
    let (path, aside) = (folder.path().join("store.db"), folder.path().join("aside.db"));
    let first = store(&path).await;
    activate(&first, tenant(1)).await;
    for suffix in ["", "-wal", "-shm"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::rename(name(&path), name(&aside)).unwrap();
    }
    let one = [append(1)];
    let write = || first.append(tenant(1), Epoch(1), &one);
    assert!(matches!(fault(write().await).kind, FaultKind::Missing(_)));
    assert!(matches!(fault(first.ledger(tenant(1)).await).kind, FaultKind::Missing(_)));

    let second = store(&path).await;
    assert!(matches!(fault(write().await).kind, FaultKind::Foreign(_)));
    assert!(matches!(fault(first.ledger(tenant(1)).await).kind, FaultKind::Foreign(_)));
    assert_eq!(second.tenants(None, 10).await.unwrap(), []);
}

/// Permissions do not bind root, so the reader is another user.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_may_not_be_written_is_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let folder = folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let path = data.join("store.db");
    let ours = store(&path).await;
    activate(&ours, tenant(1)).await;
    fill(&ours, tenant(1), 1, 3).await;

    // A copy, because the folder that the program lies in may be closed to others.
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(folder.path(), 0o755);
    allow(&data, 0o555);
    allow(&program, 0o755);
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        allow(&data.join(name), 0o444);
    }
    let mut reader = command(&program, "read", &path);
    reader.current_dir(folder.path());
    let is_root = std::fs::read("/proc/self/status")
        .is_ok_and(|status| String::from_utf8_lossy(&status).contains("\nUid:\t0\t"));
    if is_root {
        reader.uid(65_534).gid(65_534);
    }
    let mut reader = Other::spawn(reader);
    assert_eq!(reader.says().as_deref(), Some("read 3 events"));
    assert_eq!(
        reader.says().as_deref(),
        Some("store \"shared\" is read-only; make its file and folder writable")
    );
    allow(&data, 0o755);
}
