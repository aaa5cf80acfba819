//! Operators' requests. Each is one fact in the migration's log.

use rehome_api::OptionsPatch;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::{Fact, Migration, OldSource, Options, Phase, State};
use rehome_engine::migration::OperationError;
use rehome_ports::ControlError;
use uuid::Uuid;

use super::work::nothing_left;
use crate::deployment::Deployment;
use crate::error::AppError;
use crate::idempotency::{IdempotencyKey, reused};
use crate::options;

/// What to start.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// Whose history.
    pub tenant: TenantId,
    /// To where.
    pub target: StoreId,
    /// Options other than the configured ones.
    pub options: OptionsPatch,
}

/// A migration that a request for its start is answered by.
#[derive(Clone, Debug)]
pub struct Started {
    /// The migration.
    pub migration: Migration,
    /// Whether this request started it; `false`: an earlier one with the same key did.
    pub is_new: bool,
}

impl Started {
    fn before(migration: Migration) -> Self {
        Self { migration, is_new: false }
    }

    fn now(migration: Migration) -> Self {
        Self { migration, is_new: true }
    }
}

/// What became of a `resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The process of this name works on the migration.
    ByAnother(String),
    /// No process does; this one has to.
    Here,
}

/// The options of a migration that is started with `patch`.
pub fn options(deployment: &Deployment, patch: &OptionsPatch) -> Result<Options, AppError> {
    let configured = options::apply(options::defaults(), &deployment.config().migration.options)?;
    Ok(options::apply(configured, patch)?)
}

/// Starts a migration, without driving it. With a key, the same start can be
/// repeated, and returns the migration that it started the first time.
pub async fn start(
    deployment: &Deployment,
    request: &StartRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Started, AppError> {
    let StartRequest { tenant, target, options: patch } = request;
    let mut options = options(deployment, patch)?;
    let about = |error: AppError| error.tenant(*tenant);
    let id = new_id(deployment, key);
    let is_chosen = patch.rollback_window.is_some();
    if key.is_some()
        && let Some(begun) = begun(deployment, id, *tenant, target, options, is_chosen).await?
    {
        return Ok(Started::before(begun));
    }
    super::plan::check_answers(deployment, *tenant, target).await.map_err(about)?;
    if !is_chosen && options.rollback_window_ms > 0 {
        let one_way = deployment.engine().is_one_way(*tenant, target).await;
        if one_way.map_err(|error| about(OperationError::from(error).into()))? {
            options.rollback_window_ms = 0;
        }
    }
    match deployment.operations().start_as(id, *tenant, target, options).await {
        Ok(migration) => Ok(Started::now(migration)),
        // The same start may have been requested concurrently.
        Err(error) => match key {
            Some(_) => match begun(deployment, id, *tenant, target, options, is_chosen).await? {
                Some(begun) => Ok(Started::before(begun)),
                None => Err(about(error.into())),
            },
            None => Err(about(error.into())),
        },
    }
}

/// Starts the way back, within the rollback window. With a key as [`crate::migrations::start`].
pub async fn start_return(
    deployment: &Deployment,
    id: MigrationId,
    patch: &OptionsPatch,
    key: Option<&IdempotencyKey>,
) -> Result<Started, AppError> {
    let options = options(deployment, patch)?;
    let migration = deployment.engine().control().migration(id).await?;
    let Migration { tenant, source, .. } = &migration;
    let new = new_id(deployment, key);
    if key.is_some()
        && let Some(begun) = begun(deployment, new, *tenant, source, options, true).await?
    {
        return Ok(Started::before(begun));
    }
    let route = deployment.engine().control().route(*tenant).await?;
    if let Some(route) = &route {
        deployment.check_seen(route)?;
    }
    // It closes the window first, which is a change of its own.
    let operations = deployment.operations().only_at(None);
    let started = operations.start_return_as(new, id, options).await;
    let back = started.map_err(|error| about(error.into(), &migration))?;
    Ok(Started::now(back))
}

fn new_id(deployment: &Deployment, key: Option<&IdempotencyKey>) -> MigrationId {
    key.map_or_else(
        || MigrationId::new(Uuid::now_v7()),
        |key| MigrationId::new(key.id(deployment.engine().control().deployment())),
    )
}

/// The migration that was started under this id before, if any. It must match the present
/// request. A rollback window that was not chosen may have been left out, where the tenant could not return.
async fn begun(
    deployment: &Deployment,
    id: MigrationId,
    tenant: TenantId,
    target: &StoreId,
    options: Options,
    window_is_chosen: bool,
) -> Result<Option<Migration>, AppError> {
    let control = deployment.engine().control();
    let begun = match control.migration(id).await {
        Ok(begun) => begun,
        Err(ControlError::UnknownMigration(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let first = control.log(id, 0, 1).await?;
    let without = Options { rollback_window_ms: 0, ..options };
    let is_same = |begun: Options| begun == options || !window_is_chosen && begun == without;
    let same_options = first.first().is_some_and(
        |entry| matches!(&entry.fact, Fact::Started { options: begun, .. } if is_same(*begun)),
    );
    if begun.tenant == tenant && begun.target == *target && same_options {
        return Ok(Some(begun));
    }
    Err(about(reused(), &begun))
}

/// Stops the work on a migration until it is resumed.
pub async fn pause(deployment: &Deployment, id: MigrationId) -> Result<Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let paused = deployment.operations().pause(id).await;
    paused.map_err(|error| about(error.into(), &migration))
}

/// Resumes a paused migration, or one whose process has died.
pub async fn resume(
    deployment: &Deployment,
    id: MigrationId,
    keep_window: bool,
) -> Result<Resumed, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let phase = migration.state.phase();
    if phase == Phase::Paused {
        let resumed = deployment.operations().resume(id).await;
        resumed.map_err(|error| about(error.into(), &migration))?;
        return Ok(super::worker(deployment, id).await?.map_or(Resumed::Here, Resumed::ByAnother));
    }
    let refuse = |why: String| Err(about(AppError::refused(why).state(phase), &migration));
    if nothing_left(migration.state) {
        return refuse(format!("is {phase}; there is nothing left to do"));
    }
    if is_window_open(&migration) && !keep_window {
        return refuse(
                "is migrated; to keep replicating to the old source until its rollback window ends, add \
                 --keep-window"
                    .to_owned(),
            );
    }
    match super::worker(deployment, id).await? {
        None => Ok(Resumed::Here),
        Some(holder) => refuse(format!("is {phase}, not paused, and {holder} works on it")),
    }
}

/// Requests the cutover. Returns the migration as it was before the driver acted on it.
pub async fn request_cutover(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let requested = deployment.operations().request_cutover(id).await;
    requested.map_err(|error| about(error.into(), &migration))
}

/// Withdraws a requested cutover before it begins; the next one needs a new request.
pub async fn withdraw_cutover(
    deployment: &Deployment,
    id: MigrationId,
) -> Result<Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let withdrawn = deployment.operations().withdraw_cutover(id).await;
    withdrawn.map_err(|error| about(error.into(), &migration))
}

/// Aborts a migration. Its driver cleans up the target. A running cutover
/// ends first: if its process has died, once its deadline has passed.
pub async fn abort(
    deployment: &Deployment,
    id: MigrationId,
    purge: bool,
) -> Result<Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let operations = deployment.operations();
    let aborted = async {
        operations.end_cutover(id).await?;
        operations.abort(id, purge).await
    };
    aborted.await.map_err(|error| about(error.into(), &migration))
}

