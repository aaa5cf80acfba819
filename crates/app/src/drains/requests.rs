//! Operators' requests about drains, stores and tenants.

use rehome_api::drain as api;
use rehome_domain::drain::Settings;
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_engine::drain::{DrainPlan, DrainRequest};
use uuid::Uuid;

use super::documents;
use crate::deployment::{Deployment, check_reason};
use crate::error::AppError;

impl Deployment {
    /// What a drain would do.
    pub async fn plan_drain(
        &self,
        request: &api::DrainRequest,
    ) -> Result<api::DrainPlan, AppError> {
        Ok(documents::plan(&self.drain_plan(request).await?))
    }

    async fn drain_plan(&self, request: &api::DrainRequest) -> Result<DrainPlan, AppError> {
        let (from, to) = (documents::stores(&request.from)?, documents::targets(&request.to)?);
        let mut options = self.options(&rehome_api::OptionsPatch::default())?;
        if self.config().migration.options.rollback_window.is_none() {
            // An open window is a mirror that runs: one for each of thousands of tenants is opened on request only.
            options.rollback_window_ms = 0;
        }
        let base = Settings { options, ..Settings::new(from, to) };
        let settings = documents::apply(base, &request.settings, &request.options)?;
        let ids = |ids: &[Uuid]| ids.iter().copied().map(TenantId::new).collect();
        let (only, exclude) = (ids(&request.tenants), ids(&request.exclude));
        Ok(self.drain_operations().plan(DrainRequest { settings, only, exclude }).await?)
    }

    /// Starts a drain, from a request or from a plan, without working on it.
    pub async fn start_drain(&self, start: &api::DrainStart) -> Result<DrainId, AppError> {
        let id = DrainId::new(start.id.unwrap_or_else(Uuid::now_v7));
        // The same request may have been made before.
        if start.id.is_some() && self.fleet().drain(id).await.is_ok() {
            return Ok(id);
        }
        let plan = match (&start.request, &start.plan) {
            (Some(request), None) => self.drain_plan(request).await?,
            (None, Some(plan)) => documents::read_plan(plan)?,
            _ => return Err(documents::usage("a drain starts from a request or from a plan")),
        };
        Ok(self.drain_operations().start(id, plan).await?.id)
    }

    /// Begins nothing more until it is resumed.
    pub async fn pause_drain(&self, id: DrainId) -> Result<(), AppError> {
        self.drain_operations().pause(id).await?;
        Ok(())
    }

    /// Resumes a paused drain.
    pub async fn resume_drain(&self, id: DrainId) -> Result<(), AppError> {
        self.drain_operations().resume(id).await?;
        Ok(())
    }

    /// Cancels a drain: starts no further move, and aborts running ones.
    pub async fn cancel_drain(&self, id: DrainId) -> Result<(), AppError> {
        self.drain_operations().cancel(id).await?;
        Ok(())
    }

    /// Changes what a drain runs with.
    pub async fn tune_drain(&self, id: DrainId, tuning: &api::DrainTuning) -> Result<(), AppError> {
        let targets = tuning.to.as_deref().map(documents::targets).transpose()?;
        let now = self.fleet().drain(id).await?.settings;
        documents::apply(now, &tuning.settings, &tuning.options)?;
        let change = |settings: Settings| {
            let targets = targets.clone().unwrap_or_else(|| settings.targets.clone());
            let settings = Settings { targets, ..settings };
            documents::apply(settings.clone(), &tuning.settings, &tuning.options)
                .unwrap_or(settings)
        };
        self.drain_operations().tune(id, change).await?;
        Ok(())
    }

    /// Tries tenants again that were set aside; answers how many.
    pub async fn retry_drain(&self, id: DrainId, tenants: &[Uuid]) -> Result<u64, AppError> {
        let tenants: Vec<_> = tenants.iter().copied().map(TenantId::new).collect();
        Ok(self.drain_operations().retry(id, &tenants).await?)
    }

    /// Keeps new tenants and arrivals out of a store (`why`), or removes the cordon.
    pub async fn cordon(
        &self,
        store: &StoreId,
        why: Option<&str>,
    ) -> Result<api::Notice, AppError> {
        check_reason(why)?;
        self.drain_operations().cordon(store, why).await?;
        let found = self.fleet().cordons().await?.remove(store);
        Ok(notice(store.to_string(), found))
    }

    /// The cordon around a store.
    pub async fn cordon_of(&self, store: &StoreId) -> Result<api::Notice, AppError> {
        self.store(store)?;
        let found = self.fleet().cordons().await?.remove(store);
        Ok(notice(store.to_string(), found))
    }

    /// Keeps a tenant where it is (`why`), or removes the pin.
    pub async fn pin(&self, tenant: TenantId, why: Option<&str>) -> Result<api::Notice, AppError> {
        check_reason(why)?;
        self.drain_operations().pin(tenant, why).await?;
        let found = self.fleet().pins_of(&[tenant]).await?.remove(&tenant);
        Ok(notice(tenant.to_string(), found))
    }
}

fn notice(what: String, found: Option<rehome_domain::drain::Notice>) -> api::Notice {
    let there = found.is_some();
    let (by, why, since) = match found {
        Some(found) => (Some(found.by), Some(found.why), Some(documents::time(found.at))),
        None => (None, None, None),
    };
    api::Notice { what, there, by, why, since }
}
