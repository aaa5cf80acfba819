//! Operators' requests, carried out by this process on the stores and the control plane, or by a server.
//!
//! ```text
//!              ┌─▶ Local ──▶ use cases of rehome_app
//! commands ──▶ Operate
//!              └─▶ Remote ──▶ HTTP ──▶ a server ──▶ the same use cases
//! ```
//!
//! A command is written once, against [`Operate`]; output and exit codes are the same.

pub(crate) mod fleet;
mod local;
mod remote;

use std::time::Duration;

use async_trait::async_trait;
use rehome_api::duration::Millis;
use rehome_api::{
    Baseline, Checklist, ChecklistPhase, HealthReport, LogEntry, Migration, MovedCheckpoints,
    Options, OptionsPatch, Plan, Probe, Recovery, StoreCheckReport, Tenant, TenantPurge,
    TenantRemoval, TenantUnguarded, Token, Tokens, TranslatedPosition, Verification,
};
use rehome_app::config::ClientConfig;
use rehome_app::migrations::{EstimateRequest, Goal, Resumed, StartRequest, VerifyRequest};
use rehome_app::token_registry::NewToken;
use rehome_app::tokens::TokenHash;
use rehome_app::{Access, AppError, Config, Kind, MigrationsWanted, RecoverRequest};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_observe::Observed;

use crate::output::Out;
pub(crate) use local::{Signals, Task, drive_all, open, stop_on_signal};

/// The operator's reason.
pub(crate) type Why<'a> = Option<&'a str>;

/// The callback that shows a migration; returns whether to continue.
pub(crate) type Seen<'a> = &'a mut (dyn FnMut(&Migration) -> bool + Send);

/// Through what a command acts.
pub(crate) enum Reach {
    /// The stores and the control plane themselves.
    Stores(Box<Config>),
    /// A server.
    Server(Box<ClientConfig>),
}

impl Reach {
    /// Prepares the chosen side.
    pub(crate) async fn open(&self, out: Out) -> Result<Box<dyn Operate>, AppError> {
        Ok(match self {
            Self::Stores(config) => Box::new(local::Local::new(out, open(config).await?)),
            Self::Server(config) => Box::new(remote::Remote::new(out, config)?),
        })
    }

    /// The same, and makes a control plane that is not there.
    pub(crate) async fn make(&self, out: Out) -> Result<Box<dyn Operate>, AppError> {
        match self {
            Self::Stores(config) => {
                let deployment = Observed::open(config, Access::Create).await?;
                Ok(Box::new(local::Local::new(out, deployment)))
            }
            Self::Server(_) => self.open(out).await,
        }
    }

    /// The configuration of the stores, for what no server does; `why` not.
    pub(crate) fn stores(&self, command: &str, why: &str) -> Result<&Config, AppError> {
        match self {
            Self::Stores(config) => Ok(config),
            Self::Server(_) => Err(not_by_a_server(command, why)),
        }
    }
}

/// Only works without a server.
pub(crate) fn not_by_a_server(command: &str, why: &str) -> AppError {
    let message = format!(
        "`rehome {command}` works without a server only: {why}; run it where the configuration names \
         the stores, and with --local if that names a server too"
    );
    AppError::new(Kind::Usage, "not_by_a_server", message)
}

/// Operators' requests. Those that change something take the reason.
#[async_trait]
pub(crate) trait Operate: fleet::OperateFleet + Send + Sync {
    /// Whether a server works on migrations, so that the command need not wait for them.
    fn is_remote(&self) -> bool;