/// Requests the repair of open violations: the driver of the migration cuts the copy back
/// to before the damage, copies it again and verifies it.
pub async fn repair(deployment: &Deployment, id: MigrationId) -> Result<Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let requested = deployment.operations().request_repair(id).await;
    requested.map_err(|error| about(error.into(), &migration))
}

/// Acknowledges that a migration failed; a repeat changes nothing.
pub async fn acknowledge(deployment: &Deployment, id: MigrationId) -> Result<Migration, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    let acknowledged = deployment.operations().acknowledge(id).await;
    acknowledged.map_err(|error| about(error.into(), &migration))
}

/// Changes options while a migration runs.
pub async fn tune(
    deployment: &Deployment,
    id: MigrationId,
    patch: &OptionsPatch,
) -> Result<rehome_api::Options, AppError> {
    let migration = deployment.engine().control().migration(id).await?;
    options::apply(migration.options, patch)?;
    // Another tuning may have come between: whether the two fit together is checked there.
    let change = |current| options::apply(current, patch).unwrap_or(current);
    let tuned = deployment.operations().tune(id, change).await;
    let tuned = tuned.map_err(|error| about(error.into(), &migration))?;
    Ok(options::document(&tuned.options))
}

fn about(error: AppError, migration: &Migration) -> AppError {
    error.migration(migration.id).tenant(migration.tenant)
}

/// Whether the rollback window is open, or should be.
pub(crate) fn is_window_open(migration: &Migration) -> bool {
    matches!(migration.state, State::Migrated { old_source: OldSource::Window { .. }, .. })
}
