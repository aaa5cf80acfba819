//! What operators ask for. Each is one fact in the migration's log.

use rehome_api::OptionsPatch;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::{Migration, OldSource, Options, Phase, State};

use super::work::nothing_left;
use crate::deployment::Deployment;
use crate::error::AppError;
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

/// What became of a `resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// The process of this name works on the migration.
    ByAnother(String),
    /// Nobody does; this process has to.
    Here,
}

impl Deployment {
    /// What a migration runs with when `patch` is asked for.
    pub fn options(&self, patch: &OptionsPatch) -> Result<Options, AppError> {
        let configured = options::apply(Options::default(), &self.config().migration.options)?;
        Ok(options::apply(configured, patch)?)
    }

    /// Starts a migration; who works on it is another matter.
    pub async fn start(&self, request: &StartRequest) -> Result<Migration, AppError> {
        let StartRequest { tenant, target, options } = request;
        let options = self.options(options)?;
        let about = |error: AppError| error.tenant(*tenant);
        self.reach(target).await.map_err(about)?;
        let started = self.operations().start(*tenant, target, options).await;
        started.map_err(|error| about(error.into()))
    }

    /// Starts the way back, within the rollback window.
    pub async fn start_return(
        &self,
        id: MigrationId,
        options: &OptionsPatch,
    ) -> Result<Migration, AppError> {
        let options = self.options(options)?;
        let migration = self.engine().control().migration(id).await?;
        let started = self.operations().start_return(id, options).await;
        started.map_err(|error| about(error.into(), &migration))
    }

    /// Stops the work on a migration until it is resumed.
    pub async fn pause(&self, id: MigrationId) -> Result<Migration, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let paused = self.operations().pause(id).await;
        paused.map_err(|error| about(error.into(), &migration))
    }

    /// Lets a paused migration go on, or has one that nobody works on be worked on again.
    pub async fn resume(&self, id: MigrationId, keep_window: bool) -> Result<Resumed, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let phase = migration.state.phase();
        if phase == Phase::Paused {
            let resumed = self.operations().resume(id).await;
            resumed.map_err(|error| about(error.into(), &migration))?;
            return Ok(self.worker(id).await?.map_or(Resumed::Here, Resumed::ByAnother));
        }
        let refuse = |why: String| Err(about(AppError::refused(why).state(phase), &migration));
        if nothing_left(migration.state) {
            return refuse(format!("is {phase}; nothing is left to do"));
        }
        if is_window_open(&migration) && !keep_window {
            return refuse(
                "is migrated; to keep the old source level until its rollback window ends, say \
                 --keep-window"
                    .to_owned(),
            );
        }
        match self.worker(id).await? {
            None => Ok(Resumed::Here),
            Some(holder) => refuse(format!("is {phase}, not paused, and {holder} works on it")),
        }
    }

    /// Asks for the cutover. Answers the migration as it was before the driver acted on it.
    pub async fn request_cutover(&self, id: MigrationId) -> Result<Migration, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let requested = self.operations().request_cutover(id).await;
        requested.map_err(|error| about(error.into(), &migration))
    }

    /// Gives a migration up. The clean-up of the target is left to whoever works on it. A cutover
    /// that is under way comes to its end first: if its process has died, once its deadline is over.
    pub async fn abort(&self, id: MigrationId, purge: bool) -> Result<Migration, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let operations = self.operations();
        let aborted = async {
            operations.end_cutover(id).await?;
            operations.abort(id, purge).await
        };
        aborted.await.map_err(|error| about(error.into(), &migration))
    }

    /// Says that an operator has seen that a migration failed; a repeat is no change.
    pub async fn acknowledge(&self, id: MigrationId) -> Result<Migration, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let acknowledged = self.operations().acknowledge(id).await;
        acknowledged.map_err(|error| about(error.into(), &migration))
    }

    /// Changes options while a migration runs.
    pub async fn tune(
        &self,
        id: MigrationId,
        patch: &OptionsPatch,
    ) -> Result<rehome_api::Options, AppError> {
        let migration = self.engine().control().migration(id).await?;
        options::apply(migration.options, patch)?;
        // Another tuning may have come between: whether the two fit together is checked there.
        let change = |current| options::apply(current, patch).unwrap_or(current);
        let tuned = self.operations().tune(id, change).await;
        let tuned = tuned.map_err(|error| about(error.into(), &migration))?;
        Ok(options::document(&tuned.options))
    }
}

fn about(error: AppError, migration: &Migration) -> AppError {
    error.migration(migration.id).tenant(migration.tenant)
}

/// Whether the old source is, or should be, kept level.
pub(crate) fn is_window_open(migration: &Migration) -> bool {
    matches!(migration.state, State::Migrated { old_source: OldSource::Window { .. }, .. })
}