    async fn start(&self, request: &StartRequest, why: Why<'_>) -> Result<Migration, AppError>;

    /// Starts the way back.
    async fn start_return(
        &self,
        id: MigrationId,
        options: &OptionsPatch,
        why: Why<'_>,
    ) -> Result<Migration, AppError>;

    /// Newest first.
    async fn migrations(&self, wanted: &MigrationsWanted) -> Result<Vec<Migration>, AppError>;

    async fn migration(&self, id: MigrationId) -> Result<Migration, AppError>;

    async fn options(&self, id: MigrationId) -> Result<Options, AppError>;

    /// Who works on it, by its lease.
    async fn worker(&self, id: MigrationId) -> Result<Option<String>, AppError>;

    /// The log after entry `after`, a part of it; empty: that was all.
    async fn log(&self, id: MigrationId, after: u64) -> Result<Vec<LogEntry>, AppError>;

    /// Shows a migration whenever it has changed, until its end; answers it as it is then.
    async fn watch(&self, id: MigrationId, seen: Seen<'_>) -> Result<Migration, AppError>;

    /// Has it worked on, with progress, until the goal is reached; an error if not as it was meant to be.
    async fn reach(&self, id: MigrationId, goal: Goal) -> Result<Migration, AppError>;

    /// The same until the target of an aborted migration is cleaned up.
    async fn clean_up(&self, id: MigrationId) -> Result<Migration, AppError>;

    async fn pause(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError>;

    async fn resume(
        &self,
        id: MigrationId,
        keep_window: bool,
        why: Why<'_>,
    ) -> Result<Resumed, AppError>;

    /// Requests the cutover; returns the goal to wait for.
    async fn cutover(&self, id: MigrationId, why: Why<'_>) -> Result<Goal, AppError>;

    /// Takes the cutover back before it begins.
    async fn withdraw(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError>;

    async fn abort(&self, id: MigrationId, purge: bool, why: Why<'_>) -> Result<(), AppError>;

    /// Requests the repair; [`Goal::Repaired`] waits for it.
    async fn repair(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError>;

    async fn acknowledge(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError>;

    async fn tune(
        &self,
        id: MigrationId,
        patch: &OptionsPatch,
        why: Why<'_>,
    ) -> Result<Options, AppError>;

    async fn verify(
        &self,
        id: MigrationId,
        request: VerifyRequest,
        why: Why<'_>,
    ) -> Result<Verification, AppError>;

    async fn take_baseline(&self, id: MigrationId, window: Duration) -> Result<Baseline, AppError>;

    /// The recorded baseline.
    async fn baseline(&self, id: MigrationId) -> Result<Baseline, AppError>;

    async fn plan(&self, tenant: TenantId, target: &StoreId) -> Result<Plan, AppError>;

    async fn probe(
        &self,
        tenant: TenantId,
        target: &StoreId,
        told: &EstimateRequest,
    ) -> Result<Probe, AppError>;

    async fn health(&self) -> Result<HealthReport, AppError>;

    async fn checklist(
        &self,
        phase: ChecklistPhase,
        id: Option<MigrationId>,
    ) -> Result<Checklist, AppError>;

    async fn check_stores(&self, id: Option<&StoreId>) -> Result<StoreCheckReport, AppError>;

    async fn tenant(&self, tenant: TenantId) -> Result<Tenant, AppError>;

    async fn purge(
        &self,
        tenant: TenantId,
        store: &StoreId,
        close_window: bool,
        why: Why<'_>,
    ) -> Result<TenantPurge, AppError>;

    /// Removes the tenant if it has so many events; with `None`, returns how many it has.
    async fn remove(
        &self,
        tenant: TenantId,
        events: Option<u64>,
        why: Why<'_>,
    ) -> Result<TenantRemoval, AppError>;

    /// Removes the guard of the tenant in the store that has its authority.
    async fn unguard(&self, tenant: TenantId, why: Why<'_>) -> Result<TenantUnguarded, AppError>;

    /// Copies the tenant's checkpoints.
    async fn move_checkpoints(
        &self,
        tenant: TenantId,
        from: &StoreId,
        to: &StoreId,
        why: Why<'_>,
    ) -> Result<MovedCheckpoints, AppError>;

    async fn position(
        &self,
        tenant: TenantId,
        position: i64,
        from: &StoreId,
        to: &StoreId,
    ) -> Result<TranslatedPosition, AppError>;

    async fn recover(
        &self,
        request: &RecoverRequest,
        why: Why<'_>,
    ) -> Result<Vec<Recovery>, AppError>;

    /// All tokens.
    async fn tokens(&self) -> Result<Tokens, AppError>;

    /// Stores a new token; a repeat returns the existing one.
    async fn create_token(&self, new: &NewToken, why: Why<'_>) -> Result<Token, AppError>;

    /// Replaces the token of that name; `lengths`: how long the old one stays valid, and the lifetime of the new one.
    async fn rotate_token(
        &self,
        name: &str,
        hash: TokenHash,
        lengths: (Option<Millis>, Option<Millis>),
        why: Why<'_>,
    ) -> Result<Token, AppError>;

    /// Ends all of that name.
    async fn revoke_token(&self, name: &str, why: Why<'_>) -> Result<Vec<Token>, AppError>;

    /// Finishes accepted operations.
    async fn close(self: Box<Self>);
}
