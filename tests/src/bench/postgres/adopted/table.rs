//! The table of eventsource-py 0.8.1 with all its indexes, and writers that give rows as the library does.

use std::time::SystemTime;

use anyhow::Result;
use rehome_cluster::Database;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// The library's schema `all`; its other tables are not needed here.
const EVENTS: &str = "\
    CREATE TABLE events ( \
        global_position bigserial PRIMARY KEY, event_id uuid NOT NULL UNIQUE, aggregate_id uuid NOT NULL, \
        aggregate_type varchar(255) NOT NULL, event_type varchar(255) NOT NULL, tenant_id uuid, \
        actor_id varchar(255), version integer NOT NULL, timestamp timestamptz NOT NULL, \
        payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), \
        CONSTRAINT uq_events_aggregate_version UNIQUE (aggregate_id, aggregate_type, version)); \
    CREATE INDEX idx_events_aggregate_id ON events (aggregate_id); \
    CREATE INDEX idx_events_aggregate_type ON events (aggregate_type); \
    CREATE INDEX idx_events_event_type ON events (event_type); \
    CREATE INDEX idx_events_timestamp ON events (timestamp); \
    CREATE INDEX idx_events_tenant_id ON events (tenant_id) WHERE tenant_id IS NOT NULL; \
    CREATE INDEX idx_events_type_tenant_timestamp ON events (aggregate_type, tenant_id, timestamp); \
    CREATE INDEX idx_events_aggregate_version ON events (aggregate_id, aggregate_type, version); \
    ALTER TABLE events ADD COLUMN txid xid8; \
    ALTER TABLE events ALTER COLUMN txid SET DEFAULT pg_current_xact_id();";

/// What its router reads.
const ROUTING: &str = "\
    CREATE TABLE tenant_routing ( \
        tenant_id uuid PRIMARY KEY, store_id varchar(255) NOT NULL, \
        migration_state varchar(50) NOT NULL DEFAULT 'normal', active_migration_id uuid, \
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());";

/// The library's own statement. It passes the payload as text, which this driver needs explicitly.
const INSERT: &str = "\
    INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id, tenant_id, \
        actor_id, version, timestamp, payload, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, NOW()) RETURNING global_position";

/// Rows like those that the writers give, of the tenants in turns.
const FILL: &str = "\
    INSERT INTO events (event_id, event_type, aggregate_type, aggregate_id, tenant_id, \
        actor_id, version, timestamp, payload, created_at) \
    SELECT id, 'ItemAdded', 'Order', stream, tenant, 'bench', version, at, \
        $3::text::jsonb || jsonb_build_object('event_id', id, 'aggregate_id', stream, \
            'aggregate_version', version, 'tenant_id', tenant, 'occurred_at', at), now() \
    FROM (SELECT gen_random_uuid() AS id, md5(tenant::text || n / 40)::uuid AS stream, tenant, \
              n % 40 + 1 AS version, now() - interval '1 day' + n * interval '1 millisecond' AS at \
          FROM generate_series(0, $2::int - 1) AS n CROSS JOIN unnest($1::uuid[]) AS tenant \
          ORDER BY n) AS made";

/// What an event of the library has beside the names of itself, its stream and its tenant.
const PAYLOAD: &str = r#""event_type": "ItemAdded", "event_version": 1, "occurred_at": "2026-01-02T03:04:05.678901Z",
 "aggregate_type": "Order", "actor_id": "bench", "correlation_id": "9e2d6fa9-1943-445d-abb7-31ad62216a79",
 "causation_id": null, "metadata": {"source": "bench", "none": null}, "sku": "sku-7", "quantity": 3,
 "price": 19.99, "options": {"Größe": "L", "tags": ["a", 1, 2.5, true, {}]}}"#;

/// The most events of a stream; its writer then continues with the next stream.
const STREAM_LENGTH: i32 = 40;

/// A connection of the application.
pub(super) struct Session {
    pub(super) client: Client,
    _connection: AbortOnDropHandle<()>,
}

