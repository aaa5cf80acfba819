//! Drains, cordons and pins by this process.

use std::time::Duration;

use async_trait::async_trait;
use rehome_api::drain::{
    Drain, DrainPlan, DrainRequest, DrainRetry, DrainStart, DrainTenantPage, DrainTuning, Notice,
    TenantPage,
};
use rehome_app::{AppError, CancellationToken, TenantsWanted, drains, driving};
use rehome_domain::ids::{DrainId, StoreId, TenantId};

use super::{Local, Signals, Task, stop_on_signal};
use crate::operate::Why;
use crate::operate::fleet::{Act, OperateFleet, SeenDrain};

/// Rows of a page.
const PAGE: usize = 1_000;
/// The polling interval of a drain.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[async_trait]
impl OperateFleet for Local {
    async fn plan_drain(&self, request: &DrainRequest) -> Result<DrainPlan, AppError> {
        drains::plan(&self.deployment, request).await
    }

    async fn start_drain(&self, start: &DrainStart, why: Why<'_>) -> Result<Drain, AppError> {
        let id = drains::start(&self.because(why)?, start, None).await?;
        self.drain(id).await
    }

    async fn drains(&self, open: bool, limit: usize) -> Result<Vec<Drain>, AppError> {
        self.deployment.drains(open, None, limit).await
    }

    async fn drain(&self, id: DrainId) -> Result<Drain, AppError> {
        self.deployment.drain(id).await
    }

    async fn drain_tenants(
        &self,
        id: DrainId,
        state: Option<&str>,
        after: u64,
    ) -> Result<DrainTenantPage, AppError> {
        self.deployment.drain_tenants(id, state, after, PAGE).await
    }

    async fn act_on_drain(&self, id: DrainId, act: Act, why: Why<'_>) -> Result<Drain, AppError> {
        let deployment = self.because(why)?;
        match act {
            Act::Pause => drains::pause(&deployment, id).await?,
            Act::Resume => drains::resume(&deployment, id).await?,
            Act::Cancel => drains::cancel(&deployment, id).await?,
        }
        self.drain(id).await
    }

    async fn tune_drain(
        &self,
        id: DrainId,
        tuning: &DrainTuning,
        why: Why<'_>,
    ) -> Result<Drain, AppError> {
        drains::tune(&self.because(why)?, id, tuning).await?;
        self.drain(id).await
    }

    async fn retry_drain(
        &self,
        id: DrainId,
        retry: &DrainRetry,
        why: Why<'_>,
    ) -> Result<Drain, AppError> {
        drains::retry(&self.because(why)?, id, &retry.tenants).await?;
        self.drain(id).await
    }

    async fn follow_drain(
        &self,
        id: DrainId,
        work: bool,
        seen: SeenDrain<'_>,
    ) -> Result<Drain, AppError> {
        let stop = CancellationToken::new();
        let signals = stop_on_signal(self.out, stop.clone(), Signals::listen());
        let signals = Task(tokio::spawn(signals));
        let over = CancellationToken::new();
        let watched = async {
            let watched = drains::watch(&self.deployment, id, LOOK_EVERY, &stop, seen).await;
            over.cancel();
            watched
        };
        let worked = async {
            if work {
                // Whatever a drain leaves behind, such as clean-ups, is worked on too.
                let ended = stop.child_token();
                let all = driving::drive_all(&self.deployment, &ended);
                tokio::pin!(all);
                tokio::select! {
                    () = &mut all => {}
                    () = over.cancelled() => {
                        ended.cancel();
                        all.await;
                    }
                }
            }
        };
        let (watched, ()) = tokio::join!(watched, worked);
        drop(signals);
        watched
    }

    async fn cordon(&self, store: &StoreId, why: Option<&str>) -> Result<Notice, AppError> {
        self.because(why)?;
        drains::cordon(&self.deployment, store, why).await
    }

    async fn pin(&self, tenant: TenantId, why: Option<&str>) -> Result<Notice, AppError> {
        self.because(why)?;
        drains::pin(&self.deployment, tenant, why).await
    }

    async fn tenants(&self, wanted: &TenantsWanted) -> Result<TenantPage, AppError> {
        self.deployment.tenants(wanted).await
    }
}
