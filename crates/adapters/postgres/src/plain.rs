//! Another program, for demonstrations: it writes events into its own table with plain SQL, like eventsource-py,
//! and does not use rehome.

use rehome_ports::{Fault, FaultKind};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::error::ServerError;
use crate::schema::names;
use crate::server::{self, PostgresOptions, PostgresUrl};

/// The columns and keys of the events table of eventsource-py 0.8.1.
const EVENTS: &str = include_str!("schema/eventsource_py.sql");

const INSERT: &str = "\
    INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, timestamp, payload) \
    SELECT id::uuid, stream::uuid, 'Order', 'OrderChanged', $6, version::int, at::timestamptz, payload::jsonb \
    FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::text[]) \
         WITH ORDINALITY AS e (id, stream, version, at, payload, n) \
    ORDER BY n";

const SELECT: &str = "\
    SELECT event_id::text, aggregate_id::text, version::int8, \
           to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"'), payload::text \
    FROM events WHERE tenant_id = $1 ORDER BY global_position";

/// An event as that program writes it: id, id of its aggregate, number in there, time, JSON.
pub type PlainRow = (String, String, i64, String, String);

/// The table of that program, for one tenant.
pub struct PlainTable {
    client: Client,
    what: String,
    tenant: Uuid,
}

/// Makes a database on the server, as the role of the URL.
pub async fn create_database(url: &PostgresUrl, name: &str) -> Result<(), Fault> {
    let what = url.to_string();
    let make = async {
        let client = connected(url).await?;
        let made = client.batch_execute(&format!("CREATE DATABASE {}", names::quoted(name))).await;
        made.map_err(|error| match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => ServerError::new(FaultKind::NotSetUp(
                "the role may not create databases; an administrator allows it with ALTER ROLE ... CREATEDB".to_owned(),
            )),
            _ => error.into(),
        })
    };
    make.await.map_err(|error: ServerError| error.fault(&what))
}

async fn connected(url: &PostgresUrl) -> Result<Client, ServerError> {
    let (client, connection) = server::plainly(url, PostgresOptions::default()).await?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

impl PlainTable {
    /// Connects, and makes the table if there is none.
    pub async fn open(url: &PostgresUrl, tenant: &str) -> Result<Self, Fault> {
        let what = url.to_string();
        let tenant = tenant.parse().map_err(|error| {
            let why = format!("tenants of this program are UUIDs: {error}");
            Fault::new(&what, FaultKind::NotWritten(why))
        })?;
        let open = async {
            let client = connected(url).await?;
            let found = client.query_one("SELECT to_regclass('events') IS NULL", &[]).await?;
            if found.try_get(0)? {
                client.batch_execute(EVENTS).await?;
            }
            Ok(client)
        };
        let client = open.await.map_err(|error: ServerError| error.fault(&what))?;
        Ok(Self { client, what, tenant })
    }

    /// Appends events in one transaction. The error: the server's code and words.
    pub async fn append(&self, events: &[PlainRow]) -> Result<(), String> {
        let column = |of: fn(&PlainRow) -> &String| events.iter().map(of).collect::<Vec<_>>();
        let (ids, streams) = (column(|event| &event.0), column(|event| &event.1));
        let (times, payloads) = (column(|event| &event.3), column(|event| &event.4));
        let versions: Vec<i64> = events.iter().map(|event| event.2).collect();
        let values: [&(dyn ToSql + Sync); 6] =
            [&ids, &streams, &versions, &times, &payloads, &self.tenant];
        let inserted = self.client.execute(INSERT, &values).await;
        inserted.map(drop).map_err(|error| match error.as_db_error() {
            Some(refused) => format!("{} {}", refused.code().code(), refused.message()),
            None => error.to_string(),
        })
    }

    /// All events of the tenant, in the order of their positions.
    pub async fn events(&self) -> Result<Vec<PlainRow>, Fault> {
        let read = async {
            let rows = self.client.query(SELECT, &[&self.tenant]).await?;
            let row = |row: &Row| {
                Ok((
                    row.try_get(0)?,
                    row.try_get(1)?,
                    row.try_get(2)?,
                    row.try_get(3)?,
                    row.try_get(4)?,
                ))
            };
            rows.iter().map(row).collect::<Result<Vec<PlainRow>, ServerError>>()
        };
        read.await.map_err(|error: ServerError| error.fault(&self.what))
    }
}
