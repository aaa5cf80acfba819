//! Databases with a table of another library, sessions that write it, and stores that adopt it.

use std::sync::Arc;
use std::time::Duration;

use rehome_cluster::{Cluster, Database};
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::Layout;
use rehome_domain::ledger::{Activation, Head};
use rehome_ports::clock::SystemClock;
use rehome_ports::{BatchLimit, LedgerStore, TenantNames};
use rehome_postgres::{Adoption, PgAdopted};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// The table of eventsource-py 0.8.1, as its schema makes it.
pub(crate) const EVENTS: &str = "\
    CREATE TABLE events ( \
        global_position bigserial PRIMARY KEY, event_id uuid NOT NULL UNIQUE, aggregate_id uuid NOT NULL, \
        aggregate_type varchar(255) NOT NULL, event_type varchar(255) NOT NULL, tenant_id uuid, \
        actor_id varchar(255), version integer NOT NULL, timestamp timestamptz NOT NULL, \
        payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), \
        CONSTRAINT uq_events_aggregate_version UNIQUE (aggregate_id, aggregate_type, version)); \
    CREATE INDEX idx_events_tenant_id ON events (tenant_id) WHERE tenant_id IS NOT NULL; \
    ALTER TABLE events ADD COLUMN txid xid8; \
    ALTER TABLE events ALTER COLUMN txid SET DEFAULT pg_current_xact_id();";

pub(crate) const TENANT: TenantId =
    TenantId::new(Uuid::from_u128(0x0190_a5de_6f6b_7c3d_8a55_0000_0000_0001));

/// An epoch's route of a tenant that is registered with rows of its own.
pub(crate) const FIRST: Activation = Activation { epoch: Epoch(1), base: 0, created: false };

pub(crate) fn layout() -> Layout {
    Layout::built_in("eventsource-py").expect("it comes with rehome")
}

/// A database with the table, and the store over it.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) store: Arc<PgAdopted>,
    pub(crate) app: Client,
}

impl Place {
    pub(crate) async fn new(id: &str) -> Self {
        Self::with(id, EVENTS, layout(), &TenantNames::default()).await
    }

    pub(crate) async fn with(id: &str, schema: &str, layout: Layout, names: &TenantNames) -> Self {
        let database = rehome_cluster::shared().database().expect("a new database");
        Self::over(database, id, schema, layout, names).await
    }

    async fn over(
        database: Database,
        id: &str,
        schema: &str,
        layout: Layout,
        names: &TenantNames,
    ) -> Self {
        let app = session(&database).await;
        app.batch_execute(schema).await.expect("the table");
        let adoption = adoption(&database, id, layout, names);
        adoption.adopt().await.expect("it is adopted");
        let store = Arc::new(PgAdopted::open(adoption).await.expect("an adopted store"));
        Self { database, store, app }
    }

    /// On another server.
    pub(crate) async fn at(cluster: &Cluster, id: &str) -> Self {
        let database = cluster.database().expect("a new database");
        Self::over(database, id, EVENTS, layout(), &TenantNames::default()).await
    }

    /// As another process opens the store, after this one has died with its connections.
    pub(crate) async fn reopen(&mut self) {
        let adoption = adoption(&self.database, "shared", layout(), &TenantNames::default());
        self.store = Arc::new(PgAdopted::open(adoption).await.expect("an adopted store"));
    }

    /// Another session of the application.
    pub(crate) async fn session(&self) -> Client {
        session(&self.database).await
    }

    /// The tenant's rows, numbered.
    pub(crate) async fn head(&self) -> Head {
        self.store.ledger(TENANT).await.expect("the ledger").head
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.app.query_one(sql, &[]).await.expect("a count").get(0)
    }
}

pub(crate) fn adoption(
    database: &Database,
    id: &str,
    layout: Layout,
    names: &TenantNames,
) -> Adoption {
    Adoption {
        id: id.parse().expect("a store id"),
        url: database.url().parse().expect("a URL"),
        layout,
        deployment: "adopted".to_owned(),
        clock: Arc::new(SystemClock),
        names: names.clone(),
    }
}

pub(crate) async fn session(database: &Database) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&database.url(), NoTls).await.expect("a session");
    tokio::spawn(connection);
    client
}

/// A row of the tenant as the library inserts it.
pub(crate) fn insert(stream: u128, version: i32) -> String {
    insert_of(TENANT.uuid(), stream, version)
}

pub(crate) fn insert_of(tenant: Uuid, stream: u128, version: i32) -> String {
    format!(
        "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, actor_id, version, \
             timestamp, payload) \
         VALUES ('{}', '{}', 'Order', 'OrderChanged', '{tenant}', NULL, {version}, \
                 '2026-01-02 03:04:05.678901+02', '{{\"n\": {version}, \"text\": \"a\\\"b, (c)\"}}')",
        Uuid::new_v4(),
        Uuid::from_u128(stream),
    )
}

/// Copies all that the target lacks; answers its head.
pub(crate) async fn copy(source: &PgAdopted, target: &PgAdopted, m: Epoch) -> Head {
    let mut head = target.ledger(TENANT).await.expect("the target").head;
    loop {
        let feed = source.read_feed(TENANT, head.seq, BatchLimit::PAGE).await.expect("a page");
        if feed.events.is_empty() {
            return head;
        }
        head = target.extend(TENANT, m, head, &feed.events).await.expect("it is extended");
    }
}

/// Waits until a session of the database waits for a lock.
pub(crate) async fn until_somebody_waits(session: &Client) {
    until(
        session,
        "SELECT count(*) > 0 FROM pg_stat_activity \
                    WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
}

pub(crate) async fn until(session: &Client, is_so: &str) {
    let waited = async {
        while !session.query_one(is_so, &[]).await.expect("an answer").get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect(is_so);
}

/// The SQLSTATE and the text with which a statement is refused.
pub(crate) async fn refusal(session: &Client, sql: &str) -> (String, String) {
    let error = session.batch_execute(sql).await.expect_err("it is refused");
    let said = error.as_db_error().expect("the server says so");
    (said.code().code().to_owned(), said.message().to_owned())
}
