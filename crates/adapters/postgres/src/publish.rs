//! Reporting a tenant's new store to an application's own tables.
//!
//! The statements of one publication run in one transaction. Its first statement records the epoch in a
//! table of rehome, beside the application's, and locks the tenant's row there until the end: of two publications the
//! one with the higher epoch wins, in any order, and a late one changes nothing.

use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_ports::{Fault, FaultKind};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::error::ServerError;
use crate::rows::{self, Read, get};
use crate::schema::{names, owners};
use crate::server::{Client, Lender, Param, PostgresOptions, PostgresUrl};

const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n \
    ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'epochs' AND c.relkind = 'r')";

const MAKE: &str = "\
    CREATE SCHEMA IF NOT EXISTS {schema}; \
    CREATE TABLE IF NOT EXISTS {schema}.epochs (\
        tenant uuid PRIMARY KEY, epoch bigint NOT NULL, store text NOT NULL, migration uuid NOT NULL, \
        published_at timestamptz NOT NULL DEFAULT clock_timestamp())";

/// Answers a row unless a higher epoch was published. Its row lock puts publications in line.
const NOTE: &str = "\
    INSERT INTO {schema}.epochs AS e (tenant, epoch, store, migration) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (tenant) DO UPDATE SET epoch = excluded.epoch, store = excluded.store, \
        migration = excluded.migration, published_at = excluded.published_at \
    WHERE e.epoch <= excluded.epoch \
    RETURNING 1";

/// A completed switch, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The tenant.
    pub tenant: TenantId,
    /// What the application calls the tenant.
    pub name: String,
    /// What the application calls the store that the tenant left.
    pub from: String,
    /// What it calls the store where the tenant is.
    pub to: String,
    /// Of two switches the one with the higher epoch is true.
    pub epoch: Epoch,
    /// By which migration.
    pub migration: MigrationId,
}

/// How a publication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The statements ran, and their transaction is committed.
    Done,
    /// A later switch was published before: nothing was changed.
    Superseded,
}

/// The statements for the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wording {
    /// The routing table of eventsource-py, in this schema.
    EventsourcePy {
        /// The schema of `tenant_routing`.
        schema: String,
    },
    /// Statements of the operator's, one after the other. Names in them are qualified. Values are bound:
    /// `$1` the tenant (uuid), `$2` the store it is in (text), `$3` the store that it left (text), `$4`
    /// the epoch (bigint), `$5` the migration (uuid), `$6` the tenant's name (text).
    Statements(Vec<String>),
}

/// One database in which switches are published.
pub struct PgPublisher {
    lender: Lender,
    wording: Wording,
}

impl PgPublisher {
    /// Connects when there is something to report.
    pub fn new(url: PostgresUrl, wording: Wording) -> Result<Self, Fault> {
        let lender = Lender::new(url.for_publication(), PostgresOptions::default())
            .map_err(|error| error.fault(WHAT))?;
        Ok(Self { lender, wording })
    }

    /// Creates the table beside the application's, and checks that the statements are valid, and
    /// that no other program moves the tenant.
    pub async fn prepare(&self, tenant: TenantId) -> Result<(), Fault> {
        self.try_prepare(tenant).await.map_err(|error| error.fault(WHAT))
    }

    async fn try_prepare(&self, tenant: TenantId) -> Result<(), ServerError> {
        let mut client = self.ready().await?;
        let mut transaction = client.begin().await?;
        if let Wording::EventsourcePy { schema } = &self.wording {
            let schema = names::quoted(schema);
            let look = format!(
                "SELECT 1 FROM {schema}.tenant_routing AS r WHERE r.tenant_id = $1 AND NOT {MAY_BE_CHANGED}"
            );
            let moving = transaction.foreign(&look, &[(&tenant.uuid(), Type::UUID)]).await?;
            if !moving.is_empty() {
                return Err(moved_by_the_library(tenant));
            }
        }
        let nobody = Switch {
            tenant: TenantId::new(Uuid::nil()),
            name: String::new(),
            from: String::new(),
            to: String::new(),
            epoch: Epoch::ZERO,
            migration: MigrationId::new(Uuid::nil()),
        };
        let values = Values::of(&nobody)?;
        for statement in self.statements() {
            // EXPLAIN plans the statement: it checks names, types and rights, and changes nothing.
            // It does not support CALL.
            if !is_call(&statement) {
                transaction.foreign(&format!("EXPLAIN {statement}"), &params(&values)).await?;
            }
        }
        transaction.roll_back().await
    }

