//! Files with a table of another library, connections that write it, and stores that adopt it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::Layout;
use rehome_domain::ledger::{Activation, Head};
use rehome_ports::clock::SystemClock;
use rehome_ports::{BatchLimit, LedgerStore, TenantNames};
use rehome_sqlite::{Adoption, FileOptions, SqliteAdopted};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

/// The table of eventsource-py 0.8.1, as its schema makes it.
pub(crate) const EVENTS: &str = "\
    CREATE TABLE events (
        global_position INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        aggregate_id TEXT NOT NULL,
        aggregate_type TEXT NOT NULL,
        event_type TEXT NOT NULL,
        tenant_id TEXT,
        actor_id TEXT,
        version INTEGER NOT NULL,
        timestamp TEXT NOT NULL,
        payload TEXT NOT NULL,
        created_at TEXT NOT NULL DEFAULT (datetime('now')),
        UNIQUE (aggregate_id, aggregate_type, version)
    );
    CREATE INDEX idx_events_tenant_id ON events (tenant_id) WHERE tenant_id IS NOT NULL;
    CREATE INDEX idx_events_aggregate_version ON events (aggregate_id, aggregate_type, version);";

pub(crate) const TENANT: TenantId =
    TenantId::new(Uuid::from_u128(0x0190_a5de_6f6b_7c3d_8a55_0000_0000_0001));

/// An epoch's route of a tenant that is registered with rows of its own.
pub(crate) const FIRST: Activation = Activation { epoch: Epoch(1), base: 0, created: false };

pub(crate) const ALL: BatchLimit = BatchLimit { events: usize::MAX, bytes: usize::MAX };

pub(crate) fn layout() -> Layout {
    Layout::built_in("eventsource-py").expect("it comes with rehome")
}

/// A file with the table, and the store over it.
pub(crate) struct Place {
    _folder: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) adoption: Adoption,
    pub(crate) store: Arc<SqliteAdopted>,
    pub(crate) app: Connection,
}

impl Place {
    pub(crate) async fn new(id: &str) -> Self {
        Self::with(id, EVENTS, layout(), &TenantNames::default()).await
    }

    pub(crate) async fn with(id: &str, schema: &str, layout: Layout, names: &TenantNames) -> Self {
        Self::adopted(id, schema, layout, names, "").await
    }

    /// As an earlier rehome adopted it: rows have the texts of SQLite.
    pub(crate) async fn of_an_earlier_rehome(id: &str) -> Self {
        let earlier = "UPDATE rehome_guard_installed SET kinds = NULL";
        Self::adopted(id, EVENTS, layout(), &TenantNames::default(), earlier).await
    }

    /// `then` is run before the store is opened.
    async fn adopted(
        id: &str,
        schema: &str,
        layout: Layout,
        names: &TenantNames,
        then: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("app.db");
        let app = session(&path);
        app.pragma_update(None, "journal_mode", "WAL").expect("a journal mode");
        app.execute_batch(schema).expect("the table");
        let adoption = adoption(&path, id, layout, names);
        adoption.adopt().await.expect("it is adopted");
        app.execute_batch(then).expect("a guard");
        let store =
            Arc::new(SqliteAdopted::open(adoption.clone()).await.expect("an adopted store"));
        Self { _folder: folder, path, adoption, store, app }
    }

    /// Another connection of the application.
    pub(crate) fn session(&self) -> Connection {
        session(&self.path)
    }

    /// The tenant's rows, numbered.
    pub(crate) async fn head(&self) -> Head {
        self.store.ledger(TENANT).await.expect("the ledger").head
    }

    pub(crate) fn count(&self, sql: &str) -> i64 {
        self.app.query_row(sql, [], |row| row.get(0)).expect("a count")
    }
}

pub(crate) fn adoption(path: &Path, id: &str, layout: Layout, names: &TenantNames) -> Adoption {
    Adoption {
        id: id.parse().expect("a store id"),
        path: path.to_owned(),
        layout,
        deployment: "adopted".to_owned(),
        clock: Arc::new(SystemClock),
        names: names.clone(),
        file: FileOptions::default(),
    }
}

/// A connection as the library opens it.
pub(crate) fn session(path: &Path) -> Connection {
    let conn = Connection::open(path).expect("a file");
    conn.busy_timeout(Duration::from_secs(5)).expect("a patient connection");
    conn.pragma_update(None, "foreign_keys", true).expect("a pragma");
    conn
}

/// A row of the tenant as the library inserts it.
pub(crate) fn insert(stream: u128, version: i64) -> String {
    insert_of(TENANT.uuid(), stream, version)
}

pub(crate) fn insert_of(tenant: Uuid, stream: u128, version: i64) -> String {
    format!(
        "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, actor_id, version, \
             timestamp, payload) \
         VALUES ('{}', '{}', 'Order', 'OrderChanged', '{tenant}', NULL, {version}, \
                 '2026-01-02T03:04:05.678901+02:00', '{{\"n\": {version}, \"text\": \"a\\\"b, (c)\"}}')",
        Uuid::new_v4(),
        Uuid::from_u128(stream),
    )
}

/// Copies all that the target lacks; answers its head.
pub(crate) async fn copy(source: &SqliteAdopted, target: &SqliteAdopted, m: Epoch) -> Head {
    let mut head = target.ledger(TENANT).await.expect("the target").head;
    loop {
        let feed = source.read_feed(TENANT, head.seq, BatchLimit::PAGE).await.expect("a page");
        if feed.events.is_empty() {
            return head;
        }
        head = target.extend(TENANT, m, head, &feed.events).await.expect("it is extended");
    }
}

/// Makes the guard of a file that an earlier rehome adopted what it was in format 3.
pub(crate) const FORMAT_3: &str = "\
    ALTER TABLE rehome_guard_tenants DROP COLUMN row_order; \
    ALTER TABLE rehome_guard_installed DROP COLUMN kinds; \
    UPDATE rehome_guard_meta SET format = 3, oldest_reader = 2, oldest_writer = 2;";

/// What a statement is refused with.
pub(crate) fn refusal(session: &Connection, sql: &str) -> String {
    session.execute_batch(sql).expect_err("it is refused").to_string()
}

/// The tenant's rows with the class of each value, but the position, in the order of positions.
pub(crate) fn rows(place: &Place) -> Vec<String> {
    let sql = format!(
        "SELECT hex(quote(event_id) || quote(aggregate_id) || quote(aggregate_type) || quote(event_type) \
             || quote(tenant_id) || quote(actor_id) || quote(version) || quote(timestamp) || quote(payload) \
             || quote(created_at)) || typeof(actor_id) || typeof(payload) || typeof(version) \
         FROM events WHERE tenant_id = '{}' ORDER BY global_position",
        TENANT.uuid()
    );
    let mut statement = place.app.prepare(&sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("texts")
}

/// The schema of a file, with the location of each object, and its header.
pub(crate) fn schema(conn: &Connection) -> (Vec<String>, Vec<String>) {
    let mut statement = conn
        .prepare("SELECT type || name || tbl_name || rootpage || coalesce(sql, '') FROM sqlite_schema ORDER BY rowid")
        .expect("a statement");
    let things = statement.query_map([], |row| row.get(0)).expect("rows");
    let things = things.collect::<Result<_, _>>().expect("texts");
    let header =
        ["journal_mode", "page_size", "user_version", "application_id", "encoding", "auto_vacuum"];
    let said = header.map(|name| {
        let value: rusqlite::types::Value =
            conn.pragma_query_value(None, name, |row| row.get(0)).expect("a pragma");
        format!("{name}={value:?}")
    });
    (things, said.to_vec())
}
