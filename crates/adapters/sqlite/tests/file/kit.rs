//! Stores in a temporary folder, and histories to put into them.

use std::path::Path;
use std::sync::Arc;

use rehome_domain::append::Append;
use rehome_domain::digest::{Digest, sha256};
use rehome_domain::event::{Event, EventType, Json, NewEvent};
use rehome_domain::ids::{Epoch, EventId, TenantId};
use rehome_domain::ledger::{Activation, Head, follow_chain};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::memory::MemoryStore;
use rehome_ports::{BatchLimit, Fault, FaultKind, LedgerStore, StoreError};
use rehome_sqlite::{FileOptions, SqliteControlPlane, SqliteStore, SqliteStoreOptions};
use tempfile::TempDir;

pub(crate) const DEPLOYMENT: &str = "test";
pub(crate) const M: Epoch = Epoch(2);
pub(crate) const ALL: BatchLimit = BatchLimit { events: usize::MAX, bytes: usize::MAX };

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn options(path: &Path, create: bool) -> SqliteStoreOptions {
    SqliteStoreOptions {
        id: "shared".parse().unwrap(),
        path: path.to_owned(),
        deployment: DEPLOYMENT.to_owned(),
        create,
        clock: Arc::new(SystemClock),
    }
}

pub(crate) async fn open(path: &Path, create: bool) -> Result<SqliteStore, Fault> {
    SqliteStore::open(options(path, create)).await
}

pub(crate) async fn open_with(path: &Path, file: FileOptions) -> SqliteStore {
    SqliteStore::open_with(options(path, true), file).await.unwrap()
}

pub(crate) async fn store(path: &Path) -> SqliteStore {
    open(path, true).await.unwrap()
}

pub(crate) async fn open_control(path: &Path, create: bool) -> Result<SqliteControlPlane, Fault> {
    SqliteControlPlane::open(path.to_owned(), create, Arc::new(SystemClock)).await
}

/// Why it was not opened.
pub(crate) fn refused<T>(opened: Result<T, Fault>) -> FaultKind {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(fault) => fault.kind,
    }
}

/// Why it was not done.
pub(crate) fn fault<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Fault {
    match answer {
        Err(StoreError::Fault(fault)) => fault,
        other => panic!("not a fault: {other:?}"),
    }
}

pub(crate) fn tenant(n: u64) -> TenantId {
    TenantId::new(uuid::Uuid::from_u64_pair(0x7e57, n))
}

pub(crate) fn event(n: u64) -> NewEvent {
    NewEvent {
        id: EventId::new(uuid::Uuid::from_u64_pair(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)),
        event_type: EventType::new("order_placed").unwrap(),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!(
            r#"{{"n":{n},"note":"it's \u0000 \"quoted\"","padding":"{n:0>200}"}}"#
        )),
        metadata: Json::trusted("{}"),
    }
}

/// One event to one of a few streams.
pub(crate) fn append(n: u64) -> Append {
    Append {
        stream: StreamName::new("order", format!("é-{}", n % 7)).unwrap(),
        expected: ExpectedVersion::Any,
        events: vec![event(n)],
    }
}

pub(crate) async fn activate(store: &dyn LedgerStore, tenant: TenantId) {
    let route = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(tenant, route).await.unwrap();
}

/// Appends events `from..=to`, in groups.
pub(crate) async fn fill(store: &dyn LedgerStore, tenant: TenantId, from: u64, to: u64) {
    let all: Vec<_> = (from..=to).map(append).collect();
    for some in all.chunks(500) {
        for outcome in store.append(tenant, Epoch(1), some).await.unwrap() {
            outcome.unwrap();
        }
    }
}

/// The history of `n` events that a source would have.
pub(crate) async fn history(n: u64) -> Vec<Event> {
    let source = MemoryStore::new("source".parse().unwrap(), Arc::new(SystemClock));
    activate(&source, tenant(1)).await;
    fill(&source, tenant(1), 1, n).await;
    source.read_feed(tenant(1), 0, ALL).await.unwrap().events
}

/// All of a tenant's history, checked against its ledger.
pub(crate) async fn audited(store: &dyn LedgerStore, tenant: TenantId) -> Vec<Event> {
    let feed = store.read_feed(tenant, 0, ALL).await.unwrap();
    assert_eq!(follow_chain(Head::EMPTY, &feed.events).unwrap(), feed.ledger.head);
    feed.events
}

/// A connection that bypasses rehome, like that of a shell or another program.
pub(crate) fn outsider(path: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    conn
}

/// Everything in a folder, as name, size and hash.
pub(crate) fn contents(folder: &Path) -> Vec<(String, usize, Digest)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, bytes.len(), sha256(&[&bytes]))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
