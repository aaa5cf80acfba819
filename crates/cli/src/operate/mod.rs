//! What operators ask for, whoever does it: this process, on the stores and the control plane, or a server.
//!
//! ```text
//!              ┌─▶ Local ──▶ use cases of rehome_app
//! commands ──▶ Operate
//!              └─▶ Remote ──▶ HTTP ──▶ a server ──▶ the same use cases
//! ```
//!
//! A command is written once, against [`Operate`]; what is shown and how the command ends is the same.

mod local;
mod remote;

use std::time::Duration;

use async_trait::async_trait;
use rehome_api::duration::Millis;
use rehome_api::{
    Baseline, Checklist, ChecklistPhase, HealthReport, LogEntry, Migration, Options, OptionsPatch,
    Plan, Probe, Recovery, StoreCheckReport, Tenant, TenantPurge, Token, Tokens, Verification,
};
use rehome_app::config::ClientConfig;
use rehome_app::migrations::{EstimateRequest, Goal, Resumed, StartRequest, VerifyRequest};
use rehome_app::tokens::{NewToken, TokenHash};
use rehome_app::{Access, AppError, Config, Deployment, Kind, RecoverRequest};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::Phase;

use crate::output::Out;
pub(crate) use local::{Signals, Task, drive_all, open, stop_on_signal};

/// Why something is done, as the operator says it.
pub(crate) type Why<'a> = Option<&'a str>;

/// Whom to show a migration to: answers whether to go on.
pub(crate) type Seen<'a> = &'a mut (dyn FnMut(&Migration) -> bool + Send);

/// Through what a command acts.
pub(crate) enum Reach {
    /// The stores and the control plane themselves.
    Stores(Box<Config>),
    /// A server.
    Server(Box<ClientConfig>),
}

impl Reach {
    /// Gets ready to ask.
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
                let deployment = Deployment::open(config, Access::Create).await?;
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

/// What operators ask for. What changes something takes the reason for it.
#[async_trait]
pub(crate) trait Operate: Send + Sync {
    /// Whether migrations are worked on elsewhere, so that nobody has to wait for them here.
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
    async fn migrations(
        &self,
        tenant: Option<TenantId>,
        state: Option<Phase>,
        limit: usize,
    ) -> Result<Vec<Migration>, AppError>;

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

    /// Asks for the cutover; answers the goal to wait for.
    async fn cutover(&self, id: MigrationId, why: Why<'_>) -> Result<Goal, AppError>;

    async fn abort(&self, id: MigrationId, purge: bool, why: Why<'_>) -> Result<(), AppError>;

    /// Asks for the repair; what was asked for is waited for with [`Goal::Repaired`].
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

    /// The one that was kept.
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

    async fn recover(
        &self,
        request: &RecoverRequest,
        why: Why<'_>,
    ) -> Result<Vec<Recovery>, AppError>;

    /// All tokens.
    async fn tokens(&self) -> Result<Tokens, AppError>;

    /// Keeps a new token; asked again, it is the one that is there.
    async fn create_token(&self, new: &NewToken, why: Why<'_>) -> Result<Token, AppError>;

    /// Keeps one in the place of that name; `lengths`: of the old one's grace, and of the new one's life.
    async fn rotate_token(
        &self,
        name: &str,
        hash: TokenHash,
        lengths: (Option<Millis>, Option<Millis>),
        why: Why<'_>,
    ) -> Result<Token, AppError>;

    /// Ends all of that name.
    async fn revoke_token(&self, name: &str, why: Why<'_>) -> Result<Vec<Token>, AppError>;

    /// Finishes what was accepted.
    async fn close(self: Box<Self>);
}