    /// Reports a switch. Idempotent.
    pub async fn publish(&self, switch: &Switch) -> Result<Published, Fault> {
        self.try_publish(switch).await.map_err(|error| error.fault(WHAT))
    }

    async fn try_publish(&self, switch: &Switch) -> Result<Published, ServerError> {
        let mut client = self.ready().await?;
        let mut transaction = client.begin().await?;
        let values = Values::of(switch)?;
        let noted = transaction
            .query(
                NOTE,
                &[
                    (&values.tenant, Type::UUID),
                    (&values.epoch, Type::INT8),
                    (&values.to, Type::TEXT),
                    (&values.migration, Type::UUID),
                ],
            )
            .await?;
        if noted.is_empty() {
            transaction.roll_back().await?;
            return Ok(Published::Superseded);
        }
        for statement in self.statements() {
            let rows = transaction.foreign(&statement, &params(&values)).await?;
            if matches!(self.wording, Wording::EventsourcePy { .. }) && rows.is_empty() {
                return Err(moved_by_the_library(switch.tenant));
            }
        }
        transaction.commit().await?;
        Ok(Published::Done)
    }

    /// A connection to a database that has our table.
    async fn ready(&self) -> Result<Client, ServerError> {
        let mut client = self.lender.client().await?;
        let schema = self.lender.schema();
        owners::check(&mut client, schema).await?;
        let found = client.read(IS_THERE, &[(&schema, Type::TEXT)]).await?;
        let is_there = found.first().map(|row| get(row, 0)).transpose()?.unwrap_or(false);
        if !is_there {
            let mut transaction = client.begin().await?;
            transaction.batch(MAKE).await?;
            transaction.commit().await?;
        }
        Ok(client)
    }

    fn statements(&self) -> Vec<String> {
        match &self.wording {
            Wording::Statements(statements) => statements.clone(),
            Wording::EventsourcePy { schema } => vec![eventsource_py(schema)],
        }
    }
}

const WHAT: &str = "the database of [[publish]]";

/// The library is not moving the tenant itself, by its row in `tenant_routing`.
const MAY_BE_CHANGED: &str = "r.migration_state IN ('normal', 'migrated')";

fn moved_by_the_library(tenant: TenantId) -> ServerError {
    ServerError::new(FaultKind::NotSetUp(format!(
        "the library's own migration of tenant {tenant} is running, by its row in tenant_routing; finish or \
         abort it first"
    )))
}

/// Its router sends a tenant in the state `normal` to the store of its row.
fn eventsource_py(schema: &str) -> String {
    format!(
        "INSERT INTO {}.tenant_routing AS r (tenant_id, store_id, migration_state, active_migration_id) \
         VALUES ($1, $2, 'normal', NULL) \
         ON CONFLICT (tenant_id) DO UPDATE SET store_id = excluded.store_id, \
             migration_state = 'normal', active_migration_id = NULL, updated_at = now() \
         WHERE {MAY_BE_CHANGED} \
         RETURNING 1",
        names::quoted(schema)
    )
}

fn is_call(statement: &str) -> bool {
    statement.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("call"))
}

struct Values<'a> {
    tenant: Uuid,
    to: &'a str,
    from: &'a str,
    epoch: i64,
    migration: Uuid,
    name: &'a str,
}

impl<'a> Values<'a> {
    fn of(switch: &'a Switch) -> Read<Self> {
        Ok(Self {
            tenant: switch.tenant.uuid(),
            to: &switch.to,
            from: &switch.from,
            epoch: rows::int(switch.epoch.0)?,
            migration: switch.migration.uuid(),
            name: &switch.name,
        })
    }
}

fn params<'a>(values: &'a Values<'a>) -> [Param<'a>; 6] {
    [
        (&values.tenant, Type::UUID),
        (&values.to, Type::TEXT),
        (&values.from, Type::TEXT),
        (&values.epoch, Type::INT8),
        (&values.migration, Type::UUID),
        (&values.name, Type::TEXT),
    ]
}