impl Session {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // The user of the client sees its end.
            let _ = connection.await;
        }));
        Ok(Self { client, _connection: connection })
    }
}

/// Makes the library's table, with so many rows of each tenant.
pub(super) async fn make(database: &Database, tenants: &[Uuid], rows: u64) -> Result<()> {
    Session::open(&database.url()).await?.client.batch_execute(EVENTS).await?;
    fill(database, tenants, rows).await
}

/// Gives the table so many rows of each tenant.
pub(super) async fn fill(database: &Database, tenants: &[Uuid], rows: u64) -> Result<()> {
    let session = Session::open(&database.url()).await?;
    let payload = format!("{{{PAYLOAD}");
    session.client.execute(FILL, &[&tenants, &i32::try_from(rows)?, &payload]).await?;
    session.client.batch_execute("VACUUM ANALYZE events").await?;
    Ok(())
}

/// Makes what the library's router reads.
pub(super) async fn make_routing(database: &Database) -> Result<()> {
    let session = Session::open(&database.url()).await?;
    Ok(session.client.batch_execute(ROUTING).await?)
}

/// An event that is to be written.
pub(super) struct Row {
    pub(super) id: Uuid,
    tenant: Uuid,
    stream: Uuid,
    version: i32,
    at: SystemTime,
}

impl Row {
    fn payload(&self) -> String {
        let Self { id, tenant, stream, version, .. } = self;
        format!(
            "{{\"event_id\": \"{id}\", \"aggregate_id\": \"{stream}\", \"aggregate_version\": {version}, \
             \"tenant_id\": \"{tenant}\", {PAYLOAD}"
        )
    }
}

/// The events of one writer, stream by stream.
pub(super) struct Rows {
    tenant: Uuid,
    stream: Uuid,
    version: i32,
}

impl Rows {
    pub(super) fn of(tenant: Uuid) -> Self {
        Self { tenant, stream: Uuid::new_v4(), version: 0 }
    }

    pub(super) fn next(&mut self) -> Row {
        if self.version == STREAM_LENGTH {
            *self = Self::of(self.tenant);
        }
        self.version += 1;
        let (id, at) = (Uuid::new_v4(), SystemTime::now());
        Row { id, tenant: self.tenant, stream: self.stream, version: self.version, at }
    }
}

/// A session with the library's statement prepared.
pub(super) struct Inserter {
    session: Session,
    insert: Statement,
}

impl Inserter {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let session = Session::open(url).await?;
        let insert = session.client.prepare(INSERT).await?;
        Ok(Self { session, insert })
    }

    /// Writes the row in a transaction of its own.
    pub(super) async fn write(&self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let Row { id, tenant, stream, version, at } = row;
        let payload = row.payload();
        let values: [&(dyn ToSql + Sync); 9] =
            [id, &"ItemAdded", &"Order", stream, tenant, &"bench", version, at, &payload];
        self.session.client.query_one(&self.insert, &values).await.map(drop)
    }

    /// The duration of each trigger of such a row in the server, and of the whole statement, in milliseconds.
    pub(super) async fn triggers(&self, row: &Row) -> Result<(Vec<f64>, f64)> {
        let Row { id, tenant, stream, version, .. } = row;
        let explain = format!(
            "EXPLAIN (ANALYZE, FORMAT JSON) INSERT INTO events (event_id, event_type, aggregate_type, \
                 aggregate_id, tenant_id, actor_id, version, timestamp, payload, created_at) \
             VALUES ('{id}', 'ItemAdded', 'Order', '{stream}', '{tenant}', 'bench', {version}, now(), \
                 '{}', now())",
            row.payload()
        );
        let mut text = String::new();
        for message in self.session.client.simple_query(&explain).await? {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                text.push_str(row.get(0).unwrap_or_default());
            }
        }
        let plan: serde_json::Value = serde_json::from_str(&text)?;
        let triggers = plan[0]["Triggers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let triggers = triggers.iter().filter_map(|trigger| trigger["Time"].as_f64());
        Ok((triggers.collect(), plan[0]["Execution Time"].as_f64().unwrap_or_default()))
    }
}
