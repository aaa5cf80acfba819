//! Guarding a tenant: announce it, wait for transactions that may not have seen it, record its history.

use std::time::{Duration, Instant};

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::tenant_of;
use rehome_domain::ledger::{Ledger, Role};
use rehome_ports::FaultKind;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::shape::not_set_up;
use super::{PgAdopted, install};
use crate::error::ServerError;
use crate::rows::{self, Read, get};

/// How long one call waits for old writers; the caller repeats the call.
pub(super) const DRAIN_FOR: Duration = Duration::from_secs(8);
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Maximum time of a statement over the whole table, as that which records the history of one tenant.
const NOTE_WITHIN: Duration = Duration::from_secs(2 * 60 * 60);

/// A ledger as it is found, and how far its guarding has come.
pub(super) struct Found {
    pub(super) ledger: Ledger,
    /// Its history has numbers, or will get them.
    pub(super) is_noted: bool,
    /// How many rows got a number just now.
    pub(super) numbered: u64,
}

impl PgAdopted {
    /// Numbers up to `max` rows, and answers the ledger. `None`: the tenant is not guarded.
    pub(super) async fn number(&self, tenant: TenantId, max: i32) -> Read<Option<Found>> {
        self.found(
            "SELECT o_role, o_epoch, o_seq, o_digest, o_phase, o_numbered FROM {schema}.number($1, $2)",
            tenant,
            max,
        )
        .await
    }

