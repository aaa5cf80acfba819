//! One migration of the quickstart, from its start to the comparison of its stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::{Migration, Options, Phase, State};
use rehome_domain::verification::Level;
use rehome_engine::migration::{DriveError, Supervised};
use rehome_engine::verifier::{Report, Request};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{Seen, Step, TARGET, Tell};
use rehome_app::Deployment;
use rehome_app::error::{AppError, Kind};

/// The rollback window: long enough to look around and try a return.
const ROLLBACK_WINDOW_MS: u64 = 24 * 3_600_000;
/// The polling interval of the migration.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Maximum time for the old source to catch up once the writers have stopped.
const LEVEL_WITHIN: Duration = Duration::from_secs(30);

/// A migration and the task that works on it.
pub(super) struct Journey {
    deployment: Deployment,
    pub(super) id: MigrationId,
    over: Arc<AtomicBool>,
    work: Option<AbortOnDropHandle<Result<Supervised, DriveError>>>,
}

impl Journey {
    /// To the other store.
    pub(super) async fn there(deployment: &Deployment, tenant: TenantId) -> Result<Self, AppError> {
        let target: StoreId = TARGET.parse()?;
        let started = deployment.operations().start(tenant, &target, options(deployment)?).await?;
        Ok(Self::drive(deployment, started.id))
    }

    /// And back, within the rollback window.
    pub(super) async fn and_back(&mut self) -> Result<Self, AppError> {
        self.level().await?;
        let operations = self.deployment.operations();
        let back = operations.start_return(self.id, options(&self.deployment)?).await?;
        self.stop().await?;
        Ok(Self::drive(&self.deployment, back.id))
    }

    fn drive(deployment: &Deployment, id: MigrationId) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let enough = Arc::clone(&over);
        let enough = move |_: &Migration| enough.load(Ordering::Relaxed);
        let work = Some(deployment.supervisor().spawn(id, enough));
        Self { deployment: deployment.clone(), id, over, work }
    }

    /// Waits until the tenant is at the target.
    pub(super) async fn until_switched(
        &mut self,
        seen: &(dyn Fn() -> Seen + Send + Sync),
        tell: Tell<'_>,
    ) -> Result<(), AppError> {
        loop {
            let status = self.deployment.operations().status(self.id).await?;
            let state = status.migration.state;
            let error = status.migration.error.clone();
            tell(Step::Moving { status: Box::new(status), writers: seen() });
            match state {
                State::Migrated { activated: true, .. } => return Ok(()),
                State::Failed { .. } | State::RolledBack(_) => {
                    return Err(self.ended(state.phase(), error.as_deref()));
                }
                _ => {}
            }
            if self.work.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
                self.stop().await?;
                return Err(self.ended(state.phase(), Some("the work on it ended")));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn ended(&self, phase: Phase, why: Option<&str>) -> AppError {
        let why = why.unwrap_or("no reason was recorded");
        let message = format!("the migration did not finish ({phase}): {why}");
        AppError::new(Kind::Failed, "not_migrated", message).migration(self.id).state(phase)
    }

    /// Compares the two stores event by event, once the old source is level with the new one.
    pub(super) async fn verify(&mut self) -> Result<Report, AppError> {
        self.level().await?;
        self.stop().await?;
        let request = Request { level: Level::Full, ..Request::default() };
        Ok(self.deployment.operations().verify(self.id, &request).await?.report)
    }

    /// Waits until the old source has all of the authority's events: the writers have stopped, or
    /// it catches up with them.
    async fn level(&self) -> Result<(), AppError> {
        let migration = self.deployment.engine().control().migration(self.id).await?;
        let old = self.deployment.store(&migration.source)?;
        let new = self.deployment.store(&migration.target)?;
        let goal = new.ledger(migration.tenant).await?.head.seq;
        let began = Instant::now();
        while old.ledger(migration.tenant).await?.head.seq < goal {
            if began.elapsed() > LEVEL_WITHIN {
                let message = "the old source did not catch up with the new one in time";
                return Err(AppError::failed("not_level", message).migration(self.id));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Ends the work; the migration stays as it is, for another process to continue.
    async fn stop(&mut self) -> Result<(), AppError> {
        self.over.store(true, Ordering::Relaxed);
        match self.work.take() {
            Some(work) => {
                let panicked = |_| AppError::failed("panic", "the work on the migration panicked");
                work.await.map_err(panicked)??;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn options(deployment: &Deployment) -> Result<Options, AppError> {
    let configured = &deployment.config().migration.options;
    let options = rehome_app::options::apply(rehome_app::options::defaults(), configured)?;
    Ok(Options { rollback_window_ms: ROLLBACK_WINDOW_MS, ..options })
}
