//! Operations on drains, cordons and pins, which the command and the server share.

use async_trait::async_trait;
use rehome_api::drain::{
    Drain, DrainPlan, DrainRequest, DrainRetry, DrainStart, DrainTenantPage, DrainTuning, Notice,
    TenantPage,
};
use rehome_app::{AppError, TenantsWanted};
use rehome_domain::ids::{DrainId, StoreId, TenantId};

use super::Why;

/// The callback that shows a drain.
pub(crate) type SeenDrain<'a> = &'a mut (dyn FnMut(&Drain) + Send);

/// An action on a drain as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pause,
    Resume,
    Cancel,
}

#[async_trait]
pub(crate) trait OperateFleet: Send + Sync {
    async fn plan_drain(&self, request: &DrainRequest) -> Result<DrainPlan, AppError>;

    /// The start has an id, so that it can be retried.
    async fn start_drain(&self, start: &DrainStart, why: Why<'_>) -> Result<Drain, AppError>;

    /// Newest first.
    async fn drains(&self, open: bool, limit: usize) -> Result<Vec<Drain>, AppError>;

    async fn drain(&self, id: DrainId) -> Result<Drain, AppError>;

    async fn drain_tenants(
        &self,
        id: DrainId,
        state: Option<&str>,
        after: u64,
    ) -> Result<DrainTenantPage, AppError>;

    async fn act_on_drain(&self, id: DrainId, act: Act, why: Why<'_>) -> Result<Drain, AppError>;

    async fn tune_drain(
        &self,
        id: DrainId,
        tuning: &DrainTuning,
        why: Why<'_>,
    ) -> Result<Drain, AppError>;

    async fn retry_drain(
        &self,
        id: DrainId,
        retry: &DrainRetry,
        why: Why<'_>,
    ) -> Result<Drain, AppError>;

    /// Shows a drain whenever it has changed, until it ends or Ctrl-C; works on it here if `work` and
    /// no server does.
    async fn follow_drain(
        &self,
        id: DrainId,
        work: bool,
        seen: SeenDrain<'_>,
    ) -> Result<Drain, AppError>;

    /// With a reason: sets the store's cordon. Without: removes it.
    async fn cordon(&self, store: &StoreId, why: Option<&str>) -> Result<Notice, AppError>;

    /// With a reason: pins the tenant. Without: unpins it.
    async fn pin(&self, tenant: TenantId, why: Option<&str>) -> Result<Notice, AppError>;

    async fn tenants(&self, wanted: &TenantsWanted) -> Result<TenantPage, AppError>;
}