    async fn found(&self, sql: &str, tenant: TenantId, max: i32) -> Read<Option<Found>> {
        let mut client = self.server.client().await?;
        let found = client.write(sql, &[(&tenant.uuid(), Type::UUID), (&max, Type::INT4)]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let numbered: i32 = get(row, 5)?;
        Ok(Some(Found {
            ledger: rows::ledger(row, 0)?,
            is_noted: get::<&str>(row, 4)? == "noted",
            numbered: u64::from(numbered.unsigned_abs()),
        }))
    }

    /// The name that the table has for a tenant. `None`: no row and no other store knows it.
    pub(super) async fn key(&self, tenant: TenantId) -> Read<Option<String>> {
        if self.tenants_are_uuids() {
            return Ok(Some(tenant.uuid().hyphenated().to_string()));
        }
        if let Some(name) = self.names.of(tenant) {
            return Ok(Some(name));
        }
        let mut client = self.server.client().await?;
        let found = client
            .read(
                "SELECT key FROM {schema}.tenants WHERE tenant = $1",
                &[(&tenant.uuid(), Type::UUID)],
            )
            .await?;
        if let Some(row) = found.first() {
            self.names.learn(tenant, get(row, 0)?);
        } else {
            install::keys(&mut client, |key| self.names.learn(tenant_of(key), key)).await?;
        }
        Ok(self.names.of(tenant))
    }

    /// A statement that may read the whole table: where no index names a tenant's rows, it does.
    async fn patiently(
        &self,
        template: &str,
        param: (&(dyn ToSql + Sync), Type),
    ) -> Read<Vec<Row>> {
        let mut client = self.server.client().await?;
        client.answers_within(NOTE_WITHIN);
        let mut tx = client.begin().await?;
        tx.batch("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
        let found = tx.query(template, &[param]).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// How many rows of the tenant the table has.
    pub(super) async fn count_rows(&self, tenant: TenantId) -> Read<u64> {
        let Some(key) = self.key(tenant).await? else { return Ok(0) };
        let found = self.patiently("SELECT {schema}.count_rows($1)", (&key, Type::TEXT)).await?;
        found.first().map_or(Ok(0), |row| rows::count(row, 0))
    }

    /// The same for a caller that waits, such as a reader: within the time that every statement has.
    pub(super) async fn count_rows_soon(&self, tenant: TenantId) -> Read<u64> {
        let Some(key) = self.key(tenant).await? else { return Ok(0) };
        let mut client = self.server.client().await?;
        let found = client.read("SELECT {schema}.count_rows($1)", &[(&key, Type::TEXT)]).await?;
        found.first().map_or(Ok(0), |row| rows::count(row, 0))
    }

    /// The table that has rows of the tenant: the events', or that of streams' heads.
    pub(super) async fn has_rows(&self, tenant: TenantId) -> Read<Option<String>> {
        let Some(key) = self.key(tenant).await? else { return Ok(None) };
        let found = self.patiently("SELECT {schema}.has_rows($1)", (&key, Type::TEXT)).await?;
        found.first().map_or(Ok(None), |row| get(row, 0))
    }

    /// A target must have no row of the tenant that no migration copied (rule R12).
    pub(super) async fn is_empty_of(&self, tenant: TenantId) -> Read<()> {
        let Some(table) = self.has_rows(tenant).await? else { return Ok(()) };
        Err(not_set_up(format!(
            "its table {table} has rows of tenant {tenant} that no migration copied, but a target must have none: delete \
             them, or move the tenant to another store"
        )))
    }

    /// From here on the triggers guard the tenant.
    pub(super) async fn announce(&self, tenant: TenantId, role: Role, epoch: Epoch) -> Read<()> {
        let key = self.key(tenant).await?.ok_or_else(|| {
            ServerError::new(FaultKind::NotSetUp(format!(
                "neither its table nor another store has the name of tenant {tenant}; use the \
                 tenant's name as in the table"
            )))
        })?;
        let mut client = self.server.client().await?;
        client
            .write(
                "SELECT {schema}.announce($1, $2, $3, $4)",
                &[
                    (&tenant.uuid(), Type::UUID),
                    (&key, Type::TEXT),
                    (&role.as_str(), Type::TEXT),
                    (&rows::int(epoch.0)?, Type::INT8),
                ],
            )
            .await?;
        Ok(())
    }

    /// The guard stays, if it was about to go; and then [`Self::number`].
    pub(super) async fn stay(&self, tenant: TenantId, max: i32) -> Read<Option<Found>> {
        // The one needs an answer of the other: whatever the planner does, the guard stays before its role is read.
        self.found(
            "SELECT o_role, o_epoch, o_seq, o_digest, o_phase, o_numbered \
             FROM {schema}.stay($1) AS s (done) \
             CROSS JOIN LATERAL {schema}.number($1, CASE WHEN s.done IS NULL THEN $2 ELSE $2 END)",
            tenant,
            max,
        )
        .await
    }

    /// Waits until the transactions that held the table at the guarding have ended (rule R1).
    pub(super) async fn drain(&self, tenant: TenantId) -> Read<()> {
        let began = Instant::now();
        loop {
            let mut client = self.server.client().await?;
            let waits = client
                .write("SELECT o_who FROM {schema}.drain($1)", &[(&tenant.uuid(), Type::UUID)])
                .await?;
            drop(client);
            if waits.is_empty() {
                return Ok(());
            }
            if began.elapsed() > DRAIN_FOR {
                let who = waits.iter().map(|row| get::<&str>(row, 0)).collect::<Read<Vec<_>>>()?;
                return Err(ServerError::new(FaultKind::Waits(format!(
                    "transactions that can write the table are older than the guard of tenant {tenant}: {}; \
                     wait for them, or end them, and try again: the history is numbered after they have ended",
                    who.join(", ")
                ))));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Brings the guarding of an authority to its end, wherever it was left.
    pub(super) async fn note(&self, tenant: TenantId) -> Read<()> {
        self.drain(tenant).await?;
        let tenant_id = tenant.uuid();
        let noted =
            self.patiently("SELECT {schema}.note_history($1)", (&tenant_id, Type::UUID)).await?;
        let count: i64 = noted.first().map_or(Ok(0), |row| get(row, 0))?;
        tracing::info!(store = self.id.as_str(), %tenant, rows = count, "the history is recorded");
        Ok(())
    }

    /// The same for the target of a copy, which must have no row of the tenant (rule R12).
    pub(super) async fn note_nothing(&self, tenant: TenantId) -> Read<()> {
        self.drain(tenant).await?;
        let tenant_id = tenant.uuid();
        loop {
            let noted = self
                .patiently("SELECT {schema}.note_nothing($1)", (&tenant_id, Type::UUID))
                .await?;
            if noted.first().map_or(Ok(false), |row| get(row, 0))? {
                return Ok(());
            }
            self.is_empty_of(tenant).await?;
        }
    }
}
